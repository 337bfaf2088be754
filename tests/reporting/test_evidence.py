"""What a mean over seeds may hold: runs that differ in nothing that matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reporting.made_study import add_cheap, add_run

from slimcls import runs
from slimcls.errors import UserError
from slimcls.reporting.evidence import Evidence, gather
from slimcls.reporting.study import read_study


def gathered(folder: Path) -> Evidence:
    return gather(runs.load(folder))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"share_prefix": False}, "share prefix False"),
        ({"devices": 2, "strategy": "ddp"}, "devices 2, strategy ddp"),
        ({"num_nodes": 2, "strategy": "ddp"}, "num nodes 2, strategy ddp"),
        ({"accelerator": "gpu"}, "accelerator gpu"),
        ({"compile": True}, "compile True"),
        ({"recompute_features": True}, "recompute features True"),
        ({"precision": "bf16"}, "precision bf16"),
        ({"class_weights": True}, "class weights True"),
        ({"max_text_tokens": 9}, "max text tokens 9"),
        ({"exits": [1, 6]}, "exits 1,6"),
        ({"save_dtype": "bfloat16"}, "save dtype bfloat16"),
    ],
)
def test_what_changes_what_comes_out_makes_a_line_of_its_own(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    """The other seed of a cell ran another way: no mean may be taken over both."""
    for seed, more in ((0, {}), (1, settings)):
        for keep in (6, 1):
            add_run(tmp_path, right=0.8, keep=keep, seed=seed, **more)
    families = gathered(tmp_path).runs.groupby("family").seed.unique().map(list).to_dict()
    assert len(families) == 2
    (other,) = (name for name in families if said in name)
    assert families.pop(other) == [1]
    assert list(families.values()) == [[0]]


def test_frozen_layers_stand_for_nothing_and_that_is_said_once(tmp_path: Path) -> None:
    for seed in (0, 1):
        for method in ("fine-tuned", "mean-probe"):
            add_run(tmp_path, right=0.8, keep=1, seed=seed, method=method)
    found = gathered(tmp_path)
    assert set(found.runs.method) == {"fine-tuned"}
    assert found.baselines.empty
    assert found.left_out == ("frozen layers are not compared here: 2 runs left out",)


def test_what_auto_takes_for_another_task_makes_no_line_of_its_own(tmp_path: Path) -> None:
    for task, precision in (("sst2", "32"), ("trec", "bf16")):
        for keep in (6, 1):
            add_run(tmp_path, right=0.8, keep=keep, seed=0, dataset=task, precision=precision)
    assert gathered(tmp_path).runs.family.unique().tolist() == ["p-cls"]


@pytest.mark.parametrize(
    "settings", [{"eval_batch_size": 8}, {"compact_vocabulary": False}, {"save_model": "none"}]
)
def test_what_changes_no_prediction_makes_none(tmp_path: Path, settings: dict[str, Any]) -> None:
    for seed, more in ((0, {}), (1, settings)):
        add_run(tmp_path, right=0.8, keep=1, seed=seed, **more)
    assert gathered(tmp_path).runs.family.unique().tolist() == ["p-cls"]


@pytest.mark.parametrize("settings", [{}, {"max_text_tokens": 256}])
def test_another_length_of_texts_makes_a_line_though_no_setting_says_it(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    """What goes in unasked was changed once; 256 said outright are the 256 unasked."""
    for keep in (6, 1):
        add_run(tmp_path, right=0.8, keep=keep, seed=0, **settings)
        add_run(tmp_path, right=0.8, keep=keep, seed=1)
        add_run(tmp_path, right=0.9, keep=keep, seed=2, usual_tokens=512)
    found = gathered(tmp_path)
    families = found.runs.groupby("family").seed.unique().map(sorted).to_dict()
    assert families == {
        "p-cls, max text tokens 256": [0, 1],
        "p-cls, max text tokens 512": [2],
    }


def test_tasks_with_texts_of_other_lengths_keep_their_names(tmp_path: Path) -> None:
    """What compares lies within a task."""
    for task, usual in (("sst2", 256), ("bbcnews", 512)):
        add_run(tmp_path, right=0.8, keep=1, seed=0, dataset=task, usual_tokens=usual)
    add_cheap(tmp_path, 0, dataset="bbcnews")
    found = gathered(tmp_path)
    assert found.runs.family.unique().tolist() == ["p-cls"]
    assert set(found.baselines.family) == {""}


def test_no_length_counts_where_another_was_said_outright(tmp_path: Path) -> None:
    for seed, usual in ((0, 256), (1, 512)):
        add_run(tmp_path, right=0.8, keep=1, seed=seed, max_text_tokens=64, usual_tokens=usual)
    assert gathered(tmp_path).runs.family.unique().tolist() == ["p-cls"]


def test_a_run_of_which_nothing_was_tested_stands_for_nothing(tmp_path: Path) -> None:
    for keep in (6, 1):
        add_run(tmp_path, right=0.8, keep=keep, seed=0)
    frame = runs.load(tmp_path)
    name = frame.run[frame.keep == 1].item()
    frame.loc[frame.run == name, "test_items"] = 0
    found = gather(frame)
    assert found.runs.keep.tolist() == [6]
    assert f"{name}: left out, nothing was tested" in found.left_out
    with pytest.raises(UserError, match="nothing to report"):
        gather(frame.assign(test_items=0))


def scored(folder: Path, seed: int, layers: list[int], digits: str, file: str | None) -> None:
    add_run(
        folder, right=0.8, keep=2, seed=seed, select="bi", layers=layers, scores=file,
        scored=f"sha256:{digits}",
    )  # fmt: skip


def test_cuts_by_scores_of_several_files_are_no_seeds_of_each_other(tmp_path: Path) -> None:
    for seed in (0, 1):
        add_run(tmp_path, right=0.8, keep=6, seed=seed)
        scored(tmp_path, seed, [0, 2 + seed], f"{seed}" * 9, None)
        for name, last in (("a", 4), ("b", 5)):
            scored(tmp_path, seed, [0, last], name * 9, f"{name}.json")
    found = gathered(tmp_path).runs
    cells = found[found.keep == 2].groupby(["line", "rule", "cut"]).seed.unique().map(list)
    assert cells.to_dict() == {
        ("p-cls, bi own scores", "bi own scores", "bi"): [0, 1],
        ("p-cls, bi scores aaaaaaa", "bi scores aaaaaaa", "0,4"): [0, 1],
        ("p-cls, bi scores bbbbbbb", "bi scores bbbbbbb", "0,5"): [0, 1],
    }
    differences = read_study(tmp_path).compared.differences
    assert differences.line.tolist() == sorted(line for line, _, _ in cells.index)


def test_a_file_of_scores_a_seed_is_one_rule(tmp_path: Path) -> None:
    for seed in (0, 1):
        add_run(tmp_path, right=0.8, keep=6, seed=seed)
        scored(tmp_path, seed, [0, 2 + seed], f"{seed}" * 9, f"{seed}.json")
    found = gathered(tmp_path).runs
    cells = found[found.keep == 2].groupby(["line", "rule", "cut"]).seed.unique().map(list)
    assert cells.to_dict() == {("p-cls", "bi", "bi"): [0, 1]}
