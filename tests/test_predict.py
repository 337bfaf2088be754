"""The predict command: a text or a file in, classes and probabilities out, faults in one line."""

from __future__ import annotations

import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from conftest import Command, made_up_rows, write_csv

import slimcls
from slimcls import cli
from slimcls.classifier import text_files
from slimcls.classifier.classifier import Classifier
from slimcls.classifier.prediction import Prediction
from slimcls.config import RunConfig
from slimcls.data import reader
from slimcls.data.delimited import dialect_of
from slimcls.data.rows import Row
from slimcls.errors import UserError
from slimcls.predict import main
from slimcls.train import train

LABELS = ["food", "travel", "weather"]
ADDED = ["label", *(f"probability_{name}" for name in LABELS)]
TEXTS = [text for text, _ in made_up_rows(25, 11)]


@pytest.fixture(scope="module")
def run(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    config = RunConfig(
        dataset=str(toy), model="tiny-gpt2", mode="cls", keep=1, shots=30, epochs=2, lr=3e-3,
        batch_size=8, out=str(out), accelerator="cpu",
    )  # fmt: skip
    return train(config).folder


@pytest.fixture(scope="module")
def expected(run: Path) -> dict[str, Prediction]:
    return dict(zip(TEXTS, slimcls.load(run).predict(TEXTS), strict=True))


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    code = cli.run(lambda: main([str(word) for word in words]))
    errors = capsys.readouterr().err
    assert code == 2, errors
    lines = [line for line in errors.splitlines() if not line.startswith("slimcls: skipped")]
    assert len(lines) == 1, errors
    assert lines[0].startswith("slimcls: error: ")
    return lines[0]


def made(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


class Piped:
    """Standard input that holds these bytes."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def test_standard_input_is_a_text_a_line(
    run: Path, expected: dict[str, Prediction], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, command: Command,
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.stdin", Piped("\n".join([*TEXTS[:3], "", "\u00fcber"]).encode()))
    assert main([str(run), "-"]) == 0
    out, errors = capsys.readouterr()
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[-1] for row in rows] == [*TEXTS[:3], "\u00fcber"]
    assert [row[0] for row in rows[:3]] == [expected[text].label for text in TEXTS[:3]]
    for row in rows[:3]:
        theirs = expected[row[-1]].probabilities.values()
        assert [float(cell) for cell in row[1:-1]] == pytest.approx(list(theirs), abs=1e-5)
    assert errors == "slimcls: skipped: standard input line 4: the text is empty\n"


def test_json_lines_for_standard_input_and_a_text(
    run: Path, expected: dict[str, Prediction], capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.stdin", Piped("\r\n".join(TEXTS).encode()))
    assert main([str(run), "-", "--json"]) == 0
    piped = capsys.readouterr().out.splitlines()
    assert main([str(run), TEXTS[0], "--json"]) == 0
    (alone,) = capsys.readouterr().out.splitlines()
    for row, text in zip(map(json.loads, [*piped, alone]), [*TEXTS, TEXTS[0]], strict=True):
        assert list(row) == ["text", *ADDED]
        assert (row["text"], row["label"]) == (text, expected[text].label)
        theirs = list(expected[text].probabilities.values())
        assert [row[name] for name in ADDED[1:]] == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        (b"", [], "standard input: none of its 0 rows"),
        (b"\n \n", [], "standard input: none of its 2 rows"),
        (b"rain\ncaf\xe9\n", ["--strict"], "standard input line 2: byte 0xe9 is not UTF-8"),
        (b"rain", ["--out", "a.txt"], "only with an input file"),
        (b"rain", ["--text-column", "a"], "only with an input file"),
    ],
)
def test_standard_input_that_cannot_be_used(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    content: bytes, words: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.stdin", Piped(content))
    assert message in refused(capsys, run, "-", *words)


def test_a_file_says_by_its_name_that_json_is_wanted(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = made(tmp_path / "some.txt", "rain\n")
    assert ".jsonl" in refused(capsys, run, source, "--json")
    assert list(tmp_path.iterdir()) == [source]


def test_one_string_is_one_text_and_a_column_is_its_texts(
    run: Path, expected: dict[str, Prediction]
) -> None:
    classifier = slimcls.load(run)
    assert classifier.predict(TEXTS[0])[0].label == expected[TEXTS[0]].label
    assert len(classifier.predict(TEXTS[0])) == 1
    column = pd.Series(TEXTS[:5], index=range(7, 12))
    for texts in (column, column.to_numpy(), (text for text in TEXTS[:5]), tuple(TEXTS[:5])):
        found = classifier.predict(texts)
        assert [one.label for one in found] == [expected[text].label for text in TEXTS[:5]]
    assert classifier.predict([]) == []


@pytest.mark.parametrize("odd", [None, float("nan"), 5, b"rain", ["rain"]])
def test_what_is_no_text_is_named(run: Path, odd: object) -> None:
    classifier = slimcls.load(run)
    with pytest.raises(UserError, match=r"texts\[2\] is .*, not a string"):
        classifier.predict(["rain", "", odd])


def test_what_holds_no_texts_is_refused(run: Path) -> None:
    classifier = slimcls.load(run)
    for odd in (None, 5, pd.DataFrame({"text": TEXTS})):
        with pytest.raises(UserError, match="not a list or column of strings"):
            classifier.predict(odd)


SEPARATORS = {".csv": ",", ".tsv": "\t"}


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    """Rows as a file of the kind that the name says."""
    if path.suffix == ".txt":
        return made(path, "".join(row["text"] + "\n" for row in rows))
    table = pd.DataFrame(rows)
    if path.suffix in SEPARATORS:
        table.to_csv(path, index=False, sep=SEPARATORS[path.suffix])
    elif path.suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_parquet(path)
    return path


def read_back(path: Path) -> pd.DataFrame:
    if path.suffix in SEPARATORS:
        return pd.read_csv(path, sep=SEPARATORS[path.suffix])
    if path.suffix == ".jsonl":
        return pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()])
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    lines = path.read_text().splitlines()
    return pd.DataFrame([line.split("\t") for line in lines], columns=[*ADDED, "text"])


def test_threads_share_a_classifier(run: Path, expected: dict[str, Prediction]) -> None:
    classifier = slimcls.load(run)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: classifier.predict([text])[0], TEXTS * 4))
    for text, one in zip(TEXTS * 4, found, strict=True):
        assert one.probabilities == pytest.approx(expected[text].probabilities, abs=1e-5)


def test_a_text(run: Path, capsys: pytest.CaptureFixture[str], command: Command) -> None:
    (prediction,) = slimcls.load(run).predict(["rain and wind again"])
    assert main([str(run), "rain and wind again"]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == prediction.label
    assert rest == [f"  {p:.3f}  {label}" for label, p in prediction.probabilities.items()]
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    assert main([str(run / "model"), "rain and wind again"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == prediction.label
    done = command("slimcls.predict", run, "rain and wind again")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, prediction.label)
    assert "Traceback" not in done.stderr


def test_a_locale_without_umlauts(tmp_path: Path, command: Command) -> None:
    """What cannot be shown appears as its code; files are UTF-8 wherever they are written."""
    names = {"weather": "größe", "food": "naïve", "travel": "日本"}
    rows = [(f"{text} ölig", names[label]) for text, label in made_up_rows(60, 3)]
    data = write_csv(tmp_path / "f.csv", rows)
    bare = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    quick = ["--shots", "all", "--model", "tiny-gpt2", "--epochs", "1", "--keep", "1"]
    done = command("slimcls.train", data, *quick, **bare)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    raw = (run / "model" / "slimcls.json").read_bytes()
    assert json.loads(raw.decode("utf-8"))["labels"] == sorted(names.values())
    assert "größe".encode() in raw
    assert "| größe |" in (run / "model" / "README.md").read_text(encoding="utf-8")
    done = command("slimcls.predict", run, "rain", **bare)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert r"  gr\xf6\xdfe" in done.stdout
    done = command("slimcls.predict", run, data, **bare)
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "f.predicted.csv").read_text(encoding="utf-8")
    assert "probability_größe" in written
    assert "ölig,größe," in written


@pytest.mark.parametrize(
    "text", ["null", "123", "true", "[rain]", "{rain: 1}", "- rain", "rain: wind", "a 'quoted' \"x"]
)
def test_a_text_is_taken_as_it_is(run: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    classify = Classifier.predict
    monkeypatch.setattr(
        Classifier,
        "predict",
        lambda self, texts, **how: seen.extend(texts) or classify(self, texts, **how),
    )
    assert main([str(run), text]) == 0
    assert seen == [text]


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("chunk", [7, 1024])
def test_files_keep_their_order_and_columns(
    run: Path, tmp_path: Path, expected: dict[str, Prediction], suffix: str, chunk: int,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(text_files, "CHUNK", chunk)
    rows = [{"id": f"n{place}", "text": text} for place, text in enumerate(TEXTS)]
    source = written(tmp_path / f"some{suffix}", rows)
    assert main([str(run), str(source)]) == 0
    target = tmp_path / f"some.predicted{suffix}"
    assert capsys.readouterr().out == f"25 of 25 rows classified: {target}\n"
    table = read_back(target)
    assert table["text"].tolist() == TEXTS
    if suffix != ".txt":
        assert list(table) == ["id", "text", *ADDED]
        assert table["id"].tolist() == [row["id"] for row in rows]
    assert table["label"].tolist() == [expected[text].label for text in TEXTS]
    for name in LABELS:
        theirs = [expected[text].probabilities[name] for text in TEXTS]
        assert table[f"probability_{name}"].astype(float).tolist() == pytest.approx(
            theirs, abs=1e-5
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, target.name])


def test_a_file_streams_in_chunks(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more rows are read than are about to be classified."""
    monkeypatch.setattr(text_files, "CHUNK", 4)
    read: list[Row] = []
    stream, classify = reader.stream_rows, Classifier.predict
    ahead: list[int] = []

    def predict(self, texts, *more, **promises):
        ahead.append(len(read) - sum(ahead))
        return classify(self, texts, *more, **promises)

    monkeypatch.setattr(
        reader, "stream_rows", lambda path: (read.append(row) or row for row in stream(path))
    )
    monkeypatch.setattr(Classifier, "predict", predict)
    for suffix in (".txt", ".csv", ".tsv", ".jsonl", ".parquet"):
        read.clear()
        ahead.clear()
        main([str(run), str(written(tmp_path / f"a{suffix}", [{"text": t} for t in TEXTS]))])
        assert ahead == [4] * 6 + [1]


@pytest.mark.parametrize("size", [1, 5, 64])
def test_batches_change_nothing(
    run: Path, tmp_path: Path, expected: dict[str, Prediction], size: int
) -> None:
    source = written(tmp_path / "some.csv", [{"text": text} for text in TEXTS])
    main([str(run), str(source), "--batch-size", str(size)])
    table = read_back(tmp_path / "some.predicted.csv")
    theirs = [expected[text].probabilities["food"] for text in TEXTS]
    assert table["probability_food"].tolist() == pytest.approx(theirs, abs=1e-5)


BAD = {
    ".txt": (b"rain\n\n   \ncaf\xe9\nwind\r\nsun", {2: "empty", 3: "empty", 4: "UTF-8"}, 3),
    ".csv": (
        b"text,n\nrain,1\n,2\nwind\nsun,1,2\ncaf\xe9,5\n\nmist,caf\xe9\nsnow,7\n",
        {3: "empty", 4: "1 columns, the header has 2", 5: "3 columns", 6: "UTF-8", 8: "UTF-8"},
        2,
    ),
    ".jsonl": (
        b'{"text": "rain"}\n{"text": \n["rain"]\n\n{"txet": "sun"}\n{"text": [5]}\n{"text": null}\n'
        b'{"text": " "}\n{"text": "caf\xe9"}\n{"text": "\\ud83d"}\n{"text": "wind"}\n',
        {
            2: "not JSON", 3: "not a JSON object", 5: "no text under 'text'", 6: "no text",
            7: "no text", 8: "empty", 9: "UTF-8", 10: "UTF-8",
        },
        2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl"])
def test_bad_rows_are_reported_and_left_out(
    run: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content, faults, good = BAD[suffix]
    source = made(tmp_path / f"some{suffix}", content)
    assert main([str(run), str(source)]) == 0
    out, errors = capsys.readouterr()
    for line, (number, fault) in zip(errors.splitlines(), faults.items(), strict=True):
        assert line.startswith(f"slimcls: skipped: {source} line {number}: ")
        assert fault in line
    assert out.startswith(f"{good} of {good + len(faults)} rows classified")
    assert len(read_back(tmp_path / f"some.predicted{suffix}")) == good
    (tmp_path / f"some.predicted{suffix}").unlink()
    number, fault = next(iter(faults.items()))
    line = refused(capsys, run, source, "--strict")
    assert f"line {number}: " in line
    assert fault in line
    assert "--strict" in line
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_a_stray_quote_swallows_nothing_unsaid(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows are counted from the line where they begin, and lost ones are named."""
    content = 'text,n\n"rain\nand wind",1\n"sun" set,2\n,3\nsnow,4\n'
    source = made(tmp_path / "some.csv", content)
    assert main([str(run), str(source)]) == 0
    out, errors = capsys.readouterr()
    quoted, empty = errors.splitlines()
    assert "some.csv line 4: cannot be parsed" in quoted
    assert "some.csv line 5: the text is empty" in empty
    assert out.startswith("2 of 4 rows classified")
    assert read_back(tmp_path / "some.predicted.csv")["n"].tolist() == [1, 4]
    made(source, content + '"mist,5\ncold,6\nwarm,7\n')
    error = refused(capsys, run, source, "--overwrite")
    assert "some.csv line 7: cannot be parsed" in error
    assert "a quotation mark made lines 7 to 9 one row" in error
    assert read_back(tmp_path / "some.predicted.csv")["n"].tolist() == [1, 4]
    broken = made(tmp_path / "broken.csv", '"text,n\nrain,1\n')
    assert "line 1: cannot be parsed" in refused(capsys, run, broken)


def test_columns_of_one_name_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = made(tmp_path / "some.csv", "text,n,n\nrain,1,2\n")
    assert "two columns are called 'n'; rename one" in refused(capsys, run, source)
    table = pa.Table.from_arrays([pa.array(["rain"])] * 2, names=["text", "text"])
    pq.write_table(table, tmp_path / "some.parquet")
    line = refused(capsys, run, tmp_path / "some.parquet", "--text-column", "text")
    assert "two columns are called 'text'" in line


def test_a_text_that_begins_with_dashes(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (prediction,) = slimcls.load(run).predict(["--no way"])
    assert main([str(run), "--", "--no way"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == prediction.label


def test_bad_rows_of_a_parquet_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "some.parquet"
    pd.DataFrame({"text": ["rain", None, "", "wind"], "n": [1, 2, 3, 4]}).to_parquet(source)
    assert main([str(run), str(source)]) == 0
    errors = capsys.readouterr().err.splitlines()
    assert [line.split("row ")[1][0] for line in errors] == ["1", "2"]
    table = read_back(tmp_path / "some.predicted.parquet")
    assert table["n"].tolist() == [1, 4]
    assert table["n"].dtype == "int64"


def test_what_looks_like_a_place_is_no_text(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (tmp_path, "/dev/null"):
        assert "is a folder or a device" in refused(capsys, run, place)
    assert main([str(run), "my reviews.csv"]) == 0
    assert "note: no file is called 'my reviews.csv'" in capsys.readouterr().err


def test_out_and_overwrite(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = written(tmp_path / "some.txt", [{"text": "rain"}])
    target = tmp_path / "deeper" / "found.txt"
    assert main([str(run), str(source), "--out", str(target)]) == 0
    before = target.read_text()
    capsys.readouterr()
    assert "--overwrite" in refused(capsys, run, source, "--out", target)
    made(source, "wind\nsun\n")
    assert main([str(run), "--overwrite", str(source), "--out", str(target)]) == 0
    assert target.read_text() != before
    assert "is the input itself" in refused(capsys, run, source, "--out", source, "--overwrite")
    assert source.read_text() == "wind\nsun\n"
    assert "must end in .txt" in refused(capsys, run, source, "--out", tmp_path / "found.csv")


def test_which_column(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = written(tmp_path / "some.csv", [{"a": "rain", "b": "sun"}])
    line = refused(capsys, run, source)
    assert "--text-column" in line
    assert "a, b" in line
    assert "did you mean 'a'" in refused(capsys, run, source, "--text-column", "aa")
    assert main([str(run), str(source), "--text-column", "b"]) == 0
    lines = written(tmp_path / "some.txt", [{"text": "rain"}])
    assert "has no columns" in refused(capsys, run, lines, "--text-column", "text")


def test_a_label_column_stays_and_taken_names_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for suffix in (".csv", ".parquet", ".jsonl"):
        rows = [{"text": "rain", "label": "x"}, {"text": "sun", "label": "y"}]
        source = written(tmp_path / f"some{suffix}", rows)
        assert main([str(run), str(source)]) == 0
        table = read_back(tmp_path / f"some.predicted{suffix}")
        assert list(table) == ["text", "label", "predicted_label", *ADDED[1:]]
        assert table["label"].tolist() == ["x", "y"]
        again = tmp_path / f"some.predicted{suffix}"
        assert "already" in refused(capsys, run, again)
        assert not (tmp_path / f"some.predicted.predicted{suffix}").exists()


def test_given_and_predicted_labels_never_share_a_column(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row of a .jsonl may lack what another has: one name for all."""
    source = made(tmp_path / "some.jsonl", '{"text": "rain", "label": "x"}\n{"text": "sun"}\n')
    assert main([str(run), str(source)]) == 0
    lines = (tmp_path / "some.predicted.jsonl").read_text().splitlines()
    first, second = (json.loads(line) for line in lines)
    assert first["label"] == "x"
    assert "label" not in second
    assert {"predicted_label"} <= first.keys() & second.keys()
    late = made(tmp_path / "late.jsonl", '{"text": "sun"}\n{"text": "rain", "label": "x"}\n')
    assert main([str(run), str(late)]) == 0
    lines = (tmp_path / "late.predicted.jsonl").read_text().splitlines()
    first, second = (json.loads(line) for line in lines)
    assert "label" not in first
    assert second["label"] == "x"
    assert {"predicted_label"} <= first.keys() & second.keys()


def test_odd_files(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Byte-order mark, quoted line ends, semicolons, a blank in the file's name."""
    source = made(tmp_path / "my texts.csv", '\ufefftext;n\r\n"rain\nand wind; again";1\r\nsun;2')
    assert main([str(run), str(source)]) == 0
    assert "2 of 2 rows classified" in capsys.readouterr().out
    with (tmp_path / "my texts.predicted.csv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    assert [row["text"] for row in rows] == ["rain\nand wind; again", "sun"]
    assert [row["n"] for row in rows] == ["1", "2"]
    bare = made(tmp_path / "bare.tsv", 'text\tn\n"Rain", she said\t1\n5" of "snow\t2\n')
    assert main([str(run), str(bare)]) == 0
    lines = (tmp_path / "bare.predicted.tsv").read_text().splitlines()
    assert [line.split("\t")[:2] for line in lines[1:]] == [
        ['"Rain", she said', "1"],
        ['5" of "snow', "2"],
    ]
    half = made(tmp_path / "half.jsonl", '{"text": "rain", "more": ["\\ud83d", "é"]}\n')
    assert main([str(run), str(half)]) == 0
    row = json.loads((tmp_path / "half.predicted.jsonl").read_text(encoding="utf-8"))
    assert row["more"] == ["\ud83d", "é"]


@pytest.mark.parametrize(
    "content",
    [
        "\n \ntext;n\nrain, wind;1\nsun;2\n",
        ' text ,n\n"rain, wind",1\nsun,2\n',
        "text\tn\nrain, wind\t1\nsun\t2\n",
        "text|n\nrain, wind|1\nsun|2\n",
    ],
    ids=["blank first line", "blanks in the header", "tabs", "upright lines"],
)
def test_columns_are_told_apart_as_in_training(run: Path, tmp_path: Path, content: str) -> None:
    """The text alone is classified: never the line with all its cells."""
    source = made(tmp_path / "some.csv", content)
    assert main([str(run), str(source)]) == 0
    with (tmp_path / "some.predicted.csv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=dialect_of(source)["delimiter"]))
    assert [list(row) for row in rows] == [["text", "n", *ADDED]] * 2
    theirs = slimcls.load(run).predict(["rain, wind", "sun"])
    for row, prediction in zip(rows, theirs, strict=True):
        found = [float(row[f"probability_{name}"]) for name in LABELS]
        assert found == pytest.approx(list(prediction.probabilities.values()), abs=1e-5)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_no_spreadsheet_runs_a_cell_that_is_written(run: Path, tmp_path: Path, suffix: str) -> None:
    """The input's own cells are still there to read, and numbers are as they were."""
    danger = ["=1+cmd", "+cmd", "-cmd|x", "@cmd", "-1+cmd"]
    others = ["-1", "+1.5", "-1,5", "1e-5", "-3%", "x=1", "'=1", " =1", ""]
    rows = [{"=text": "rain", "n": cell} for cell in danger + others]
    source = written(tmp_path / f"some{suffix}", [{"text": "=rain", **row} for row in rows])
    assert main([str(run), str(source)]) == 0
    sign = SEPARATORS[suffix]
    with (tmp_path / f"some.predicted{suffix}").open(newline="") as file:
        header, *found = list(csv.reader(file, delimiter=sign))
    assert header[:3] == ["text", "'=text", "n"]
    assert {row[0] for row in found} == {"'=rain"}
    assert [row[2] for row in found] == [f"'{cell}" for cell in danger] + others


def test_other_columns_of_a_parquet_file_come_back_as_they_were(run: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    given = pa.table({
        "text": ["rain", "sun"],
        "far": pa.array([10**18, None], pa.timestamp("us")),
        "fine": pa.array([1, 2], pa.timestamp("ns", "Europe/Berlin")),
        "many": pa.array([[1], None]),
        "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
        "kind": pa.array(["a", None]).dictionary_encode(),
        "bytes": pa.array([b"\xff", None]),
        "inside": pa.array([{"a": 1}, None]),
    })  # fmt: skip
    pq.write_table(given, tmp_path / "some.parquet")
    assert main([str(run), str(tmp_path / "some.parquet")]) == 0
    found = pq.read_table(tmp_path / "some.predicted.parquet")
    assert found.select(given.column_names).equals(pq.read_table(tmp_path / "some.parquet"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "the file is empty"),
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"text,n\n", "holds no rows"),
        ("a.csv", b"text,n\n,1\n", "none of its 1 rows"),
        ("a.jsonl", b"\n\n", "the file is empty"),
        ("a.jsonl", b"{}\n", "which column"),
        ("a.parquet", b"PAR1", "cannot be read as Parquet"),
        ("a.json", b"text\nrain\n", "not a kind of file that is read"),
        ("a", b"rain\n", "not a kind of file that is read"),
    ],
)
def test_files_that_cannot_be_used(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes,
    message: str,
) -> None:  # fmt: skip
    source = made(tmp_path / name, content)
    assert message in refused(capsys, run, source)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_parquet_file_without_rows(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "a.parquet"
    pd.DataFrame({"text": pd.Series([], dtype=str)}).to_parquet(source)
    assert "holds no rows" in refused(capsys, run, source)
    pd.DataFrame({"text": [None, ""]}).to_parquet(source)
    assert "none of its 2 rows" in refused(capsys, run, source)


def test_a_parquet_file_that_is_broken_inside(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "a.parquet"
    pd.DataFrame({"text": TEXTS}).to_parquet(source)
    content = bytearray(source.read_bytes())
    content[4:60] = b"\xff" * 56
    source.write_bytes(content)
    assert "cannot be read" in refused(capsys, run, source)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "rain"], "no such run directory"),
        (["RUN", "nowhere.csv"], "nowhere.csv: no such file"),
        (["RUN", "nowhere.tsv"], "nowhere.tsv: no such file"),
        (["RUN", "some.json"], "some.json: not a kind of file that is read (.txt, .csv, .tsv, "),
        (["RUN", "rain", "--out", "a.txt"], "only with an input file"),
        (["RUN", "  "], "the text is empty"),
        (["RUN"], "INPUT is missing: slimcls predict RUN "),
        ([], "RUN is missing: slimcls predict RUN "),
        (["RUN", "rain", "wind"], "unexpected word 'wind'"),
        (["RUN", "rain", "--batch-size", "0"], "at least 1"),
        (["RUN", "rain", "--strickt"], "did you mean --strict?"),
    ],
)
def test_faults_in_what_is_asked(
    run: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert message in refused(capsys, *[run if word == "RUN" else word for word in words])


def test_a_long_text_is_a_text(run: Path) -> None:
    assert main([str(run), "rain and wind " * 5000 + "a.txt"]) == 0


def test_a_folder_that_cannot_be_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any weight is read."""
    monkeypatch.setattr("slimcls.classifier.artefact.load", None)
    path = made(tmp_path / "new.txt", "a\n")
    line = refused(capsys, run, path, "--out", path / "below.txt")
    assert "new.txt: cannot be written (Not a directory)" in line
