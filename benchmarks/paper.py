"""The paper's grids on this machine: made checkpoints of the real shapes, three steps a run.

From configs/grid/paper-*.yaml the same cells at one and two layers, in the three modes, on made-up
texts of sst2's form: planned, fetched in part from a hub on loopback, trained, tested, and every
artefact opened again in plain transformers (small: OPT-1.3B alone). Nothing in it says how good a
model is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import harness, made_hub
from benchmarks.harness import Row
from slimcls import cli
from slimcls.errors import UserError

ROOT = Path(__file__).parents[1]
MODELS = {"small": ["opt-1.3b"], "full": ["gpt2-xl", "opt-1.3b"]}

#: What of a grid's file is left out or made small; all else is the paper's.
SMALL: dict[str, Any] = {
    "dataset": "sst2", "seed": 0, "shots": 3, "batch_size": 2, "validation_size": 4,
    "test_size": 8, "epochs": 1, "save_model": "best",
}  # fmt: skip
KEEPS = [2, 1]
#: How far logits of the two ways to open a model may be apart.
WITHIN = 1e-4


def write_grid(model: str, folder: Path) -> Path:
    """The cells of a paper's grid that fit here."""
    import yaml

    path = ROOT / "configs" / "grid" / f"paper-{model}.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    cut, _ = content["cells"]
    content |= SMALL | {"cells": [cut | {"keep": KEEPS}]}
    small = folder / f"{model}.yaml"
    small.write_text(yaml.safe_dump(content), encoding="utf-8")
    return small


def write_texts(folder: Path) -> None:
    """Texts of sst2's form, in the files in which it comes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    words = (["dull", "long", "cold"], ["warm", "quick", "bright"])
    (folder / "sst2").mkdir(parents=True)
    for split, count in (("train", 60), ("validation", 20)):
        rows = range(count)
        texts = [f"a {words[i % 2][i % 3]} film, the {split} one of {i} " for i in rows]
        table = pa.table({"sentence": texts, "label": [i % 2 for i in rows]})
        pq.write_table(table, folder / "sst2" / f"{split}.parquet")


def reopened(run: Path) -> float:
    """How far an artefact's logits are from those of plain transformers; 0 where they are equal."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    import slimcls

    classifier = slimcls.load(run)
    ids = classifier.encoder.encode(["a warm film", "a dull and long one"]).ids
    ours = classifier.logits(ids)
    words = [word[0] for word in classifier.mode.word_ids]
    del classifier
    auto: Any = AutoModelForCausalLM if words else AutoModelForSequenceClassification
    model = auto.from_pretrained(run / "model", dtype=torch.float32)
    with torch.inference_mode():
        theirs = [model(torch.tensor([item])).logits[0] for item in ids]
    found = torch.stack([one[-1, words] if words else one for one in theirs])
    return float((found - ours).abs().max())


def try_model(model: str, folder: Path, size: int) -> list[Row]:
    """Run the small grid of a model and open what it made: a row a run, and one of the grid.

    ``size`` is that of the file of weights, in bytes.

    Raises UserError where the grid fails, and Different where transformers opens another model.
    """
    grid, out, home = write_grid(model, folder), folder / f"runs-{model}", folder / f"home-{model}"
    with made_hub.serving(folder / "hub", home) as (hub, environment):
        words = [sys.executable, "-m", "slimcls.grid", str(grid), "--out", str(out)]
        words += ["--data-dir", str(folder / "data")]
        for more in (["--dry-run"], []):
            if code := subprocess.call(words + more, env=os.environ | environment, cwd=ROOT):
                raise UserError(f"{model}: slimcls.grid {' '.join(more)} ended with {code}")
        sent = made_hub.weights_sent(hub)
    from slimcls.runs.results import read_result

    rows = []
    for run in sorted(out.glob("*/result.parquet")):
        result = read_result(run.parent)
        assert result is not None
        apart = reopened(run.parent)
        if not apart <= WITHIN:
            raise harness.Different(f"{run.parent}: transformers' logits are {apart:.2g} away")
        name = f"{model}, keep {result.config.keep}, {result.config.mode}"
        figures = [
            harness.figure("peak memory, GB", [result.outcome.peak_memory_mb / 1e3]),
            harness.figure("transformers' logits apart", [apart], at_most=WITHIN),
        ]
        rows.append(Row(name, {"a run": [result.outcome.total_seconds]}, figures))
    if len(rows) != 3 * len(KEEPS):
        raise UserError(f"{model}: {len(rows)} runs finished, not {3 * len(KEEPS)}")
    share = harness.figure("of the file", [sent / size], at_most=1.0)
    travelled = {"fetched": [sent / 1e9], "the file": [size / 1e9]}
    return [*rows, Row(f"{model}, all {len(rows)} runs", travelled, [share], unit="GB")]


def main(argv: list[str] | None = None) -> int:
    """Make the checkpoints, run the grids, open what they made, delete all.

    ``--only`` names models here.
    """
    parser = harness.parser("paper", __doc__)
    parser.add_argument("--in", dest="place", help="folder for the temporary files")
    options = parser.parse_args(argv)
    rows = []
    for model in MODELS[options.size]:
        if not fnmatchcase(model, options.only):
            continue
        with TemporaryDirectory(prefix="slimcls-bench-", dir=options.place) as temporary:
            folder = Path(temporary)
            write_texts(folder / "data")
            file = made_hub.make(folder / "hub", model) / made_hub.SHAPES[model].file
            rows += try_model(model, folder, file.stat().st_size)
    harness.report("paper", rows, options, {"keeps": KEEPS} | SMALL)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
