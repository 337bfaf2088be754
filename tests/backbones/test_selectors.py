"""Which layers stay, by rule or by number, known without anything heavy."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

from slimcls.backbones.selectors import chosen_layers
from slimcls.config import RunConfig
from slimcls.errors import UserError


@pytest.mark.parametrize(
    ("keep", "layers", "select", "expected"),
    [
        (2, None, "first", (0, 1)),
        ("all", None, "first", (0, 1, 2, 3)),
        (4, None, "first", (0, 1, 2, 3)),
        (2, [0, 3], "first", (0, 3)),
    ],
)
def test_chosen_layers(keep: Any, layers: Any, select: str, expected: tuple[int, ...]):
    assert chosen_layers(4, keep, layers, select) == expected


@pytest.mark.parametrize(
    ("keep", "layers", "select", "words"),
    [
        (5, None, "first", "--keep 5: the model has 4 layers"),
        (0, None, "first", "--keep 0: at least one"),
        (-1, None, "first", "--keep -1: at least one"),
        (2, [0, 4], "first", "--layers 0,4: the model has 4 layers, numbered from 0 to 3"),
        (2, [-1, 2], "first", "--layers -1,2: the model has 4 layers"),
        (2, [1, 1], "first", "must be ascending"),
        (2, [2, 1], "first", "must be ascending"),
        (2, [], "first", "at least one"),
        (2, None, "frist", "did you mean 'first'"),
    ],
)
def test_chosen_layers_refused(keep: Any, layers: Any, select: str, words: str):
    with pytest.raises(UserError, match=re.escape(words)):
        chosen_layers(4, keep, layers, select)


def test_an_unknown_rule_is_refused_with_the_settings():
    with pytest.raises(UserError, match="did you mean 'first'"):
        RunConfig(dataset="sst2", select="frist")


def test_the_rules_import_nothing_heavy():
    code = (
        "import sys, slimcls.config, slimcls.backbones.selectors\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
