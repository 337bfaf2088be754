"""Every reader of files takes whatever bytes there are, or refuses them in one line.

Each target is a reader and a file that it likes; hypothesis spoils the file. ``make faults`` tries
far more of them; SLIMCLS_FAULTS says how many.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hostile.rows_data import GOOD, LINES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slimcls.errors import UserError

TRIES = 20 * int(os.environ.get("SLIMCLS_FAULTS", "2"))

#: What hurts more often than bytes at random.
PIECES = (
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"'", b"{", b"}", b"[", b"]" * 9, b"[" * 3000,
    b"\n", b"\r", b",", b";", b"\t", b": ", b"- ", b"&a ", b"*a", b"!!python/name:os.system ",
    b"<<", b"NaN", b"Infinity", b"-1", b"0", b"1e999", b"9" * 400, b"null", b"\\ud800", b"\\u0000",
    b"\xc3\xa9", b"\xed\xa0\x80", b"{text}", b"{label}", b"\xf0\x9f\x98\x80", b"../", b"%s",
)  # fmt: skip


@st.composite
def spoiled(draw: st.DrawFn, good: bytes) -> bytes:
    """The file after a few slips: pieces lost, doubled, moved, or put in the place of others."""
    raw = good
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.sampled_from([0, 1, 2, 8, 64, 10**6])))
        piece = draw(st.sampled_from(PIECES) | st.binary(max_size=8) | st.just(raw[start:end] * 2))
        raw = raw[:start] + piece + raw[end:]
    return raw


@dataclass(frozen=True)
class Target:
    """A reader, and a file that it likes."""

    name: str
    file: str
    good: Callable[[Path], bytes]
    read: Callable[[Path], object]


def _stream(path: Path) -> None:
    from slimcls.data.reader import stream_rows

    # A line {} of JSON is a row without a cell.
    assert all(row.fault or row.number >= 0 for row in stream_rows(path))


def _dataset(path: Path) -> None:
    from slimcls.data.dataset import read_dataset

    read_dataset(str(path))


def _texts(path: Path) -> None:
    from slimcls.layers.samples import read_texts

    read_texts(str(path))


def _description(path: Path) -> None:
    from slimcls.data.catalog import find_dataset

    find_dataset(str(path))


def _grid(path: Path) -> None:
    from slimcls.grids.definition import read_grid

    read_grid(str(path))


def _settings(path: Path) -> None:
    from slimcls.cli import parse
    from slimcls.config import RunConfig

    parse(RunConfig, ["--config", str(path)], prog="slimcls train")


def _task(path: Path) -> None:
    from slimcls.classifier.description import read_description, task_of

    task_of(read_description(path.parent)[1])


def _config(path: Path) -> None:
    from slimcls.backbones.truncate import config_in, depth_of

    assert depth_of(config_in(path.parent, "M")) > 0


def _weights(path: Path) -> None:
    from slimcls.backbones.weights import Weights

    with Weights([path]) as weights:
        assert weights.shapes is not None


def _index(path: Path) -> None:
    from slimcls.backbones.layout import weight_files

    weight_files([path.name, "a.safetensors"], "M", lambda name: path)


def _scores(path: Path) -> None:
    from slimcls.layers.layer_scores import read_scores

    read_scores(path)


def _choices(path: Path) -> None:
    from slimcls.runs.choices import read_choices

    read_choices(path.parents[1])


def _figures(path: Path) -> None:
    from slimcls.pruning.earlier import kept_file

    kept_file(path, [1])


def _result(path: Path) -> None:
    from slimcls.runs.results import read_result

    read_result(path.parent)


def _rows(world: Path) -> bytes:
    return b"text,label\n" + GOOD.encode()


def _lines(world: Path) -> bytes:
    return LINES.encode()


def _parquet(world: Path) -> bytes:
    from hostile.rows_data import parquet

    parquet("good.parquet", metadata={"label_names": {"label": ["a", "b"]}})(world, world)
    return (world / "good.parquet").read_bytes()


def _of_run(name: str) -> Callable[[Path], bytes]:
    return lambda world: (world / "p-cls" / name).read_bytes()


def _of_model(name: str) -> Callable[[Path], bytes]:
    def good(world: Path) -> bytes:
        from slimcls.backbones import tiny

        return (tiny.build("tiny-gpt2") / name).read_bytes()

    return good


def _scored(world: Path) -> bytes:
    from slimcls.__main__ import main

    words = ["--model", "tiny-gpt2", "--text", str(world / "rev.csv"), "--samples", "4"]
    path = world / "scores.json"
    assert path.exists() or main(["score", *words, "--out", str(path)]) == 0
    return path.read_bytes()


def _said(content: str | dict[str, object] | list[object]) -> Callable[[Path], bytes]:
    text = content if isinstance(content, str) else json.dumps(content)
    return lambda world: text.encode()


CHOICE: dict[str, object] = {
    "run": "r", "settings": {"lr": 0.1}, "by": "validation_accuracy", "edge": ["lr"],
    "candidates": [{"run": "r", "settings": {"lr": 0.1}, "score": 0.5}],
}  # fmt: skip
SPEC = """\
version: 1
files: {train: rows.csv}
labels: [a, b]
template: "Text: {text}\\nKind:{label}"
label_words: [A, B]
note: made up
"""
GRID = """\
dataset: sst2
model: tiny-gpt2
mode: [cls, p-cls]
seed: [0, 1]
lr: [1e-3, 1e-2]
choose: {over: [lr], by: validation_accuracy}
cells:
  - {keep: [1, 2]}
