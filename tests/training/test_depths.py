"""States at all depths: those of the cuts to each depth, in one pass, kept to the same bits."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from training.test_golden import FAMILIES

from slimcls.backbones import sources
from slimcls.backbones.families import final_norm_of
from slimcls.backbones.truncate import open_cut
from slimcls.classifier.trunk import decoder_of, last_tokens, read_prefix
from slimcls.data.batches import collate
from slimcls.errors import UserError
from slimcls.log import Log
from slimcls.training import depths, frozen
from slimcls.training.depths import DepthStates, states_at_depths

PREFIX = [5, 17, 33, 200, 9, 41]


def texts(count: int, seed: int, longest: int = 20) -> list[list[int]]:
    chance = random.Random(seed)
    return [
        [chance.randrange(5, 500) for _ in range(chance.randint(1, longest))] for _ in range(count)
    ]


def base_of(family: str, keep: int = 6) -> Any:
    source = sources.find(family, None)
    return decoder_of(open_cut(source, range(keep), head="lm", pad_token_id=0))


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "cache_dir", lambda: tmp_path / "cache")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prefix", [[], PREFIX])
def test_each_depth_has_what_a_cut_to_it_has(family: str, prefix: list[int]) -> None:
    """The last state is what a cut's head would read; the mean is over a text's own tokens."""
    items = texts(7, 1)
    batch = collate([(place, ids, 0) for place, ids in enumerate(items)], 0)

    def read(base: Any) -> Any:
        return read_prefix(base, torch.tensor(prefix)) if prefix else None

    whole = base_of(family)
    with torch.no_grad():
        found = states_at_depths(whole, batch, read(whole)).float()
        assert found.shape == (7, 7, 2, 32)
        if narrowed := getattr(getattr(whole, "decoder", whole), "project_out", None):
            found = narrowed(found)  # what a head reads has less of it
        for keep in range(1, 7):
            cut = base_of(family, keep)
            wanted = last_tokens(cut, batch, read(cut))[:, 0]
            # Some bits are lost in float16.
            torch.testing.assert_close(found[:, keep, 0], wanted, atol=2e-3, rtol=2e-3)
            for row, ids in enumerate(items):
                alone = cut(input_ids=torch.tensor([prefix + ids])).last_hidden_state
                mean = alone[0, len(prefix) :].mean(0)
                torch.testing.assert_close(found[row, keep, 1], mean, atol=2e-3, rtol=2e-3)


def test_no_depth_is_read_without_a_norm_that_the_model_has() -> None:
    """Embeddings too, whose spread is another: what a mean weighs alike."""
    base = base_of("tiny-llama")
    batch = collate([(0, [7, 8, 9], 0)], 0)
    with torch.no_grad():
        found = states_at_depths(base, batch, None)[0, 0].float()
        norm = final_norm_of(base)
        assert norm
        wanted = norm(base.embed_tokens(torch.tensor([7, 8, 9])))
    torch.testing.assert_close(
        found, torch.stack([wanted[-1], wanted.mean(0)]), atol=2e-3, rtol=2e-3
    )


def made(prefix: list[int], items: list[list[int]]) -> Tensor:
    source = sources.find("tiny-gpt2", None)
    return DepthStates(source, "cpu", Log(quiet=True)).of([prefix + ids for ids in items], prefix)


@pytest.mark.usefixtures("empty_cache")
def test_another_run_finds_them_and_computes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    first, more = texts(10, 2), texts(12, 3)
    for prefix in ([], PREFIX):
        found = made(prefix, first)
        with monkeypatch.context() as patch:
            patch.setattr(depths, "open_cut", None)
            assert made(prefix, first[::-1]).equal(found.flip(0))
        assert made(prefix, [*more, *first])[12:].equal(found)


def test_more_than_the_cache_holds_is_said_before_any_work() -> None:
    states = DepthStates(sources.find("tiny-gpt2", None), "cpu", Log(quiet=True))
    states.check(4_000_000)
    with pytest.raises(UserError, match=r"of 5,000,000 texts at 7 depths take 4\.5 GB, over 4\.3"):
        states.check(5_000_000)


def test_what_is_not_finite_is_said() -> None:
    base = base_of("tiny-llama")
    with torch.no_grad():
        base.layers[3].mlp.down_proj.weight.fill_(float("nan"))
        with pytest.raises(UserError, match="NaN or infinite"):
            states_at_depths(base, collate([(0, [7, 8], 0)], 0), None)
