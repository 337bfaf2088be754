"""Each kind of classifier has its strategy and its description."""

from __future__ import annotations

from typing import get_args, get_type_hints

from slimcls.classifier.description import KEYS
from slimcls.classifier.modes import BY_LOSS, Classification, make_mode
from slimcls.config import RunConfig
from slimcls.kinds import LM_LOSSES, LossName, ModeName


def test_every_mode_is_made_and_described() -> None:
    assert set(KEYS) == set(get_args(ModeName))
    made = {name: type(make_mode(name, None, [[1]])) for name in get_args(ModeName)}
    assert made == {"lm": BY_LOSS[LM_LOSSES[0]], "p-cls": Classification, "cls": Classification}


def test_every_loss_has_a_strategy() -> None:
    assert tuple(BY_LOSS) == LM_LOSSES
    hints = get_type_hints(RunConfig)
    assert hints["lm_loss"] == LossName | None
    assert hints["mode"] == ModeName
