"""Rules that look at no text, and layers named by number, known without anything heavy."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
from conftest import PATIENCE
from hypothesis import given
from hypothesis import strategies as st

from slimcls.backbones.selectors import check_keep, even, first, named_layers, random, sequential
from slimcls.errors import UserError

RULES = (first, sequential, even, random)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (first, {1: (0,), 3: (0, 1, 2), 5: (0, 1, 2, 3, 4)}),
        (sequential, {1: (5,), 3: (3, 4, 5), 5: (1, 2, 3, 4, 5)}),
        (even, {1: (0,), 2: (0, 5), 3: (0, 3, 5), 4: (0, 2, 3, 5), 5: (0, 1, 3, 4, 5)}),
    ],
)
def test_what_stays_of_six(rule: Any, expected: dict[int, tuple[int, ...]]):
    assert {keep: rule(6, keep) for keep in expected} == expected


@given(st.data(), st.integers(1, 60), st.integers(0, 2**40))
def test_every_rule_gives_that_many_layers_in_order(data: Any, depth: int, seed: int):
    keep = data.draw(st.integers(1, depth))
    for rule in RULES:
        layers = rule(depth, keep, seed)
        assert len(layers) == keep
        assert named_layers(depth, layers) == layers


def test_random_draws_from_the_seed_and_less_of_the_same():
    assert random(30, 10, 1) == random(30, 10, 1)
    assert len({random(30, 10, seed) for seed in range(20)}) == 20
    assert set(random(30, 5, 3)) < set(random(30, 10, 3))
    drawn = [layer for seed in range(400) for layer in random(10, 3, seed)]
    counts = [drawn.count(layer) for layer in range(10)]
    assert 80 < min(counts) <= max(counts) < 160, "some layers are drawn more than others"


@pytest.mark.parametrize(
    ("keep", "select"), [(2, "first"), (4, "first"), ("all", "first"), (3, "bi"), ("all", "bi")]
)
def test_depths_that_can_be_kept(keep: Any, select: str):
    check_keep(4, keep, select)


@pytest.mark.parametrize(
    ("keep", "select", "words"),
    [
        (5, "first", "--keep 5: the model has 4 layers"),
        (0, "first", "--keep 0: at least one"),
        (-1, "even", "--keep -1: at least one"),
        (4, "bi", "--keep 4: the model has 4 layers, so --select bi has nothing to choose"),
    ],
)
def test_depths_that_cannot(keep: Any, select: str, words: str):
    with pytest.raises(UserError, match=re.escape(words)):
        check_keep(4, keep, select)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([0, 4], "--layers 0,4: the model has 4 layers, numbered from 0 to 3"),
        ([-1, 2], "--layers -1,2: the model has 4 layers"),
        ([1, 1], "must be ascending"),
        ([2, 1], "must be ascending"),
        ([], "at least one"),
    ],
)
def test_named_layers_refused(layers: list[int], words: str):
    with pytest.raises(UserError, match=re.escape(words)):
        named_layers(4, layers)


def test_settings_and_criteria_import_nothing_heavy():
    code = (
        "import sys, slimcls.config, slimcls.layers.criteria, slimcls.session.selection\n"
        "assert not {'torch', 'transformers', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=PATIENCE).returncode == 0
