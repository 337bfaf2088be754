"""``--dataset ORG/NAME``: hub datasets without a description, from a hub on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from backbones.hub_home import at_hub
from conftest import Command
from hub_server import Hub, commit_of
from hypothesis import given
from hypothesis import strategies as st

from slimcls.data import catalog, hub_named
from slimcls.data.dataset import may_be_out_of_reach, read_dataset
from slimcls.data.pairs import Pair, parts_of
from slimcls.data.tables import Tables
from slimcls.errors import UserError

CODE = "raise SystemExit('code from the hub ran')"
HIDDEN = -1


def parquet(path: Path, columns: dict[str, Any], names: list[str] | None = None) -> None:
    """A Parquet file as the datasets library writes it, with names of classes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table(columns)
    if names:
        features: dict[str, Any] = {
            column: {"dtype": "string", "_type": "Value"} for column in columns
        }
        features["label"] = {"names": names, "_type": "ClassLabel"}
        table = table.replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": features}})}
        )
    pyarrow.parquet.write_table(table, path)


def rows(split: str, count: int, labels: int = 3, column: str = "text") -> dict[str, Any]:
    """Made-up texts; class numbers follow from the row."""
    texts = [f"{split} text number {n}" for n in range(count)]
    return {column: texts, "label": [n % labels for n in range(count)]}


def fill(home: Path) -> None:
    """A dataset for each way in which one can lie there."""
    for split, count in (("train", 60), ("validation", 9), ("test", 12)):
        parquet(
            home / f"Some/plain/main/data/{split}-0.parquet", rows(split, count), ["x", "y", "z"]
        )
        hidden = rows(split, count)
        if split == "test":
            hidden["label"] = [HIDDEN] * count
        parquet(home / f"Some/secret/main/data/{split}-0.parquet", hidden, ["x", "y", "z"])
        two = rows(split, count) | {
            "stars": [n % 5 for n in range(count)],
            "content": ["c"] * count,
        }
        parquet(home / f"Some/columns/main/data/{split}-0.parquet", two)
        pairs = rows(split, count, column="premise") | {
            "hypothesis": [f"h {n}" for n in range(count)]
        }
        parquet(home / f"Some/pairs/main/data/{split}-0.parquet", pairs, ["x", "y", "z"])
        if split != "test":
            parquet(home / f"Some/untested/main/data/{split}-0.parquet", rows(split, count))
        for config in ("en", "de"):
            file = home / f"Some/tongues/main/{config}/{split}-0.parquet"
            parquet(file, rows(f"{config} {split}", count))
        done = home / f"Some/script/refs/convert/parquet/only/{split}/0000.parquet"
        parquet(done, rows(split, count))
        parquet(home / f"Some/closed/main/data/{split}-0.parquet", rows(split, count))
        parquet(
            home / f"Some/odd/main/data/{split}-0.parquet",
            {"text": ["a", "b", "c"], "label": [0, 1, None]},
        )
    (home / "Some/closed/main/.gated").write_text("")
    (home / "Some/script/main").mkdir(parents=True)
    (home / "Some/script/main/script.py").write_text(CODE)
    configs = [
        {
            "config_name": name,
            "data_files": [
                {"split": split, "path": f"{name}/{split}-*"}
                for split in ("train", "validation", "test")
            ],
        }
        for name in ("en", "de")
    ]
    card = f"---\nconfigs: {json.dumps(configs)}\n---\n# Tongues\n"
    (home / "Some/tongues/main/README.md").write_text(card)
    parquet(home / "Some/single/main/data/train-0.parquet", rows("train", 90))
    parquet(home / "Some/bare/main/data/test-0.parquet", rows("test", 90))
    (home / "Some/nothing/main").mkdir(parents=True)
    (home / "Some/nothing/main/README.md").write_text("# Nothing\n")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    home = tmp_path_factory.mktemp("named")
    fill(home / "hub" / "datasets")
    with at_hub(home / "hub", home) as running, pytest.MonkeyPatch.context() as patch:
        import datasets.config

        patch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
        patch.setattr(datasets.config, "HF_ENDPOINT", running.url)
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "arrow")
        yield running


def read(name: str, **columns: Any) -> Tables:
    return read_dataset(name, **columns)


