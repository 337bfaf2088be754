"""Which items a run trains on, validates on, tests on, and shows as demonstrations.

Every draw sorts by a hash of (seed, part, text): it depends on nothing else, so that modes, depths
and machines see the same items, and so do copies of a dataset in another order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from slimcls.data import texts
from slimcls.data.pooling import Table
from slimcls.data.tables import FEW, Tables
from slimcls.errors import UserError

#: Validation reserved from train takes at most this part of it (one in so many).
SHARE = 5

#: Raised when a rule comes to draw other items: runs of the earlier draw keep names of their own.
VERSIONS = {"stratified": 1, "paper": 2}


@dataclass(frozen=True)
class Example:
    """One item: its row in the source's split, its text, its class number."""

    id: int
    text: str
    label: int


@dataclass(frozen=True)
class Splits:
    """The items of a run; the four parts have no text in common."""

    #: By class, in class order.
    demonstrations: tuple[Example, ...]
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    #: What a class could not give, what was taken out, warnings.
    notes: tuple[str, ...]
    #: Rows taken out of train or validation because their text occurs elsewhere in the source.
    repeats_removed: int
    #: Of the rule that drew them: its entry of VERSIONS.
    version: int


def draw(
    tables: Tables,
    *,
    shots: int | Literal["all"],
    demos: int,
    seed: int,
    validation_size: int,
    test_size: int,
    rule: Literal["stratified", "paper"] = "stratified",
) -> Splits:
    """Draw the items of a run.

    Args:
        tables: the dataset.
        shots: training items per class; a smaller class gives what it has.
        demos: demonstrations per class, drawn from train, never trained on.
        seed: redraws every part.
        validation_size: most validation items; never more than the test part has, if there is one.
        test_size: most test items, drawn at random; none where there is no test part.
        rule: how validation is drawn from train, before demonstrations and training items are:
            ``stratified`` in the classes' proportions, at least one of each; ``paper`` at random,
            as the authors' code does (Yuan et al., arXiv 2402.11700; docs/paper-protocol.md). A
            source's own validation part is used with either. Both take texts out of train that
            the source repeats in train, validation or test.

    Raises:
        UserError: no class has that many shots, or nothing is left to train or validate on.
    """
    return _Drawing(tables, seed, demos, shots).run(rule, validation_size, test_size)


