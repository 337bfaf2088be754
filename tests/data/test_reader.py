import json
import re
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest
from conftest import ROOT

from slimcls.classifier.text_files import WRITERS
from slimcls.data.parquet import class_names
from slimcls.data.reader import READERS, read_rows, stream_rows, stream_texts
from slimcls.data.rows import STOP, BadRows
from slimcls.errors import UserError


def _write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'text,label\nfine,1\n\n"two\nlines, ""quoted""",0\n'),
        ("semicolons.csv", 'text;label\nfine;1\n\n"two\nlines, ""quoted""";0\n'),
        ("bom.csv", '\ufefftext,label\r\nfine,1\r\n\r\n"two\nlines, ""quoted""",0\r\n'),
        ("a.tsv", 'text\tlabel\nfine\t1\n\n"two\nlines, ""quoted"""\t0\n'),
    ],
)
def test_delimited_rows_and_their_lines(tmp_path, name, content):
    rows = read_rows(_write(tmp_path, name, content))
    assert rows.columns == {"text": ["fine", 'two\nlines, "quoted"'], "label": ["1", "0"]}
    assert rows.numbers == [2, 4]
    assert rows.place(1) == f"{tmp_path / name} line 4"


def test_tsv_with_bare_quotation_marks(tmp_path):
    rows = read_rows(_write(tmp_path, "a.tsv", 'text\tlabel\n"so" he said\t1\n"open\t0\n'))
    assert rows.columns["text"] == ['"so" he said', '"open']


def test_json_lines(tmp_path):
    content = '{"text": "one", "label": 1}\n\n{"label": "b", "text": "two", "more": [3]}\n'
    rows = read_rows(_write(tmp_path, "a.jsonl", content))
    assert rows.columns == {"text": ["one", "two"], "label": [1, "b"], "more": [None, [3]]}
    assert rows.numbers == [1, 3]


@pytest.mark.parametrize("written_as", ["label_names", "huggingface"])
def test_parquet_with_class_names(tmp_path, written_as):
    feature = {"_type": "ClassLabel", "names": ["no", "yes"]}
    metadata = {
        "label_names": json.dumps({"label": ["no", "yes"]}),
        "huggingface": json.dumps({"info": {"features": {"label": feature}}}),
    }
    table = pyarrow.table({"text": ["a", "b"], "label": [0, 1]})
    table = table.replace_schema_metadata({written_as: metadata[written_as]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    rows = read_rows(tmp_path / "a.parquet")
    assert rows.columns == {"text": ["a", "b"], "label": [0, 1]}
    assert rows.label_names == {"label": ["no", "yes"]}
    assert rows.place(1).endswith("row 1")


def test_unreadable_class_names_are_left_out():
    assert class_names({b"huggingface": b"{"}) == {}


BAD = [
    ("empty.csv", "", "the file is empty"),
    ("blank.jsonl", " \n\n", "the file is empty"),
    ("header.csv", "text,label\n", "holds no rows"),
    ("short.csv", "text,label\nfine,1\nlonely\n", "line 3: 1 columns, the header has 2"),
    ("open.csv", 'text,label\nfine,1\n"open,0\nmore,1\n', "line 3: cannot be parsed"),
    ("twice.csv", "text,text\na,b\n", "line 1: two columns are called 'text'"),
    ("latin.csv", b"text,label\nfine,1\ncaf\xe9,0\n", "line 3: byte 0xe9 is not UTF-8"),
    ("latin.jsonl", b'{"text": "caf\xe9"}\n', "line 1: byte 0xe9 is not UTF-8"),
    ("bad.jsonl", '{"text": "a"}\n{"text": \n', "line 2: not JSON"),
    ("list.jsonl", '{"text": "a"}\n[1]\n', "line 2: not a JSON object"),
    ("bad.parquet", "PAR1 but not really", "cannot be read as Parquet"),
]


@pytest.mark.parametrize(("name", "content", "problem"), BAD, ids=[row[0] for row in BAD])
def test_faults_name_file_and_line(tmp_path, name, content, problem):
    path = _write(tmp_path, name, content)
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}.*{re.escape(problem)}") as error:
        read_rows(path)
    assert "\n" not in str(error.value)


def test_parquet_without_rows(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"text": []}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="holds no rows"):
        read_rows(tmp_path / "a.parquet")


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_rows(tmp_path / "a.csv")


