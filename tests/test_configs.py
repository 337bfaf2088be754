"""Every YAML under configs/ is taken by the command it is for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from slimcls.cli import parse
from slimcls.config import RunConfig
from slimcls.data import catalog

CONFIGS = Path(__file__).parents[1] / "configs"
YAMLS = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.y*ml"))
DATASETS = [name for name in YAMLS if name.startswith("datasets/")]
RUNS = [name for name in YAMLS if not name.startswith("datasets/")]
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
    assert (len(DATASETS), len(PAPER), len(RUNS)) == (1, 4, 5)


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
