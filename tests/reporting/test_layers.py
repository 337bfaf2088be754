"""Evidence on layers: what is there is read, what is not is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reporting.made_layers import make_evidence

from slimcls.errors import UserError
from slimcls.pruning import pages
from slimcls.reporting import figures, layers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_evidence(tmp_path_factory.mktemp("layers"))


@pytest.fixture(scope="module")
def found(folder: Path) -> layers.LayerEvidence:
    return layers.read_evidence(folder)


def test_tables_hold_what_the_commands_wrote(found: layers.LayerEvidence, folder: Path) -> None:
    assert set(found.removal.criterion) == {"bi", "first", "greedy-loss"}
    assert len(found.removal) == 3 * 4
    assert list(pages.by_removed(found.removal)["perplexity (accuracy) after removing"]) == [
        "bi", "first", "greedy-loss",
    ]  # fmt: skip
    assert len(found.parts) == 1 + 3 * 6
    assert "4 bits, then removal" in set(pages.by_step(found.bits).step)
    said = json.loads((folder / "healing.json").read_text())
    (healed,) = found.healing.to_dict("records")
    assert (healed["perplexity"], healed["healed"]) == (
        said["perplexity"], said["perplexity_healed"],
    )  # fmt: skip
    assert (healed["layers"], healed["steps"]) == (4, 2)
    assert found.runs
    assert len(found.runs.compared.selections) == 4


def test_what_is_not_there_is_named(found: layers.LayerEvidence, tmp_path: Path) -> None:
    assert found.missing == (
        "8 and 4 bits of a classifier: no bits-classifier/bits.csv",
        *(f"{name} on {text}: no scores/{name}-{text}.json"
          for name in ("bi", "bi-last") for text in ("agnews", "sst2")),
    )  # fmt: skip
    nothing = layers.read_evidence(tmp_path / "nowhere")
    assert len(nothing.missing) == 5 + 8 + 1 + 1
    assert nothing.removal.empty
    assert nothing.runs is None
    assert layers.agreement(nothing.scores).empty


def test_agreement_is_kendalls_tau(found: layers.LayerEvidence) -> None:
    one, *others = found.scores
    assert one.scores
    same = replace(one, text="same", scores=[2 * value for value in one.scores])
    turned = replace(one, text="turned", scores=[-value for value in one.scores])
    taus = layers.agreement([one, same, turned])
    assert taus.loc["bi, bbcnews.txt", "bi, same"] == 1.0
    assert taus.loc["bi, bbcnews.txt", "bi, turned"] == -1.0
    assert taus.loc["bi, same", "bi, same"] == pytest.approx(one.tau, abs=0.005)
    every = layers.agreement(found.scores)
    assert np.allclose(every, every.T)
    assert len(others) == 3
    kept = layers.in_common([one, turned], 3)
    assert kept.iloc[0, 0] == 3
    assert kept.iloc[0, 1] == len(set(one.kept[3]) & set(turned.kept[3]))


def test_profiles_are_drawn_with_their_intervals(found: layers.LayerEvidence) -> None:
    table = layers.score_profiles(found.scores)
    assert len(table) == 4 * 6
    bi = table[(table.criterion == "bi") & (table.text == "trec.txt")]
    scores = [one for one in found.scores if (one.criterion, one.text) == ("bi", "trec.txt")]
    assert bi.score.tolist() == scores[0].scores
    assert (bi.low <= bi.high).all()
    drawn = figures.layer_profiles(table)
    assert [axes.get_title("left") for axes in drawn.axes] == ["bi", "bi-last"]
    assert [text.get_text() for text in drawn.legends[0].texts] == ["bbcnews.txt", "trec.txt"]


def test_broken_scores_are_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "bi-trec.json").write_text("{}")
    with pytest.raises(UserError, match=r"bi-trec\.json: not a file of slimcls score"):
        layers.read_evidence(tmp_path)


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"model": "a", "model": "b"}', "[" * 50_000])
def test_a_broken_healing_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "healing.json").write_text(text)
    with pytest.raises(UserError, match=r"healing\.json: not what slimcls prune wrote"):
        layers.read_evidence(tmp_path)
