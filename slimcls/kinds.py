"""The kinds of classifiers by the names that settings, artefacts and results share."""

from __future__ import annotations

from typing import Literal, get_args

#: How a decoder classifies; ``classifier/modes.py`` has a strategy for each.
ModeName = Literal["lm", "p-cls", "cls"]
#: Losses of mode lm, the default first; ``classifier/modes.py`` has a row for each.
LossName = Literal["label-words", "label-token", "sequence"]

LM_LOSSES: tuple[LossName, ...] = get_args(LossName)

#: Bits of a number in a model as it was trained, and all that an exported one may have;
#: ``exporting/bits.py`` has how there are fewer.
WHOLE = 32
BITS = (WHOLE, 8, 4)
