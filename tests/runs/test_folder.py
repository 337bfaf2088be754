"""Run directories: names, locks, files that are whole or not there, one schema."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import PATIENCE, ROOT, ended
from grids import HeldElsewhere

from slimcls import runs
from slimcls.config import NOT_HASHED, RunConfig
from slimcls.data import splits
from slimcls.errors import Busy, UserError
from slimcls.runs import folder
from slimcls.runs.schema import Outcome, RunResult, defaults

PRINTS = {"source": "sha256:1", "data": "sha256:2"}


def config(**more: Any) -> RunConfig:
    return RunConfig(**({"dataset": "sst2", "keep": 2, "layers": [0, 1]} | more))


def outcome(**more: Any) -> Outcome:
    empty: dict[Any, Any] = {str: "", int: 0, float: 0.0}
    values = {name: empty.get(hint) for name, hint in get_type_hints(Outcome).items()}
    return Outcome(**(values | {"schema_version": runs.SCHEMA_VERSION} | more))


@pytest.mark.parametrize(
    ("more", "start"),
    [
        ({}, "sst2-p-cls-gpt2-xl-k2-s0-"),
        ({"mode": "lm", "seed": 3}, "sst2-lm-gpt2-xl-k2-s3-"),
        ({"layers": [0, 5], "keep": 2}, "sst2-p-cls-gpt2-xl-l0-5-s0-"),
        ({"layers": list(range(1, 40)), "keep": 39}, "sst2-p-cls-gpt2-xl-k39-s0-"),
        ({"dataset": "/a/b/My data (1).csv"}, "My-data-1-p-cls-gpt2-xl-k2-s0-"),
        ({"model": "org/name.v1"}, "sst2-p-cls-name.v1-k2-s0-"),
        ({"model": "../.."}, "sst2-p-cls-x-k2-s0-"),
        ({"dataset": "日本.csv"}, "x-p-cls-gpt2-xl-k2-s0-"),
    ],
)
def test_names_say_what_a_person_looks_for(more: dict[str, Any], start: str) -> None:
    name = runs.run_name(config(**more), PRINTS)
    assert name.startswith(start)
    assert len(name) == len(start) + 10


def test_the_name_follows_what_decides_the_outcome() -> None:
    name = runs.run_name(config(), PRINTS)
    other: dict[str, Any] = {
        "lr": 1e-3, "seed": 1, "shots": "all", "demos": 0, "epochs": 6, "batch_size": 4, "keep": 3,
        "mode": "cls", "tune": "lora", "precision": "bf16", "save_model": "none", "patience": 1,
        "class_weights": True, "max_text_tokens": 9, "split": "paper", "clip": 0.5,
    }  # fmt: skip
    names = set()
    for field, value in other.items():
        more = {"layers": [0, 1, 2]} if field == "keep" else {}
        names.add(runs.run_name(config(**{field: value}, **more), PRINTS))
    for field in PRINTS:
        names.add(runs.run_name(config(), PRINTS | {field: "sha256:3"}))
    assert name not in names
    assert len(names) == len(other) + len(PRINTS)
    same = {
        "out": "x", "data_dir": "y", "force": True, "overwrite": True, "logger": "wandb",
        "baseline": False, "metrics": "./my_metric",
    }  # fmt: skip
    by_content = {"scores", "teacher", "unlabelled", "unlabelled_size"}
    assert set(same) | {"checkpoint_seconds", "trust_metric_code"} | by_content == NOT_HASHED
    assert {runs.run_name(config(**{k: v}), PRINTS) for k, v in same.items()} == {name}


def test_an_earlier_draw_of_a_rule_is_not_taken_for_the_present_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = runs.run_name(config(split="paper"), PRINTS)
    stratified = runs.run_name(config(), PRINTS)
    for name in splits.VERSIONS:
        monkeypatch.setitem(splits.VERSIONS, name, 1)
    assert runs.run_name(config(split="paper"), PRINTS) != now
    assert runs.run_name(config(), PRINTS) == stratified
    assert defaults()["draw_version"] == 1


def test_every_column_has_one_type(tmp_path: Path) -> None:
    """Runs with all and with a number, with and without layers, are one table."""
    for place, more in enumerate([{"shots": "all"}, {"shots": 5, "lr": 1e-3, "revision": "r"}]):
        result = RunResult(config(**more), outcome(), tmp_path / str(place))
        runs.write_result(result)
        assert runs.read_result(result.folder) == result
    schemas = [pq.read_schema(tmp_path / name / "result.parquet") for name in "01"]
    assert schemas[0].equals(schemas[1])
    types = {field.name: field.type for field in schemas[0]}
    assert types["shots"] == types["keep"] == types["seed"] == pa.int64()
    assert types["layers"] == pa.list_(pa.int64())
    assert types["lr"] == types["test_accuracy"] == pa.float64()
    assert types["mode"] == types["revision"] == types["per_class"] == pa.string()
    assert types["class_weights"] == pa.bool_()
    names = [f.name for f in (*dataclasses.fields(RunConfig), *dataclasses.fields(Outcome))]
    assert list(types) == names
    assert len(set(names)) == len(names)


def test_around_one_row_there_is_little(tmp_path: Path) -> None:
    """Thousands of results are read at once: each is small, and many rows are compressed."""
    runs.write_result(RunResult(config(), outcome(), tmp_path))
    (row,) = pq.read_metadata(tmp_path / "result.parquet").to_dict()["row_groups"]
    assert {column["compression"] for column in row["columns"]} == {"UNCOMPRESSED"}
    assert not any(column["statistics"] for column in row["columns"])
    runs.write_rows(tmp_path / "many.parquet", {"word": str}, [{"word": "a" * 99}] * 99)
    (many,) = pq.read_metadata(tmp_path / "many.parquet").to_dict()["row_groups"]
    assert many["columns"][0]["compression"] == "ZSTD"


def test_a_result_gives_settings_and_figures_by_name(tmp_path: Path) -> None:
    result = RunResult(config(seed=4), outcome(test_accuracy=0.5), tmp_path)
    assert (result.seed, result.test_accuracy, result.folder) == (4, 0.5, tmp_path)
    assert result.row()["test_accuracy"] == 0.5
    with pytest.raises(AttributeError):
        _ = result.test_acuracy


@pytest.mark.fault("kills")
def test_what_a_killed_process_left_goes(tmp_path: Path) -> None:
    """Files and folders: the artefact is written as one."""
    (tmp_path / ".model.1.tmp").mkdir()
    (tmp_path / ".model.1.tmp" / "config.json").touch()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".last.ckpt.1.tmp").touch()
    with runs.locked(tmp_path):
        assert sorted(path.name for path in tmp_path.rglob("*")) == [".lock", "checkpoints"]


@pytest.mark.fault("kills")
def test_the_lock_goes_with_its_holder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom slimcls.runs import locked\n"
        f"with locked(Path({str(folder)!r})):\n    print('held', flush=True)\n    time.sleep(600)\n"
    )
    words = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with ended(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process is working"), runs.locked(folder):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=PATIENCE)
    with runs.locked(folder):
        pass


def test_who_holds_it_may_take_it_once_more_and_nobody_else(tmp_path: Path) -> None:
    """A grid's cell holds its run from the first look to the last word, and training inside it."""
    folder = tmp_path / "run"
    with runs.locked(folder):
        with runs.locked(folder):
            pass
        with ThreadPoolExecutor(1) as others, pytest.raises(Busy):
            others.submit(lambda: runs.locked(folder).__enter__()).result()
    HeldElsewhere(folder).let_go()


