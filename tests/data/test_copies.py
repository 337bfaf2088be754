from dataclasses import replace

import pytest

from slimcls.data import catalog, copies, hub
from slimcls.data.rows import Rows
from slimcls.errors import UserError

SPEC = catalog.find_dataset("sst2")


def _parts():
    columns = {"sentence": ["a", "b"], "label": [0, 1]}
    names = {"label": ["negative", "positive"]}
    return {part: Rows("hub", "row", [0, 1], columns, names) for part in ("train", "test")}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLIMCLS_CACHE", str(tmp_path / "cache"))


def test_copies_come_back_as_they_were():
    assert copies.read_copies(SPEC) is None
    copies.write_copies(SPEC, _parts())
    back = copies.read_copies(SPEC)
    for part, name in (("train", "train"), ("test", "validation")):
        assert back[part].columns == _parts()[part].columns
        assert back[part].label_names == _parts()[part].label_names
        assert back[part].where == f"hub dataset stanfordnlp/sst2 {name}"
    assert not [path for path in copies.copies_folder(SPEC).iterdir() if "tmp" in path.name]


def test_each_revision_and_configuration_has_its_own():
    copies.write_copies(SPEC, _parts())
    assert copies.read_copies(replace(SPEC, hub_revision="v2")) is None
    assert copies.read_copies(replace(SPEC, hub_config="other")) is None


def test_a_copy_of_a_commit_is_used_without_asking_the_hub(monkeypatch):
    pinned = replace(SPEC, hub_revision="0123456789" * 4)
    monkeypatch.setattr("slimcls.data.hub.out_of_reach", lambda: pytest.fail("was asked"))
    copies.write_copies(pinned, _parts())
    assert hub.read_hub_dataset(pinned)["train"].columns["sentence"] == ["a", "b"]


def test_a_cache_that_cannot_be_written_keeps_nothing(tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    copies.write_copies(SPEC, _parts())
    assert copies.read_copies(SPEC) is None


def test_a_pinned_revision_is_not_taken_from_another_ones_copy(monkeypatch):
    monkeypatch.setattr("slimcls.data.hub.out_of_reach", lambda: "no network")
    with pytest.raises(UserError, match="no network and there is no copy of it"):
        hub.read_hub_dataset(replace(SPEC, hub_revision="v2"))
