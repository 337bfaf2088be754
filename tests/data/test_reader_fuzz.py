"""Any bytes under any name give rows or one UserError, to training and to predicting alike."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from slimcls.data.delimited import DELIMITERS
from slimcls.data.reader import READERS, read_rows, stream_rows, stream_texts
from slimcls.errors import UserError

SETTINGS = settings(
    max_examples=75 * int(os.environ.get("SLIMCLS_FAULTS", "2")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
pytestmark = pytest.mark.fault("readers of spoiled files")

#: What breaks readers more often than chance finds it.
PIECES = [
    b"text", b"label", b",", b";", b"\t", b"|", b"\n", b"\r", b"\r\n", b'"', b'""', b"'", b" ",
    b"\xef\xbb\xbf", b"\xff", b"\xed\xa0\x80", b"\x00", b"\x1c", b"\xc2\x85", "é中😀".encode(),
    b"=1+1", b"{", b"}", b"[", b"]", b":", b"\\", b'{"text": "a", "label": 1}\n',
    b'{"text": "\\ud800"}\n', b'{"text": 1e999}\n', b"null\n", b"NaN", b"text,label\na,b\n",
    b"PAR1", b"9" * 5000,
]  # fmt: skip
BYTES = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=30).map(b"".join)


T = TypeVar("T")


def given_or_refused(read: Callable[[], T]) -> tuple[T | None, str]:
    """What was read, or the line that says why not."""
    try:
        return read(), ""
    except UserError as error:
        return None, str(error)


def agree(path: Path) -> None:
    """Both readers agree on the file, and what they give can be shown."""
    trained, problem = given_or_refused(lambda: read_rows(path))
    streamed, _ = given_or_refused(lambda: list(stream_rows(path)))
    assert "\n" not in problem
    assert problem.startswith(str(path)) == (trained is None)
    if streamed is None:
        assert trained is None
        return
    faults = [row.fault for row in streamed if row.fault]
    assert (trained is None) == bool(faults)
    "".join(faults).encode()
    if trained is None:
        return
    assert [row.number for row in streamed] == trained.numbers
    for place, row in enumerate(streamed):
        for name, value in row.values.items():
            if isinstance(value, str):
                value.encode()
                assert trained.columns[name][place] == value
    chunks, problem = given_or_refused(lambda: list(stream_texts(path, None, 3)))
    assert "\n" not in problem
    assert chunks is None or sum(map(len, chunks)) == len(trained)


@pytest.mark.parametrize("suffix", READERS)
@SETTINGS
@given(content=BYTES)
@example(content=b"")
@example(content=b'text,label\n"a,b\nc,d\n')
@example(content=b"\xff\xfet\x00e\x00x\x00t\x00\n\x00a\x00\n\x00")
def test_any_bytes(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"some{suffix}"
    path.write_bytes(content)
    agree(path)


CELLS = st.text(st.characters(codec="utf-8"), max_size=8)
HEADER = st.lists(CELLS.map(str.strip), min_size=1, max_size=3, unique=True)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@SETTINGS
@given(data=st.data())
def test_what_was_written_is_read(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    """Cells of any characters come back as they were."""
    names = data.draw(HEADER.filter(lambda names: all(names)))
    rows = data.draw(
        st.lists(
            st.tuples(*[CELLS] * len(names)).filter(lambda row: any(row)), min_size=1, max_size=4
        )
    )
    path = tmp_path / f"some{suffix}"
    if suffix == ".jsonl":
        lines = [json.dumps(dict(zip(names, row, strict=True))) for row in rows]
        path.write_text("\n".join(lines), encoding="utf-8")
    elif suffix == ".parquet":
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            sign = data.draw(st.sampled_from(DELIMITERS))
            csv.writer(file, delimiter=sign, quoting=csv.QUOTE_ALL).writerows([names, *rows])
    found = read_rows(path)
    assert list(found.columns) == names
    assert list(zip(*found.columns.values(), strict=True)) == rows
    agree(path)


NAMED = {"label_names": {"label": ["no", "yes"]}, "huggingface": {"info": {"features": {}}}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | CELLS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["label", "info", "features", "names", "_type"]), inner)
    ),
    max_leaves=8,
)


@SETTINGS
@given(key=st.sampled_from(sorted(NAMED)), value=JSON.map(json.dumps) | st.text(max_size=20))
def test_any_metadata_of_a_parquet_file(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "some.parquet"
    table = pyarrow.table({"text": ["a", "b"], "label": [0, 1]})
    described = {key: value.encode(errors="surrogatepass")}
    pyarrow.parquet.write_table(table.replace_schema_metadata(described), path)
    for names in read_rows(path).label_names.values():
        assert all(isinstance(name, str) and name.strip() for name in names)


@SETTINGS
@given(place=st.integers(0, 10_000), bits=st.binary(min_size=1, max_size=8))
def test_a_parquet_file_with_other_bytes_in_it(tmp_path: Path, place: int, bits: bytes) -> None:
    whole = io.BytesIO()
    columns = {"text": ["rain", "sun", None], "n": [[1], None, [2, 3]], "on": [1.5, 2.5, None]}
    pyarrow.parquet.write_table(pyarrow.table(columns), whole)
    content = bytearray(whole.getvalue())
    place %= len(content)
    content[place : place + len(bits)] = bits
    path = tmp_path / "some.parquet"
    path.write_bytes(content)
    agree(path)
