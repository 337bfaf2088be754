"""What is taken out of one's own data before anything is learnt from it, and what is left."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slimcls.data import texts
from slimcls.data.rows import BadRow
from slimcls.data.tables import Sources
from slimcls.search.answer import Finding
from slimcls.search.items import Item, Items, counted, places_of, quoted

#: Of a text that comes several times, the row of the first of these parts stays.
_STAYS_IN = ("test", "validation", "train")
_LEFT_OUT = "left out"
_LOOKED_AT = "left as they are: a run never has a text twice"


def mend(sources: Sources) -> tuple[Items, list[Finding]]:
    """The rows that can be learnt from, in their order, and what was wrong with the others.

    Left out are rows without text or label, rows that cannot be read, all rows of a text that has
    several labels, and repeats of a text with the same label: what stays is that of the test part,
    else of validation, else the first. Nothing is merged. The data of others are looked at only:
    there the same rows are passed over by the checks that follow, and ``done`` says so.
    """
    findings = _lacking(sources)
    items = _in_order(sources)
    by_text: dict[str, list[Item]] = {}
    for item in items:
        by_text.setdefault(texts.key(item.text), []).append(item)
    at_odds = [same for same in by_text.values() if len({item.label for item in same}) > 1]
    agreed = [same for same in by_text.values() if len({item.label for item in same}) == 1]
    again = [item for same in agreed for item in same[1:]]
    kept = {(same[0].part, same[0].row) for same in agreed}
    left = [item for item in every_item(sources) if (item.part, item.row) in kept]
    found = Items(sources, left)
    done = _LEFT_OUT if sources.spec.files else _LOOKED_AT
    if at_odds:
        findings.append(_several_labels(found, at_odds, done))
    if again:
        crossing = sum(len({item.part for item in same}) > 1 for same in agreed)
        across = f", {counted(crossing, 'text')} of them in several parts" if crossing else ""
        findings.append(
            Finding(
                kind="repeat",
                sentence=f"rows that repeat the text and label of another one (case and blanks "
                f"apart): {len(again):,}{across}. Repeats on both sides of a split flatter a test",
                count=len(again),
                places=found.places(again),
                done=f"{done}; one of each stays" if done == _LEFT_OUT else done,
            )
        )
    return found, findings


def every_item(sources: Sources) -> list[Item]:
    """All rows that have text and label, in their order."""
    return [
        Item(part, *row)
        for part, table in sources.parts.items()
        for row in zip(table.ids, table.texts, table.labels, strict=True)
    ]


def _in_order(sources: Sources) -> list[Item]:
    """The part whose rows stay comes first."""
    order = {part: place for place, part in enumerate(_STAYS_IN)}
    return sorted(every_item(sources), key=lambda item: order.get(item.part, len(order)))


def _several_labels(found: Items, at_odds: Sequence[Sequence[Item]], done: str) -> Finding:
    rows = [item for same in at_odds for item in same]
    first = quoted(dict.fromkeys(found.names[item.label] for item in at_odds[0]))
    return Finding(
        kind="two labels",
        sentence=f"texts with several labels: {len(at_odds):,} ({counted(len(rows), 'row')}), such "
        f"as {first} for one. Nothing can learn, or be tested on, both",
        count=len(rows),
        places=found.places(rows),
        done="all of these rows are left out" if done == _LEFT_OUT else done,
    )


def _lacking(sources: Sources) -> list[Finding]:
    """Rows without text, without label, and what cannot be read at all."""
    findings = []
    for lacks, kind, column in (
        ("text", "empty text", sources.text),
        ("label", "empty label", sources.label),
    ):
        rows = [row for row in _bad(sources) if row.lacks == lacks]
        if rows:
            findings.append(
                Finding(
                    kind=kind,
                    sentence=f"rows without a {lacks} in column {quoted([column])}: {len(rows):,}",
                    count=len(rows),
                    places=places_of(rows),
                    done=_LEFT_OUT,
                )
            )
    rest = [row for row in _bad(sources) if not row.lacks]
    if rest:
        findings.append(
            Finding(
                kind="unusable row",
                sentence=f"rows that cannot be used: {len(rest):,}; the first: {rest[0].problem}",
                count=len(rest),
                places=places_of(rest),
                done=_LEFT_OUT,
            )
        )
    return findings


def _bad(sources: Sources) -> Iterable[BadRow]:
    """Rows that were left out on reading, with or without asking."""
    yield from sources.left_out
    if not sources.spec.files:
        for part, rows in sources.empty.items():
            for row in rows:
                yield sources.rows[part].bad(row, f"no text in column {sources.text}", lacks="text")
