"""Items leave on their way up, and each gets what the cut to its depth gives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from classifier.test_exits import FAMILIES, MODES, WORDS, batch, made, prefix_for
from torch import Tensor

from slimcls.backbones.families import blocks_of
from slimcls.classifier.exits import exits_of
from slimcls.classifier.leaving import Left, leave_early
from slimcls.classifier.modes import Mode, make_mode
from slimcls.classifier.prefix import Prefix
from slimcls.data.batches import Batch

#: By exit, which of five items leave there: none, all, some at each, all but one, a few at last.
PATHS = [[[], []], [[0, 1, 2, 3, 4], []], [[0, 3], [1]], [[2, 4], [0, 1, 3]], [[1, 2, 3, 4], []]]


def go(
    model: Any, mode: Mode, items: Batch, prefix: Prefix | None, path: Sequence[Sequence[int]]
) -> tuple[Left, Tensor, list[list[int]]]:
    """Let items leave so; also what every depth says, and who was asked at each exit."""
    said = mode.logits(model, items, prefix)
    asked: list[list[int]] = []

    def sure(number: int, logits: Tensor) -> Tensor:
        apart = (said[number][:, None] - logits[None]).abs().amax(-1)
        assert apart.amin(0).max() < 1e-4, "each that is asked is one of the batch"
        who = apart.argmin(0).tolist()
        asked.append(who)
        return torch.tensor([one in path[number] for one in who])

    return leave_early(model, mode, items, prefix, sure), said, asked


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("name", "loss"), MODES)
@torch.no_grad()
def test_each_gets_what_its_exit_says(
    family: str, name: str, loss: str | None, path: list[list[int]]
) -> None:
    mode, items = make_mode(name, loss, WORDS), batch()
    model = made(family, mode)
    for kind in ("none", "read before"):
        left, said, asked = go(model, mode, items, prefix_for(model, kind), path)
        ends = [0 if item in path[0] else 1 if item in path[1] else 2 for item in range(5)]
        assert left.ends.tolist() == ends
        told = torch.stack([said[end, item] for item, end in enumerate(ends)])
        torch.testing.assert_close(left.logits, told, atol=1e-5, rtol=0)
        rest = [item for item in range(5) if item not in path[0]]
        assert asked == [[0, 1, 2, 3, 4], *([rest] if rest else [])], "who has left is not asked"
        assert all(not block._forward_hooks and not block._forward_pre_hooks
                   for block in blocks_of(model).modules()), "no hook stays"  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_layers_are_asked_only_for_those_that_are_there(family: str) -> None:
    mode, items = make_mode("cls", None, []), batch()
    model = made(family, mode)
    counts: list[tuple[int, int]] = []
    for number, block in enumerate(blocks_of(model)):
        block.register_forward_pre_hook(
            lambda block, args, kwargs, number=number: counts.append(
                (number, len(args[0] if args else kwargs["hidden_states"]))
            ),
            with_kwargs=True,
        )
    go(model, mode, items, None, [[0, 3], [1]])
    # The first four are of the pass that says what every depth would.
    assert counts[4:] == [(0, 5), (1, 3), (2, 3), (3, 2)]
    counts.clear()
    go(model, mode, items, None, [[0, 3], [1, 2, 4]])
    assert counts[4:] == [(0, 5), (1, 3), (2, 3)], "above the last there is no work"


@torch.no_grad()
def test_a_pass_that_fails_leaves_the_model_as_it_was() -> None:
    mode, items = make_mode("cls", None, []), batch()
    model = made("tiny-llama", mode)
    before = mode.logits(model, items, None)

    def fails(number: int, logits: Tensor) -> Tensor:
        raise KeyError("power cut")

    with pytest.raises(KeyError, match="power cut"):
        leave_early(model, mode, items, prefix_for(model, "read before"), fails)
    assert mode.logits(model, items, None).equal(before)
    assert len(exits_of(model)) == 2