def test_splits_columns_and_classes_are_found(hub: Hub) -> None:
    data = read("Some/plain")
    assert data.spec.labels == ("x", "y", "z")
    assert data.validation is not None
    assert [len(part) for part in (data.train, data.validation, data.test)] == [60, 9, 12]
    assert data.test.texts[1] == "test text number 1"
    assert data.test.labels[:4] == [0, 1, 2, 0]
    assert (data.spec.hub, data.spec.hub_config) == ("Some/plain", "default")
    assert data.spec.note == ""


def test_the_commit_that_was_read_is_part_of_what_the_rows_are(hub: Hub) -> None:
    home = hub.folder / "datasets" / "Some/plain"
    newest = read("Some/plain")
    commit = commit_of(hub.folder, "datasets", "Some/plain", "main")
    assert newest.spec.hub_revision == commit
    assert read(f"Some/plain@{commit}").fingerprint == newest.fingerprint
    (home / "v2").mkdir()
    for file in (home / "main/data").iterdir():
        parquet(home / "v2/data" / file.name, pyarrow.parquet.read_table(file).to_pydict())
    other = read("Some/plain@v2")
    assert other.train.texts == newest.train.texts
    assert other.fingerprint != newest.fingerprint
    assert hub_named.pinned("Some/plain@v2", commit) == f"Some/plain@{commit}"
    assert hub_named.pinned("Some/plain:en", commit) == f"Some/plain:en@{commit}"
    assert hub_named.pinned("sst2", commit) == "sst2"


def test_what_was_read_once_needs_no_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read("Some/secret")
    commit = before.spec.hub_revision
    asked = len(hub.requests)
    assert read(f"Some/secret@{commit}").fingerprint == before.fingerprint
    assert len(hub.requests) == asked, "a commit never changes"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert read("Some/secret").fingerprint == before.fingerprint
    assert read("Some/secret").spec == before.spec
    with pytest.raises(UserError, match=r"dataset Some/bare: no file or folder .* HF_HUB_OFFLINE"):
        read("Some/bare")
    with pytest.raises(UserError, match="there is no copy of it on this machine; connect once"):
        read("Some/secret@v9")


@pytest.mark.parametrize(
    ("name", "note", "tested"),
    [
        ("Some/secret", "the labels of its test split are secret: its validation split is", 9),
        ("Some/untested", "it has no test split: its validation split is the test part", 9),
        ("Some/single", "it has no test split: its train split was split 80/10/10", None),
    ],
)
def test_where_no_test_split_can_be_used_a_note_says_what_is(
    hub: Hub, name: str, note: str, tested: int | None
) -> None:
    data = read(name)
    assert note in data.spec.note
    assert any(note in said for said in data.notes)
    if tested:
        assert len(data.test) == tested
        assert data.test.texts[0] == "validation text number 0"
        assert data.validation is None
    else:
        assert data.validation is not None
        assert len(data.train) + len(data.validation) + len(data.test) == 90


def test_configurations_are_named(hub: Hub) -> None:
    with pytest.raises(UserError, match=r"several configurations \(en, de\); name one, as in Some"):
        read("Some/tongues")
    assert read("Some/tongues:de").test.texts[0] == "de test text number 0"
    with pytest.raises(UserError, match=r"'dd' \(known: de, en\)"):
        read("Some/tongues:dd")


def test_columns_are_named_where_there_is_more_than_one_way(hub: Hub) -> None:
    with pytest.raises(UserError, match=r"which column is the text\? name it with --text-column"):
        read("Some/columns")
    data = read("Some/columns", text_column="text", label_column="stars")
    assert data.spec.labels == ("0", "1", "2", "3", "4")
    with pytest.raises(UserError, match=r"unknown label column in .* 'star'; did you mean 'stars'"):
        read("Some/columns", text_column="text", label_column="star")


@pytest.mark.parametrize("columns", [{}, {"text_column": "premise,hypothesis"}])
def test_pairs_of_texts_are_found(hub: Hub, columns: dict[str, str]) -> None:
    data = read("Some/pairs", **columns)
    assert isinstance(data.test.texts[0], Pair)
    assert parts_of(data.test.texts[0]) == ("test text number 0", "h 0")
    assert data.spec.labels == ("x", "y", "z")
    alone = read("Some/pairs", text_column="premise", label_column="label")
    assert not isinstance(alone.test.texts[0], Pair)