exclude: [{keep: 1, mode: cls}]
"""
SETTINGS = (
    "dataset: sst2\nkeep: 2\nmode: cls\nlr: 1.0e-3\nlayers: [0, 1]\nshots: all\ncompile: false\n"
)

TARGETS = (
    *(Target(f"rows of {file}", file, good, _stream) for file, good in (
        ("f.csv", _rows), ("f.tsv", lambda world: _rows(world).replace(b",", b"\t")),
        ("f.jsonl", _lines), ("f.parquet", _parquet), ("f.txt", _rows),
    )),
    *(Target(f"a dataset in {file}", file, good, _dataset) for file, good in (
        ("f.csv", _rows), ("f.jsonl", _lines), ("f.parquet", _parquet),
    )),
    Target("texts", "f.txt", _rows, _texts),
    Target("a dataset's description", "d.yaml", _said(SPEC), _description),
    Target("a grid", "g.yaml", _said(GRID), _grid),
    Target("settings", "s.yaml", _said(SETTINGS), _settings),
    Target("a task", "slimcls.json", _of_run("model/slimcls.json"), _task),
    Target("a configuration", "config.json", _of_model("config.json"), _config),
    Target("weights", "model.safetensors", _of_model("model.safetensors"), _weights),
    Target("an index", "model.safetensors.index.json",
           _said({"weight_map": {"a": "a.safetensors"}}), _index),
    Target("scores", "scores.json", _scored, _scores),
    Target("choices", "choices/g.json", _said([CHOICE]), _choices),
    Target("figures", "known.json", _said({"about": [1], "figures": {"a": {"x": 1}}}), _figures),
    Target("a result", "result.parquet", _of_run("result.parquet"), _result),
)  # fmt: skip


@pytest.mark.fault("readers of spoiled files")
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_whatever_is_in_the_file(target: Target, world: Path, tmp_path: Path) -> None:
    path = tmp_path / target.file
    path.parent.mkdir(exist_ok=True)
    (tmp_path / "rows.csv").write_bytes(_rows(world))
    good = target.good(world)
    path.write_bytes(good)
    target.read(path)

    @settings(
        max_examples=TRIES,
        deadline=None,
        derandomize="SLIMCLS_FAULTS" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )
    @given(raw=spoiled(good))
    def holds(raw: bytes) -> None:
        path.write_bytes(raw)
        with contextlib.suppress(UserError):
            target.read(path)

    holds()
