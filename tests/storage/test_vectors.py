"""Vectors come back as they went in, or count as absent; the cache stays within its limit."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import torch
from conftest import PATIENCE
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from slimcls.errors import UserError
from slimcls.storage.vectors import Vectors, digest


def some(first: int, count: int) -> dict[bytes, Tensor]:
    generator = torch.Generator().manual_seed(first)
    keys = [digest([number]) for number in range(first, first + count)]
    return dict(zip(keys, torch.randn(count, 6, generator=generator), strict=True))


def assert_same(found: dict[bytes, Tensor], wanted: dict[bytes, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    assert all(found[key].equal(wanted[key]) for key in wanted)


@given(st.lists(st.lists(st.integers(0, 2**40)), unique_by=tuple))
def test_a_digest_tells_lists_apart(lists: list[list[int]]) -> None:
    assert len({digest(ids) for ids in lists}) == len(lists)
    assert all(len(digest(ids)) == 16 for ids in lists)


def test_several_writers_add_up(tmp_path: Path) -> None:
    mine, theirs = Vectors(tmp_path / "kind"), Vectors(tmp_path / "kind")
    assert mine.read([digest([1])]) == {}
    mine.add(some(0, 5))
    theirs.add(some(5, 3))
    theirs.add(some(0, 5))
    assert len(list((tmp_path / "kind").iterdir())) == 2, "a file for each different content"
    assert_same(mine.read((some(0, 5) | some(5, 3)).keys()), some(0, 5) | some(5, 3))
    wanted = list(some(0, 5))[2:4]
    assert_same(mine.read([*wanted, digest([99])]), {key: some(0, 5)[key] for key in wanted})
    assert Vectors(tmp_path / "other").read(some(0, 5).keys()) == {}


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "other", "renamed"])
def test_a_damaged_file_counts_as_absent_and_goes(tmp_path: Path, damage: str) -> None:
    store = Vectors(tmp_path / "kind")
    store.add(some(0, 5))
    store.add(some(5, 3))
    (file,) = [f for f in store.folder.iterdir() if f.stat().st_size == size_of_five(tmp_path)]
    content = file.read_bytes()
    if damage == "renamed":
        file = file.rename(file.with_stem("0" * 32))
    else:
        flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
        file.write_bytes(
            {"cut": content[:-40], "bit": flipped, "empty": b"", "other": b"{"}[damage]
        )
    assert_same(store.read((some(0, 5) | some(5, 3)).keys()), some(5, 3))
    assert not file.exists()
    store.add(some(0, 5))
    assert_same(store.read(some(0, 5).keys()), some(0, 5))


def size_of_five(tmp_path: Path) -> int:
    """Bytes of a file of five vectors."""
    folder = tmp_path / "alone" / "kind"
    Vectors(folder).add(some(0, 5))
    (file,) = folder.iterdir()
    return file.stat().st_size


def test_what_was_not_read_for_longest_goes_first(tmp_path: Path) -> None:
    size = size_of_five(tmp_path)
    cache = tmp_path / "features"
    stores = [Vectors(cache / name, limit=3 * size) for name in ("a", "b", "c", "d")]
    left = cache / "a" / ".killed.safetensors.1.tmp"
    for age, store in enumerate(stores[:3]):
        store.add(some(10 * age, 5))
        (file,) = store.folder.iterdir()
        os.utime(file, (1000 + age, 1000 + age))
    left.write_bytes(b"x" * size)
    os.utime(left, (500, 500))
    assert stores[0].read(some(0, 5).keys())
    stores[3].add(some(30, 5))
    assert not left.exists()
    assert [bool(store.read(some(10 * i, 5).keys())) for i, store in enumerate(stores)] == [
        True, False, True, True,
    ]  # fmt: skip


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("a file where a folder should be")
    store = Vectors(tmp_path / "features" / "kind")
    assert store.read([digest([1])]) == {}
    with pytest.raises(UserError, match="cannot be written"):
        store.add(some(0, 2))


@pytest.mark.fault("races")
def test_whoever_lacks_the_same_waits_for_the_first(tmp_path: Path) -> None:
    """Who holds the folder is seen across objects, as across processes; its death lets it go."""
    waits, release = threading.Event(), threading.Event()
    found: list[dict[bytes, Tensor]] = []

    def second() -> None:
        store = Vectors(tmp_path / "kind")
        with store.alone(waits.set):
            found.append(store.read(some(0, 3).keys()))
        release.set()

    first = Vectors(tmp_path / "kind")
    with first.alone(lambda: pytest.fail("nobody holds it")):
        other = threading.Thread(target=second)
        other.start()
        assert waits.wait(PATIENCE)
        assert not release.is_set()
        first.add(some(0, 3))
    other.join(PATIENCE)
    assert_same(found[0], some(0, 3))


def test_a_folder_that_cannot_be_locked_is_used_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "features").write_text("a file where a folder should be")
    entered = False
    with Vectors(tmp_path / "features" / "kind").alone(lambda: pytest.fail("nobody holds it")):
        entered = True
    assert entered
