"""Opening a cut model: seconds, memory and bytes read, against transformers' from_pretrained.

On a made GPT-2 checkpoint (random float32 weights in a temporary folder, deleted afterwards): the
shape of GPT-2 XL, 6.2 GB, with --size full, a smaller one otherwise. Three ways to the same cut
model: slimcls.backbones.truncate.open_cut; from_pretrained with n_layer set, which can only keep
first layers; and from_pretrained of the whole model with the other blocks dropped. Each opens in a
process of its own that has imported everything before, with the file out of the page cache, and
then touches every parameter, because mapped weights are in no memory until they are looked at. All
must have the same weights, bit for bit, and the same logits within 1e-5: a product over weights
that lie elsewhere in memory may round in another order.

Peak memory is the growth of the process' peak; bytes read are what it got by system calls, or what
its mapped pages took from the disk, read-ahead included. Both stand over the bytes of the kept
parameters.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import harness, machine
from benchmarks.harness import Row, Took
from slimcls import cli

SHAPES = {
    "small": {"n_embd": 768, "n_layer": 12, "n_head": 12},
    "full": {"n_embd": 1600, "n_layer": 48, "n_head": 25},
}
KEEPS = {"small": (2,), "full": (1, 2, 12, 48)}
#: Layers that are not the first ones.
SCATTERED = {"small": (0, 5, 11), "full": (0, 5, 47)}
SHARD = 500_000_000

#: Kinds of checkpoints, as their folders are called.
ONE_FILE, SHARDS, TINY = "one-file", "shards", "tiny"

#: How far logits may be apart.
WITHIN = 1e-5

#: Bytes a tensor's element takes in the file.
ITEM = 4


@dataclass(frozen=True)
class Opened:
    """What came of opening a model in a process of its own. Bytes, but for the last two."""

    kept: int
    peak: int
    read: int
    from_disk: int
    weights: int
    """A checksum of every weight."""
    logits: list[float]


def make_checkpoint(folder: Path, shape: dict[str, int], *, shard: int | None) -> None:
    """Write config.json and random weights, tensor by tensor: no more than one is in memory."""
    import torch
    from transformers import GPT2Config, GPT2Model

    folder.mkdir(parents=True)
    config = GPT2Config(**shape)
    config.architectures = ["GPT2LMHeadModel"]
    config.save_pretrained(folder)
    with torch.device("meta"):
        shapes = {name: tuple(t.shape) for name, t in GPT2Model(config).state_dict().items()}
    parts = list(_parts(shapes, shard))
    names = [f"model-{i:05}-of-{len(parts):05}.safetensors" for i in range(1, len(parts) + 1)]
    if shard is None:
        names = ["model.safetensors"]
    for name, part in zip(names, parts, strict=True):
        _write(folder / name, {tensor: shapes[tensor] for tensor in part})
    if shard is not None:
        index = {tensor: name for name, part in zip(names, parts, strict=True) for tensor in part}
        text = json.dumps({"metadata": {}, "weight_map": index})
        (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")


def _parts(shapes: dict[str, tuple[int, ...]], shard: int | None) -> Iterator[list[str]]:
    part: list[str] = []
    size = 0
    for name, shape in shapes.items():
        part.append(name)
        size += _bytes(shape)
        if shard is not None and size >= shard:
            yield part
            part, size = [], 0
    if part:
        yield part


def _bytes(shape: Iterable[int]) -> int:
    size = ITEM
    for n in shape:
        size *= n
    return size


def _write(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """A safetensors file: the length of the header, the header, the numbers."""
    import torch

    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + _bytes(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    generator = torch.Generator().manual_seed(0)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for shape in shapes.values():
            values = torch.randn(shape, generator=generator).mul_(0.02)
            file.write(memoryview(values.numpy()).cast("B"))
        file.flush()
        os.fsync(file.fileno())


def forget(folder: Path) -> None:
    """Take the files out of the page cache."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def opened_by(way: str, folder: str, tiny: str, layers: list[int]) -> Took:
    """Open ``layers`` of the checkpoint one way; runs in a process of its own.

    ``tiny`` is a small checkpoint that is opened first, so that imports are not measured.
    """
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    with torch.no_grad():
        _touch(WAYS[way](Path(tiny), [0]))
        gc.collect()
        forget(Path(folder))
        before = _from_disk()
        with machine.Meter() as meter:
            model = WAYS[way](Path(folder), layers)
            gc.collect()
            _touch(model)
        disk = _from_disk() - before
        logits = model(torch.arange(8)[None]).logits[0, -1]
        weights = _checksum(model)
    kept = sum(p.nbytes for p in model.parameters())
    opened = Opened(kept, meter.peak, meter.read, disk, weights, logits[:64].tolist())
    return Took(meter.seconds, opened)


def _checksum(model: Any) -> int:
    found = 0
    for parameter in model.parameters():
        found = zlib.crc32(parameter.numpy(), found)
    return found


def _touch(model: Any) -> None:
    for parameter in model.parameters():
        parameter.sum()


def _from_disk() -> int:
    rows = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(row.split(": ") for row in rows)["read_bytes"])


