"""PruneConfig: what to remove, where texts come from, what to measure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from slimcls import cli
from slimcls.devices import Accelerator
from slimcls.errors import UserError
from slimcls.layers import criteria
from slimcls.storage.paths import NameOrPath, PathName, user_path

#: Stands in the folder of a pruned model and says what was cut.
DESCRIPTION = "pruned.json"
#: Criteria that --evaluate compares where none are named.
COMPARED = "bi,relative-magnitude,angular,taylor,greedy-loss,first,sequential,even,random"


@dataclass(kw_only=True)
class PruneConfig:
    """Remove layers of a language model without training it, or measure what removal does."""

    model: NameOrPath | None = None
    """Short name (gpt2-xl, opt-1.3b, smollm2-135m, tiny-gpt2, ...), hub id, or local folder."""

    revision: str | None = None
    """Branch, tag or commit of a hub model; the hub's default branch if not given."""

    out: PathName
    """Folder for the pruned model, or for the figures of --evaluate."""

    select: str | None = None
    """Which layers stay: bi, bi-last, relative-magnitude, angular, greedy-loss, taylor, first,
    sequential, even or random. docs/layers.md has their formulas. Default: bi."""

    keep: int | None = None
    """How many layers stay."""

    layers: list[int] | None = None
    """Names the layers that stay, ascending, as in 0,1,5; instead of --select and --keep."""

    scores: PathName | None = None
    """A scores.json of slimcls score; the layers are scored on --text if not given."""

    text: NameOrPath | None = None
    """Texts to score, heal and measure on, in three disjoint parts: a dataset (its training rows
    alone), a .txt, .csv, .tsv, .jsonl or .parquet file, or a folder of .txt files."""

    text_column: str | None = None
    """Column that holds the text, for the user's own files."""

    skip_bad_rows: bool = False
    """Leave out rows of the user's own files that cannot be used, and say which; else they are an
    error."""

    samples: int | None = None
    """Texts the layers are scored on. Default: 256, 64 for taylor, 32 for greedy-loss."""

    evaluate: bool = False
    """Measure perplexity on held-out texts for 0 to --most removed layers instead of writing a
    model; with --dataset label-word accuracy too."""

    criteria: str = COMPARED
    """Criteria that --evaluate compares, with commas between them."""

    most: int | None = None
    """Most layers that --evaluate removes. Default: half of them."""

    quantise: bool = False
    """With --evaluate: 8 and 4 bits, alone and with removal down to --keep layers by --select, in
    both orders."""

    classifier: PathName | None = None
    """With --quantise: a finished run whose test accuracy is measured, instead of --model."""

    parts: bool = False
    """With --evaluate: remove each block's attention alone and its MLP alone instead."""

    held_out: int = 64
    """Held-out texts that perplexity is measured on."""

    dataset: NameOrPath | None = None
    """Dataset whose test items --evaluate classifies by label word, untrained."""

    demos: int = 1
    """Demonstrations per class in front of those items."""

    test_size: int = 500
    """Most of those items."""

    heal: int = 0
    """Steps of LoRA on plain text after the removal."""

    max_text_tokens: int | None = None
    """Longest text in tokens; longer ones are cut. Default: 256, less where the context is."""

    data_dir: PathName | None = None
    """Folder with NAME/SPLIT.parquet files; SLIMCLS_DATA_DIR if not given."""

    seed: int = 0
    """Deals the texts to their parts and draws from them; draws the layers of random."""

    accelerator: Accelerator = "auto"
    """Device, as Lightning names it."""

    force: bool = False
    """Go on although the model seems too big for this machine's memory."""

    overwrite: bool = False
    """Replace a pruned model that is there already."""

    def __post_init__(self) -> None:
        cli.keep_plain(self)
        checks = (_check_model, _check_ranges, _check_cut, _check_evaluate, _check_read, check_out)
        for check in checks:
            check(self)

    @property
    def rule(self) -> str:
        """By which criterion layers stay that nobody names."""
        return self.select or "bi"

    @property
    def compared(self) -> list[str]:
        """The criteria to compare, by name, each once."""
        names = (name.strip() for name in self.criteria.split(","))
        return list(dict.fromkeys(name for name in names if name))

    @property
    def task(self) -> str:
        """What is asked for: a row of READS."""
        if not self.evaluate:
            return "a pruned model"
        if self.quantise:
            return "--quantise" + " of a --classifier" * (self.classifier is not None)
        return "--evaluate" + " --parts" * self.parts


