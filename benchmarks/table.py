"""Tables of results: written into Markdown files, from the JSON files under results/.

Between ``<!-- results -->`` and ``<!-- /results -->`` stand all rows; between ``<!-- claims -->``
and ``<!-- /claims -->`` only figures that have a floor, the worst of a kind; between
``<!-- in short -->`` and ``<!-- /in short -->`` those of :data:`IN_SHORT`. ``--write`` puts them
into README.md, benchmarks/README.md and docs/speed.md, where they have such marks; from the full
size alone, small ones being what somebody measured here last.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, SIZES, Figure, number, spread

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "benchmarks" / "README.md", ROOT / "docs" / "speed.md")

#: What a newcomer is told: what it is about, and the figures, each a benchmark, a row, a name and
#: the words around the number.
IN_SHORT: tuple[tuple[str, tuple[tuple[str, str, str, str], ...]], ...] = (
    (
        "two layers of SmolLM2 as ONNX in 8 bits, against the transformers pipeline at its best",
        (
            ("exported", "one text", "times faster", "one text {} times as fast"),
            ("exported", "many texts", "times faster", "many texts {} times"),
        ),
    ),
    (
        "the same in 4 bits with 16,384 tokens, no torch",
        (
            ("exported", "trec, 4 bits, 16,384 tokens", "MB", "{} MB"),
            (
                "exported",
                "trec, 4 bits, 16,384 tokens",
                "points of accuracy, exported minus run",
                "{} points against 32 bits (TREC, three seeds)",
            ),
            (
                "exported",
                "first answer, 4 bits, 16,384 tokens",
                "times sooner",
                "first answer of a process {} times sooner",
            ),
        ),
    ),
    (
        "training two layers, against the Trainer at its best",
        (("training", "cls, fp32, batch 16", "times faster than Trainer at its best", "{} times"),),
    ),
    (
        "two layers of GPT-2 XL from the hub (made weights of its shape)",
        (
            (
                "fetching",
                "gpt2-xl, keep 2",
                "bytes sent / bytes kept anew",
                "{} times the kept bytes",
            ),
            ("paper", "gpt2-xl, all 6 runs", "of the file", "{} of the file travels"),
            (
                "paper",
                "gpt2-xl, keep 2, cls",
                "peak memory, GB",
                "{} GB of memory at most to train them",
            ),
        ),
    ),
)

Content = dict[str, Any]


def read(folder: Path = RESULTS, size: str = "full") -> list[Content]:
    """Results of a size, a benchmark each, in the order of their names."""
    paths = sorted(folder.glob(f"*-{size}.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def results(contents: Iterable[Content]) -> str:
    """A table for each benchmark, every row in it."""
    return "\n\n".join(map(_one, contents))


def _one(content: Content) -> str:
    sides = list(dict.fromkeys(side for row in content["rows"] for side in row["sides"]))
    lines = [
        f"**{content['benchmark']}** ({content['size']} size; {_machine(content)})",
        "",
        _line(["", *(f"{side}" for side in sides), "figures"]),
        _line(["---", *("---:" for _ in sides), "---"]),
    ]
    for row in content["rows"]:
        name = row["name"] + (f" ({row['note']})" if row["note"] else "")
        times = [_side(row["sides"].get(side), row["unit"]) for side in sides]
        lines.append(_line([name, *times, "; ".join(map(_in_words, _figures(row)))]))
    return "\n".join(lines)


def _machine(content: Content) -> str:
    machine, dates = content["machine"], sorted({row["date"] for row in content["rows"]})
    what = machine.get("gpu") or f"{machine['processor']}, {machine['threads']} threads"
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return f"{what}; torch {machine['versions']['torch']}; {when}"


def _side(values: list[float] | None, unit: str) -> str:
    return f"{number(spread(values).median)} {unit}" if values else ""


def _figures(row: Content) -> list[Figure]:
    return [Figure(**one) for one in row["figures"]]


def _in_words(one: Figure) -> str:
    text = f"{one.name} {_value(one)}"
    return text + (f", {_floor(one)}" if one.reached is not None else "")


def _value(one: Figure) -> str:
    """The median, with its quartiles where they differ."""
    middle, low, high = map(number, (one.value, one.low, one.high))
    return middle if low == high else f"{middle} ({low} to {high})"


def _floor(one: Figure) -> str:
    floors = (("at least", one.at_least), ("at most", one.at_most))
    return " and ".join(f"{word} {floor:g}" for word, floor in floors if floor is not None) + (
        "" if one.reached else ": **missed**"
    )


def claims(contents: Iterable[Content]) -> str:
    """A line for each figure that has a floor; of three rows or more with the same, the worst."""
    lines = [_line(["benchmark", "what", "measured", "floor"]), _line(["---"] * 4)]
    for content in contents:
        alike: dict[tuple[Any, ...], list[tuple[str, Figure]]] = {}
        for row in content["rows"]:
            for one in _figures(row):
                if one.reached is not None:
                    key = (one.name, one.at_least, one.at_most)
                    alike.setdefault(key, []).append((row["name"], one))
        for rows in alike.values():
            shown, note = (
                (rows, "") if len(rows) < 3 else ([_worst(rows)], f", worst of {len(rows)}")
            )
            for name, one in shown:
                what = f"{name}{note}: {one.name}"
                lines.append(_line([content["benchmark"], what, _value(one), _floor(one)]))
    return "\n".join(lines)


def in_short(contents: Iterable[Content]) -> str:
    """A line for each of :data:`IN_SHORT`, with those of its figures that were measured."""
    known = {
        (content["benchmark"], row["name"], one.name): _value(one)
        for content in contents
        for row in content["rows"]
        for one in _figures(row)
    }
    lines = [_line(["what", "measured"]), _line(["---"] * 2)]
    for what, figures in IN_SHORT:
        said = [words.format(known[(*at,)]) for *at, words in figures if (*at,) in known]
        if said:
            lines.append(_line([what, "; ".join(said)]))
    return "\n".join(lines)


def _worst(rows: list[tuple[str, Figure]]) -> tuple[str, Figure]:
    """The row nearest to its floor, or farthest beyond."""
    sign = 1 if rows[0][1].at_least is not None else -1
    return min(rows, key=lambda row: sign * row[1].value)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def filled(page: str, contents: list[Content]) -> str:
    """The page with what stands between its marks made anew."""
    tables = {"results": results, "claims": claims, "in short": in_short}
    for mark, table in ((mark, make(contents)) for mark, make in tables.items()):
        pattern = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
        page = re.sub(pattern, lambda m, t=table: f"{m[1]}\n{t}\n\n{m[2]}", page, flags=re.S)
    return page


def main(argv: list[str] | None = None) -> int:
    """Print the tables, or write them where they belong."""
    parser = argparse.ArgumentParser("python -m benchmarks.table", description=__doc__)
    parser.add_argument("--write", action="store_true", help="full size, into pages with marks")
    parser.add_argument("--size", choices=SIZES, default="full", help="what is printed")
    options = parser.parse_args(argv)
    if not options.write:
        print(results(read(size=options.size)))
        return 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        page.write_text(filled(text, read()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
