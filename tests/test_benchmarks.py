"""Benchmarks: both sides compute the same, what is measured is what is said; never a time."""

from __future__ import annotations

import json
import math
import mmap
import os
import shutil
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import PATIENCE, ROOT
from exporting.conftest import make_run
from safetensors.torch import load_file, save_file

from benchmarks import (
    bf16,
    cascade,
    exported,
    gpu,
    growth,
    harness,
    machine,
    made_hub,
    opening,
    rival,
    shared_prefix,
    sides,
    table,
    training,
    vocabulary,
)
from benchmarks.__main__ import benchmarks
from benchmarks.__main__ import main as run_all
from benchmarks.harness import Different, Figure, Row, Took
from benchmarks.made import CLASSES, PAD, Made
from benchmarks.workload import Workload, prepare
from slimcls.backbones.tiny import make_model
from slimcls.cascade import cascade as leave_early
from slimcls.cascading.settings import CascadeConfig
from slimcls.classifier.artefact import load_run
from slimcls.config import RunConfig
from slimcls.session.again import drawn_again
from slimcls.train import train

FOLDER = ROOT / "benchmarks"
BENCHMARKS = benchmarks()
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")


# What stands in the folder


def test_there_are_benchmarks():
    assert {"training", "opening", "growth", "gpu"} <= set(BENCHMARKS)


@pytest.mark.parametrize("file", sorted(p.name for p in FOLDER.glob("*.py")))
def test_every_file_is_on_the_page(file: str):
    assert file == "__init__.py" or f"| `{file}` |" in PAGE


MADE = """import sys
sys.stderr.write({said!r})
print("harness.report(", sys.argv[1:])
sys.exit({code})
"""


