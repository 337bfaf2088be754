"""Classes that are too small to learn or to be tested, and one that is nearly everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from slimcls.data.tables import Tables
from slimcls.search.answer import Finding
from slimcls.search.items import counted, quoted

#: Fewer training texts of a class are hardly learnt.
LEARN = 8
#: Largest share of one class that is passed over.
SHARE = 0.8


def class_sizes(tables: Tables) -> list[Finding]:
    """What the sizes of the classes mean for learning and for testing."""
    names = tables.spec.labels
    train, test = Counter(tables.train.labels), Counter(tables.test.labels)
    total = train + test + Counter(tables.validation.labels if tables.validation else ())
    small = [label for label in total if train[label] < LEARN or not test[label]]
    return [*_small(small, names, total, train, test), *_large(names, total)]


def _small(
    small: Sequence[int],
    names: Sequence[str],
    total: Mapping[int, int],
    train: Mapping[int, int],
    test: Mapping[int, int],
) -> list[Finding]:
    if not small:
        return []
    ordered = sorted(small, key=lambda label: (total[label], label))
    said = ", ".join(f"{quoted([names[n]])} ({counted(total[n], 'row')})" for n in ordered[:5])
    more = f", ... {len(small):,} classes" if len(small) > 5 else ""
    few = sum(train[label] < LEARN for label in small)
    untested = sum(not test[label] for label in small)
    why = [f"under {LEARN} texts to learn from: {counted(few, 'class', 'classes')}"] if few else []
    if untested:
        why.append(
            f"none to be tested on, so that nothing is known of it: "
            f"{counted(untested, 'class', 'classes')}"
        )
    return [
        Finding(
            kind="small class",
            sentence=f"too small to learn or to test: {said}{more}; {'; '.join(why)}. More rows, "
            "or one class for several, would help",
            count=len(small),
        )
    ]


def _large(names: Sequence[str], total: Mapping[int, int]) -> list[Finding]:
    rows = sum(total.values())
    largest = max(total, key=lambda label: total[label])
    if total[largest] < SHARE * rows:
        return []
    return [
        Finding(
            kind="large class",
            sentence=f"{total[largest] / rows:.0%} of the rows are {quoted([names[largest]])}: who "
            "always says so is right as often; macro F1 tells more than accuracy here",
            count=total[largest],
        )
    ]
