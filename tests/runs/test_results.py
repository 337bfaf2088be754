"""The loader: one table of many runs, whatever else lies in the folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from runs.test_folder import config, outcome

from slimcls import runs
from slimcls.errors import UserError
from slimcls.runs import results
from slimcls.runs.schema import PREDICTED, RunResult


def write(folder: Path, *, more: dict[str, Any] | None = None, **settings: Any) -> RunResult:
    """A finished run in ``folder``."""
    result = RunResult(config(**settings), outcome(run=folder.name, **(more or {})), folder)
    runs.write_result(result)
    return result


def rewrite(folder: Path, change: Any) -> None:
    path = folder / "result.parquet"
    pq.write_table(change(pq.ParquetFile(path).read()), path)


def load(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    said: list[str] = []
    return runs.load(folder, said.append), said


def test_a_row_a_run_with_the_values_that_were_written(tmp_path: Path) -> None:
    wanted = [
        write(tmp_path / "b", shots="all", seed=1, more={"test_accuracy": 0.25}),
        write(tmp_path / "a", lr=1e-3, max_text_tokens=9, class_weights=True, revision="r"),
    ]
    frame, said = load(tmp_path)
    assert not said
    assert frame.run.tolist() == ["a", "b"]
    assert frame.folder.tolist() == [str(tmp_path / "a"), str(tmp_path / "b")]
    for result, (_, row) in zip(reversed(wanted), frame.iterrows(), strict=True):
        for name, value in result.row().items():
            assert row[name] == value or (value is None and pd.isna(row[name])), name
    assert frame.dtypes[["seed", "keep"]].tolist() == ["int64", "int64"]
    assert frame.dtypes["max_text_tokens"] == "Int64"
    assert frame.class_weights.tolist() == [True, False]
    assert frame.layers.tolist() == [[0, 1], [0, 1]]


def test_folders_of_run_folders_and_a_run_itself(tmp_path: Path) -> None:
    write(tmp_path / "one" / "b")
    write(tmp_path / "two" / "a")
    (tmp_path / "two" / "unfinished" / "checkpoints").mkdir(parents=True)
    assert load(tmp_path)[0].run.tolist() == ["b", "a"]
    assert load(tmp_path / "two")[0].run.tolist() == ["a"]
    assert load(tmp_path / "two" / "a")[0].run.tolist() == ["a"]


def test_odd_folder_names_are_read_as_they_are(tmp_path: Path) -> None:
    for name in ("seed=1", "[a]*? 'x'"):
        folder = tmp_path / name
        write(folder / "b")
        frame, said = load(folder)
        assert frame.folder.tolist() == [str(folder / "b")]
        assert frame.seed.tolist() == [0], "a folder's name is no column"
        assert not said


LATER = ["random_blocks", "compact_vocabulary", "batch_tokens", "method", "scores_fingerprint"]


@pytest.mark.parametrize(
    ("name", "like"),
    [("study[1]", "study1"), ("a*b", "axxb"), ("a?b", "axb"), ("[a-c]", "b"), ("a**", "ab")],
)
def test_the_name_of_a_folder_is_no_pattern(name: str, like: str, tmp_path: Path) -> None:
    """Its namesake's files were read in its place."""
    for folder, seed in ((name, 1), (like, 2)):
        write(tmp_path / folder / "r", seed=seed)
        predicted(tmp_path / folder / "r", ["a"] * seed)
    frame, said = load(tmp_path / name)
    assert (frame.seed.tolist(), said) == ([1], [])
    assert len(runs.predictions(frame)) == 1


def test_columns_that_came_later_have_their_defaults(tmp_path: Path) -> None:
    write(tmp_path / "old", random_blocks=True, more={"method": "x"})
    rewrite(tmp_path / "old", lambda table: table.drop_columns(LATER))
    for _ in range(2):
        frame, said = load(tmp_path)
        assert not said
        row = frame[frame.run == "old"].iloc[0]
        assert not row.random_blocks
        assert row.compact_vocabulary
        assert (row.method, row.scores_fingerprint) == ("fine-tuned", "")
        assert pd.isna(row.batch_tokens)
        assert frame.random_blocks.dtype == bool
        # The second time beside a run that has the columns.
        write(tmp_path / "new", random_blocks=True)
    assert frame.set_index("run").random_blocks.to_dict() == {"old": False, "new": True}


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _column(path: Path, name: str, values: Any) -> None:
    def change(table: Any) -> Any:
        place = table.schema.get_field_index(name)
        return table.set_column(place, name, values)

    rewrite(path.parent, change)