class _Drawing:
    """The state of one draw: the training rows that are still free, by class, and notes."""

    def __init__(self, tables: Tables, seed: int, demos: int, shots: int | str) -> None:
        self.tables, self.seed, self.demos, self.shots = tables, seed, demos, shots
        self.notes: list[str] = []
        self.removed = 0
        self.validation_pool = self._own_validation()
        self.pool = self._train_pool()
        self.free: dict[int, list[Example]] = {c: [] for c in range(len(tables.spec.labels))}
        for item in self.pool:
            self.free[item.label].append(item)
        self.sizes = {c: len(items) for c, items in self.free.items()}
        self._check_shots()

    def run(self, rule: str, validation_size: int, test_size: int) -> Splits:
        test = self._order(_examples(self.tables.test), "test")[:test_size]
        wanted = min(validation_size, len(self.tables.test) or validation_size)
        validation = self._validation(wanted, rule == "stratified")
        demonstrations = self._demonstrations()
        train = self._train()
        self._warn(validation)
        return Splits(
            demonstrations=tuple(demonstrations),
            train=tuple(train),
            validation=tuple(validation),
            test=tuple(test),
            notes=tuple(self.notes),
            repeats_removed=self.removed,
            version=VERSIONS[rule],
        )

    def _own_validation(self) -> list[Example]:
        if self.tables.validation is None:
            return []
        taken = {texts.key(text) for text in self.tables.test.texts}
        items = _examples(self.tables.validation)
        kept = [item for item in items if texts.key(item.text) not in taken]
        self._count(len(items) - len(kept), "validation texts that also occur in test taken out")
        return kept

    def _train_pool(self) -> list[Example]:
        elsewhere = {texts.key(text) for text in self.tables.test.texts}
        elsewhere |= {texts.key(item.text) for item in self.validation_pool}
        items = _examples(self.tables.train)
        only_here = [item for item in items if texts.key(item.text) not in elsewhere]
        other = "test or validation" if self.validation_pool else "test"
        self._count(
            len(items) - len(only_here), f"training texts that also occur in {other} taken out"
        )
        first: dict[str, Example] = {}
        for item in only_here:
            first.setdefault(texts.key(item.text), item)
        self._count(len(only_here) - len(first), "repeats within the training texts taken out")
        return list(first.values())

    def _count(self, removed: int, what: str) -> None:
        self.removed += removed
        if removed:
            self.notes.append(f"{removed} {what}")

    def _check_shots(self) -> None:
        names = self.tables.spec.labels
        most = max(self.sizes, key=lambda c: self.sizes[c])
        if isinstance(self.shots, int) and self.sizes[most] < self.shots:
            raise UserError(
                f"--shots {self.shots}: no class of {self.tables.spec.name} has that many; the "
                f"largest, {names[most]}, has {self.sizes[most]}; give less, or --shots all"
            )
        in_test = Counter(self.tables.test.labels)
        for label, size in self.sizes.items():
            if not size and in_test[label]:
                raise UserError(
                    f"dataset {self.tables.spec.name}: class {names[label]} has no training text "
                    "that does not occur in test or validation"
                )

    def _order(self, items: Sequence[Example], part: str) -> list[Example]:
        stream = f"{self.seed} {part}"
        return sorted(items, key=lambda item: texts.rank(item.text, stream))

    def _validation(self, wanted: int, by_class: bool) -> list[Example]:
        """From the source's own validation part, else reserved from train."""
        own = bool(self.validation_pool)
        pool = self.validation_pool if own else self.pool
        most = len(pool) if own else max(1, len(pool) // SHARE)
        if wanted > most and not own:
            self.notes.append(
                f"validation takes {most} items, 1 in {SHARE} of train, instead of {wanted}"
            )
        ordered = self._order(pool, "validation")
        wanted = min(wanted, most)
        if by_class:
            chosen = self._proportionally(ordered, wanted, 0 if own else self.demos + 1)
        else:
            chosen = ordered[:wanted] if own else _sparing(ordered, wanted)
        self._take(chosen)
        return chosen

    def _proportionally(self, ordered: list[Example], wanted: int, spare: int) -> list[Example]:
        """The classes' proportions, at least one item of each that has ``spare`` more than that."""
        sizes = Counter(item.label for item in ordered)
        least = {label: int(size > spare) for label, size in sizes.items()}
        most = {label: max(0, size - spare) for label, size in sizes.items()}
        quota = _quota(sizes, wanted, least, most)
        chosen = []
        for item in ordered:
            if quota[item.label] > 0:
                quota[item.label] -= 1
                chosen.append(item)
        return chosen

    def _take(self, chosen: Sequence[Example]) -> None:
        taken = {id(item) for item in chosen}
        for label, items in self.free.items():
            self.free[label] = [item for item in items if id(item) not in taken]

    def _demonstrations(self) -> list[Example]:
        """From each class, leaving it one item to train on at least."""
        chosen: list[Example] = []
        for label, items in self.free.items():
            drawn = self._order(items, "demonstrations")[: min(self.demos, max(0, len(items) - 1))]
            if len(drawn) < self.demos:
                name = self.tables.spec.labels[label]
                self.notes.append(f"class {name} gives {len(drawn)} of {self.demos} demonstrations")
            chosen += drawn
        self._take(chosen)
        return chosen

    def _train(self) -> list[Example]:
        chosen: list[Example] = []
        for label, items in self.free.items():
            drawn = self._order(items, "train")
            if isinstance(self.shots, int):
                drawn = drawn[: self.shots]
                if len(drawn) < self.shots:
                    name = self.tables.spec.labels[label]
                    self.notes.append(
                        f"class {name} gives {len(drawn)} of {self.shots} training items: train "
                        f"has {self.sizes[label]}, less those for validation and demonstrations"
                    )
            chosen += drawn
        self._take(chosen)
        if not chosen:
            raise UserError(f"dataset {self.tables.spec.name}: nothing is left to train on")
        return self._order(chosen, "order")

    def _warn(self, validation: Sequence[Example]) -> None:
        if not validation:
            raise UserError(f"dataset {self.tables.spec.name}: nothing is left to validate on")
        if len(validation) < min(FEW, len(self.tables.test) or FEW) and not self.validation_pool:
            self.notes.append(
                f"warning: validation has {len(validation)} items, under {FEW}: "
                "figures from it are uncertain"
            )
        unused = sum(map(len, self.free.values()))
        if unused and self.tables.spec.files:
            self.notes.append(
                f"--shots {self.shots} leaves {unused} of {len(self.pool)} training rows unused; "
                "--shots all takes them"
            )


def _examples(table: Table) -> list[Example]:
    return [Example(*row) for row in zip(table.ids, table.texts, table.labels, strict=True)]


def _sparing(ordered: Sequence[Example], wanted: int) -> list[Example]:
    """The first ``wanted`` items, but none that is the last of its class: that one trains."""
    left = Counter(item.label for item in ordered)
    chosen: list[Example] = []
    for item in ordered:
        if len(chosen) < wanted and left[item.label] > 1:
            left[item.label] -= 1
            chosen.append(item)
    return chosen


def _quota(
    sizes: dict[int, int], wanted: int, least: dict[int, int], most: dict[int, int]
) -> dict[int, int]:
    """``wanted`` items in proportion to the sizes, within least and most, by largest remainder.

    Where ``wanted`` is less than all least together, least is nothing.
    """
    if sum(least.values()) > wanted:
        least = dict.fromkeys(sizes, 0)
    total = sum(sizes.values())
    exact = {label: wanted * size / total for label, size in sizes.items()}
    quota = {label: min(max(int(exact[label]), least[label]), most[label]) for label in sizes}
    while sum(quota.values()) < wanted:
        open_ = [label for label in sizes if quota[label] < most[label]]
        if not open_:
            break
        quota[max(open_, key=lambda label: (exact[label] - quota[label], -label))] += 1
    while sum(quota.values()) > wanted:
        open_ = [label for label in sizes if quota[label] > least[label]]
        if not open_:
            break
        quota[max(open_, key=lambda label: (quota[label] - exact[label], -label))] -= 1
    return quota
