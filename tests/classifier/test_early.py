"""How texts leave early, as slimcls.json has it: read back as written, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slimcls.classifier.confidence import Confidence
from slimcls.classifier.early import EarlyRule, from_json

RULE = EarlyRule(
    depths=(4, 8, 30),
    temperatures=(1.2, 0.9, 1.7),
    threshold=0.91,
    risk=0.01,
    texts=(300, 120, 80),
    bound=0.0087,
    sha256="0" * 64,
    confidence=Confidence(1.0, (0.9, 0.6), (0.9, 0.3), (True, False)),
)


def test_it_is_read_back_as_it_was_written() -> None:
    assert from_json(json.loads(json.dumps(RULE.as_json()))) == RULE
    assert RULE.layers == pytest.approx((4 * 300 + 8 * 120 + 30 * 80) / 500)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("depths", [8, 4, 30]), ("depths", [0, 4, 30]), ("depths", [4, 30]), ("depths", "4"),
        ("depths", [4, 4, 30]), ("temperatures", [1.0, 0.0, 1.0]), ("temperatures", [1.0]),
        ("temperatures", [1.0, "a", 1.0]), ("threshold", 1.5), ("threshold", float("nan")),
        ("threshold", None), ("risk", 0), ("risk", 1), ("texts", [0, 0, 0]), ("texts", [-1, 2, 3]),
        ("texts", [1e400, 2, 3]), ("bound", -0.1), ("sha256", 5), ("confidence", {}),
        ("confidence", None),
    ],
)  # fmt: skip
def test_what_was_not_written_so_is_not_read(key: str, value: Any) -> None:
    assert from_json(RULE.as_json() | {key: value}) is None


@pytest.mark.parametrize("held", [None, [], 3, "a", {}, {"depths": [1, 2]}])
def test_what_is_no_rule(held: Any) -> None:
    assert from_json(held) is None
