"""One command runs a grid: what is done is not done again, what fails is recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import PATIENCE, ROOT
from grids import HeldElsewhere, assert_same_table, sessions, stamps, start, table, write_grid

from slimcls import grid
from slimcls.config import RunConfig
from slimcls.errors import Diverged, UserError
from slimcls.grids import attempts
from slimcls.runs import choices
from slimcls.train import train


@pytest.fixture(autouse=True)
def _nothing_kept():
    """Each grid of a test reads its files anew, as a process of its own would."""
    attempts.shared.cache_clear()


def run(path: Path, out: Path, *more: str) -> int:
    return grid.main(["--config", str(path), "--out", str(out), *more])


def refused(path: Path, out: Path, *more: str) -> str:
    with pytest.raises(UserError) as caught:
        run(path, out, *more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_cell_is_what_train_makes_of_it(toy: Path, tmp_path: Path):
    """In one process with others, and alone in one: the same run directory, the same row."""
    axes = {"mode": ["p-cls", "cls"], "keep": [1, 2], "seed": [3, 4], "class_weights": True}
    path = write_grid(tmp_path / "g.yaml", toy, **axes)
    assert run(path, tmp_path / "grid") == 0
    made = table(tmp_path / "grid")
    assert len(made) == 8
    settings = yaml.safe_load(path.read_text()) | {"mode": "p-cls", "keep": 2, "seed": 4}
    # A grid's rivals are measured once, not beside every cell.
    alone = train(RunConfig(out=str(tmp_path / "alone"), baseline=False, **settings))
    (found,) = made[made["run"] == alone.folder.name].index
    one = table(tmp_path / "alone")
    pd.testing.assert_frame_equal(made.loc[[found]].reset_index(drop=True), one, check_exact=True)


def test_what_is_done_is_not_done_again(toy: Path, tmp_path: Path, capsys):
    small = write_grid(tmp_path / "small.yaml", toy, keep=1, seed=[0, 1])
    large = write_grid(tmp_path / "large.yaml", toy, keep=[1, 2], seed=[0, 1, 2])
    assert run(small, tmp_path / "out") == 0
    first = stamps(tmp_path / "out")
    assert run(large, tmp_path / "out") == 0
    assert "6 cells: 6 done, 0 failed, 0 left" in capsys.readouterr().out
    second = stamps(tmp_path / "out")
    assert len(second) == 6
    assert {name: second[name] for name in first} == first, "overlapping grids share cells"
    assert run(large, tmp_path / "out") == 0
    assert stamps(tmp_path / "out") == second
    assert set(sessions(tmp_path / "out").values()) == {1}


def test_a_dry_run_says_and_does_nothing(toy: Path, tmp_path: Path, capsys):
    path = write_grid(tmp_path / "g.yaml", toy, keep=[1, 2], seed=[0, 1])
    assert run(path, tmp_path / "out", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "4 cells: 0 done, 0 failed, 4 left; time left: unknown" in printed
    assert not (tmp_path / "out").exists()
    one = write_grid(tmp_path / "one.yaml", toy, keep=2, seed=0)
    assert run(one, tmp_path / "out") == 0
    capsys.readouterr()
    assert run(path, tmp_path / "out", "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    states = {line.split(" cls tiny-gpt2 ")[1]: line for line in lines if "tiny-gpt2" in line}
    (done,) = [line for line in states.values() if " done " in line]
    (like,) = [line for line in states.values() if "keep 2 seed 1" in line]
    assert "keep 2 seed 0" in done
    assert done.split()[-2:] == like.split()[-2:], "a seed takes the time that another took"
    shallower = [line for line in states.values() if "keep 1" in line]
    assert len({line.split(" about ")[1] for line in shallower}) == 1, "estimated, and said so"
    assert lines[-1].endswith(" (estimated from cells of other depths)")
    result = table(tmp_path / "out")
    assert f"{result['params_kept'][0] / 1e6:.1f} M" in done


def test_layers_that_scores_choose_are_chosen_when_a_cell_starts(
    toy: Path, tmp_path: Path, capsys, monkeypatch
):
    """Planning reads no weight; what goes wrong then is that cell's failure."""
    monkeypatch.setenv("SLIMCLS_CACHE", str(tmp_path / "cache"))
    path = write_grid(tmp_path / "g.yaml", toy, keep=2, select=["first", "bi", "greedy-loss"])
    with monkeypatch.context() as patch:
        patch.setattr("slimcls.backbones.weights.Weights.__init__", unreadable)
        assert run(path, tmp_path / "out", "--dry-run") == 0
        printed = capsys.readouterr()
        assert "3 cells: 0 done, 0 failed, 3 left" in printed.out
        assert len({line.split("left")[1] for line in printed.out.splitlines()[1:4]}) == 1
        assert "not known before it starts: layers, which --select bi chooses then" in printed.err
        assert run(path, tmp_path / "out") == 1
        assert "3 cells: 0 done, 3 failed, 0 left" in capsys.readouterr().out
    assert run(path, tmp_path / "out", "--retry-failed") == 0
    assert "3 cells: 3 done, 0 failed, 0 left" in capsys.readouterr().out
    assert run(path, tmp_path / "out", "--dry-run") == 0
    printed = capsys.readouterr()
    assert "3 cells: 3 done, 0 failed, 0 left" in printed.out
    assert "not known" not in printed.err
    deep = write_grid(tmp_path / "deep.yaml", toy, keep=6, select="bi")
    assert "--select bi has nothing to choose" in refused(deep, tmp_path / "out", "--dry-run")


