"""JSON of people: read as it stands, or an error that says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimcls.backbones.layout import read_json
from slimcls.classifier.description import DESCRIPTION, read_description
from slimcls.data.lines import json_rows
from slimcls.errors import UserError
from slimcls.grids import attempts
from slimcls.layers.layer_scores import read_scores
from slimcls.runs import choices, plans
from slimcls.storage.json_files import parse_json

TWICE = '{"text": "a", "label": "b", "text": "c"}'
DEEP = "[" * 50_000 + "]" * 50_000
LONG = '{"text": ' + "9" * 5_000 + "}"


def test_what_json_means() -> None:
    assert parse_json('{"a": [1, {"b": null}], "c": "\\u00fc", "d": {"a": 1}}') == {
        "a": [1, {"b": None}], "c": "ü", "d": {"a": 1},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TWICE, "'text' stands there twice"),
        ('[{"a": {"b": 1, "b": 1}}]', "'b' stands there twice"),
        (DEEP, "nested too deeply"),
        (LONG, "digits"),
        ("{", "Expecting"),
        ("", "Expecting"),
    ],
)
def test_what_is_no_good_json(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


@pytest.mark.parametrize("text", [TWICE, DEEP, LONG, '{"format": Infinity}'])
def test_every_reader_of_files_that_people_write_says_so_in_a_line(
    text: str, tmp_path: Path
) -> None:
    path = tmp_path / DESCRIPTION
    path.write_text(text, encoding="utf-8")
    for read in (lambda: read_scores(path), lambda: read_description(tmp_path)):
        with pytest.raises(UserError) as refusal:
            read()
        assert str(path) in str(refusal.value)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "message"), [(TWICE, "twice"), (DEEP, "deeply"), (LONG, "digits")]
)
def test_what_grids_keep_is_read_so_too(text: str, message: str, tmp_path: Path) -> None:
    for folder, read in ((plans.FOLDER, plans.read_plans), (choices.FOLDER, choices.read_choices)):
        path = tmp_path / folder / "g.json"
        path.parent.mkdir()
        path.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=message):
            read(tmp_path)
    (tmp_path / attempts.FAILED).write_text(text, encoding="utf-8")
    found = attempts.failure(tmp_path)
    assert found is not None
    assert message in found.error


@pytest.mark.parametrize(
    ("text", "message"), [(TWICE, "twice"), (DEEP, "deeply"), (LONG, "digits")]
)
def test_rows_and_configurations(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(text + "\n", encoding="utf-8")
    (row,) = json_rows(path)
    assert message in row.fault
    with pytest.raises(UserError, match=message):
        read_json(path)
