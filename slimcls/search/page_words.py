"""How a fit's page says numbers and shows what others wrote."""

from __future__ import annotations

import unicodedata

#: Stands where there is no figure.
NOTHING = "\u2013"


def plain(text: str) -> str:
    """The text without what no page can hold: control characters and halves of pairs."""
    if text.isascii() and text.isprintable():
        return text
    return "".join("\ufffd" if _unshowable(sign) else sign for sign in text)


def _unshowable(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cc", "Cs") and sign not in "\n\t"


def cut(text: str, most: int) -> str:
    """The beginning of a text, with dots where there is more."""
    return text if len(text) <= most else f"{text[:most].rstrip()}…"


def sentence(text: str) -> str:
    """A text with a capital in front and a full stop behind."""
    said = text.strip()
    return f"{said[:1].upper()}{said[1:]}{'' if said.endswith(('.', '!', '?', ':')) else '.'}"


def percent(share: float) -> str:
    """Such as ``91.2 %``."""
    return f"{100 * share:.1f} %"


def points(share: float) -> str:
    """A difference of shares in points, with a true minus sign."""
    said = f"{100 * share:.1f}".replace("-0.0", "0.0")
    return said.replace("-", "\u2212")


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def size(megabytes: float) -> str:
    """Such as ``84.1 MB``; a dash where it was not measured."""
    if megabytes <= 0:
        return NOTHING
    return f"{number(megabytes)} MB"


def time_of(milliseconds: float) -> str:
    """Such as ``4.1 ms``; a dash where it was not measured."""
    return f"{number(milliseconds)} ms" if milliseconds > 0 else NOTHING


def duration(seconds: float) -> str:
    """Such as ``2 h 5 min``, ``3 min 20 s``, ``4.2 s``; a dash where it was not measured."""
    if seconds <= 0:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