FAULTS: dict[str, tuple[Any, str]] = {
    "empty": (lambda path: path.write_bytes(b""), "cannot be read"),
    "half": (_half, "cannot be read"),
    "text": (lambda path: path.write_text("run,accuracy\n" * 99), "cannot be read"),
    "folder": (lambda path: (path.unlink(), path.symlink_to("away")), ""),
    "foreign": (lambda path: pq.write_table(pa.table({"x": [1]}), path), "not a result"),
    "rows": (
        lambda path: rewrite(path.parent, lambda table: pa.concat_tables([table, table])),
        "not one row",
    ),
    "no-row": (lambda path: rewrite(path.parent, lambda table: table.slice(0, 0)), "not one row"),
    "version": (
        lambda path: _column(path, "schema_version", pa.array([99])),
        "schema version 99, this slimcls reads 1",
    ),
    "no-version": (
        lambda path: rewrite(path.parent, lambda table: table.drop_columns(["schema_version"])),
        "not a result that slimcls wrote (column schema_version)",
    ),
    "lacking": (
        lambda path: rewrite(path.parent, lambda table: table.drop_columns(["test_accuracy"])),
        "not a result that slimcls wrote (column test_accuracy)",
    ),
    "type": (
        lambda path: _column(path, "seed", pa.array(["seven"])),
        "not a result that slimcls wrote (column seed)",
    ),
    "struct": (
        lambda path: _column(path, "test_accuracy", pa.array([{"mean": 1.0}])),
        "not a result that slimcls wrote (column test_accuracy)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_at_fault_is_named_and_the_others_are_read(tmp_path: Path, fault: str) -> None:
    for number in range(5):
        write(tmp_path / f"r{number}", seed=number)
    damage, reason = FAULTS[fault]
    damage(tmp_path / "r3" / "result.parquet")
    frame, said = load(tmp_path)
    assert frame.seed.tolist() == [0, 1, 2, 4]
    assert frame.seed.dtype == "int64"
    assert frame.test_accuracy.dtype == "float64"
    if reason:
        (line,) = said
        assert line.startswith(f"{tmp_path / 'r3' / 'result.parquet'}: {reason}"), line
        assert line.endswith("; left out")
        assert "\n" not in line


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.sampled_from(["good", "old", *sorted(FAULTS)]), min_size=1, max_size=12),
    st.booleans(),
)
def test_any_mixture_leaves_the_good_ones(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str], threads: bool
) -> None:
    folder = tmp_path_factory.mktemp("mixed")
    for number, kind in enumerate(kinds):
        write(folder / f"r{number:02}", seed=number)
        if kind == "old":
            rewrite(folder / f"r{number:02}", lambda table: table.drop_columns(LATER))
        elif kind != "good":
            FAULTS[kind][0](folder / f"r{number:02}" / "result.parquet")
    good = [number for number, kind in enumerate(kinds) if kind in ("good", "old")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "_SHARE", 2 if threads else 100)
        if not good:
            with pytest.raises(UserError):
                load(folder)
            return
        frame, said = load(folder)
    assert frame.seed.tolist() == good
    assert frame.method.tolist() == ["fine-tuned" if kinds[n] == "old" else "" for n in good]
    assert len(said) == len([kind for kind in kinds if kind not in ("good", "old", "folder")])


