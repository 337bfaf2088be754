"""A folder of evidence on layers, made by the commands that scripts/layer_evidence.sh has."""

from __future__ import annotations

import shutil
from pathlib import Path

from pruning.texts import write_texts
from reporting.made_study import make_cuts

from slimcls import prune, score

MODEL = "tiny-llama"


def make_evidence(folder: Path) -> Path:
    """All but what a fine-tuned classifier is needed for, on a toy of six layers."""
    folder.mkdir(parents=True, exist_ok=True)
    for text in ("bbcnews", "trec"):
        texts = write_texts(folder / f"{text}.txt", seed=len(text))
        for criterion in ("bi", "bi-last"):
            out = folder / "scores" / f"{criterion}-{text}.json"
            words = ["--criterion", criterion, "--text", str(texts), "--samples", "12"]
            score.main(["--model", MODEL, *words, "--out", str(out)])
    unscored = ["--held-out", "4", "--text", str(texts), "--model", MODEL]
    few = [*unscored, "--samples", "8"]

    def removed(name: str, *words: str) -> None:
        prune.main([*few, "--evaluate", "--out", str(folder / name), *words])

    removed("removal", "--criteria", "bi,first", "--most", "3")
    removed("removal-greedy", "--criteria", "greedy-loss", "--most", "3")
    prune.main([*unscored, "--evaluate", "--parts", "--out", str(folder / "parts")])
    removed("bits", "--quantise", "--keep", "4")
    healed = folder / "healed"
    prune.main([*few, "--keep", "4", "--heal", "2", "--out", str(healed)])
    shutil.copy(healed / "pruned.json", folder / "healing.json")
    make_cuts(folder / "grid")
    return folder
