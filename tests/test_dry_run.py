"""What a run or a grid will fetch is said before, and fetched before anything is written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from backbones.hub_home import at_hub
from hub_server import Hub

from slimcls import grid, train
from slimcls.backbones import sources, tiny
from slimcls.backbones.truncate import read_config
from slimcls.errors import UserError
from slimcls.grids import attempts

#: Settings of a small run.
QUICK = {
    "model": "org/small", "mode": "cls", "shots": 4, "epochs": 1, "validation_size": 6,
    "test_size": 6, "baseline": False,
}  # fmt: skip


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    shutil.copytree(tiny.build("tiny-gpt2"), tmp_path / "hub" / "models" / "org" / "small" / "main")
    attempts.shared.cache_clear()
    with at_hub(tmp_path / "hub", tmp_path / "home") as running:
        yield running
    attempts.shared.cache_clear()


def words(toy: Path, out: Path, **settings: object) -> list[str]:
    given = QUICK | {"dataset": toy, "out": out} | settings
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def promised(printed: str) -> float:
    """Megabytes that the last line but none says."""
    found = re.search(r"weights to fetch: ([\d.]+) MB", printed)
    assert found, printed
    return float(found[1])


def size_of(layers: tuple[int, ...]) -> float:
    source = sources.find("org/small")
    return sum(source.missing(read_config(source), layers, lm_head=False).values()) / 1e6


def test_a_run_says_what_it_will_fetch_and_then_nothing_is_left(
    hub: Hub, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    assert train.main([*words(toy, out, keep=2), "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert promised(printed.out) == pytest.approx(size_of((0, 1)), abs=0.06)
    assert "2 of 6 layers kept" in printed.err
    assert not out.exists()
    assert not list(tmp_path.rglob("parts/*/*/layer-*"))
    assert train.main(words(toy, out, keep=2)) == 0
    assert "of weights: the kept layers, and what is around" in capsys.readouterr().err
    assert train.main([*words(toy, out, keep=2, seed=1), "--dry-run"]) == 0
    assert capsys.readouterr().out == "weights to fetch: none\n"


def test_layers_that_texts_choose_take_all_of_them(
    hub: Hub, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([*words(toy, tmp_path / "runs", keep=2, select="bi"), "--dry-run"]) == 0
    whole = (hub.folder / "models/org/small/main/model.safetensors").stat().st_size
    printed = capsys.readouterr()
    assert promised(printed.out) == pytest.approx(whole / 1e6, abs=0.06)
    assert not list(tmp_path.rglob("scores/*"))
    said = "note: --select bi chooses the layers when the run starts"
    assert printed.err.index(said) < printed.err.index("run directory:")


def test_a_model_of_this_machine_fetches_nothing(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words(toy, tmp_path / "runs", keep=2, model="tiny-gpt2")
    assert train.main([*given, "--dry-run"]) == 0
    assert capsys.readouterr().out == "weights to fetch: none\n"


def test_weights_that_cannot_be_had_leave_nothing_behind(
    hub: Hub, toy: Path, tmp_path: Path
) -> None:
    hub.faults = {"org/small model.safetensors": ["fine", "tag", "tag"]}
    with pytest.raises(UserError, match="is not the file that the hub announced"):
        train.main(words(toy, tmp_path / "runs", keep=2))
    assert not list((tmp_path / "runs").glob("*"))


def test_cells_of_a_grid_share_what_they_fetch(
    hub: Hub, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "g.yaml"
    settings = {k: v for k, v in QUICK.items() if k != "baseline"}
    path.write_text(
        yaml.safe_dump(settings | {"dataset": str(toy), "keep": [1, 2], "seed": [0, 1]})
    )
    given = ["--config", str(path), "--out", str(tmp_path / "runs")]
    assert grid.main([*given, "--dry-run"]) == 0
    assert promised(capsys.readouterr().out) == pytest.approx(size_of((0, 1)), abs=0.06)
    attempts.shared.cache_clear()
    assert grid.main(given) == 0
    attempts.shared.cache_clear()
    assert grid.main([*given, "--dry-run"]) == 0
    assert "weights to fetch" not in capsys.readouterr().out
