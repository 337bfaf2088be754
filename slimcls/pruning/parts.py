"""Three disjoint parts of a source's texts: to score layers on, to heal on, to measure on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from slimcls.data import near_duplicates, texts
from slimcls.errors import UserError
from slimcls.layers.samples import Texts

#: With fewer a part would be empty.
LEAST = 4
#: Of ten groups of near-duplicate texts, how many go to each part.
SHARES = {"scoring": 3, "healing": 5, "held out": 2}


@dataclass(frozen=True)
class Parts:
    """Texts of one source; no text of a part is in another or nearly the same as one there."""

    scoring: Texts
    healing: Texts
    held_out: Texts
    removed: int
    """Texts left out because they are nearly the same as another."""


def split(found: Texts, seed: int = 0) -> Parts:
    """Deal the texts to the three parts; near-duplicates of a text are left out.

    The same texts in any order, with the same seed, are dealt the same way. Raises UserError where
    a part would be empty.
    """
    groups = near_duplicates.near_duplicate_groups(found.texts)
    first = [place for place, group in enumerate(groups) if place == group]
    order = sorted(first, key=lambda place: texts.rank(found.texts[place], f"{seed} parts"))
    ends = [0]
    for share in SHARES.values():
        ends.append(ends[-1] + share * len(order) // sum(SHARES.values()))
    ends[-1] = len(order)
    scoring, healing, held_out = (found.some(order[a:b]) for a, b in pairwise(ends))
    parts = Parts(scoring, healing, held_out, removed=len(groups) - len(order))
    for name, part in zip(SHARES, (scoring, healing, held_out), strict=True):
        if not len(part):
            raise UserError(
                f"{found.name}: {len(order)} different texts are too few to score, heal and "
                f"measure on (none is left for the {name} part); give at least {LEAST}"
            )
    return parts