def unreadable(*_: object) -> None:
    raise OSError("the disk went away")


SEARCH = {"keep": [1, 2], "seed": [0, 1], "lr": [1e-4, 3e-3, 1e-2], "epochs": 2}


def test_settings_are_chosen_and_then_run_at_every_seed(toy: Path, tmp_path: Path, capsys):
    path = write_grid(tmp_path / "g.yaml", toy, **SEARCH, choose={"over": ["lr"]})
    assert run(path, tmp_path / "out") == 0
    printed = capsys.readouterr().out
    rows = table(tmp_path / "out")
    assert len(rows) == 2 * 3 + 2
    made = choices.read_choices(tmp_path / "out")
    assert len(made) == 2
    for keep, found in rows.groupby("keep"):
        first = found[found["seed"] == 0]
        best = first.sort_values(["validation_accuracy", "lr"], ascending=[False, True]).iloc[0]
        (choice,) = [c for c in made if c.run == best["run"]]
        assert list(found[found["seed"] == 1]["lr"]) == [best["lr"]]
        assert choice.settings == {"lr": best["lr"]}
        assert choice.rejected == set(first["run"]) - {best["run"]}
        assert choice.edge == (("lr",) if best["lr"] != 3e-3 else ()), keep
    edges = sum(bool(choice.edge) for choice in made)
    assert (f"in {edges} of 2 choices" in printed) == (edges > 0)
    before = stamps(tmp_path / "out")
    assert run(path, tmp_path / "out") == 0
    assert stamps(tmp_path / "out") == before


def test_a_candidate_that_diverges_loses(toy: Path, tmp_path: Path, capsys, monkeypatch):
    search = SEARCH | {"keep": 1, "lr": [1e-3, 0.5]}
    path = write_grid(tmp_path / "g.yaml", toy, **search, choose={"over": ["lr"]})
    attempted = []

    def diverges(config: RunConfig, shared: object) -> object:
        attempted.append(config.lr)
        if config.lr == 0.5:
            raise Diverged("the loss became nan at step 3")
        return train(config)

    monkeypatch.setattr(grid, "run_cell", diverges)
    assert run(path, tmp_path / "out") == 0, "the search has done its work"
    printed = capsys.readouterr()
    (choice,) = choices.read_choices(tmp_path / "out")
    assert choice.settings == {"lr": 1e-3}
    assert [c.score is None for c in choice.candidates] == [False, True]
    assert "3 cells: 3 done, 0 failed, 0 left" in printed.out
    assert "lr 0.5 seed 0: diverged: the loss became nan" in printed.err
    assert attempted == [1e-3, 0.5, 1e-3]
    assert run(path, tmp_path / "out") == 0
    assert len(attempted) == 3, "another attempt would diverge too"