@pytest.mark.parametrize(
    ("codes", "last", "code"),
    [
        ({"a": 0, "b": 2, "c": 0}, "2 of 3 benchmarks done; 1 skipped: b", 0),
        ({"a": 2, "b": 1, "c": 0}, "1 of 3 benchmarks done; 1 skipped: a; 1 failed: b", 1),
        ({"a": 0}, "1 of 1 benchmarks done", 0),
    ],
)
def test_one_without_its_data_is_a_line_and_the_others_go_on(
    codes: dict[str, int],
    last: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    package = tmp_path / "benchmarks"
    package.mkdir()
    for name, ended in codes.items():
        said = "step 1 of 2\n" + ("slimcls: error: no data here\n" if ended == 2 else "")
        (package / f"{name}.py").write_text(MADE.format(said=said, code=ended))
    for name in ("__init__", "shared"):
        (package / f"{name}.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert run_all(benchmarks(package), ["--size", "small"]) == code
    out, errors = capfd.readouterr()
    assert errors == "step 1 of 2\n" * len(codes)
    lines = out.splitlines()
    assert lines.count("harness.report( ['--size', 'small']") == len(codes)
    skipped = [f"skipped: {name}: no data here" for name, ended in codes.items() if ended == 2]
    assert [line for line in lines if line.startswith("skipped: ")] == skipped
    assert lines[-1] == last


def test_every_benchmark_answers_help_and_imports_nothing_heavy():
    code = """
import contextlib, importlib, io, sys
for name in sys.argv[1:]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        importlib.import_module(f"benchmarks.{name}").main(["--help"])
    assert f"benchmarks.{name}" in out.getvalue() and "--size" in out.getvalue(), name
    assert not {"torch", "transformers", "lightning"} & set(sys.modules), name
"""
    command = [sys.executable, "-c", code, *BENCHMARKS]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert found.returncode == 0, found.stderr


def test_the_tables_are_made_from_the_files_that_are_there():
    contents = table.read()
    for page in table.PAGES:
        text = page.read_text(encoding="utf-8")
        assert table.filled(text, contents) == text, "python -m benchmarks.table --write"


@pytest.mark.parametrize("path", sorted(harness.RESULTS.glob("*.json")), ids=lambda p: p.name)
def test_results_are_of_a_benchmark_and_hold_every_repetition(path: Path):
    content = json.loads(path.read_text(encoding="utf-8"))
    assert path.name == f"{content['benchmark']}-{content['size']}.json"
    assert content["benchmark"] in BENCHMARKS
    assert {"processor", "threads", "versions"} <= set(content["machine"])
    assert content["rows"]
    for row in content["rows"]:
        counts = {len(values) for values in row["sides"].values()}
        assert len(counts) == 1
        assert counts != {0}
        assert [Figure(**one) for one in row["figures"]]


# The harness


def test_sides_take_turns_in_both_orders_and_the_warm_up_does_not_count():
    called: list[str] = []
    names = ("a", "b")
    turned = {name: (lambda name=name: called.append(name) or Took(1.0, name)) for name in names}
    checked: list[Any] = []
    turns = harness.alternate(turned, repetitions=2, check=checked.append)
    assert "".join(called) == "abbaab"
    assert checked == [{"a": "a", "b": "b"}] * 3
    assert turns.seconds == {"a": [1.0, 1.0], "b": [1.0, 1.0]}
    assert turns.outcomes == {"a": ["a", "a"], "b": ["b", "b"]}


@pytest.mark.parametrize("other", [[1.0, 2.2], [1.0, math.nan], [1.0], [1.0, 2.0, 3.0]])
def test_what_differs_is_refused(other: list[float]):
    harness.agree("losses", {"ours": [1.0, 2.0], "theirs": torch.tensor([1.0, 2.05])}, 0.1)
    with pytest.raises(Different, match="losses"):
        harness.agree("losses", {"ours": [1.0, 2.0], "theirs": other}, 0.1)


def test_ratios_are_taken_round_by_round():
    found = harness.ratio([2.0, 9.0, 40.0], [1.0, 3.0, 10.0], at_least=3)
    assert (found.value, found.low, found.high, found.reached) == (3.0, 2.5, 3.5, True)
    assert harness.ratio([2.0], [1.0], at_most=1.9).reached is False
    assert harness.ratio([2.0], [1.0]).reached is None


def _report(tmp_path: Path, rows: list[Row], only: str = "*") -> dict[str, Any]:
    options = Namespace(size="small", out=tmp_path, only=only)
    return json.loads(harness.report("made", rows, options, {"n": 1}).read_text())


def test_a_part_measured_anew_leaves_the_other_rows(tmp_path: Path):
    _report(tmp_path, [Row("a", {"slimcls": [1.0]}), Row("b", {"slimcls": [2.0]})])
    content = _report(tmp_path, [Row("b", {"slimcls": [3.0]})], only="b")
    assert [(row["name"], row["sides"]["slimcls"]) for row in content["rows"]] == [
        ("a", [1.0]),
        ("b", [3.0]),
    ]
    assert len(_report(tmp_path, [Row("b", {"slimcls": [3.0]})])["rows"]) == 1


def test_a_missed_floor_shows_in_both_tables(tmp_path: Path):
    missed = harness.ratio([2.0, 2.0], [1.0, 1.0], name="times faster", at_least=8)
    free = harness.figure("memory", [1.0, 3.0])
    _report(tmp_path, [Row("a|b", {"slimcls": [1.0], "other": [2.0]}, [missed, free])])
    page = "x\n<!-- claims -->\n<!-- /claims -->\n<!-- results -->\nold\n<!-- /results -->\ny\n"
    text = table.filled(page, table.read(tmp_path, "small"))
    assert "| made | a\\|b: times faster | 2.00 | at least 8: **missed** |" in text
    assert "memory 2.00 (1.50 to 2.50)" in text
    assert "old" not in text
    assert table.filled(text, table.read(tmp_path, "small")) == text


def test_what_was_measured_small_changes_no_page(tmp_path: Path):
    _report(tmp_path, [Row("a", {"slimcls": [1.0]})])
    assert table.read(tmp_path) == []
    assert [content["size"] for content in table.read(tmp_path, "small")] == ["small"]


def test_of_many_rows_with_one_floor_the_worst_is_claimed(tmp_path: Path):
    def row(name: str, seconds: float) -> Row:
        faster = harness.ratio([12.0], [seconds], name="times faster", at_least=2)
        memory = harness.figure("memory", [seconds], at_most=9)
        return Row(name, {"slimcls": [seconds], "other": [12.0]}, [faster, memory])

    _report(tmp_path, [row("a", 3.0), row("b", 8.0), row("c", 4.0)])
    lines = table.claims(table.read(tmp_path, "small")).splitlines()[2:]
    assert lines == [
        "| made | b, worst of 3: times faster | 1.50 | at least 2: **missed** |",
        "| made | b, worst of 3: memory | 8.00 | at most 9 |",
    ]


def test_matmul_parameters_are_those_every_token_meets():
    settings = {"n_embd": 8, "n_layer": 3, "n_head": 2, "vocab_size": 50, "n_positions": 16}
    per_block = 8 * 24 + 8 * 8 + 8 * 32 + 32 * 8
    assert machine.matmul_parameters(make_model("gpt2", settings)) == 3 * per_block


def test_memory_and_bytes_are_those_of_the_block_under_the_meter():
    with machine.Meter() as meter:
        # What malloc takes back it may keep; a mapping is gone when it is closed.
        with mmap.mmap(-1, 80_000_000) as block:
            for _ in range(80):
                block.write(bytes(1_000_000))
        Path(__file__).read_bytes()
    # A page at each end may have been there before.
    assert 79_000_000 <= meter.peak < 100_000_000
    assert meter.resident < 20_000_000
    size = Path(__file__).stat().st_size
    assert size <= meter.read < size + 10_000


def test_apart_is_another_process():
    assert machine.apart(os.getpid) != os.getpid()


# Both sides of training


def load(toy: Path, model: str, mode: str, **settings: Any) -> Workload:
    common = {"dataset": str(toy), "shots": 10, "epochs": 1, "batch_size": 4, "precision": "32"}
    return prepare(None, **(common | {"model": model, "mode": mode} | settings))


@pytest.mark.parametrize(
    ("model", "mode", "precision"),
    [
        ("tiny-gpt2", "cls", "32"),
        ("tiny-opt", "p-cls", "32"),
        ("tiny-llama", "lm", "32"),
        ("tiny-neox", "cls", "bf16"),
    ],
)
def test_slimcls_and_the_trainer_take_the_same_steps(
    toy: Path, model: str, mode: str, precision: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine, "best_gemm", lambda precision, device: 1e9)
    rivals = {training.BEST: 1.5, training.EXAMPLE: None} if mode == "cls" else {training.BEST: 4}
    case = training.Case("made", {}, rivals)
    work = load(toy, model, mode, precision=precision)
    row = training.measure(case, work, repetitions=1)
    assert set(row.sides) == {"slimcls", *rivals}
    assert [one.at_least for one in row.figures] == [*rivals.values(), None]
    assert "8 steps" in row.note


@pytest.mark.parametrize("model", ["tiny-gpt2", "tiny-opt", "tiny-opt-post"])
def test_dropout_is_off_in_training(toy: Path, model: str):
    ids = torch.arange(2, 60)[None]
    made = load(toy, model, "cls").model().train()
    assert not torch.equal(made(ids).logits, made(ids).logits)
    made = sides.workload.without_dropout(made)
    assert torch.equal(made(ids).logits, made(ids).logits)


def test_another_loss_or_another_order_is_refused(toy: Path, monkeypatch: pytest.MonkeyPatch):
    work = load(toy, "tiny-llama", "lm")
    order = sides.slimcls_side(work).outcome
    with pytest.raises(Different, match="batches"):
        sides.check_same({"slimcls": sides.Trail(places=order.places[::-1])}, order, "32")
    plain = rival.label_word_loss
    monkeypatch.setattr(rival, "label_word_loss", lambda *a: plain(*a) + 1e-3)
    theirs = sides.trainer_side(work, order, example=False).outcome
    with pytest.raises(Different, match="losses"):
        sides.check_same({"slimcls": order, "Trainer": theirs}, order, "32")


def test_real_tokens_leave_padding_out_and_count_a_prefix_once_a_step(toy: Path):
    work = load(toy, "tiny-opt", "p-cls")
    order = sides.slimcls_side(work).outcome
    prefix = len(work.prefix)
    assert prefix > 5
    queries = sum(len(ids) - prefix for ids in work.whole)
    assert sides.real_tokens(work, order) == queries + prefix * len(order.places)


# Both sides of opening


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setattr(machine, "apart", lambda function, *a: function(*a))
    folder, tiny = tmp_path / "made", tmp_path / "tiny"
    shape = {"n_embd": 32, "n_layer": 4, "n_head": 2, "vocab_size": 300, "n_positions": 32}
    opening.make_checkpoint(folder, shape, shard=30_000)
    opening.make_checkpoint(tiny, {"n_embd": 16, "n_layer": 1, "n_head": 1}, shard=None)
    return folder, tiny


@pytest.mark.parametrize("layers", [[0, 1], [1, 3]])
def test_every_way_opens_the_same_model(checkpoints: tuple[Path, Path], layers: list[int]):
    assert len(list(checkpoints[0].glob("model-*.safetensors"))) > 2
    row = opening.measure("made", *checkpoints, layers, repetitions=1)
    assert (opening.N_LAYER in row.sides) == (layers == [0, 1])
    floors = [one.at_most for one in row.figures if one.at_most]
    assert floors == [1.15, 1.02]


def test_another_model_is_refused(checkpoints: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    def others(folder: Path, layers: list[int]) -> Any:
        return opening.by_slimcls(folder, [0, 3] if layers == [1, 3] else layers)

    monkeypatch.setitem(opening.WAYS, opening.SLICING, others)
    with pytest.raises(Different, match="weights"):
        opening.measure("made", *checkpoints, [1, 3], repetitions=1)


# bf16, shared prefix and vocabulary

SMALL = {"n_embd": 32, "n_head": 2, "vocab_size": 400}


def test_a_step_in_bf16_is_held_against_one_in_32_bits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "best_gemm", lambda precision, device: 1e9)
    monkeypatch.setattr(bf16, "SHAPE", {"hidden_size": 32, "intermediate_size": 64,
                                        "num_attention_heads": 2, "vocab_size": 400})  # fmt: skip
    row = bf16.measure(32, "small", repetitions=1)
    assert list(row.sides) == [bf16.BF16, bf16.FLOAT]
    assert [figure.at_least for figure in row.figures] == [1.4, None]
    matrices = 8 * (4 * 32 * 32 + 3 * 32 * 64)
    assert row.figures[1].value == pytest.approx(
        6 * matrices * 32 * 16 / row.sides[bf16.BF16][0] / 1e9
    )


def test_a_shared_prefix_takes_the_same_steps(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "best_gemm", lambda precision, device: 1e9)
    row = shared_prefix.measure("made", "gpt2", SMALL, "small", repetitions=1)
    assert list(row.sides) == [shared_prefix.SHARED, shared_prefix.PLAIN]
    block = 12 * 32 * 32
    assert row.figures[1].value == pytest.approx(
        6 * 2 * block * (200 + 16 * 16) / row.sides[shared_prefix.SHARED][0] / 1e9
    )
    monkeypatch.setattr(
        "slimcls.classifier.prefix.Together.places", lambda self: torch.arange(456)[None]
    )
    with pytest.raises(Different, match="losses"):
        shared_prefix.measure("made", "gpt2", SMALL, "small", repetitions=1)


@pytest.mark.parametrize("name", shared_prefix.SHAPES)
def test_shapes_are_those_of_known_small_models(name: str):
    kind, shape = shared_prefix.SHAPES[name]
    depth = {"OPT, norm after": 24, "Llama-like": 30}.get(name, 12)
    with torch.device("meta"):
        base = Made(kind, shape, depth, "cls", 1, (1, 1)).model().base_model
    known = {
        "GPT-2": 124_439_808,
        "OPT, norm before": 125_239_296,
        "OPT, norm after": 331_196_416,
        "Llama-like": 134_515_008,
        "GPT-NeoX": 123_689_472,
    }
    assert sum(p.numel() for p in base.parameters()) == known[name]


def work_on_made_ids(compact: bool) -> Made:
    settings = {"batch_size": 4, "precision": "32", "accelerator": "cpu"}
    more = settings | {"compact_vocabulary": compact}
    return Made("gpt2", SMALL, 1, "cls", 6, (3, 9), settings=more, most=90)


def test_memory_of_rows_in_use_is_counted_and_weights_compared(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "best_gemm", lambda precision, device: 1e9)
    compact, everything = work_on_made_ids(True), work_on_made_ids(False)
    row = vocabulary.measure("made", compact, everything, 0.6, repetitions=1)
    rows = 400 - len({token for ids in compact.whole for token in ids} | {PAD})
    model = compact.model()
    counts = 4 * len(list(model.parameters()))  # of steps, which the optimiser keeps
    all_of_it = 3 * 4 * sum(p.numel() for p in model.parameters()) + counts
    assert row.figures[0].value == pytest.approx(1 - 3 * 4 * 32 * rows / all_of_it)
    everything.config.weight_decay = 0.5
    with pytest.raises(Different, match="weights"):
        vocabulary.measure("made", compact, everything, 0.6, repetitions=1)


# GPU and growth


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what it says without a GPU")
def test_without_a_gpu_the_missing_rows_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine, "best_gemm", lambda precision, device: 1e9)
    arguments = ["--only", "tiny GPT-2, keep 2, p-cls*", "--steps", "5", "--out", str(tmp_path)]
    assert gpu.main(arguments) == 0
    assert gpu.MISSING in capsys.readouterr().out
    rows = json.loads((tmp_path / "gpu-small.json").read_text())["rows"]
    assert [row["note"] for row in rows] == [gpu.MISSING]


@pytest.mark.parametrize("model", [*gpu.SHAPES, *gpu.TINY])
def test_shapes_are_those_of_the_real_models(model: str):
    kind, shape, depths = (gpu.SHAPES | gpu.TINY)[model]
    made = gpu.load_of(kind, shape, depths[-1], "p-cls", 512, 3, "cpu")
    with torch.device("meta"):
        parameters = sum(p.numel() for p in made.model().parameters())
    full = {"GPT-2 XL": 1_557_611_200, "OPT-1.3B": 1_315_758_080}
    head = CLASSES * shape.get("n_embd", shape.get("hidden_size", 0))
    assert parameters == full.get(model, parameters - head) + head
    shortest = min(len(ids) for ids in made.whole)
    assert shortest >= gpu.PREFIX + gpu.SHORTEST
    assert all(ids[: gpu.PREFIX] == made.prefix for ids in made.whole)
    assert PAD not in {token for ids in made.whole for token in ids}


def test_a_figure_is_drawn_for_each_axis(tmp_path: Path):
    pytest.importorskip("matplotlib")
    rows = [
        Row(f"{mode}, {called}: {value}", {"slimcls": [float(value)]}, [harness.figure("m", [9.0])])
        for mode in growth.MODES
        for called in growth.CALLED.values()
        for value in (10, 2)
    ]
    options = Namespace(size="full", out=tmp_path, only="*")
    path = harness.report("growth", rows, options, {"standing": growth.STANDING})
    drawn = growth.draw(path, tmp_path)
    assert [p.name for p in drawn] == [
        "growth-keep.png",
        "growth-shots.png",
        "growth-batch-size.png",
    ]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in drawn)
    line = growth._line(json.loads(path.read_text())["rows"], "cls, batch size: ")
    assert line == [(2, 2.0, 9.0), (10, 10.0, 9.0)]