def test_clearing_keeps_the_lock(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with runs.locked(folder):
        for name in ("result.parquet", "log.txt", "model/config.json", "checkpoints/last.ckpt"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("x")
        runs.clear(folder)
        assert [path.name for path in folder.iterdir()] == [".lock"]


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_only_a_run_of_several_processes_has_helpers(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = RunConfig(dataset="sst2")
    several = RunConfig(dataset="sst2", devices=2, strategy="ddp")
    assert not runs.is_helper_process(several)
    monkeypatch.setenv(variable, "1")
    assert runs.is_helper_process(several)
    assert not runs.is_helper_process(alone), "a cell of a grid that a scheduler started"


def test_what_a_killed_writer_left_goes_with_the_next_lock(tmp_path: Path) -> None:
    left = tmp_path / "checkpoints" / ".last.ckpt.4711.tmp"
    left.parent.mkdir()
    left.write_text("half")
    with runs.locked(tmp_path):
        assert not left.exists()


def test_a_folder_of_finished_runs_may_be_there_to_be_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(out: Path) -> None:
        raise UserError(f"{out}: cannot be written")

    monkeypatch.setattr(folder, "check_writable", refuse)
    with pytest.raises(UserError, match="cannot be written"):
        folder.check_runs_folder(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "result.parquet").touch()
    folder.check_runs_folder(tmp_path)


def test_no_column_of_what_came_out_is_called_as_a_setting() -> None:
    """A row has both: the one would stand for the other."""
    settings, outcome = (
        {field.name for field in dataclasses.fields(part)} for part in (RunConfig, Outcome)
    )
    assert settings & outcome == set()
