"""Every YAML under configs/ is taken by the command it is for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from slimcls import grid
from slimcls.backbones import selectors
from slimcls.cli import parse
from slimcls.config import RunConfig
from slimcls.data import catalog
from slimcls.grids import attempts, definition

CONFIGS = Path(__file__).parents[1] / "configs"
YAMLS = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.y*ml"))
DATASETS = [name for name in YAMLS if name.startswith("datasets/")]
GRIDS = [name for name in YAMLS if name.startswith("grid/")]
RUNS = [name for name in YAMLS if name not in (*DATASETS, *GRIDS)]
PAPER = [name for name in RUNS if name.startswith("paper/")]
#: What the paper's authors did (their code), in the terms of RunConfig.
PROTOCOL = {
    "shots": 200,
    "demos": 1,
    "split": "paper",
    "validation_size": 1000,
    "test_size": 1000,
    "epochs": 50,
    "patience": 15,
    "monitor": "accuracy",
    "batch_size": 1,
    "lr": 5e-5,
    "schedule": "constant",
    "warmup": 0.0,
    "clip": 0.0,
    "weight_decay": 0.01,
    "precision": "32",
    "share_prefix": False,
}


def planned(name: str, *flags: str) -> RunConfig:
    return parse(RunConfig, ["--config", str(CONFIGS / name), *flags], prog="slimcls train")


def test_none_is_missed():
    assert (len(DATASETS), len(PAPER), len(RUNS), len(GRIDS)) == (1, 4, 5, 7)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_says_what_its_file_says(name):
    config = planned(name)
    given = yaml.safe_load((CONFIGS / name).read_text(encoding="utf-8"))
    assert {key: getattr(config, key) for key in given} == given
    assert config == RunConfig(**given)
    assert config.dataset in catalog.names()


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_is_understood(name):
    spec = catalog.find(str(CONFIGS / name))
    assert spec.name == Path(name).stem
    assert len(spec.labels) == len(spec.label_words) > 1


@pytest.mark.parametrize("name", PAPER)
def test_a_paper_preset_is_the_protocol(name):
    given = yaml.safe_load((CONFIGS / name).read_text(encoding="utf-8"))
    assert given == {"dataset": Path(name).stem, **PROTOCOL}


@pytest.mark.parametrize("name", PAPER)
@pytest.mark.parametrize(
    ("model", "depths"), [("gpt2-xl", [48, 24, 12, 2, 1]), ("opt-1.3b", [24, 12, 6, 2, 1])]
)
def test_a_paper_preset_takes_the_cells_of_the_paper(name, model, depths):
    for keep in depths:
        for mode in ("lm", "p-cls", "cls"):
            config = planned(name, "--model", model, "--keep", str(keep), "--mode", mode)
            assert (config.model, config.keep, config.mode) == (model, keep, mode)
            assert config.lm_loss is None


def test_the_demo_needs_no_network():
    config = planned("demo.yaml")
    assert (config.model, config.dataset) == ("smollm2-135m", "bbcnews")
    assert (config.mode, config.keep) == ("p-cls", 2)


@pytest.fixture
def _no_data_folder(monkeypatch):
    monkeypatch.delenv("SLIMCLS_DATA_DIR", raising=False)
    attempts.shared.cache_clear()


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.usefixtures("_no_data_folder")
def test_a_grid_is_planned(name, tmp_path, capsys):
    """With no network and no data folder: what cannot be known is said to be unknown."""
    words = ["--config", str(CONFIGS / name), "--out", str(tmp_path / "out"), "--dry-run"]
    assert grid.main(words) == 0
    printed = capsys.readouterr().out
    count = len(definition.read(str(CONFIGS / name)).cells)
    assert f"{CELLS[name]} cells: 0 done, 0 failed, {CELLS[name]} left" in printed
    assert CELLS[name] <= count
    assert not (tmp_path / "out").exists()


#: Candidates at one seed, and what is chosen at the others.
CELLS = {
    "grid/quick.yaml": 9 * (2 + 1),
    "grid/smollm2-trec.yaml": 12 * (3 + 2),
    "grid/smollm2.yaml": 54 * (3 + 4),
    "grid/smollm2-layers.yaml": 2 * 9 * 5,
    "grid/smollm2-layers-rates.yaml": 2 * 2 * 4,
    "grid/paper-gpt2-xl.yaml": 3 * 4 * 6 * 5,
    "grid/paper-opt-1.3b.yaml": 3 * 4 * 6 * 5,
}


@pytest.mark.parametrize(
    ("name", "model", "depths", "rival"),
    [
        ("grid/paper-gpt2-xl.yaml", "gpt2-xl", [48, 24, 12, 2, 1], "gpt2"),
        ("grid/paper-opt-1.3b.yaml", "opt-1.3b", [24, 12, 6, 2, 1], "opt-125m"),
    ],
)
def test_a_paper_grid_is_the_protocol_beside_its_rival(name, model, depths, rival):
    runs = [cell.run for cell in definition.read(str(CONFIGS / name)).cells]
    assert all(getattr(run, key) == value for run in runs for key, value in PROTOCOL.items())
    cuts = list(dict.fromkeys((run.model, run.keep) for run in runs))
    assert cuts == [*((model, keep) for keep in depths), (rival, "all")]
    seeds = {cut: [run.seed for run in runs if (run.model, run.keep) == cut] for cut in cuts}
    assert all(sorted(set(found)) == [0, 42, 421, 520, 1218] for found in seeds.values())
    assert {run.dataset for run in runs} == {Path(paper).stem for paper in PAPER}
    assert {run.mode for run in runs} == {"lm", "p-cls", "cls"}
    assert {run.save_model for run in runs} == {"none"}, "a full model takes gigabytes"


def test_the_random_draws_of_the_grid_of_cuts_are_those_of_the_rule():
    found = definition.read(str(CONFIGS / "grid/smollm2-layers.yaml")).cells
    named = dict.fromkeys(tuple(cell.run.layers) for cell in found if cell.run.layers)
    assert list(named) == [selectors.random(30, 10, seed) for seed in (0, 1, 2)]
    assert {cell.run.keep for cell in found} == {10, 30}


def test_tiny_grids_are_run():
    """The others need data, and hours; test_grid_ray.py runs these, here and on Ray."""
    models = {name: {cell.run.model for cell in definition.read(str(CONFIGS / name)).cells}
              for name in GRIDS}  # fmt: skip
    tiny = [name for name in GRIDS if all(model.startswith("tiny-") for model in models[name])]
    assert tiny == ["grid/quick.yaml"]