def by_slimcls(folder: Path, layers: list[int]) -> Any:
    """Read the kept tensors only."""
    from slimcls.backbones.sources import Source
    from slimcls.backbones.truncate import open_cut

    files = tuple(sorted(folder.glob("*.safetensors")))
    return open_cut(Source("made", folder, "", files), layers, head="lm")


def by_n_layer(folder: Path, layers: list[int]) -> Any:
    """transformers' own way to first layers."""
    import torch
    from transformers import AutoModelForCausalLM

    assert layers == list(range(len(layers)))
    return AutoModelForCausalLM.from_pretrained(folder, n_layer=len(layers), dtype=torch.float32)


def by_slicing(folder: Path, layers: list[int]) -> Any:
    """Open the whole model and drop blocks."""
    import torch
    from torch import nn
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.transformer.h = nn.ModuleList([model.transformer.h[i] for i in layers])
    for place, block in enumerate(model.transformer.h):
        block.attn.layer_idx = place
    model.config.n_layer = len(layers)
    return model


SLIMCLS, N_LAYER, SLICING = "slimcls", "from_pretrained(n_layer)", "whole, then sliced"
WAYS = {SLIMCLS: by_slimcls, N_LAYER: by_n_layer, SLICING: by_slicing}


def measure(name: str, folder: Path, tiny: Path, layers: list[int], repetitions: int) -> Row:
    """All ways to these layers in turns."""
    first = layers == list(range(len(layers)))
    ways = [way for way in WAYS if first or way != N_LAYER]

    def side(way: str) -> Took:
        return machine.apart(opened_by, way, str(folder), str(tiny), layers)

    def check(outcomes: dict[str, Opened]) -> None:
        if len({found.weights for found in outcomes.values()}) > 1:
            raise harness.Different("weights differ")
        harness.agree("logits", {way: found.logits for way, found in outcomes.items()}, WITHIN)

    sides = {way: (lambda way=way: side(way)) for way in ways}
    turns = harness.alternate(sides, repetitions=repetitions, warm_up=0, check=check)
    figures = [
        harness.ratio(turns.seconds[way], turns.seconds[SLIMCLS], name=f"times faster than {way}")
        for way in ways[1:]
    ]
    for way in ways:
        figures += shares(turns.outcomes[way], "" if way == SLIMCLS else f", {way}")
    note = f"{turns.outcomes[SLIMCLS][0].kept / 1e6:,.0f} MB kept"
    return Row(name, turns.seconds, figures, note=note)


def shares(outcomes: list[Opened], whose: str) -> list[harness.Figure]:
    """Memory and bytes over the bytes kept; floors for slimcls alone, whose name is left out.

    A mapped file is read by no system call: what its pages took from the disk stands for it.
    """
    peak = [o.peak / o.kept for o in outcomes]
    read = [max(o.read, o.from_disk if whose else 0) / o.kept for o in outcomes]
    peak_most, read_most = (None, None) if whose else (1.15, 1.02)
    return [
        harness.figure(f"peak memory / kept{whose}", peak, at_most=peak_most),
        harness.figure(f"bytes read / kept{whose}", read, at_most=read_most),
    ]


def cases_of(size: str) -> dict[str, tuple[str, list[int]]]:
    """The checkpoint and the layers of each row."""
    scattered = list(SCATTERED[size])
    named = ",".join(map(str, scattered))
    cases = {f"one file, keep {keep}": (ONE_FILE, list(range(keep))) for keep in KEEPS[size]}
    if size == "full":
        cases[f"one file, layers {named}"] = (ONE_FILE, scattered)
        cases["shards, keep 2"] = (SHARDS, [0, 1])
    cases[f"shards, layers {named}"] = (SHARDS, scattered)
    return cases


def checkpoint(folder: Path, kind: str, shape: dict[str, int]) -> Path:
    """The checkpoint of a kind in ``folder``, made if it is not there."""
    path = folder / kind
    if not path.exists():
        unfinished = folder / f"{kind}.unfinished"
        make_checkpoint(unfinished, shape, shard=SHARD if kind == SHARDS else None)
        unfinished.rename(path)
    return path


def main(argv: list[str] | None = None) -> int:
    """Make the checkpoints, measure, delete them."""
    made = harness.parser("opening", __doc__)
    made.add_argument(
        "--checkpoints",
        type=Path,
        metavar="DIR",
        help="take them from there, make those that lack, leave them; to measure in slices",
    )
    options = made.parse_args(argv)
    shape, rows = SHAPES[options.size], []
    with ExitStack() as stack:
        folder = options.checkpoints or Path(
            stack.enter_context(TemporaryDirectory(prefix="slimcls-bench-"))
        )
        tiny = checkpoint(folder, TINY, {"n_embd": 16, "n_layer": 1, "n_head": 1})
        repetitions = options.repetitions or (3 if options.size == "full" else 1)
        for name, (kind, layers) in cases_of(options.size).items():
            if fnmatchcase(name, options.only):
                path = checkpoint(folder, kind, shape)
                rows.append(measure(name, path, tiny, layers, repetitions))
    harness.report("opening", rows, options, {"shape": shape, "dtype": "float32", "head": "lm"})
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
