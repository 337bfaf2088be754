"""Settings given in Python are held to what the command line holds them to, before any work."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from slimcls.baseline import BaselineConfig, GridRivalsConfig
from slimcls.cli import parse
from slimcls.config import RunConfig, hashed
from slimcls.errors import UserError
from slimcls.grid import GridConfig
from slimcls.predict import PredictConfig
from slimcls.pruning.settings import PruneConfig
from slimcls.report import ReportConfig
from slimcls.score import ScoreConfig


def made(**settings: Any) -> RunConfig:
    return RunConfig(**{"dataset": "sst2"} | settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mode": "clss"}, "--mode 'clss': must be one of lm, p-cls, cls; did you mean 'cls'?"),
        ({"shots": "ALL"}, "--shots 'ALL': must be a whole number or all; did you mean 'all'?"),
        ({"keep": "two"}, "--keep 'two': must be a whole number or all"),
        ({"keep": "2"}, "--keep '2': must be a whole number or all"),
        (
            {"precision": "fp16"},
            "--precision 'fp16': must be one of auto, 32, bf16, 16; did you",
        ),
        (
            {"precision": 32},
            "--precision 32: must be one of auto, 32, bf16, 16; did you mean",
        ),
        ({"layers": "0,1"}, "--layers '0,1': must be whole numbers with commas between them"),
        ({"layers": "01"}, "--layers '01': must be whole numbers with commas between them"),
        ({"layers": [0, 1.5]}, "--layers [0, 1.5]: must be whole numbers"),
        ({"layers": 3}, "--layers 3: must be whole numbers"),
        ({"epochs": 2.5}, "--epochs 2.5: must be a whole number"),
        ({"epochs": True}, "--epochs True: must be a whole number"),
        ({"seed": None}, "--seed None: must be a whole number"),
        ({"lr": "1e-4"}, "--lr '1e-4': must be a number"),
        ({"clip": float("nan")}, "--clip nan: must be a number"),
        ({"weight_decay": float("inf")}, "--weight-decay inf: must be a number"),
        ({"compile": "yes"}, "--compile 'yes': must be true or false"),
        ({"class_weights": 1}, "--class-weights 1: must be true or false"),
        ({"dataset": 3}, "--dataset 3: must be a name or a path"),
        ({"dataset": ["a.csv"]}, "--dataset ['a.csv']: must be a name or a path"),
        ({"dataset": "a\0b"}, "is no UTF-8 text"),
        ({"out": None}, "--out None: must be a path"),
        ({"out": "x" * 300}, "is too long a name for a file"),
        ({"monitor": "f1"}, "--monitor 'f1': must be one of accuracy, macro-f1"),
        ({"select": 2}, "--select 2: must be a text"),
    ],
)
def test_what_is_no_value_of_a_setting_is_said_at_once(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        made(**settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_settings_are_held_to_it_too() -> None:
    with pytest.raises(UserError, match=r"--method 'tfifd': must be one of .*did you mean"):
        BaselineConfig(dataset="sst2", method="tfifd")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="--engine 'rai': must be one of local, ray; did"):
        GridConfig(config="g.yaml", engine="rai")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="--samples '8': must be a whole number"):
        ScoreConfig(model="tiny-gpt2", samples="8")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="--margin '2': must be a number"):
        ReportConfig(folder="runs", margin="2")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="--seed None: must be a whole number"):
        PruneConfig(model="tiny-gpt2", keep=2, out="x", seed=None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"--batch-size 2\.5: must be a whole number"):
        PredictConfig(run="runs/a", input="a.txt", batch_size=2.5)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="--overwrite 'no': must be true or false"):
        GridRivalsConfig(grid="g.yaml", overwrite="no")  # type: ignore[arg-type]


def test_what_means_the_same_is_the_same() -> None:
    """Whole numbers for numbers, numpy's for Python's, paths for their names, tuples for lists."""
    config = made(
        dataset=Path("a.csv"), out=Path("x"), clip=0, warmup=0, lr=np.float64(0.5),
        keep=np.int64(2), layers=(np.int32(0), 3), mode=np.str_("cls"), data_dir=Path("~/data"),
    )  # fmt: skip
    home = str(Path("~/data").expanduser())
    words = "a.csv --out x --clip 0 --warmup 0 --lr 0.5 --layers 0,3 --mode cls --keep 2"
    given = [*words.split(), "--data-dir", "~/data"]
    assert config == parse(RunConfig, given, prog="slimcls train", positional=("dataset",))
    assert yaml.safe_load(yaml.safe_dump(asdict(config))) == asdict(config)
    assert (config.data_dir, config.layers) == (home, [0, 3])
    assert hashed(made(warmup=0)) == hashed(made(warmup=0.0))
    assert repr(made(warmup=0)) == repr(made(warmup=0.0)), "so that it is one cell, and one name"


def test_every_default_is_a_value_of_its_setting() -> None:
    config = made()
    for field in fields(RunConfig):
        given = {field.name: getattr(config, field.name)}
        assert replace(config, **given) == config


def test_nothing_heavy_is_needed_to_say_so() -> None:
    code = (
        "import sys\nfrom slimcls.config import RunConfig\nRunConfig(dataset='sst2')\n"
        "heavy = {'torch', 'numpy', 'pandas', 'transformers', 'duckdb', 'pyarrow', 'sklearn'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
