"""Run directories with made-up results, so that a report's figures are known beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from slimcls import runs
from slimcls.config import RunConfig
from slimcls.data.prompts import DEFAULT_TOKENS
from slimcls.reporting.verdicts import UNTUNED
from slimcls.runs.schema import Outcome, RunResult

DEPTH, ITEMS, LABELS = 6, 400, ("neg", "pos")
_EMPTY: dict[Any, Any] = {str: "", int: 0, float: 0.0}


def add_run(
    out: Path, *, right: float, keep: int, seed: int, method: str = "fine-tuned", **settings: Any
) -> Path:
    """A finished run that got the share ``right`` of its items right; the first ones were wrong.

    Two runs of a seed so differ in as few items as their accuracies allow.
    """
    layers = settings.pop("layers", list(range(keep)))
    cut = {"keep": "all", "layers": None} if method in UNTUNED else {"keep": keep, "layers": layers}
    data, source = settings.pop("data", "sha256:b"), settings.pop("source", "sha256:a")
    best, warnings = settings.pop("best_epoch", 1), settings.pop("warnings", "")
    layers_read = settings.pop("read_layers", None)
    validation, note = settings.pop("validation", right), settings.pop("note", "")
    usual_tokens = settings.pop("usual_tokens", DEFAULT_TOKENS)
    taught, scored = settings.pop("taught", ""), settings.pop("scored", "")
    known = {"dataset": "sst2", "model": "made", "lr": 1e-3, "precision": "32"}
    config = RunConfig(**(known | cut | {"seed": seed} | settings))
    random = np.random.default_rng(seed)
    order = random.permutation(ITEMS)
    truth = random.integers(0, 2, ITEMS)
    wrong = np.zeros(ITEMS, bool)
    wrong[order[: round((1 - right) * ITEMS)]] = True
    prints = {"source": source, "data": data} | ({"teacher": taught} if taught else {})
    prints |= {"scores": scored} if scored else {}
    name = runs.run_name(config, prints, method if method != "fine-tuned" else None)
    hints = get_type_hints(Outcome)
    values = {key: _EMPTY[hint] for key, hint in hints.items() if hint in _EMPTY}
    measured = {
        "run": name, "schema_version": runs.SCHEMA_VERSION, "method": method, "depth": DEPTH,
        "params_full": 1000 + 1000 * DEPTH, "params_kept": 1000 + 1000 * keep,
        "params_saved": 1 - (1 + keep) / (1 + DEPTH), "test_items": ITEMS, "test_accuracy": right,
        "validation_accuracy": validation, "latency_ms": 1.0 + keep, "train_seconds": 10.0 * keep,
        "peak_memory_mb": 100.0 + keep, "data_fingerprint": data, "source_fingerprint": source,
        "device": "cpu", "threads": 1, "source_note": "made up", "data_note": note,
        "per_class": "[]", "best_epoch": best, "epochs_run": 3, "warnings": warnings,
        "usual_tokens": usual_tokens, "read_layers": layers_read, "taught": taught,
        "scores_fingerprint": scored,
    }  # fmt: skip
    folder = out / name
    folder.mkdir(parents=True)
    runs.write_result(RunResult(config, Outcome(**(values | measured)), folder))
    columns = {
        "id": int, "label": str, "prediction": str, "probabilities": list[float], "tokens": int,
    }  # fmt: skip
    rows = [
        {
            "id": i,
            "label": LABELS[t],
            "prediction": LABELS[t ^ w],
            "probabilities": [0.5],
            "tokens": 9,
        }
        for i, (t, w) in enumerate(zip(truth.tolist(), wrong.astype(int).tolist(), strict=True))
    ]
    runs.write_rows(folder / runs.PREDICTIONS, columns, rows)
    return folder


def make_study(out: Path) -> Path:
    """Three seeds, two modes, depths 6, 3 and 1, cheap baselines, and a searched learning rate.

    In p-cls depth 3 is as good as full depth and depth 1 loses ten points; in cls both are as good.
    """
    rates = {"p-cls": {6: 0.90, 3: 0.90, 1: 0.80}, "cls": {6: 0.85, 3: 0.85, 1: 0.85}}
    for mode, depths in rates.items():
        for keep, right in depths.items():
            for seed in (0, 1, 2):
                add_run(out, right=right + 0.005 * seed, keep=keep, seed=seed, mode=mode)
            worse = {"right": 0.99, "validation": 0.3, "lr": 1e-1}
            add_run(out, keep=keep, seed=0, mode=mode, **worse)
    for seed in (0, 1, 2):
        add_cheap(out, seed, mode="cls")
    return out


def add_cheap(out: Path, seed: int, **settings: Any) -> None:
    """The baselines that a verdict needs; tfidf is the best, with 0.6."""
    for method, right in (("majority", 0.5), ("tfidf", 0.6), ("embeddings", 0.55)):
        add_run(out, right=right, keep=1, seed=seed, method=method, **settings)


#: What each rule's cut to two of six layers gets right at seed 0, and its layers.
RULES = {"first": (0.80, [0, 1]), "bi": (0.75, [0, 5]), "even": (0.805, [0, 5])}
DRAWS = {(1, 4): 0.70, (2, 3): 0.60}


def make_cuts(out: Path, seeds: tuple[int, ...] = (0, 1, 2)) -> Path:
    """Full depth, and cuts to two layers by three rules and two draws; later seeds are better."""
    for seed in seeds:
        more = {"mode": "cls", "seed": seed}
        add_cheap(out, **more)
        add_run(out, right=0.9, keep=6, **more)
        for select, (right, layers) in RULES.items():
            add_run(out, right=right + seed / 100, keep=2, select=select, layers=layers, **more)
        for layers, right in DRAWS.items():
            add_run(out, right=right + seed / 100, keep=2, layers=list(layers), **more)
    return out