def test_a_made_checkpoint_has_the_shape_it_stands_for():
    from transformers import AutoConfig, AutoModel

    for name, count in {"gpt2-xl": 1_557_611_200, "opt-1.3b": 1_315_758_080}.items():
        shape = made_hub.SHAPES[name]
        with torch.device("meta"):
            model = AutoModel.from_config(AutoConfig.for_model(shape.model_type, **shape.config))
        assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize("kind", ["gpt2", "opt"])
def test_a_made_checkpoint_is_what_it_says_and_mostly_holes(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    make = made_hub._gpt2 if kind == "gpt2" else made_hub._opt
    monkeypatch.setitem(made_hub.SHAPES, "small", make("small", 64, 3, 4))
    shape = made_hub.SHAPES["small"]
    file = made_hub.make(tmp_path, "small") / shape.file
    if shape.half:
        stored = torch.load(file, weights_only=True)
        assert {t.dtype for t in stored.values()} == {torch.float16}
        names = "decoder.layers.2.fc1.weight", "decoder.embed_tokens.weight"
    else:
        from safetensors.torch import load_file

        stored = load_file(file)
        assert stored["h.0.attn.bias"].shape == (1, 1, 1024, 1024)
        names = "h.2.mlp.c_fc.weight", "wte.weight"
    for name in names:
        found = stored[name]
        assert torch.equal(found, made_hub.values(name, tuple(found.shape), found.dtype))
        assert len(found.unique()) == (5 if found.nbytes > made_hub.FULL else 4)
    assert file.stat().st_blocks * 512 < file.stat().st_size / 5


def test_the_hub_runs_where_no_test_does(tmp_path: Path):
    """Benchmarks are started from the checkout, without the path that tests have."""
    code = f"""
from pathlib import Path
from benchmarks import made_hub
with made_hub.serving(Path({str(tmp_path)!r}), Path({str(tmp_path)!r})) as (hub, environment):
    print(environment["HF_ENDPOINT"] == hub.url)
"""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


def test_holes_are_zeros_and_the_rest_is_as_written(tmp_path: Path):
    page = made_hub.PAGE
    parts = [b"abc", bytes(3 * page), b"x" * (page + 5), bytes(page), b"", b"end", bytes(2 * page)]
    with made_hub.Holes(tmp_path / "f") as file:
        for part in parts:
            assert file.write(part) == len(part)
            assert file.tell() == sum(map(len, parts[: parts.index(part) + 1]))
    assert (tmp_path / "f").read_bytes() == b"".join(parts)


# An exported classifier


def test_a_process_counts_what_it_takes_of_the_processor_not_how_long_it_lasts():
    idle = exported.processor_seconds("import time; time.sleep(0.5)")
    busy = exported.processor_seconds("import time\nwhile time.process_time() < 0.6: pass")
    assert idle.seconds < 0.5 < busy.seconds
    assert 1 < idle.outcome < 500
    with pytest.raises(RuntimeError, match="ended with 1"):
        exported.processor_seconds("raise ValueError")


def test_sides_with_other_labels_are_refused():
    ours = [[0.9, 0.1]] * 20
    exported.alike({exported.EXPORTED: ours, exported.PIPELINE: [*ours[:18], *[[0.1, 0.9]] * 2]})
    with pytest.raises(Different, match="only 85%"):
        exported.alike(
            {exported.EXPORTED: ours, exported.PIPELINE: [*ours[:17], *[[0.1, 0.9]] * 3]}
        )


def test_a_form_stands_beside_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = make_run(tmp_path)
    test = drawn_again(run, None).splits.test
    made = exported.Trained(run, [item.text for item in test], [item.label for item in test])
    monkeypatch.setitem(exported.FORMS, "some", {"to": "transformers", "vocabulary": 330})
    options = Namespace(size="small", data_dir=None)
    row = exported.form_row("toy", "some", {0: made}, options)
    size, points = row.figures
    assert 0 < size.value < 1
    assert points.low <= points.value <= points.high
    ours, theirs = row.sides.values()
    assert points.value == pytest.approx(100 * (ours[0] - theirs[0]))
    opened = load_run(run)
    named = [opened.labels.index(one.label) for one in opened.predict(made.texts)]
    right = [one == label for one, label in zip(named, made.labels, strict=True)]
    assert theirs == [np.mean(right)]


def test_forms_that_are_trained_again_are_those_of_trec_at_its_full_size():
    small, full = Namespace(size="small"), Namespace(size="full")
    assert exported.forms_of("trec", full) == list(exported.FORMS)
    assert exported.CLAIMED in exported.forms_of("trec", full)
    brief = exported.forms_of("trec", small)
    assert brief == exported.forms_of("agnews", full) == exported.forms_of("sst2", full)
    assert set(exported.FORMS) - set(brief) == {
        n for n, f in exported.FORMS.items() if "retune" in f
    }


def test_first_answers_are_held_against_one_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Every form's ratio is of the pipeline in its round; memory's floor goes by the model."""
    seconds = {"a": 1.0, "b": 4.0, "pipeline": 8.0}
    folders = {name: tmp_path / name for name in "ab"}
    for name, folder in folders.items():
        folder.mkdir()
        (folder / "model.onnx").write_bytes(bytes(10**6 * (1 + (name == "b"))))

    def took(code: str) -> Took:
        name = next((name for name in "ab" if f"{folders[name]}'" in code), "pipeline")
        return Took(seconds[name], 100.0)

    monkeypatch.setattr(exported, "processor_seconds", took)
    options = Namespace(size="small", repetitions=2)
    run = exported.Trained(tmp_path, ["a text"], [0])
    rows = exported.first_answers(run, folders, options)
    assert [row.name for row in rows] == ["first answer, a", "first answer, b"]
    for row, name, most in zip(rows, "ab", (82.5, 85.0), strict=True):
        own, sooner, memory = row.figures
        assert (own.value, sooner.value) == (seconds[name], 8.0 / seconds[name])
        assert (memory.value, memory.at_most) == (100.0, most)
        assert list(row.sides.values()) == [[seconds[name]] * 2, [8.0] * 2]


# Leaving early


@pytest.fixture(scope="module")
def early(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> cascade.Trained:
    """A run of the toy's that leaves early."""
    config = RunConfig(
        dataset=str(toy), model="tiny-llama", mode="cls", exits=[1, 2], shots=30, epochs=2,
        lr=1e-3, accelerator="cpu", baseline=False, out=str(tmp_path_factory.mktemp("early")),
    )  # fmt: skip
    folder = train(config).folder
    leave_early(CascadeConfig(run=str(folder), risk=40))
    test = drawn_again(folder, None).splits.test
    return cascade.Trained(folder, [one.text for one in test], [one.label for one in test])


def test_the_labels_of_exits_are_held_against_their_own_runs(
    early: cascade.Trained, tmp_path: Path
):
    cascade.check_labels(early)
    shutil.copytree(early.folder.parent, tmp_path / "runs")
    (shallow,) = (tmp_path / "runs").glob("*-k1-*")
    path = shallow / "model" / "model.safetensors"
    tensors = load_file(path)
    tensors["score.weight"] *= -1
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(Different, match="at 1 layers"):
        cascade.check_labels(replace(early, folder=tmp_path / "runs" / early.folder.name))


def test_leaving_early_is_held_against_all_layers(
    early: cascade.Trained, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(cascade.RISK, "small", 40.0)
    options = Namespace(size="small", data_dir=None)
    row = cascade.accuracy({0: early}, options)
    ours, theirs = row.sides.values()
    (points,) = row.figures
    assert points.value == pytest.approx(100 * (ours[0] - theirs[0]))
    monkeypatch.setattr(cascade, "HALVES", 10)
    row = cascade.promise({0: early}, options)
    broken, refused = row.figures
    (losses,) = row.sides.values()
    assert broken.value == 10 * sum(loss > 40 for loss in losses)
    assert len(losses) + refused.value * 10 / 100 == 10
    pool = cascade.pooled(early)
    assert len(pool.labels) == 120
    # What a run keeps of its test texts is brought back to what it keeps of the others.
    right = pool.logits[-1, 60:].argmax(1) == pool.labels[60:]
    assert right.mean() == pytest.approx(theirs[0])
