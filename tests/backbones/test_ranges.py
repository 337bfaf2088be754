"""Whatever an answer does: what is kept is the announced file's, or there is one line."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from backbones.hub_home import at_hub
from hub_server import Hub, serve_hub
from safetensors.torch import load_file, save_file

from slimcls.backbones import pieces, sources, tiny
from slimcls.backbones.pieces import bring, journal_of, pieces_of
from slimcls.backbones.ranges import TRIES, Changed, RemoteFile
from slimcls.backbones.truncate import open_cut
from slimcls.errors import UserError

#: A layer's size, so that there is something to cut.
WIDE = 1 << 17


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub with the tiny model, as safetensors and as .bin, and a file of random bytes."""
    folder = tmp_path_factory.mktemp("hub")
    for kind in ("file", "bin"):
        shutil.copytree(tiny.build("tiny-gpt2"), target := folder / f"models/org/{kind}/main")
    tensors = load_file(target / "model.safetensors")
    (target / "model.safetensors").unlink()
    torch.save(tensors, target / "pytorch_model.bin")
    (folder / "models/org/raw/main").mkdir(parents=True)
    (folder / "models/org/raw/main/raw.bin").write_bytes(os.urandom(3 << 20))
    return folder


@pytest.fixture
def hub(files: Path, tmp_path: Path) -> Iterator[Hub]:
    with at_hub(files, tmp_path) as running:
        yield running


def raw_of(hub: Hub) -> tuple[RemoteFile, bytes]:
    from hub_server import commit_of

    commit = commit_of(hub.folder, "models", "org/raw", "main")
    return RemoteFile("org/raw", "raw.bin", commit), (
        hub.folder / "models/org/raw/main/raw.bin"
    ).read_bytes()


#: Faults that only delay, and those that no answer may have.
PASSING = ("cut-1000", "cut-1", "busy", "stall", "short")
FALSE = ("tag", "long", "shift")


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_costs_only_what_did_not_come(hub: Hub, fault: str) -> None:
    remote, content = raw_of(hub)
    hub.faults = {"org/raw raw.bin": [fault, "fine", fault, "fine"]}
    assert remote.read(5, 2_000_005) == content[5:2_000_005]
    assert hub.sent["raw.bin"] == 2_000_000, "nothing came twice"


@pytest.mark.parametrize("fault", FALSE)
def test_another_file_is_never_taken(hub: Hub, fault: str) -> None:
    remote, _ = raw_of(hub)
    hub.faults = {"org/raw raw.bin": [fault]}
    with pytest.raises(Changed, match=r"org/raw: raw\.bin is not the file that the hub announced"):
        remote.read(0, 100)


def test_a_hub_that_never_answers_is_a_line(hub: Hub) -> None:
    remote, _ = raw_of(hub)
    hub.faults = {"org/raw raw.bin": ["busy"] * (TRIES + 1)}
    with pytest.raises(UserError, match=r"cannot be fetched \(status 500\); what has come is kept"):
        remote.read(0, 100)
    assert len(hub.faults["org/raw raw.bin"]) == 1


def test_tries_are_counted_anew_after_every_byte(hub: Hub) -> None:
    remote, content = raw_of(hub)
    hub.faults = {"org/raw raw.bin": ["cut-10"] * (3 * TRIES)}
    assert remote.read(0, 1000) == content[:1000]


def test_ranges_become_few_requests_and_no_long_one() -> None:
    gap, piece = pieces.GAP, pieces.PIECE
    assert pieces_of([(gap + 20, gap + 30), (0, 10), (10, 20)]) == [(0, gap + 30)]
    assert pieces_of([(0, 10), (gap + 11, gap + 12)]) == [(0, 10), (gap + 11, gap + 12)]
    assert pieces_of([(5, 2 * piece + 6)]) == [
        (5, piece + 5), (piece + 5, 2 * piece + 5), (2 * piece + 5, 2 * piece + 6),
    ]  # fmt: skip
    assert pieces_of([(0, 50), (10, 20)]) == [(0, 50)]