def test_bad_rows_come_with_what_is_wrong_and_their_line(tmp_path):
    path = _write(tmp_path, "a.csv", 'text,label\nx\nfine,1\na,"b"c\nlast,0\n')
    rows = list(stream_rows(path))
    assert [row.place for row in rows] == ["line 2", "line 3", "line 4", "line 5"]
    assert [bool(row.fault) for row in rows] == [True, False, True, False]
    assert rows[3].values == {"text": "last", "label": "0"}
    path = _write(tmp_path, "a.jsonl", '{"a": 1}\nx\n3\n{"a": 2}\n')
    assert [row.number for row in stream_rows(path) if not row.fault] == [1, 4]


FAULTS = [
    ("half.jsonl", '{"text": "a \\ud800 b"}\n', 1, r"\ud800 is half a surrogate pair"),
    ("key.jsonl", '{"\\udfff": "a"}\n', 1, "half a surrogate pair"),
    ("deep.jsonl", '{"text": ' + "[" * 50_000 + "]" * 50_000 + "}\n", 1, "nested too deeply"),
    ("levels.jsonl", '{"a": ' + "[" * 300 + "]" * 300 + "}\n", 1, "nested more than 100 deep"),
    ("digits.jsonl", '{"text": ' + "9" * 5_000 + "}\n", 1, "not JSON"),
    ("latin.tsv", b"text\tn\ncaf\xe9\t1\n", 2, "byte 0xe9 is not UTF-8"),
    ("latin.txt", b"rain\ncaf\xe9\n", 2, "byte 0xe9 is not UTF-8"),
]


@pytest.mark.parametrize(("name", "content", "line", "fault"), FAULTS, ids=[r[0] for r in FAULTS])
def test_what_is_wrong_with_a_row(tmp_path, name, content, line, fault):
    path = _write(tmp_path, name, content)
    bad = [row for row in stream_rows(path) if row.fault]
    assert [row.number for row in bad] == [line]
    assert fault in bad[0].fault
    with pytest.raises(UserError, match=re.escape(f"{path} line {line}: {bad[0].fault}")):
        read_rows(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"te\xe9xt,label\na,b\n", "line 1: byte 0xe9 is not UTF-8"),
        ("\n \ntext,text\na,b\n", "line 3: two columns are called 'text'"),
        (",,\n, ,\n", "no line names its columns"),
    ],
)
def test_headers_that_cannot_be_used(tmp_path, content, problem):
    path = _write(tmp_path, "a.csv", content)
    with pytest.raises(UserError, match=re.escape(problem)):
        read_rows(path)


READ_ALIKE = [
    ("blank first line", "\n \ntext;label\na, b;x\n"),
    ("blanks in the header", ' text , label\n"a, b",x\n'),
    ("tabs", "text\tlabel\na, b\tx\n"),
    ("upright lines", "text|label\na, b|x\n"),
    ("a comma inside a quoted name", '"label";"text"\nx;a, b\n'),
    ("empty lines before and between", ',\n\ntext,label\n\n"a, b",x\n\n'),
]


@pytest.mark.parametrize("content", [row[1] for row in READ_ALIKE], ids=[r[0] for r in READ_ALIKE])
def test_training_and_predicting_read_the_same(tmp_path, content):
    path = _write(tmp_path, "a.csv", content)
    assert read_rows(path).columns == {"text": ["a, b"], "label": ["x"]}
    ((row, text),) = next(stream_texts(path, None, 9))
    assert (text, row.values, row.fault) == ("a, b", {"text": "a, b", "label": "x"}, "")


def test_texts_come_in_chunks_and_the_first_settles_the_column(tmp_path):
    content = '{"id": "n1"}\n{"text": "rain", "id": "n2"}\n{"text": 5}\n{"text": " "}\n'
    path = _write(tmp_path, "a.jsonl", content)
    chunks = list(stream_texts(path, None, 3))
    assert [len(chunk) for chunk in chunks] == [3, 1]
    found = [(row.fault, text) for chunk in chunks for row, text in chunk]
    assert found[1] == ("", "rain")
    assert [fault for fault, _ in found if fault] == [
        "no text under 'text'",
        "the text is empty",
    ]
    assert found[2] == ("", "5"), "as training reads it"


