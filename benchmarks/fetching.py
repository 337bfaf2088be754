"""Fetching by layer: bytes that travel over bytes that are kept, from a hub on loopback.

Made checkpoints (benchmarks/made_hub.py), of the shapes, names and kinds of files of GPT-2 XL (one
safetensors file of 6.4 GB) and OPT-1.3B (a .bin of 2.6 GB); gpt2 and opt-125m with --size small.
Each fetch is a process of its own. What it brought is opened twice, by slimcls and, as a folder
with an index and a cut config, by transformers alone: every weight must be the same to the last
bit. One row injects faults: answers that break off, stall, are refused, or end early must cost no
more than what did not come; answers of another file must end in an error and leave nothing behind.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import zlib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import harness, machine, made_hub
from benchmarks.harness import Row, Took
from slimcls import cli

MODELS = {"small": ("gpt2", "opt-125m"), "full": ("gpt2-xl", "opt-1.3b")}
KEEPS = (1, 2, 4)

SLIMCLS = "fetch"
#: Faults that pass, in the order in which they come, and those that must be refused.
PASSING = ("cut-20000000", "busy", "stall", "short", "cut-1")
FALSE = ("tag", "long", "shift")


@dataclass(frozen=True)
class Brought:
    """What came of a fetch in a process of its own."""

    kept: int
    """Bytes of the kept parameters, in the type that the file has."""
    peak: int
    """Growth of the process' peak memory, in bytes."""
    files: list[str]
    same: bool
    """Whether transformers alone opens the same weights."""


def fetch(name: str, keep: int, plain: str) -> Took | str:
    """Fetch and open the first layers; ``plain`` is an empty folder for transformers.

    Runs in a process of its own. Returns the line that a refusal is.
    """
    import torch  # noqa: F401 - imports are not part of what is measured

    from slimcls.backbones import sources
    from slimcls.backbones.truncate import open_cut, read_config
    from slimcls.errors import UserError

    layers = list(range(keep))
    try:
        # What lies beside the weights.
        config = read_config(sources.find(name))
        with machine.Meter() as meter:
            source = sources.find(name)
            files = source.stored(config, layers, lm_head=True).files
    except UserError as error:
        return str(error)
    ours = open_cut(source, layers, head="lm")
    item = 2 if made_hub.SHAPES[name].half else 4
    kept = sum(p.numel() for p in ours.parameters()) * item
    opened = _checksum(_in_plain_transformers(Path(plain), source.folder, files, name, keep))
    brought = Brought(kept, meter.peak, list(map(str, files)), opened == _checksum(ours))
    return Took(meter.seconds, brought)


