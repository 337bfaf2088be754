"""Texts without labels: in no part of the run, and nearly none that it is judged by."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import made_up_rows, write_csv
from hypothesis import given, settings
from hypothesis import strategies as st

from slimcls.data import texts
from slimcls.data.dataset import read_dataset
from slimcls.data.splits import Splits, draw
from slimcls.data.tables import Tables
from slimcls.data.unlabelled import REST, check_unlabelled, draw_unlabelled
from slimcls.errors import UserError

LONG = "a long and winding sentence about the weather in the hills that goes on"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tables, Splits]:
    folder = tmp_path_factory.mktemp("data") / "some"
    folder.mkdir()
    train = made_up_rows(120, 1)
    write_csv(folder / "train.csv", [*train, (f"{LONG} nearly", train[0][1])])
    write_csv(folder / "test.csv", [*made_up_rows(30, 2), (LONG, train[0][1])])
    data = read_dataset(str(folder))
    return data, draw(data, shots=5, demos=1, seed=3, validation_size=20, test_size=9)


def keys(found: tuple[str, ...]) -> list[str]:
    return [texts.key(text) for text in found]


def parts(splits: Splits) -> set[str]:
    items = (*splits.demonstrations, *splits.train, *splits.validation, *splits.test)
    return {texts.key(item.text) for item in items}


def test_the_rest_is_what_no_part_has(drawn: tuple[Tables, Splits]) -> None:
    data, splits = drawn
    found = draw_unlabelled(REST, data, splits, column=None, size=None, seed=3)
    assert len(found.texts) == 120 - 3 - 15 - 20
    assert not set(keys(found.texts)) & parts(splits)
    assert f"{LONG} nearly" not in found.texts
    assert any("nearly are validation or test texts" in note for note in found.notes)


def test_a_smaller_size_is_a_part_of_a_larger(drawn: tuple[Tables, Splits]) -> None:
    def some(size: int, seed: int) -> tuple[str, ...]:
        return draw_unlabelled(REST, *drawn, column=None, size=size, seed=seed).texts

    assert some(10, 3) == some(40, 3)[:10]
    assert some(10, 3) != some(10, 4)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["new one", "new two", "a test text", "a train text"]), min_size=1))
def test_of_a_file_each_new_text_once(
    drawn: tuple[Tables, Splits], tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    data, splits = drawn
    known = {"a test text": data.test.texts[0], "a train text": splits.train[0].text}
    file = tmp_path_factory.mktemp("lines") / "u.txt"
    file.write_text("\n".join(known.get(line, line) for line in lines), encoding="utf-8")
    new = {line for line in lines if line.startswith("new")}
    if not new:
        with pytest.raises(UserError, match="are items of the run"):
            draw_unlabelled(str(file), data, splits, column=None, size=None, seed=0)
        return
    found = draw_unlabelled(str(file), data, splits, column=None, size=None, seed=0)
    assert sorted(found.texts) == sorted(new)
    again = len(lines) - len(new)
    assert any(note.startswith(f"{again} texts") for note in found.notes) is bool(again)


def test_labels_of_a_file_are_never_read(drawn: tuple[Tables, Splits], tmp_path: Path) -> None:
    file = write_csv(tmp_path / "u.csv", [("some new text", "no such class"), ("another", "")])
    found = draw_unlabelled(str(file), *drawn, column=None, size=None, seed=0)
    assert sorted(found.texts) == ["another", "some new text"]


def test_rows_that_have_no_text_are_told(drawn: tuple[Tables, Splits], tmp_path: Path) -> None:
    file = tmp_path / "u.jsonl"
    file.write_text('{"text": "some new text"}\n{"text": 5}\n{"text": [1]}\n{"text": " "}\n')
    found = draw_unlabelled(str(file), *drawn, column=None, size=None, seed=0)
    assert sorted(found.texts) == ["5", "some new text"], "numbers are read as training reads them"
    said = f"{file}: rows without a text: 2, left out; the first is line 3: no text under 'text'"
    assert said in found.notes
    lines = tmp_path / "u.txt"
    lines.write_text("some new text\n\nanother\n")
    found = draw_unlabelled(str(lines), *drawn, column=None, size=None, seed=0)
    assert not any("without a text" in note for note in found.notes), "a blank line parts texts"


def test_names(tmp_path: Path) -> None:
    check_unlabelled(REST)
    with pytest.raises(UserError, match="no such file; give a data file, or rest"):
        check_unlabelled(str(tmp_path / "none.csv"))
    (tmp_path / "a.docx").touch()
    with pytest.raises(UserError, match=r"not one of \.txt"):
        check_unlabelled(str(tmp_path / "a.docx"))
