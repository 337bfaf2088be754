"""Labels that may be one: they differ in case, accents, blanks, punctuation, or by a slip."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from slimcls.search.answer import Finding
from slimcls.search.items import Items, counted, quoted

#: Shortest label, in letters, whose longer look-alike may have one letter more: bug, bugs.
SHORTEST = 3
#: Shortest label in which one letter may be another: sport, spurt.
SHORTEST_SWAP = 6


def look_alike_labels(items: Items) -> list[Finding]:
    """Classes whose names look alike, and names that reading has merged already."""
    rows = Counter(item.label for item in items.all)
    present = [items.names[label] for label in sorted(rows)]
    alike = _joined([*same_letters(present), *slips(present)])
    findings = []
    if alike:
        sizes = {items.names[label]: count for label, count in rows.items()}
        said = "; ".join(
            " and ".join(f"{quoted([name])} ({counted(sizes[name], 'row')})" for name in group)
            for group in alike[:5]
        )
        more = f"; ... {len(alike)} such groups" if len(alike) > 5 else ""
        findings.append(
            Finding(
                kind="look-alike labels",
                sentence=f"labels that may be one class: {said}{more}. They are learnt as classes "
                "of their own; if they are one, rename them in the data",
                count=len({name for group in alike for name in group}),
            )
        )
    return [*findings, *_merged_on_reading(items)]


def _joined(groups: Iterable[Sequence[str]]) -> list[list[str]]:
    """Groups that have a name in common as one."""
    found: list[list[str]] = []
    for group in groups:
        touched = [old for old in found if set(old) & set(group)]
        found = [old for old in found if old not in touched]
        found.append(list(dict.fromkeys([*(name for old in touched for name in old), *group])))
    return found


def same_letters(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of names that differ in case, accents, blanks and punctuation alone."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_skeleton(name)].append(name)
    return [tuple(group) for skeleton, group in groups.items() if skeleton and len(group) > 1]


def slips(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of names with one letter more, less, other, or two neighbours changed over.

    Names that differ in a digit are none (``level 1``, ``level 2``), nor are short ones.
    """
    by_skeleton = {_skeleton(name): name for name in reversed(names)}
    near: dict[int, list[str]] = defaultdict(list)
    for skeleton in by_skeleton:
        for without in {skeleton, *_one_less(skeleton)}:
            near[hash(without)].append(skeleton)
    pairs = {
        (min(a, b), max(a, b))
        for group in near.values()
        for place, a in enumerate(group)
        for b in group[place + 1 :]
        if a != b and _one_slip(a, b)
    }
    return sorted((by_skeleton[a], by_skeleton[b]) for a, b in pairs)


def _skeleton(name: str) -> str:
    """Its letters and digits, case-folded, accents off; ``""`` where it has none."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    return "".join(sign for sign in plain if sign.isalnum())


def _one_less(word: str) -> Iterable[str]:
    return (word[:place] + word[place + 1 :] for place in range(len(word)))


def _one_slip(a: str, b: str) -> bool:
    short, long = sorted((a, b), key=len)
    start = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(short))
    if len(long) == len(short) + 1:
        return (
            len(short) >= SHORTEST
            and short[start:] == long[start + 1 :]
            and not long[start].isdecimal()
        )
    if len(long) != len(short) or len(short) < SHORTEST_SWAP:
        return False
    if a[start + 1 :] == b[start + 1 :]:
        return not (a[start].isdecimal() or b[start].isdecimal())
    swapped = (
        a[start : start + 2] == b[start : start + 2][::-1] and a[start + 2 :] == b[start + 2 :]
    )
    return swapped and not any(map(str.isdecimal, a[start : start + 2]))


def _merged_on_reading(items: Items) -> list[Finding]:
    """Values that stand for one class already: they differ in blanks, or in case from train's."""
    written: dict[int, Counter[str]] = defaultdict(Counter)
    column = items.sources.label
    for item in items.all:
        value = items.sources.rows[item.part].columns[column][item.row]
        if isinstance(value, str):
            written[item.label][value] += 1
    several = {label: forms for label, forms in written.items() if len(forms) > 1}
    if not several:
        return []
    first, forms = next(iter(several.items()))
    odd = sum(sum(forms.values()) - max(forms.values()) for forms in several.values())
    return [
        Finding(
            kind="look-alike labels",
            sentence=f"{counted(len(several), 'label')} are written in several ways, in blanks or "
            f"case: {quoted(forms)} all are {quoted([items.names[first]])}",
            count=odd,
            done="read as one label each",
        )
    ]