def _in_plain_transformers(
    folder: Path, around: Path, files: tuple[Path, ...], name: str, keep: int
) -> Any:
    """The parts as a sharded folder whose config is that of the cut model."""
    import torch
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    content = json.loads((around / "config.json").read_text(encoding="utf-8"))
    content[made_hub.SHAPES[name].depth_key] = keep
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    index: dict[str, str] = {}
    for place, file in enumerate(files):
        shard = f"model-{place:05}.safetensors"
        (folder / shard).symlink_to(file)
        with safe_open(file, "pt") as opened:
            index |= dict.fromkeys(opened.keys(), shard)
    text = json.dumps({"metadata": {}, "weight_map": index})
    (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def _checksum(model: Any) -> int:
    found = 0
    for _, parameter in sorted(model.named_parameters()):
        found = zlib.crc32(parameter.detach().numpy(), found)
    return found


class Bench:
    """A hub with one model, asked with nothing at hand."""

    def __init__(self, hub: Any, folder: Path, name: str) -> None:
        self.hub, self.folder, self.name = hub, folder, name
        self._count = 0

    def brought(self, keep: int) -> tuple[Took | str, int]:
        """A fetch, and the bytes of weights that were sent for it."""
        self._count += 1
        plain = self.folder / f"plain-{self._count}"
        plain.mkdir()
        before = made_hub.weights_sent(self.hub)
        found = machine.apart(fetch, self.name, keep, str(plain))
        return found, made_hub.weights_sent(self.hub) - before

    def fresh(self, keep: int) -> tuple[Took, int]:
        """A fetch that must go well. Raises Different where transformers opens other weights."""
        found, sent = self.brought(keep)
        if isinstance(found, str) or not found.outcome.same:
            raise harness.Different(f"{self.name}, keep {keep}: {found}")
        return found, sent


def measure(bench: Bench, keep: int, kept_before: int) -> tuple[Row, int]:
    """A fetch after that of fewer layers, whose bytes are known; and the bytes it keeps."""
    requests = len(bench.hub.requests)
    took, sent = bench.fresh(keep)
    kept = took.outcome.kept
    asked = len(bench.hub.requests) - requests
    figures = [
        harness.figure("bytes sent / bytes kept anew", [sent / (kept - kept_before)], at_most=1.01),
        harness.figure("peak memory, MB", [took.outcome.peak / 1e6]),
        harness.figure("requests", [asked]),
    ]
    before = "nothing" if not kept_before else "fewer layers"
    note = f"{sent / 1e6:,.0f} MB sent, {kept / 1e6:,.0f} MB kept, {before} at hand"
    name = f"{bench.name}, keep {keep}"
    return Row(name, {SLIMCLS: [took.seconds]}, figures, note=note), kept


def measure_faults(bench: Bench, keep: int, home: Path) -> Row:
    """Answers that fail, injected one after the other."""
    key = f"{made_hub.SHAPES[bench.name].repo} {made_hub.SHAPES[bench.name].file}"
    refused = 0
    for fault in FALSE:
        # What an earlier try has left whole is not asked for again, and meets no fault.
        shutil.rmtree(home / "slimcls", ignore_errors=True)
        bench.hub.faults = {key: ["fine"] * 3 + [fault]}
        found, _ = bench.brought(keep)
        left = list((home / "slimcls").rglob("*.unfinished*"))
        if not isinstance(found, str) or left:
            raise harness.Different(f"{fault}: {found}, left: {left}")
        refused += bool(re.search("is not the file that the hub announced", found))
    # What was whole before the refusals stays; everything else comes now.
    bench.hub.faults = {key: ["fine", *PASSING]}
    took, _ = bench.fresh(keep)
    passed = len(PASSING) - len(bench.hub.faults[key])
    figures = [
        harness.figure("answers of another file refused", [refused], at_least=len(FALSE)),
        harness.figure("faults that passed", [passed], at_least=len(PASSING)),
    ]
    note = f"refused: {', '.join(FALSE)}; passed: {', '.join(PASSING)}"
    return Row(f"{bench.name}, keep {keep}, faults", {SLIMCLS: [took.seconds]}, figures, note=note)


def main(argv: list[str] | None = None) -> int:
    """Make the checkpoints, fetch from them, delete all."""
    options = harness.parser("fetching", __doc__).parse_args(argv)
    rows = []
    for name in MODELS[options.size]:
        with TemporaryDirectory(prefix="slimcls-bench-") as temporary:
            folder = Path(temporary)
            made_hub.make(folder / "hub", name)
            cases = {f"{name}, keep {keep}": keep for keep in KEEPS}
            with made_hub.serving(folder / "hub", folder / "home") as (hub, environment):
                os.environ.update(environment)
                bench, kept = Bench(hub, folder, name), 0
                for case, keep in cases.items():
                    if fnmatchcase(case, options.only):
                        row, kept = measure(bench, keep, kept)
                        rows.append(row)
            home = folder / "faults"
            with made_hub.serving(folder / "hub", home) as (hub, environment):
                os.environ.update(environment)
                home.mkdir(exist_ok=True)
                bench = Bench(hub, home, name)
                if fnmatchcase(f"{name}, keep 2, faults", options.only):
                    rows.append(measure_faults(bench, 2, home))
    harness.report("fetching", rows, options, {"keeps": list(KEEPS)})
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
