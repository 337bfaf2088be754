"""Draw what a command printed as SVG: ``COMMAND | python scripts/terminal_picture.py``."""

from __future__ import annotations

import sys
from html import escape

WIDTH, LINE, MARGIN = 7.85, 18, 16  # of a letter, of a line, around the text; in pixels


def picture(text: str) -> str:
    """The text in a dark frame, one line under the other, at its own width."""
    lines = text.rstrip("\n").split("\n")
    width = round(2 * MARGIN + WIDTH * max(len(line) for line in lines))
    height = 2 * MARGIN + LINE * len(lines)
    rows = [
        f'<text x="{MARGIN}" y="{MARGIN + LINE * place + 13}" xml:space="preserve">{escape(line)}'
        "</text>"
        for place, line in enumerate(lines)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="DejaVu Sans Mono, Menlo, Consolas, '
            'monospace" font-size="13" fill="#e6e6e6">',
            '<rect width="100%" height="100%" rx="8" fill="#1e2430"/>',
            *rows,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(picture(sys.stdin.read()))
