"""What is said of one's own rows: each remark names the rows it is about."""

from __future__ import annotations

import pytest
from conftest import made_up_rows, write_csv

from slimcls.data import remarks
from slimcls.data.dataset import read_dataset
from slimcls.data.splits import draw

ROWS = made_up_rows(300, 5)
LONG = "the quick brown fox jumps over the lazy dog near the old bridge in the rain today"


def said(path, word):
    return [note for note in read_dataset(str(path)).notes if word in note]


def test_rows_that_are_as_they_should_be_get_no_remark(tmp_path):
    path = write_csv(tmp_path / "a.csv", ROWS)
    assert not said(path, "several labels") + said(path, "one row") + said(path, "near-copies")


def test_texts_with_several_labels_are_named(tmp_path):
    rows = [*ROWS, (ROWS[3][0].upper(), "food"), (ROWS[4][0], ROWS[4][1]), (ROWS[7][0], "weather")]
    path = write_csv(tmp_path / "a.csv", rows)
    (note,) = said(path, "several labels")
    assert note == (
        f"texts with several labels: 2 ({path} line 5: weather and {path} line 302: food; "
        f"{path} line 9: food and {path} line 304: weather)"
    )


def test_labels_at_odds_between_the_files_of_a_folder(tmp_path):
    write_csv(tmp_path / "train.csv", ROWS)
    write_csv(tmp_path / "test.csv", [(ROWS[0][0], "travel"), *made_up_rows(20, 9)])
    (note,) = said(tmp_path, "several labels")
    assert f"{tmp_path / 'train.csv'} line 2: weather and {tmp_path / 'test.csv'} line 2" in note


def test_a_class_of_one_row_is_named(tmp_path):
    rows = [*ROWS[:200], ("nothing like it", "odd"), *ROWS[200:]]
    path = write_csv(tmp_path / "a.csv", rows)
    assert said(path, "one row") == [f"classes of one row only: 1 ({path} line 202: odd)"]


@pytest.fixture
def folder(tmp_path):
    """Test and validation each have a near-copy of a training text, and a copy of one."""
    write_csv(tmp_path / "train.csv", [*ROWS, (LONG, "food"), ("Good news", "food")])
    write_csv(tmp_path / "test.csv", [*made_up_rows(9, 8), (LONG + " again", "food")])
    validation = [*made_up_rows(9, 7), (ROWS[5][0], ROWS[5][1]), ("good news!", "food")]
    write_csv(tmp_path / "validation.csv", validation)
    return tmp_path


def test_near_copies_across_parts_are_named(folder):
    (note,) = said(folder, "near-copies")
    assert note.startswith("near-copies of texts of another part: 1 in validation, 1 in test (")
    assert f"{folder / 'test.csv'} line 11 and {folder / 'train.csv'} line 302" in note
    assert f"{folder / 'validation.csv'} line 12 and {folder / 'train.csv'} line 303" in note
    assert "near_duplicates: true in a dataset YAML" in note


def test_a_description_that_takes_near_copies_out_has_none(folder):
    files = "{train: train.csv, validation: validation.csv, test: test.csv}"
    (folder / "d.yaml").write_text(f"files: {files}\npool: true\nnear_duplicates: true\n")
    assert not said(folder / "d.yaml", "near-copies")
    (folder / "d.yaml").write_text(f"files: {files}\npool: true\n")
    assert len(said(folder / "d.yaml", "near-duplicates dropped")) == 0


def test_near_copies_of_very_many_texts_are_not_looked_for(folder, monkeypatch):
    monkeypatch.setattr(remarks, "MOST_COMPARED", 100)
    assert said(folder, "near-copies") == [
        "near-copies across parts were not looked for: over 100 texts"
    ]


@pytest.mark.parametrize(("shots", "left"), [(30, 138), ("all", 0)])
def test_training_rows_that_shots_leave_unused_are_counted(tmp_path, shots, left):
    data = read_dataset(str(write_csv(tmp_path / "a.csv", ROWS)))
    items = draw(data, shots=shots, demos=4, seed=0, validation_size=100, test_size=100)
    used = len(items.train) + len(items.demonstrations)
    assert len(data.train) - used == left
    note = f"--shots 30 leaves {left} of 240 training rows unused; --shots all takes them"
    assert [line for line in items.notes if "unused" in line] == [note] * bool(left)
