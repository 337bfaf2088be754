"""Trimming before training against trimming after it: ``scripts/trim_first.py --data-dir FOLDER``.

Of each seed a run of two layers is trained on the whole vocabulary and trimmed afterwards, as it is
and trained again (``slimcls export --vocabulary N --retune E``); beside it a run is trained whose
model has lost the same tokens before, so that there is no second step. All of them are judged on
:data:`HELD` of TREC's training texts, which lie apart from the start: nothing of them is trained
on, counted or chosen by, and TREC's test part is not read. Tokens are those of the other training
texts. A row a form goes to ``results/trimming/trec.json``; what is trained already is not again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from slimcls import cli
from slimcls.backbones import saved
from slimcls.backbones.fewer_tokens import with_tokens
from slimcls.backbones.sources import find
from slimcls.backbones.tokenizers import stored_tokenizer
from slimcls.backbones.truncate import depth_of, open_cut, read_config
from slimcls.classifier.artefact import load, load_run
from slimcls.classifier.description import read_description, task_of
from slimcls.config import RunConfig
from slimcls.data.trimming import Vocabulary
from slimcls.export import export
from slimcls.exporting.settings import ExportConfig
from slimcls.exporting.trimming import Trimmer, counted_texts
from slimcls.session.again import drawn_again
from slimcls.statistics import SeedItems, mean_accuracy, paired_difference
from slimcls.storage.files import replacing_folder
from slimcls.train import train

RESULTS = Path(__file__).parents[1] / "results" / "trimming"
MODEL, KEEP = "smollm2-135m", 2
SEEDS = (7, 1234, 99)
#: Training texts that judge, and what draws them.
HELD, DRAWN_BY = 1500, 2026
#: Tokens that stay, and epochs of the second training.
TOKENS, EPOCHS = 8192, 2
WHOLE, AFTER, AGAIN, BEFORE = "whole", "after", "after, trained again", "before"


def apart(data_dir: Path, out: Path) -> Path:
    """TREC's training texts in two parts, as a folder of data: the smaller one is to test on."""
    table = pq.read_table(data_dir / "trec" / "train.parquet")
    places = np.random.default_rng(DRAWN_BY).permutation(len(table))
    folder = out / "data" / "trec"
    folder.mkdir(parents=True, exist_ok=True)
    for part, some in (("test", places[:HELD]), ("train", places[HELD:])):
        pq.write_table(table.take(np.sort(some)), folder / f"{part}.parquet")
    return folder.parent


def run_of(model: str, seed: int, data: Path, out: Path) -> Path:
    """A finished run by the defaults, trained if it is not there."""
    config = RunConfig(
        dataset="trec", model=model, mode="cls", keep=KEEP, seed=seed, data_dir=str(data),
        out=str(out / "runs"), accelerator="cpu", baseline=False,
    )  # fmt: skip
    return train(config).folder


def trimmed_model(run: Path, data: Path, out: Path) -> Path:
    """The whole model without the tokens that trimming this run would take, made once."""
    folder = out / "models" / run.name
    if not folder.is_dir():
        task = task_of(read_description(run)[1])
        texts = counted_texts(drawn_again(run, str(data)), None)
        kept = Trimmer(load_run(run), task, texts).kept(TOKENS)
        source = find(MODEL)
        model = open_cut(source, range(depth_of(read_config(source))), head="lm")
        tokenizer = Vocabulary(stored_tokenizer(source)).tokenizer_of(kept)
        with replacing_folder(folder) as made:
            saved.save(with_tokens(model, kept), tokenizer, made)
    return folder


def trimmed_after(run: Path, epochs: int, data: Path, out: Path) -> Path:
    """The run with fewer tokens, made once."""
    folder = out / "trimmed" / f"{run.name}-{epochs}"
    if not folder.is_dir():
        config = ExportConfig(
            run=str(run), out=str(folder), data_dir=str(data), to="transformers",
            vocabulary=TOKENS, retune=epochs, tolerate=100.0,
        )  # fmt: skip
        export(config)
    return folder


def judged(folder: Path, seed: int, run: Path, data: Path) -> SeedItems:
    """Which of the texts that lie apart a classifier gets right."""
    held, classifier = drawn_again(run, str(data)).splits.test, load(folder)
    named = classifier.predict([item.text for item in held])
    right = [
        one.label == classifier.labels[item.label] for one, item in zip(named, held, strict=True)
    ]
    return SeedItems(seed, np.arange(len(held)), np.array(right))


def forms_of(seed: int, data: Path, out: Path) -> dict[str, SeedItems]:
    """What each form of a seed gets right."""
    run = run_of(MODEL, seed, data, out)
    found = {WHOLE: judged(run, seed, run, data)}
    for form, epochs in ((AFTER, 0), (AGAIN, EPOCHS)):
        found[form] = judged(trimmed_after(run, epochs, data, out), seed, run, data)
    first = run_of(str(trimmed_model(run, data, out)), seed, data, out)
    return found | {BEFORE: judged(first, seed, first, data)}


def rows_of(seeds: list[dict[str, SeedItems]]) -> list[dict[str, Any]]:
    """The forms as the file has them: accuracies are shares, differences points."""
    sides = {form: [one[form] for one in seeds] for form in seeds[0]}

    def points(form: str, against: str) -> list[float]:
        found = paired_difference(sides[form], sides[against])
        return [100 * value for value in (found.mean, *found.interval())]

    return [
        {
            "form": form,
            "accuracy": mean_accuracy(some).mean,
            "each": [float(one.correct.mean()) for one in some],
            "against_whole": None if form == WHOLE else points(form, WHOLE),
            "against_again": points(form, AGAIN) if form == BEFORE else None,
        }
        for form, some in sides.items()
    ]


def main(argv: list[str]) -> int:
    """Train what is missing, judge, write, a seed after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with trec/*.parquet")
    parser.add_argument("--out", type=Path, default=Path("runs/trimming"), help="for all runs")
    options = parser.parse_args(argv)
    data = apart(options.data_dir, options.out)
    seeds: list[dict[str, SeedItems]] = []
    for seed in SEEDS:
        seeds.append(forms_of(seed, data, options.out))
        content = {
            "dataset": "trec", "model": MODEL, "keep": KEEP, "mode": "cls", "tokens": TOKENS,
            "retune": EPOCHS, "texts": HELD, "seeds": list(SEEDS[: len(seeds)]),
            "rows": rows_of(seeds),
        }  # fmt: skip
        RESULTS.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, indent=1)
        (RESULTS / "trec.json").write_text(text + "\n", encoding="utf-8")
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(lambda: main(sys.argv[1:])))