def test_where_all_candidates_diverge_it_says_so_and_repeats_none(
    toy: Path, tmp_path: Path, capsys, monkeypatch
):
    search = SEARCH | {"keep": [1, 2, 3], "lr": [0.4, 0.5], "choose": {"over": ["lr"]}}
    attempted = []

    def diverges(config: RunConfig, shared: object) -> object:
        attempted.append(config.keep)
        if config.keep != 1:
            raise Diverged("the loss became nan at step 3")
        return train(config)

    monkeypatch.setattr(grid, "run_cell", diverges)
    path = write_grid(tmp_path / "g.yaml", toy, **search)
    for more in ([], ["--retry-failed"]):
        assert run(path, tmp_path / "out", *more) == 1
        printed = capsys.readouterr().out
        assert "no candidate of 2 choices came to numbers; search other settings" in printed
        assert "retry-failed" not in printed
        assert "9 cells: 7 done, 0 failed, 2 left" in printed
    assert sorted(attempted) == [1, 1, 1, 2, 2, 3, 3], "another attempt would diverge too"
    assert run(path, tmp_path / "out", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "then " not in printed, "none of them can come"
    assert "unknown time" not in printed


def test_a_failing_cell_stops_no_other(toy: Path, tmp_path: Path, capsys, monkeypatch):
    path = write_grid(tmp_path / "g.yaml", toy, keep=[1, 2], seed=[0, 1])
    broken = {(1, 1): UserError("no such luck"), (2, 0): RuntimeError("a bug\nin two lines")}

    def fails(config: RunConfig, shared: object) -> object:
        if error := broken.get((config.keep, config.seed)):
            raise error
        return train(config)

    monkeypatch.setattr(grid, "run_cell", fails)
    assert run(path, tmp_path / "out") == 1
    printed = capsys.readouterr().out
    assert "4 cells: 2 done, 2 failed, 0 left" in printed
    assert "keep 1 seed 1: no such luck (" in printed
    assert "keep 2 seed 0: RuntimeError: a bug in two lines (" in printed
    found = {p.parent.name: json.loads(p.read_text()) for p in tmp_path.glob("out/*/failed.json")}
    assert len(found) == 2
    tracebacks = {note["error"]: note["traceback"] for note in found.values()}
    assert tracebacks["no such luck"] == "", "the user's error needs none"
    assert "in fails" in tracebacks["RuntimeError: a bug in two lines"]

    broken.pop((1, 1))
    assert run(path, tmp_path / "out") == 1, "a failed cell waits to be asked for"
    assert "2 done, 2 failed" in capsys.readouterr().out
    before = stamps(tmp_path / "out")
    assert run(path, tmp_path / "out", "--retry-failed") == 1
    assert "3 done, 1 failed" in capsys.readouterr().out
    assert len(list(tmp_path.glob("out/*/failed.json"))) == 1
    assert before.items() <= stamps(tmp_path / "out").items()


def test_what_failed_for_another_grid_meanwhile_is_left(
    toy: Path, tmp_path: Path, capsys, monkeypatch
):
    """Its list is older than the other's failure: the cell's hours are not spent twice."""
    path = write_grid(tmp_path / "g.yaml", toy, seed=[0, 1])
    assert run(path, tmp_path / "before") == 0
    other = tmp_path / "out" / max(stamps(tmp_path / "before"))
    attempted = []

    def meanwhile(config: RunConfig, shared: object) -> object:
        attempted.append(config.seed)
        if len(attempted) == 1:
            attempts.record(other, attempts.Failure("after two hours"))
        return train(config)

    monkeypatch.setattr(grid, "run_cell", meanwhile)
    assert run(path, tmp_path / "out") == 1
    printed = capsys.readouterr()
    assert "2 cells: 1 done, 1 failed, 0 left" in printed.out
    assert "seed 1: failed: after two hours" in printed.err
    assert attempted == [0]
    assert run(path, tmp_path / "out", "--retry-failed") == 0
    assert attempted == [0, 1]
    assert not list(tmp_path.glob("out/*/failed.json"))


def test_a_choice_waits_for_a_candidate_that_failed(toy: Path, tmp_path: Path, capsys, monkeypatch):
    search = SEARCH | {"keep": 1}
    path = write_grid(tmp_path / "g.yaml", toy, **search, choose={"over": ["lr"]})

    def fails(config: RunConfig, shared: object) -> object:
        if config.lr == 3e-3:
            raise OSError("the disk went away")
        return train(config)

    with monkeypatch.context() as patch:
        patch.setattr(grid, "run_cell", fails)
        assert run(path, tmp_path / "out") == 1
    printed = capsys.readouterr().out
    assert "4 cells: 2 done, 1 failed, 1 left" in printed
    assert "1 choice waits for candidates that failed; --retry-failed" in printed
    assert choices.read_choices(tmp_path / "out") == []
    assert run(path, tmp_path / "out", "--retry-failed") == 0
    assert len(choices.read_choices(tmp_path / "out")) == 1


def test_a_run_that_leaves_no_result_has_failed(toy: Path, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setattr(grid, "run_cell", lambda config, shared: None)
    path = write_grid(tmp_path / "g.yaml", toy)
    assert run(path, tmp_path / "out") == 1
    assert "ended without a result" in capsys.readouterr().out


def test_a_cell_of_another_process_is_waited_for(toy: Path, tmp_path: Path, monkeypatch):
    path = write_grid(tmp_path / "g.yaml", toy, seed=[0, 1])
    assert run(path, tmp_path / "before") == 0
    names = sorted(stamps(tmp_path / "before"))
    held = HeldElsewhere(tmp_path / "out" / names[0])
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            held.let_go()

    monkeypatch.setattr(grid.time, "sleep", pause)
    assert run(path, tmp_path / "out") == 0
    assert len(pauses) == 3
    assert_same_table(tmp_path / "out", tmp_path / "before")


class TestRefused:
    """Said before anything is started."""

    def test_too_deep(self, toy: Path, tmp_path: Path):
        path = write_grid(tmp_path / "g.yaml", toy, keep=[2, 40], seed=[0, 1])
        line = refused(path, tmp_path / "out")
        assert line.startswith("2 cells cannot run, none was started: toy cls tiny-gpt2 keep 40")
        assert "the model has 6 layers" in line
        assert not (tmp_path / "out").exists()

    def test_too_big(self, toy: Path, tmp_path: Path, monkeypatch, capsys):
        monkeypatch.setattr("slimcls.backbones.sizes.available_memory", lambda device: 3_000_000)
        path = write_grid(tmp_path / "g.yaml", toy, keep=[1, 6])
        line = refused(path, tmp_path / "out")
        assert "keep 6" in line
        assert "keep 1 seed" not in line
        assert "to train" in line
        assert refused(path, tmp_path / "out", "--dry-run") == line
        assert "cannot run" in capsys.readouterr().out
        forced = write_grid(tmp_path / "f.yaml", toy, keep=[1, 6], force=True)
        assert run(forced, tmp_path / "out", "--dry-run") == 0

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"dataset": "treck"}, "unknown dataset 'treck'"),
            ({"model": ["tiny-gpt2", "tiny-gpt3"]}, "unknown model 'tiny-gpt3'"),
            ({"dataset": "missing.csv"}, "no such file"),
        ],
    )
    def test_what_is_not_there(self, toy: Path, tmp_path: Path, settings, said):
        assert said in refused(write_grid(tmp_path / "g.yaml", toy, **settings), tmp_path / "out")

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--engine", "slurm"], "--engine slurm: must be one of local, ray"),
            (["--gpus", "1"], "need --engine ray"),
            (["--address", "auto"], "need --engine ray"),
            (["--engine", "ray", "--retries", "-1"], "--retries -1: must be at least 0"),
            (["--keep", "3"], "unknown flag --keep"),
        ],
    )
    def test_flags(self, toy: Path, tmp_path: Path, words, said):
        assert said in refused(write_grid(tmp_path / "g.yaml", toy), tmp_path / "out", *words)

    def test_a_folder_of_another_schema_version(self, toy: Path, tmp_path: Path):
        path = write_grid(tmp_path / "g.yaml", toy)
        assert run(path, tmp_path / "out") == 0
        (result,) = tmp_path.glob("out/*/result.parquet")
        row = pd.read_parquet(result)
        row["schema_version"] = 0
        row.to_parquet(result)
        line = refused(path, tmp_path / "out")
        assert f"{result.parent.name} has results of schema version 0, this slimcls writes" in line
        assert "give another folder" in line

    def test_a_file_for_a_folder(self, toy: Path, tmp_path: Path):
        (tmp_path / "out").touch()
        line = refused(write_grid(tmp_path / "g.yaml", toy), tmp_path / "out")
        assert line.endswith("out: is a file; give a folder")

    def test_no_file(self, tmp_path: Path):
        assert "no such file" in refused(tmp_path / "no.yaml", tmp_path / "out")
        with pytest.raises(UserError, match="CONFIG is missing: slimcls grid CONFIG "):
            grid.main([])