def test_code_from_the_hub_is_never_run(hub: Hub) -> None:
    with pytest.raises(UserError) as caught:
        read("Some/script")
    assert "Some/script" in str(caught.value)
    data = read("Some/script@refs/convert/parquet")
    assert data.spec.hub_config == "only"
    assert len(data.test) == 12
    again = read(f"Some/script:only@{data.spec.hub_revision}")
    assert again.fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Some/absent", "there is no such folder here and no such dataset on the hub"),
        ("Some/plain@v9", "has no such branch, tag or commit: v9"),
        ("Some/bare", r"has no split train \(splits: test\); say which is which in a dataset YAML"),
        ("Some/odd", "no label in column label.*--skip-bad-rows"),
        ("Some/nothing", "dataset Some/nothing: "),
    ],
)
def test_what_cannot_be_read_is_one_line(hub: Hub, name: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        read(name)
    assert "\n" not in str(caught.value)


def test_a_gated_dataset_says_what_to_do(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    with pytest.raises(UserError, match="Some/closed: its authors give access by request"):
        read("Some/closed")


def test_a_folder_of_the_same_name_comes_first(
    hub: Hub, tmp_path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Some").mkdir()
    (tmp_path / "Some" / "plain").symlink_to(toy)
    monkeypatch.chdir(tmp_path)
    assert len(read("Some/plain").train) == 300


@pytest.mark.parametrize(
    "name", ["plain", "a/b/c", "./a/b", "~/a", "a/b@", "a/b:", "a b/c", "/a/b"]
)
def test_other_words_are_no_hub_datasets(name: str, tmp_path: Path,
                                         monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="or ORG/NAME of the hub"):
        catalog.find_dataset(name)


def test_it_may_be_had_later() -> None:
    assert may_be_out_of_reach("Some/plain")


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_none(name: str) -> None:
    spec = hub_named.hub_named(name)
    if spec is None:
        assert hub_named.pinned(name, "c" * 40) == name
    else:
        assert name.startswith(str(spec.hub))
        again = hub_named.hub_named(hub_named.pinned(name, "c" * 40))
        assert again is not None
        assert (again.hub, again.hub_config) == (spec.hub, spec.hub_config)
        assert again.hub_revision == "c" * 40


def test_a_run_of_a_hub_dataset_says_where_its_rows_are_from(hub: Hub, tmp_path: Path) -> None:
    from slimcls.config import RunConfig
    from slimcls.session.again import drawn_again
    from slimcls.train import train

    result = train(
        RunConfig(
            dataset="Some/plain", model="tiny-gpt2", mode="cls", keep=1, shots=8, epochs=1, lr=1e-3,
            out=str(tmp_path), accelerator="cpu", baseline=False,
        )
    )  # fmt: skip
    assert result.folder.name.startswith("plain-cls-tiny-gpt2-k1")
    assert json.loads(result.data_source) == {
        "hub": "Some/plain", "config": "default", "split": "test",
        "revision": commit_of(hub.folder, "datasets", "Some/plain", "main"),
    }  # fmt: skip
    main = hub.folder / "datasets/Some/plain/main"
    main.rename(main.with_name("moved"))
    try:
        again = drawn_again(result.folder, None)
    finally:
        main.with_name("moved").rename(main)
    assert [item.text for item in again.splits.test] == [
        f"test text number {item.id}" for item in again.splits.test
    ]


def test_offline_the_command_says_so_in_a_line(command: Command) -> None:
    done = command("slimcls.train", "--dataset", "Some/absent", "--model", "tiny-gpt2",
                   HF_HUB_OFFLINE="1")  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "slimcls: error: dataset Some/absent: no file or folder of that name here"
    )
    assert "HF_HUB_OFFLINE is set" in line


def test_a_fit_goes_on_with_the_commit_that_was_looked_at(hub: Hub, tmp_path: Path) -> None:
    from slimcls.search.doctor import look

    home = hub.folder / "datasets" / "Some/gaps/main/data"
    lacking = rows("train", 60)
    lacking["label"][7] = None
    parquet(home / "train-0.parquet", lacking)
    parquet(home / "test-0.parquet", rows("test", 30))
    found = look("Some/gaps", tmp_path)
    commit = commit_of(hub.folder, "datasets", "Some/gaps", "main")
    assert found.dataset == f"Some/gaps@{commit}"
    assert found.read == 90
    assert any("row 7" in str(finding) or "7" in str(finding.places) for finding in found.findings)
    with pytest.raises(UserError, match="no label in column label"):
        read(found.dataset)
    assert len(read(found.dataset, skip_bad_rows=True).train) == 59