def test_a_quotation_mark_that_swallows_lines_is_no_row_to_leave_out(tmp_path):
    """As one bad row it took all rows after it along, and a fit went on with the handful before."""
    rows = "".join(f"text {place},{place % 2}\n" for place in range(50))
    path = _write(tmp_path, "a.csv", f'text,n\nfine,1\n"odd,1\n{rows}')
    said = "a.csv line 3: cannot be parsed: .* made lines 3 to 53 one row; double it, or take it"
    for bad_rows in (STOP, BadRows(skip=True)):
        with pytest.raises(UserError, match=said):
            read_rows(path, bad_rows)


def test_rows_of_a_text_file_are_its_lines(tmp_path):
    path = _write(tmp_path, "a.txt", "\ufeffrain\r\n\n wind, sun\x85\n")
    assert read_rows(path).columns == {"text": ["rain", "", " wind, sun\x85"]}
    with pytest.raises(UserError, match=r"--text-column text: .*a.txt has no columns"):
        next(stream_texts(path, "text", 9))


def test_a_parquet_files_rows_are_numbered_alike_and_its_twins_refused(tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", None]}), path)
    assert [row.place for row in stream_rows(path)] == ["row 0", "row 1"]
    assert read_rows(path).place(1) == f"{path} row 1"
    twins = pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 2, names=["text", "text"])
    pyarrow.parquet.write_table(twins, path)
    with pytest.raises(UserError, match="two columns are called 'text'; rename one"):
        read_rows(path)


def test_values_that_python_lacks_do_not_keep_the_others_from_being_read(tmp_path):
    days = pyarrow.array([10**18, 0], pyarrow.timestamp("us"))
    nested = pyarrow.array([[10**18], None], pyarrow.list_(pyarrow.timestamp("us")))
    broken = pyarrow.array([b"caf\xe9", b"rain"]).view(pyarrow.string())
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"], "on": days, "at": nested}), path)
    rows = read_rows(path)
    assert rows.columns["text"] == ["a", "b"]
    assert rows.columns["on"][0] is None
    assert rows.columns["on"][1].year == 1970
    assert rows.columns["at"] == [None, None]
    pyarrow.parquet.write_table(pyarrow.table({"text": broken}), path)
    assert [row.fault[:9] for row in stream_rows(path)] == ["byte 0xe9", ""]


MALFORMED = [
    ("label_names", "[1, 2]"), ("label_names", '{"label": 3}'), ("label_names", "null"),
    ("label_names", '{"label": ["a", "a"]}'), ("label_names", '{"label": ["", "a"]}'),
    ("label_names", '{"label": [["a"], ["b"]]}'), ("label_names", "[" * 50_000),
    ("label_names", "\xff"), ("huggingface", "null"), ("huggingface", "[1]"),
    ("huggingface", '{"info": null}'), ("huggingface", '{"info": {"features": [1]}}'),
    ("huggingface", '{"info": {"features": {"label": {"_type": "ClassLabel"}}}}'),
    ("huggingface", '{"info": {"features": {"label": {"_type": "ClassLabel", "names": 2}}}}'),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), MALFORMED)
def test_names_of_classes_that_make_no_sense_are_passed_over(key, value):
    assert class_names({key.encode(): value.encode("latin-1")}) == {}


def test_text_files_are_read_with_nothing_but_python(tmp_path):
    """Predicting needs no more than this reader does."""
    path = _write(tmp_path, "a.csv", "text,label\na,b\n")
    heavy = "{'duckdb', 'pandas', 'pyarrow', 'datasets', 'numpy', 'torch', 'sklearn'}"
    code = (
        "import sys, pathlib; from slimcls.data.reader import read_rows, stream_texts;"
        f"path = pathlib.Path({str(path)!r}); read_rows(path); list(stream_texts(path, None, 9));"
        f"print({heavy} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_every_kind_of_file_has_its_reader_and_its_writer():
    assert list(READERS) == list(WRITERS)


def test_as_many_brackets_side_by_side_are_no_depth(tmp_path):
    row = {"text": "[" * 200, "vectors": [[n] for n in range(200)], "deep": None}
    for _ in range(99):
        row["deep"] = [row["deep"]]
    path = _write(tmp_path, "a.jsonl", json.dumps(row))
    assert read_rows(path).columns == {name: [value] for name, value in row.items()}