def test_a_model_out_of_reach_is_unknown_and_stops_no_other(toy: Path, tmp_path: Path, capsys):
    path = write_grid(tmp_path / "g.yaml", toy, model=["gpt2-xl", "tiny-gpt2"], keep=1)
    assert run(path, tmp_path / "out", "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "gpt2-xl" in line]
    assert line.split("seed 0")[1].split() == ["left", "unknown", "unknown", "unknown"]
    assert run(path, tmp_path / "out") == 1
    printed = capsys.readouterr()
    assert "2 cells: 1 done, 1 failed, 0 left" in printed.out
    assert "HF_HUB_OFFLINE is set" in printed.out
    assert "not known before it starts" in printed.err


def test_help_is_quick_and_complete(command):
    done = command("slimcls.grid", "--help")
    assert done.returncode == 0, done.stderr
    for flag in ("--config", "--dry-run", "--engine", "--address", "--gpus", "--retry-failed"):
        assert flag in done.stdout
    assert command("slimcls", "grid", "--help").stdout == done.stdout


def test_asked_to_stop_it_says_where_it_stands(toy: Path, tmp_path: Path):
    import signal
    import time

    path = write_grid(tmp_path / "g.yaml", toy, seed=[0, 1], epochs=200)
    process = start(path, tmp_path / "out")
    while not list(tmp_path.glob("out/*/checkpoints/last.ckpt")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, said
    assert "2 cells: 0 done, 0 failed, 2 left" in printed
    assert "the same command goes on from there" in said.splitlines()[-1]
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_study_has_its_rivals_and_its_report(toy: Path, tmp_path: Path):
    """The script: grid, every rival of its cuts once, report, though a model is out of reach."""
    search = {"lr": [1e-3, 3e-3], "choose": {"over": ["lr"]}}
    path = write_grid(tmp_path / "g.yaml", toy, mode="lm", model=["gpt2-xl", "tiny-gpt2"], **search)
    words = [ROOT / "scripts/study.sh", path, tmp_path, tmp_path / "out", tmp_path / "report"]
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(words, check=False, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    methods = table(tmp_path / "out").method.value_counts().to_dict()
    rivals = ("majority", "tfidf", "embeddings", "probe", "untrained", "random-blocks")
    assert methods == {"fine-tuned": 2, **dict.fromkeys(rivals, 1)}
    assert "random-blocks" in (tmp_path / "report/report.md").read_text(encoding="utf-8")
    path.write_text("no grid", encoding="utf-8")
    done = subprocess.run(words, check=False, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, "a mistake ends it at once"
