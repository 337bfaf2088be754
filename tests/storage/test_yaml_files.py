"""YAML of people: what surprises is refused with its line, and everything else is read."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from slimcls import cli
from slimcls.config import RunConfig
from slimcls.data import catalog
from slimcls.errors import UserError
from slimcls.grids import definition
from slimcls.runs.folder import write_config
from slimcls.storage.yaml_files import read_yaml

SURPRISES = {
    "a key twice": ("a: 1\nb: 2\na: 3", "line 3: not YAML: 'a' stands there twice"),
    "a key twice within": ("a:\n  - {b: 1, b: 2}", "line 2: not YAML: 'b' stands there twice"),
    "a key in both spellings": ("a-b: 1\na_b: 2", "line 2: not YAML: 'a_b' stands there twice"),
    "a quoted key twice": ("a: 1\n'a': 2", "line 2: not YAML: 'a' stands there twice"),
    "octal": ("a: 1\nseed: 010", "line 2: not YAML: 010 would be taken for another number"),
    "hexadecimal": ("seed: 0x10", "0x10 would be taken for another number"),
    "a time of day": ("seed: 1:30", "1:30 would be taken for another number"),
    "a time of day with a fraction": ("a: 1:30.5", "1:30.5 would be taken for another number"),
    "underscores": ("seed: 1_000", "1_000 would be taken for another number"),
    "yes": ("labels: [yes, no]", "line 1: not YAML: yes would be taken for true or false"),
    "off": ("share_prefix: off", "off would be taken for true or false; quote it if it is a text"),
    "a key that is on": ("on: 1", "on would be taken for true or false"),
    "a date": ("revision: 2024-01-02", "2024-01-02 would be taken for a date"),
    "not a number": ("lr: .nan", ".nan would be taken for another number"),
    "infinite": ("lr: -.inf", "-.inf would be taken for another number"),
    "an alias": ("a: &x [1]\nb: *x", "line 2: not YAML: an alias"),
    "a merge": ("a: 1\n<<: {b: 2}", "line 2: not YAML: << would be taken for a merge"),
    "a long number": ("seed: " + "9" * 5000, "line 1: not YAML: " + "9" * 57 + "... would be"),
    "deep lists": ("a: " + "[" * 3000 + "]" * 3000, "line 1: not YAML: nested more than 20 deep"),
    "deep mappings": ("{a: " * 3000 + "}" * 3000, "nested more than 20 deep"),
    "a list for a key": ("? [a]\n: b", "line 1: not YAML: "),
    "a tag with code": ("a: !!python/object/apply:os.getcwd []", "line 1: not YAML: "),
    "two documents": ("a: 1\n---\nb: 2", "not YAML: "),
    "a control character": ("a: \x01", "not YAML: "),
    "no mapping": ("- a", "must be a mapping, one 'key: value' a line"),
    "nothing": ("# only this", "must be a mapping"),
    "no UTF-8": (b"a: caf\xe9", "not UTF-8 text"),
    "no YAML": ("a: [1", "line 1: not YAML: "),
}


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "some.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("case", SURPRISES)
def test_a_surprise_is_one_line(case: str, tmp_path: Path) -> None:
    content, message = SURPRISES[case]
    path = written(tmp_path, content)
    with pytest.raises(UserError) as refusal:
        read_yaml(path)
    assert str(refusal.value).startswith(str(path))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < len(str(path)) + 200


def test_what_is_no_file(tmp_path: Path) -> None:
    for name in ("nowhere.yaml", ".", "x" * 300, "a\0b"):
        with pytest.raises(UserError, match=r"no such file|cannot be read"):
            read_yaml(tmp_path / name)


def test_everything_else_is_read(tmp_path: Path) -> None:
    content = (
        "a: 1\nb: -2.5\nc: 1.0e-4\nd: 5e-5\ne: true\nf: ~\ng:\nh: 'yes'\ni: '010'\nj: 0\n"
        "k: [1, {l: m}]\nn: |\n  two\n  lines\no: 'a # b'\np: 1.5.2\nq: False\n"
    )
    assert read_yaml(written(tmp_path, content)) == {
        "a": 1, "b": -2.5, "c": 1e-4, "d": "5e-5", "e": True, "f": None, "g": None, "h": "yes",
        "i": "010", "j": 0, "k": [1, {"l": "m"}], "n": "two\nlines\n", "o": "a # b", "p": "1.5.2",
        "q": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    "path", [*ROOT.rglob("configs/**/*.yaml"), *ROOT.rglob("slimcls/**/*.yaml")]
)
def test_all_files_of_the_project_mean_what_they_meant(path: Path) -> None:
    assert read_yaml(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_settings_that_a_run_saves_are_read(tmp_path: Path) -> None:
    config = RunConfig(
        dataset="010", model="yes", revision="2024-01-02", data_dir="~", layers=[0, 1], lr=1e-9,
        text_column="größe \U0001f600: #", checkpoint_seconds=1e9,
    )  # fmt: skip
    write_config(config, tmp_path / "config.yaml")
    assert read_yaml(tmp_path / "config.yaml") == dataclasses.asdict(config)


def test_every_reader_of_yaml_is_strict(tmp_path: Path) -> None:
    path = written(tmp_path, "dataset: sst2\nmode: cls\nmode: p-cls\n")
    readers = [
        lambda: cli.parse(RunConfig, ["--config", str(path)], prog="slimcls train"),
        lambda: definition.read_grid(str(path)),
        lambda: catalog.find_dataset(str(path)),
    ]
    for read in readers:
        with pytest.raises(UserError, match="line 3: not YAML: 'mode' stands there twice"):
            read()
