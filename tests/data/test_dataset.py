"""A dataset found and read in one call, and whether its rows may be had later."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import write_csv

from slimcls.data import catalog, tables
from slimcls.data.dataset import may_be_out_of_reach, read_dataset
from slimcls.errors import UserError


def test_it_is_found_and_read(toy: Path) -> None:
    assert read_dataset(str(toy)) == tables.read_tables(catalog.find_dataset(str(toy)))


def test_columns_and_folder_are_handed_on(tmp_path: Path, toy: Path) -> None:
    path = write_csv(tmp_path / "own.csv", [(f"text {i}", "ab"[i % 2]) for i in range(30)])
    path.write_text(path.read_text().replace("text,label", "body,sort"))
    data = read_dataset(str(path), text_column="body", label_column="sort")
    assert (data.spec.text_column, data.spec.label_column) == ("body", "sort")
    with pytest.raises(UserError, match="--text-column body"):
        read_dataset("trec", text_column="body")
    with pytest.raises(UserError, match=f"--data-dir {tmp_path / 'none'}: no such folder"):
        read_dataset("trec", data_dir=str(tmp_path / "none"))


def test_own_files_are_here_or_nowhere(toy: Path) -> None:
    assert may_be_out_of_reach("trec")
    assert not may_be_out_of_reach(str(toy))
    with pytest.raises(UserError, match="did you mean 'trec'"):
        may_be_out_of_reach("treck")
