"""Layer scores to be looked at."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from layers.test_layer_scores import GIVEN

from slimcls.layers import score_report


def test_dollars_in_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    """Between two dollars matplotlib reads mathematics, and stops at what is none."""
    named = dataclasses.replace(GIVEN, model="$10_to_$20", text="a$\\x$.csv")
    score_report.draw_scores(named, tmp_path / "s.png")
    assert (tmp_path / "s.png").stat().st_size > 5_000