#: What every task reads.
_COMMON = {
    "model", "out", "text", "text_column", "skip_bad_rows", "max_text_tokens", "data_dir", "seed",
    "accelerator", "force",
}  # fmt: skip
_MEASURED = {"revision", "held_out", "dataset", "demos", "test_size", "evaluate"}
#: Settings that a task reads beside the common ones.
READS = {
    "a pruned model": {
        "revision", "select", "keep", "layers", "scores", "samples", "heal", "held_out",
        "overwrite",
    },
    "--evaluate": {*_MEASURED, "criteria", "most", "samples"},
    "--evaluate --parts": {*_MEASURED, "parts"},
    "--quantise": {*_MEASURED, "quantise", "select", "keep", "samples"},
    "--quantise of a --classifier": {
        "evaluate", "quantise", "classifier", "select", "keep", "samples",
    },
}  # fmt: skip


def _check_read(config: PruneConfig) -> None:
    """No setting is given that what is asked for makes no use of."""
    given = {f.name for f in fields(config) if getattr(config, f.name) != f.default}
    unread = given - _COMMON - READS[config.task]
    if not config.dataset:
        unread |= given & {"demos", "test_size"}
    if not config.evaluate and not config.heal:
        unread |= given & {"held_out"}
    for name in sorted(unread):
        flag = f"--{name.replace('_', '-')}"
        raise UserError(f"{flag}: {config.task} makes no use of it; leave it out")


_AT_LEAST = {
    "keep": 1, "samples": 1, "most": 1, "held_out": 1, "demos": 0, "test_size": 1, "heal": 0,
    "max_text_tokens": 2, "seed": 0,
}  # fmt: skip


def _check_ranges(config: PruneConfig) -> None:
    for name, least in _AT_LEAST.items():
        value = getattr(config, name)
        if value is not None and value < least:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be at least {least}")


def _check_model(config: PruneConfig) -> None:
    if config.classifier is not None and not config.quantise:
        raise UserError("--classifier goes with --evaluate --quantise")
    if (config.model is None) == (config.classifier is None):
        raise UserError("--model: name a model" + (", or --classifier" * config.quantise))


def _check_cut(config: PruneConfig) -> None:
    if config.layers is not None and (config.select or config.keep or config.scores):
        raise UserError("--layers names the layers itself: leave out --select, --keep and --scores")
    row = criteria.find_criterion(config.rule)
    if config.evaluate:
        return
    if config.layers is None and config.keep is None:
        raise UserError("--keep: say how many layers stay, or name them with --layers")
    scored = row.needs_text and config.layers is None and config.scores is None
    if (scored or config.heal) and config.text is None:
        what = f"--select {config.rule} looks at texts" if scored else "--heal trains on texts"
        raise UserError(f"--text: {what}; name a dataset or a file")
    if config.scores is not None and not row.needs_text:
        raise UserError(
            f"--scores: --select {config.rule} needs none; name the criterion the file is of, or "
            "leave --scores out"
        )


def _check_evaluate(config: PruneConfig) -> None:
    if not config.evaluate:
        if config.parts or config.dataset or config.most or config.quantise:
            raise UserError("--parts, --quantise, --dataset and --most go with --evaluate")
        return
    for name in config.compared:
        criteria.find_criterion(name, "--criteria")
    if not config.compared:
        raise UserError(f"--criteria: names none (known: {', '.join(criteria.CRITERIA)})")
    if config.text is None:
        raise UserError("--text: perplexity needs texts; name a dataset or a file")
    if config.quantise and (config.parts or config.keep is None):
        raise UserError("--quantise: give --keep, the layers that stay after removal, not --parts")
    if config.layers is not None or config.heal or (config.keep and not config.quantise):
        raise UserError("--evaluate writes no model: leave out --keep, --layers and --heal")
    if config.quantise:
        _check_quantise(config)


def _check_quantise(config: PruneConfig) -> None:
    if criteria.find_criterion(config.rule).needs_gradient:
        raise UserError(f"--select {config.rule}: quantised weights have no gradient; take another")
    if config.accelerator not in ("auto", "cpu"):
        raise UserError("--accelerator: --quantise measures on the CPU; leave it out")


def check_out(config: PruneConfig) -> None:
    """Refuse a place for the outcome that holds something else; again once it is held."""
    out = user_path(config.out, "--out")
    config.out = str(out)
    if not out.resolve().name:
        raise UserError(f"--out {out}: name a folder below it")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; name a folder")
    if config.evaluate:
        return
    if out.resolve() == Path.cwd():
        raise UserError(f"--out {out}: is the folder you are in; name another")
    if not out.exists() or not any(out.iterdir()):
        return
    if not config.overwrite:
        raise UserError(f"--out {out}: is there already; --overwrite replaces a pruned model")
    if not (out / DESCRIPTION).is_file():
        raise UserError(f"--out {out}: holds no pruned model to replace; name another folder")
    if config.model and Path(config.model).resolve() == out.resolve():
        raise UserError(f"--out {out}: is the model that is to be pruned; name another folder")