def test_the_union_of_columns_is_not_looked_up_for_files_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes as long as reading them."""
    for number in range(5):
        write(tmp_path / f"r{number}", seed=number)
    monkeypatch.setattr(results, "_READ", "SELECT error('the union') FROM read_parquet(?)")
    frame, said = load(tmp_path)
    assert frame.seed.tolist() == [0, 1, 2, 3, 4]
    assert not said
    rewrite(tmp_path / "r3", lambda table: table.drop_columns(LATER))
    assert load(tmp_path)[0].seed.tolist() == [0, 1, 2, 4]


def test_a_copy_of_a_run_counts_once(tmp_path: Path) -> None:
    write(tmp_path / "one" / "a")
    write(tmp_path / "two" / "a")
    frame, said = load(tmp_path)
    assert frame.folder.tolist() == [str(tmp_path / "one" / "a")]
    assert said == [
        f"{tmp_path / 'two' / 'a' / 'result.parquet'}: the same run as "
        f"{tmp_path / 'one' / 'a' / 'result.parquet'}; left out"
    ]


def test_warnings_go_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "good")
    write(tmp_path / "bad")
    _half(tmp_path / "bad" / "result.parquet")
    runs.load(tmp_path)
    out, error = capsys.readouterr()
    assert not out
    assert error.startswith(f"slimcls: warning: {tmp_path / 'bad' / 'result.parquet'}: cannot be")
    assert error.count("\n") == 1


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder"):
        runs.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no finished run"):
        runs.load(tmp_path)
    write(tmp_path / "bad")
    _half(tmp_path / "bad" / "result.parquet")
    with pytest.raises(
        UserError,
        match=r"none of its 1 result files can be used \(.*bad/result.parquet: cannot be read",
    ):
        load(tmp_path)


def locked(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A folder that may be neither listed nor entered; root may do both, so it is played."""

    def refusing(name: str) -> None:
        whole = getattr(Path, name)

        def call(path: Path, *args: Any, **more: Any) -> Any:
            if folder in path.parents or (name == "iterdir" and path == folder):
                raise PermissionError(13, "Permission denied", str(path))
            return whole(path, *args, **more)

        monkeypatch.setattr(Path, name, call)

    for name in ("iterdir", "is_file", "is_dir"):
        refusing(name)


def test_a_run_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "good")
    write(tmp_path / "shut")
    _half(tmp_path / "shut" / "result.parquet")
    locked(monkeypatch, tmp_path / "shut")
    rows, warned = load(tmp_path)
    assert rows.folder.tolist() == [str(tmp_path / "good")]
    (line,) = warned
    assert line.startswith(f"{tmp_path / 'shut' / 'result.parquet'}: cannot be read")


def test_a_folder_that_may_not_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "runs" / "good")
    locked(monkeypatch, tmp_path / "runs")
    with pytest.raises(UserError, match=r"runs: cannot be read \(Permission denied\)"):
        runs.load(tmp_path / "runs")


def test_many_files_come_in_the_order_of_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        write(tmp_path / f"r{number:02}", seed=number)
    monkeypatch.setattr(results, "_SHARE", 3)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert load(tmp_path)[0].seed.tolist() == list(range(20))


def predicted(folder: Path, answers: list[str]) -> None:
    rows = [
        {"id": place, "label": "a", "prediction": answer, "probabilities": [0.5, 0.5], "tokens": 3}
        for place, answer in enumerate(answers)
    ]
    runs.write_rows(folder / "predictions.parquet", PREDICTED, rows)


def test_predictions_of_many_runs_are_one_table(tmp_path: Path) -> None:
    for name, answers in {"x": ["a", "b"], "y": ["b", "b"], "z": ["a"]}.items():
        write(tmp_path / name)
        predicted(tmp_path / name, answers)
    frame = load(tmp_path)[0]
    table = runs.predictions(frame[frame.run != "y"])
    assert table.columns.tolist() == ["run", "id", "label", "prediction", "probabilities", "tokens"]
    assert table.run.tolist() == ["x", "x", "z"]
    assert table.id.tolist() == [0, 1, 0]
    assert table.prediction.tolist() == ["a", "b", "a"]
    assert list(table.probabilities[0]) == [0.5, 0.5]
    assert table.id.dtype == table.tokens.dtype == "int64"
    assert runs.predictions(frame[:0]).columns.tolist() == table.columns.tolist()


def test_runs_whose_predictions_cannot_be_read_are_named(tmp_path: Path) -> None:
    for name in "xyz":
        write(tmp_path / name)
        predicted(tmp_path / name, ["a", "b"])
    (tmp_path / "x" / "predictions.parquet").unlink()
    pq.write_table(pa.table({"id": ["one"]}), tmp_path / "z" / "predictions.parquet")
    said: list[str] = []
    table = runs.predictions(load(tmp_path)[0], said.append)
    assert table.run.unique().tolist() == ["y"]
    assert [line.partition(": ")[0] for line in said] == [
        str(tmp_path / name / "predictions.parquet") for name in "xz"
    ]


def test_a_result_read_alone_and_one_in_a_table_agree(tmp_path: Path) -> None:
    write(tmp_path / "a", shots="all", lm_loss="sequence", mode="lm")
    rewrite(tmp_path / "a", lambda table: table.drop_columns(["random_blocks", "method"]))
    alone = runs.read_result(tmp_path / "a")
    assert alone
    row = load(tmp_path)[0].iloc[0]
    for field in dataclasses.fields(alone.config):
        value = getattr(alone.config, field.name)
        assert row[field.name] == value or (value is None and pd.isna(row[field.name])), field.name