def test_ranges_go_to_their_places_and_are_not_fetched_twice(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE", 1000)
    monkeypatch.setattr(pieces, "GAP", 0)
    remote, content = raw_of(hub)
    ranges, file = [(100, 5100), (9000, 9500)], tmp_path / "sparse"
    hub.faults = {"org/raw raw.bin": ["fine", "fine", "tag"]}
    with pytest.raises(Changed):
        bring(remote, ranges, file, lambda count: None)
    done = len(journal_of(file).read_text().splitlines()) - 1
    assert done <= 4, "those that were under way end, no other begins"
    hub.sent.clear()
    told: list[int] = []
    bring(remote, ranges, file, told.append)
    assert sum(told) == 5500
    assert hub.sent["raw.bin"] == 5500 - sum(
        b - a for a, b in list(pieces_of(ranges)) if (a, b) in before_of(file, done)
    )
    found = file.read_bytes()
    assert found[100:5100] == content[100:5100]
    assert found[9000:9500] == content[9000:9500]


def before_of(file: Path, count: int) -> set[tuple[int, int]]:
    """The first pieces of a journal."""
    lines = journal_of(file).read_text().splitlines()[1 : count + 1]
    return {(int(a), int(b)) for a, b in map(str.split, lines)}


def test_a_journal_of_another_file_is_not_believed(hub: Hub, tmp_path: Path) -> None:
    remote, content = raw_of(hub)
    file = tmp_path / "sparse"
    file.write_bytes(b"x" * 200)
    for head in ("another 200\n", "", f"{remote.hash} {remote.size}\n0 1"):
        journal_of(file).write_text(head + "0 100\n" * (not head.endswith("1")))
        bring(remote, [(0, 100)], file, lambda count: None)
        assert file.read_bytes()[:100] == content[:100]


@pytest.mark.parametrize("kind", ["file", "bin"])
@pytest.mark.parametrize("fault", FALSE)
def test_nothing_of_another_file_is_kept(
    hub: Hub, tmp_path: Path, kind: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimcls.backbones.directory.GUESS", 1 << 13)
    name = "model.safetensors" if kind == "file" else "pytorch_model.bin"
    hub.faults = {f"org/{kind} {name}": ["fine"] * 3 + [fault]}
    with pytest.raises(Changed):
        open_cut(sources.find(f"org/{kind}"), (0, 1), head="lm")
    assert not list((tmp_path / "slimcls").rglob("*.unfinished*"))
    cut = open_cut(sources.find(f"org/{kind}"), (0, 1), head="lm").state_dict()
    whole = open_cut(sources.find("tiny-gpt2"), (0, 1), head="lm").state_dict()
    assert all(torch.equal(cut[tensor], whole[tensor]) for tensor in whole)


def test_a_checksum_in_an_archive_is_checked(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimcls.backbones.archive.GUESS", 1 << 13)
    before: list[int] = []
    with at_hub(hub.folder, tmp_path / "count") as other:
        source = sources.find("org/bin")
        source.missing(read(source), (0,), lm_head=True)
        before.append(sum(way == "SENT" and "bin" in path for way, path in other.requests))
    key, directory = "org/bin pytorch_model.bin", ["fine"] * before[0]
    # Once is mended; twice is a line, and nothing stays.
    hub.faults = {key: [*directory, "flip"]}
    cut = open_cut(sources.find("org/bin"), (0,), head="lm").state_dict()
    whole = open_cut(sources.find("tiny-gpt2"), (0,), head="lm").state_dict()
    assert all(torch.equal(cut[tensor], whole[tensor]) for tensor in whole)
    assert hub.faults[key] == []
    hub.faults = {key: ["flip"] * 20}
    with pytest.raises(UserError, match=r"layer-003 of pytorch_model\.bin arrived damaged twice"):
        open_cut(sources.find("org/bin"), (0, 3), head="lm")
    assert not list((tmp_path / "slimcls").rglob("layer-003*safetensors"))


def read(source: sources.Source) -> object:
    from slimcls.backbones.truncate import read_config

    return read_config(source)


OPEN = """
import sys
from slimcls.backbones import pieces, ranges, sources
from slimcls.backbones.truncate import read_config
pieces.PIECE = 1 << 20
source = sources.find("org/wide")
print("found", flush=True)
source.stored(read_config(source), (0,), lm_head=True)
"""


def test_a_killed_process_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    shutil.copytree(tiny.build("tiny-gpt2"), target := folder / "models/org/wide/main")
    tensors = load_file(target / "model.safetensors")
    tensors["transformer.h.0.mlp.c_fc.weight"] = torch.rand(64, WIDE)
    save_file(tensors, target / "model.safetensors")
    layer = 64 * WIDE * 4
    with serve_hub(folder) as hub:
        environment = os.environ | {
            "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0",
            "SLIMCLS_CACHE": str(tmp_path / "slimcls"), "no_proxy": "127.0.0.1",
            "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-c", OPEN], env=environment, stdout=subprocess.PIPE
        )
        assert process.stdout
        process.stdout.readline()
        while hub.sent["model.safetensors"] < layer // 3:
            time.sleep(0.001)
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.2)
        assert hub.sent["model.safetensors"] < layer
        assert not list((tmp_path / "slimcls").rglob("layer-000/*"))
        (journal,) = (tmp_path / "slimcls").rglob("layer-000.unfinished.journal")
        done = len(journal.read_text().splitlines()) - 1
        assert done >= 1
        hub.sent.clear()
        subprocess.run([sys.executable, "-c", OPEN], env=environment, check=True)
        left = hub.sent["model.safetensors"] / (layer - done * (1 << 20))
        assert left == pytest.approx(1, abs=0.05)
        (part,) = (tmp_path / "slimcls").rglob("layer-000/model.safetensors")
        name = "transformer.h.0.mlp.c_fc.weight"
        assert torch.equal(load_file(part)[name], tensors[name])
        assert not list((tmp_path / "slimcls").rglob("*.unfinished*"))
