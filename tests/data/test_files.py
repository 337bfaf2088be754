import json
import re

import pyarrow
import pyarrow.parquet
import pytest

from slimcls.data import files
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
    rows = files.read(_write(tmp_path, name, content))
    assert rows.columns == {"text": ["fine", 'two\nlines, "quoted"'], "label": ["1", "0"]}
    assert rows.numbers == [2, 4]
    assert rows.place(1) == f"{tmp_path / name} line 4"


def test_tsv_with_bare_quotation_marks(tmp_path):
    rows = files.read(_write(tmp_path, "a.tsv", 'text\tlabel\n"so" he said\t1\n"open\t0\n'))
    assert rows.columns["text"] == ['"so" he said', '"open']


def test_json_lines(tmp_path):
    content = '{"text": "one", "label": 1}\n\n{"label": "b", "text": "two", "more": [3]}\n'
    rows = files.read(_write(tmp_path, "a.jsonl", content))
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
    rows = files.read(tmp_path / "a.parquet")
    assert rows.columns == {"text": ["a", "b"], "label": [0, 1]}
    assert rows.label_names == {"label": ["no", "yes"]}
    assert rows.place(1).endswith("row 1")


def test_unreadable_class_names_are_left_out():
    assert files.class_names({b"huggingface": b"{"}) == {}


BAD = [
    ("empty.csv", "", "the file is empty"),
    ("blank.jsonl", " \n\n", "the file is empty"),
    ("header.csv", "text,label\n", "holds no rows"),
    ("short.csv", "text,label\nfine,1\nlonely\n", "line 3: 1 values for 2 columns"),
    ("open.csv", 'text,label\nfine,1\n"open,0\nmore,1\n', "line 3: cannot be parsed"),
    ("twice.csv", "text,text\na,b\n", "line 1: two columns are called 'text'"),
    ("latin.csv", b"text,label\nfine,1\ncaf\xe9,0\n", "line 3: byte 0xe9 is not UTF-8"),
    ("latin.jsonl", b'{"text": "caf\xe9"}\n', "line 1: byte 0xe9 is not UTF-8"),
    ("bad.jsonl", '{"text": "a"}\n{"text": \n', "line 2: not JSON"),
    ("list.jsonl", '{"text": "a"}\n[1]\n', "line 2: not a JSON object"),
    ("bad.parquet", "PAR1 but not really", "not a readable Parquet file"),
]


@pytest.mark.parametrize(("name", "content", "problem"), BAD, ids=[row[0] for row in BAD])
def test_faults_name_file_and_line(tmp_path, name, content, problem):
    path = _write(tmp_path, name, content)
    with pytest.raises(UserError, match=f"^{re.escape(str(path))}.*{re.escape(problem)}") as error:
        files.read(path)
    assert "\n" not in str(error.value)


def test_parquet_without_rows(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"text": []}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="holds no rows"):
        files.read(tmp_path / "a.parquet")


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        files.read(tmp_path / "a.csv")


def test_bad_rows_can_be_reported_and_left_out(tmp_path):
    told = []
    path = _write(tmp_path, "a.csv", 'text,label\nx\nfine,1\na,"b"c\nlast,0\n')
    rows = list(files.iterate(path, lambda place, problem: told.append(place)))
    assert rows == [(3, {"text": "fine", "label": "1"}), (5, {"text": "last", "label": "0"})]
    assert told == ["line 2", "line 4"]
    path = _write(tmp_path, "a.jsonl", '{"a": 1}\nx\n3\n{"a": 2}\n')
    assert [n for n, _ in files.iterate(path, lambda *_: None)] == [1, 4]
