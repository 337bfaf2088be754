"""At 8 bits numbers share scales by columns, or in groups where that changes too many labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import made_up_rows

import slimcls

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from slimcls import UserError  # noqa: E402 - what is needed may not be there
from slimcls.export import export  # noqa: E402 - what is needed may not be there
from slimcls.exporting import bits  # noqa: E402
from slimcls.exporting.bits import GROUP, quantise  # noqa: E402
from slimcls.exporting.making import Maker  # noqa: E402
from slimcls.exporting.report import Report, figures  # noqa: E402
from slimcls.exporting.settings import ExportConfig  # noqa: E402

TOKENS, HIDDEN, CLASSES = 50, 64, 6
FLOAT = onnx.TensorProto.FLOAT
TEXTS = [text for text, _ in made_up_rows(24, 9)]


def lookup(folder: Path) -> Path:
    """A graph: rows of a table, of which one column is far larger than the rest, and a product."""
    random = np.random.default_rng(3)
    table = random.normal(size=(TOKENS, HIDDEN)).astype(np.float32)
    table[:, 7] *= 1000
    matrix = random.normal(size=(HIDDEN, CLASSES)).astype(np.float32)
    # What is large is the same for all, as it is in decoders: the others tell texts apart.
    matrix[7] = 0
    made, number = onnx.helper, onnx.TensorProto
    graph = made.make_graph(
        [
            made.make_node("Gather", ["table", "ids"], ["states"]),
            # Out of the quantisers' sight: the states come as they are.
            made.make_node("Identity", ["states"], ["same"]),
            made.make_node("MatMul", ["same", "matrix"], ["scores"]),
        ],
        "lookup",
        [made.make_tensor_value_info("ids", number.INT64, ["items"])],
        [made.make_tensor_value_info("scores", number.FLOAT, ["items", CLASSES])],
        [onnx.numpy_helper.from_array(table, "table"),
         onnx.numpy_helper.from_array(matrix, "matrix")],
    )  # fmt: skip
    model = made.make_model(graph, opset_imports=[made.make_opsetid("", 21)], ir_version=10)
    path = folder / "whole.onnx"
    onnx.save(model, path)
    return path


def said(path: Path, ids: list[int]) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"ids": np.array(ids, dtype=np.int64)})[0])


def states_aside(path: Path) -> Path:
    """The same graph, whose table is no matrix that is quantised: it comes in."""
    model = onnx.load(path)
    (table,) = (one for one in model.graph.initializer if one.name == "table")
    model.graph.initializer.remove(table)
    del model.graph.node[:2]
    model.graph.node[0].input[0] = "rows"
    del model.graph.input[:]
    rows = onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, ["items", HIDDEN])
    model.graph.input.append(rows)
    onnx.save(model, path.with_name("product.onnx"))
    return path.with_name("product.onnx")


def test_groups_keep_the_small_numbers_beside_a_large_one(tmp_path: Path) -> None:
    product = states_aside(lookup(tmp_path))
    rows = onnx.numpy_helper.to_array(onnx.load(tmp_path / "whole.onnx").graph.initializer[0])
    apart = []
    for grouped in (False, True):
        done = quantise(product, tmp_path / f"{grouped}.onnx", 8, grouped=grouped)
        assert (done.matrices, done.grouped) == (1, grouped)
        session = onnxruntime.InferenceSession(tmp_path / f"{grouped}.onnx")
        scores = np.asarray(session.run(None, {"rows": rows})[0])
        whole = rows @ onnx.numpy_helper.to_array(onnx.load(product).graph.initializer[0])
        apart.append(float(np.abs(scores - whole).mean()))
    by_columns, in_groups = apart
    # Of the numbers of a group that holds the large one, all are still gone.
    assert in_groups < 0.8 * by_columns
    assert HIDDEN == 2 * GROUP


def test_tables_of_embeddings_are_in_8_bits_too(tmp_path: Path) -> None:
    whole = lookup(tmp_path)
    done = quantise(whole, tmp_path / "few.onnx", 8, grouped=True)
    assert (done.matrices, done.parameters) == (2, TOKENS * HIDDEN + HIDDEN * CLASSES)
    held = onnx.load(tmp_path / "few.onnx").graph
    assert "MatMulNBits" in [node.op_type for node in held.node]
    whole_numbers = {one.name for one in held.initializer if one.data_type == FLOAT}
    assert not {"table", "matrix"} & whole_numbers
    assert said(tmp_path / "few.onnx", [1, 2, 3]).shape == (3, CLASSES)


@pytest.fixture(scope="module")
def grouped(run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """An export of which columns change more labels than may."""
    out = tmp_path_factory.mktemp("grouped") / "out"
    answers = iter([False, True])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Maker, "_fits", lambda self, found: next(answers))
        report = export(ExportConfig(run=str(run), out=str(out), bits=8))
    assert next(answers, None) is None
    return out, report


def test_groups_are_taken_where_columns_change_too_many_labels(
    run: Path, grouped: tuple[Path, Report]
) -> None:
    folder, report = grouped
    assert report.quantised is not None
    assert report.quantised.grouped
    by_columns = report.quantised.share_by_columns
    assert by_columns is not None
    line = dict(figures(report))["8 bits"]
    assert line.startswith("32 numbers share a scale, which takes longer: with one for a column ")
    assert f"column {by_columns:.1f} % of the validation texts" in line
    assert line in (folder / "README.md").read_text()
    held = json.loads((folder / "parity.json").read_text())["quantised"]
    assert (held["grouped"], held["share_by_columns"]) == (True, by_columns)
    assert {path.name for path in folder.iterdir()} == {
        "model.onnx", "tokenizer.json", "slimcls.json", "parity.json", "README.md",
    }  # fmt: skip
    exported, of_run = slimcls.load(folder), slimcls.load(run)
    for one, other in zip(exported.predict(TEXTS), of_run.predict(TEXTS), strict=True):
        for name, probability in one.probabilities.items():
            assert probability == pytest.approx(other.probabilities[name], abs=0.1)


def test_groups_that_change_too_many_too_are_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(Maker, "_fits", lambda self, found: asked.append(found.quantised))
    with pytest.raises(UserError, match=r"^--bits 8: .* more than --tolerate 5"):
        export(ExportConfig(run=str(run), out=str(tmp_path / "out"), bits=8))
    assert [one.grouped for one in asked] == [False, True]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("tokens_fit", [True, False])
def test_groups_are_not_tried_where_the_tokens_that_are_left_are_too_few(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokens_fit: bool
) -> None:
    """Then no bits help, and a refusal is all that can come of it."""
    asked: list[Any] = []

    def fits(self: Maker, found: Any) -> bool:
        asked.append(found.quantised)
        if found.quantised is None:
            return tokens_fit
        return bool(found.quantised.grouped)

    monkeypatch.setattr(Maker, "_fits", fits)
    config = ExportConfig(run=str(run), out=str(tmp_path / "out"), bits=8, vocabulary=420)
    if tokens_fit:
        line = dict(figures(export(config)))["8 bits"]
        assert line.endswith("got another label, the tokens left out included")
        assert not (tmp_path / "out" / "model.onnx.whole").exists()
    else:
        with pytest.raises(UserError, match="more than --tolerate 5"):
            export(config)
    assert any(one.grouped for one in asked if one) == tokens_fit


def test_the_real_share_decides(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns that spoil every answer are not what is exported."""
    spoilt = bits._BY_BITS[8]

    def spoiling(model: Any, target: Path) -> None:
        for one in model.graph.initializer:
            if one.data_type == FLOAT and len(one.dims) == 2:
                turned = -onnx.numpy_helper.to_array(one)
                one.CopyFrom(onnx.numpy_helper.from_array(turned, one.name))
        spoilt(model, target)

    monkeypatch.setitem(bits._BY_BITS, 8, spoiling)
    report = export(ExportConfig(run=str(run), out=str(tmp_path / "out"), bits=8, tolerate=20))
    assert report.quantised is not None
    assert report.quantised.grouped
    assert report.quantised.share_by_columns is not None
    assert report.quantised.share_by_columns > 20
    assert report.validation is not None
    assert report.validation.share <= 20


def test_in_groups_no_text_changes_anothers_probabilities(grouped: tuple[Path, Report]) -> None:
    exported = slimcls.load(grouped[0])
    together = exported.predict(TEXTS)
    alone = [exported.predict([text])[0] for text in TEXTS]
    for one, other in zip(together, alone, strict=True):
        assert list(one.probabilities.values()) == pytest.approx(
            list(other.probabilities.values()), abs=1e-4
        )


def test_columns_stay_where_they_change_few(exported: dict[int, tuple[Path, Report]]) -> None:
    report = exported[8][1]
    assert report.quantised is not None
    assert not report.quantised.grouped
    assert "8 bits" not in dict(figures(report))
