"""RunConfig: flags = YAML keys = saved config = result columns."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

from slimcls import cli
from slimcls.devices import Accelerator
from slimcls.errors import UserError
from slimcls.kinds import LossName, ModeName
from slimcls.layers import criteria
from slimcls.metrics.named import named_metrics
from slimcls.roles import Role, settings_with
from slimcls.storage.paths import NameOrPath, PathName

Shots = int | Literal["all"]
Precision = Literal["auto", "32", "bf16", "16"]

#: Settings that say where or how to write, not what comes out: they are not part of a run's hash.
NOT_HASHED = frozenset(settings_with(Role.OUTSIDE))

#: Settings that make one cut of a model another.
CUT_SETTINGS = frozenset(settings_with(Role.CUT))


@dataclass(kw_only=True)
class RunConfig:
    """One fine-tuning run: a decoder language model, cut, trained and tested on a dataset."""

    dataset: NameOrPath
    """Name of a packaged dataset (agnews, bbcnews, emoc, sst2, trec), a dataset YAML, a .csv, .tsv,
    .jsonl or .parquet file, a folder with train/validation/test files, or a hub dataset as
    ORG/NAME, :CONFIG and @REVISION behind it or not."""

    model: NameOrPath = "gpt2-xl"
    """Short name (gpt2-xl, opt-1.3b, smollm2-135m, tiny-gpt2, ...), hub id, or local folder."""

    revision: str | None = None
    """Branch, tag or commit of a hub model; the hub's default branch if not given."""

    mode: ModeName = "p-cls"
    """How to train: lm (prompt and label word), p-cls (prompt plus head), cls (text plus head)."""

    keep: int | Literal["all"] | None = None
    """How many layers stay; all means no cut. Default: 2, or as many as --layers names."""

    select: str = "first"
    """Which layers stay: first (0..keep-1), sequential (the last), even, random (by --seed), or
    those of most influence on the run's training texts: bi, bi-last, relative-magnitude, angular,
    greedy-loss, taylor (docs/layers.md)."""

    layers: list[int] | None = None
    """Names the kept layers outright, ascending, as in 0,1,5; instead of --keep."""

    scores: PathName | None = None
    """A scores.json of slimcls score, for a --select that ranks layers; measured on the run's own
    training texts if not given."""

    exits: list[int] | None = None
    """Trains a classifier at each of these depths in one training, as in 4,8,15,30: how many of the
    kept layers each has. The deepest is --keep. Each becomes a run of its own."""

    random_blocks: bool = False
    """Draw the kept blocks' weights anew: the baseline that shows what pretraining is worth."""

    data_dir: PathName | None = None
    """Folder with NAME/SPLIT.parquet files; SLIMCLS_DATA_DIR if not given."""

    text_column: str | None = None
    """Column that holds the text, for the user's own files and hub datasets; of text pairs both, as
    in premise,hypothesis."""

    label_column: str | None = None
    """Column that holds the label, for the user's own files and hub datasets."""

    skip_bad_rows: bool = False
    """Leave out rows of the user's own files or a hub dataset that cannot be used, and say which;
    else they are an error."""

    shots: Shots = 200
    """Training examples per class, or all."""

    demos: int = 1
    """Demonstrations per class in front of the query (lm and p-cls)."""

    seed: int = 0
    """Draws demonstrations, training, validation and test items, the head, the order, dropout."""

    split: Literal["stratified", "paper"] = "stratified"
    """stratified reserves validation first, by class; paper draws as the paper's authors did."""

    validation_size: int = 1000
    """Most validation items; never more than the test split has."""

    test_size: int = 1000
    """Most test items."""

    max_text_tokens: int | None = None
    """Longest text in tokens; longer ones are cut. Default: 256, or up to 512 where that cuts more
    than one training text in twenty; less where the context needs it (docs/options.md)."""

    lm_loss: LossName | None = None
    """Loss of mode lm: over the label words' first tokens (label-words, the default), over the
    whole vocabulary at that position (label-token), or over the whole prompt (sequence)."""

    tune: str = "full"
    """What is trained: full, lora, head, or last-K (last K kept layers, final norm and head)."""

    pool: Literal["mean"] | None = None
    """What the head reads in mode cls: mean, the mean over a text's tokens, by one more layer that
    averages (docs/options.md); the last token if not given."""

    probe_first: bool = False
    """Begin with the head that logistic regression fits to the layers as they are, in place of a
    drawn one (linear probing, then fine-tuning)."""

    lora_rank: int = 8
    """Rank of the LoRA update."""

    lora_alpha: int = 16
    """Scale of the LoRA update is lora_alpha / lora_rank."""

    teacher: PathName | None = None
    """A finished run, such as full depth, whose scores the cut learns in place of the labels; or a
    folder of runs: the deepest that has seen the same items."""

    unlabelled: PathName | None = None
    """Texts without labels to learn from the teacher: a data file, or rest, the training texts that
    the run does not use."""

    unlabelled_size: int | None = None
    """Most texts of --unlabelled; all if not given."""

    temperature: float | None = None
    """Divides the scores of --teacher and of what learns them; 1 if not given."""

    epochs: int = 30
    """Most passes over the training items; --patience ends training earlier."""

    steps: int | None = None
    """Most optimiser steps, rounded up to whole epochs; no more than --epochs allows."""

    batch_size: int = 16
    """Training items per optimiser step and process."""

    batch_tokens: int | None = None
    """Fills a training batch up to so many tokens, padding counted, instead of --batch-size."""

    lr: float | None = None
    """Peak learning rate; default from the table in docs/defaults.md."""

    weight_decay: float = 0.01
    """AdamW's decoupled weight decay (PyTorch's default)."""

    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Course of the learning rate after the warm-up; linear and cosine reach 0 at the last of
    --epochs, and go with --patience 0."""

    warmup: float | None = None
    """Steps in which the learning rate rises from zero; below 1 a share of all steps. Default: 50,
    or a tenth of all where that is less."""

    clip: float = 1.0
    """Largest norm of the gradient; 0 does not clip."""

    patience: int | None = None
    """Epochs without a better validation score before training stops; 0 never stops early. Default:
    4, or as many as take 100 steps."""

    monitor: Literal["accuracy", "macro-f1"] = "accuracy"
    """Validation score that picks the best epoch and stops early."""

    class_weights: bool = False
    """Weigh each class by the inverse of its share of the training items."""

    precision: Precision = "auto"
    """Arithmetic of training; weights stay in float32. auto: bf16 where the device computes it, and
    on a processor where a step has tokens enough to gain by it."""

    accelerator: Accelerator = "auto"
    """Device, as Lightning names it."""

    devices: int = 1
    """Processes (devices) per machine."""

    num_nodes: int = 1
    """Machines."""

    strategy: Literal["auto", "ddp"] = "auto"
    """How several processes work together."""

    eval_batch_size: int = 64
    """Items per forward pass in validation and test; does not change a prediction."""

    share_prefix: bool = True
    """Compute the demonstrations' keys and values once per batch instead of once per item."""

    compact_vocabulary: bool = True
    """Train only the embedding rows whose tokens occur; the others get, to the last bit, what the
    optimiser would have given them."""

    recompute_features: bool = False
    """With --tune head, run the frozen backbone in every step instead of once per text."""

    compile: bool = False
    """Compile the backbone with torch.compile: slower to start, faster a step on GPUs."""

    baseline: bool = True
    """Also fit TF-IDF with logistic regression to the same items, and say how it compares."""

    metrics: str | None = None
    """More metrics of the test part, of the library evaluate: .py files or folders, or metrics of
    the hub as NAME@COMMIT, each with settings as in f1@COMMIT:average=macro, commas between them
    (docs/runs.md)."""

    trust_metric_code: bool = False
    """Run the code of the hub's --metrics on this machine."""

    logger: Literal["csv", "tensorboard", "mlflow", "wandb"] = "csv"
    """curves.csv is always written; the others log beside it, as Lightning has them."""

    checkpoint_seconds: float = 30.0
    """Least time between two checkpoints of a run, in seconds; 0 saves after every batch."""

    out: PathName = "runs"
    """Folder that holds the run directories."""

    overwrite: bool = False
    """Start again although the run is finished or begun."""

    force: bool = False
    """Go on although the run seems too big for this machine's memory."""

    save_model: Literal["best", "none"] = "best"
    """best writes the artefact model/; none does not."""

    save_dtype: Literal["float16", "bfloat16"] | None = None
    """Numbers of the weights in model/: float16 or bfloat16, which halve it; float32 if not given.
    The trained weights are rounded before they are tested: figures are of what is saved."""

    def __post_init__(self) -> None:
        cli.keep_plain(self)
        for check in _CHECKS:
            check(self)

    @property
    def uses_prompt(self) -> bool:
        """Whether texts go in with the template and demonstrations around them."""
        return self.mode != "cls"


_AT_LEAST = {
    "shots": 1, "seed": 0, "validation_size": 1, "test_size": 1, "max_text_tokens": 1,
    "batch_tokens": 1, "demos": 0, "lora_rank": 1, "lora_alpha": 1, "unlabelled_size": 1,
    "epochs": 0, "steps": 1, "batch_size": 1, "devices": 1, "num_nodes": 1,
    "eval_batch_size": 1, "patience": 0, "weight_decay": 0.0, "clip": 0.0, "warmup": 0.0,
    "checkpoint_seconds": 0.0,
}  # fmt: skip


def _check_ranges(config: RunConfig) -> None:
    for name, least in _AT_LEAST.items():
        value = getattr(config, name)
        if isinstance(value, int | float) and value < least:
            raise UserError(f"{flag(name)} {value}: must be at least {least}")
    if config.seed >= 2**63:
        raise UserError(f"--seed {config.seed}: must be below 2^63")
    if config.lr is not None and not 0 < config.lr < 1:
        raise UserError(f"--lr {config.lr}: must be above 0 and below 1")
    if config.warmup and config.warmup > 1 and config.warmup % 1:
        raise UserError(f"--warmup {config.warmup}: whole steps, or a share of all below 1")


def _check_cut(config: RunConfig) -> None:
    needs_text = criteria.find_criterion(config.select).needs_text
    if config.scores is not None and not needs_text:
        raise UserError(
            f"--scores: --select {config.select} needs none; name the criterion the file is of, or "
            "leave --scores out"
        )
    if config.layers is not None and not config.layers:
        raise UserError("--layers: names no layer; give their numbers, as in --layers 0,1,5")
    # A resolved run says both, and how many: whether they agree is known once its depth is.
    if config.layers is not None and config.select != "first" and config.keep is None:
        raise UserError(f"--layers names the layers itself: leave out --select {config.select}")
    if config.keep is None:
        deepest = config.exits[-1] if config.exits else 2
        config.keep = len(config.layers) if config.layers else deepest
    if isinstance(config.keep, int) and config.keep < 1:
        raise UserError(f"--keep {config.keep}: at least one layer must stay, or all")
    if config.layers is None:
        return
    if config.keep != len(config.layers):
        raise UserError(
            f"--keep {config.keep}: --layers names {len(config.layers)}; leave one of them out"
        )
    if min(config.layers) < 0:
        raise UserError(f"--layers {','.join(map(str, config.layers))}: layers are numbered from 0")
    if config.layers != sorted(set(config.layers)):
        raise UserError(
            f"--layers {','.join(map(str, config.layers))}: must be ascending, each layer once"
        )


#: Ways that a training of several depths does not go, with the values that are meant.
_NO_EXITS: dict[str, Callable[[Any], bool]] = {
    "tune": lambda tune: tune != "full",
    "lm_loss": lambda loss: loss == "sequence",
    "compile": bool,
    "teacher": bool,
    "epochs": lambda epochs: not epochs,
    "devices": lambda processes: processes > 1,
    "num_nodes": lambda machines: machines > 1,
}


def _check_exits(config: RunConfig) -> None:
    """All depths, ascending; the deepest is that of the cut, or the run is one of its exits."""
    if config.exits is None:
        return
    named = ",".join(map(str, config.exits))
    if not config.exits or config.exits[0] < 1 or config.exits != sorted(set(config.exits)):
        raise UserError(f"--exits {named}: depths from 1 up, ascending, each once, as in 4,8,15")
    for name, meant in _NO_EXITS.items():
        if meant(value := getattr(config, name)):
            given = flag(name) if value is True else f"{flag(name)} {value}"
            raise UserError(f"{given}: not with --exits")


def _add_deepest_exit(config: RunConfig) -> None:
    if config.exits is None or not isinstance(config.keep, int):
        return
    if config.keep > config.exits[-1]:
        config.exits = [*config.exits, config.keep]
    named = ",".join(map(str, config.exits))
    if config.keep not in config.exits:
        raise UserError(f"--exits {named}: deeper than --keep {config.keep}")
    if len(config.exits) < 2:
        raise UserError(f"--exits {named}: that is --keep alone; name a depth above it too")


def _check_mode(config: RunConfig) -> None:
    if config.lm_loss is not None and config.mode != "lm":
        raise UserError(f"--lm-loss {config.lm_loss}: only --mode lm has it, not {config.mode}")
    if config.class_weights and config.lm_loss in ("label-token", "sequence"):
        raise UserError(f"--class-weights: not with --lm-loss {config.lm_loss}")
    if config.mode == "lm" and config.tune == "head":
        raise UserError("--tune head: mode lm has no head to train; use --mode p-cls or cls")


def _check_tune(config: RunConfig) -> None:
    if config.tune in ("full", "lora", "head"):
        return
    match = re.fullmatch(r"last-(\d+)", config.tune)
    if not match:
        raise UserError.unknown("--tune", config.tune, ["full", "lora", "head", "last-K"])
    depth = len(config.layers) if config.layers else config.keep
    if int(match[1]) < 1:
        raise UserError(f"--tune {config.tune}: trains nothing; at least last-1")
    if isinstance(depth, int) and int(match[1]) > depth:
        raise UserError(f"--tune {config.tune}: from last-1 to last-{depth} with {depth} layers")


def _check_pool(config: RunConfig) -> None:
    if config.pool is None:
        return
    if config.mode != "cls":
        raise UserError(f"--pool {config.pool}: only --mode cls has it, not {config.mode}")
    if config.exits:
        raise UserError(f"--pool {config.pool}: not with --exits, which read the last token")
    if config.tune == "head" or not config.epochs:
        what = "--tune head" if config.tune == "head" else "--epochs 0"
        raise UserError(
            f"--pool {config.pool}: not with {what}; slimcls baseline --method mean-probe reads "
            "frozen layers"
        )
    if config.save_dtype == "float16":
        raise UserError(
            f"--pool {config.pool}: the layer that averages has numbers beyond --save-dtype "
            "float16; use bfloat16"
        )


def _check_probe_first(config: RunConfig) -> None:
    if not config.probe_first:
        return
    for name, is_meant, why in (
        ("mode", config.mode == "lm", "whose label words are the head"),
        ("tune", config.tune == "head", "which finds the same head"),
        ("epochs", not config.epochs, "which trains nothing"),
        ("teacher", config.teacher is not None, "in whose place labels would be learnt"),
        ("devices", config.devices > 1, "each of which would fit it again"),
        ("num_nodes", config.num_nodes > 1, "each of which would fit it again"),
    ):
        if is_meant:
            raise UserError(f"--probe-first: not with {flag(name)} {getattr(config, name)}, {why}")


def _check_teacher(config: RunConfig) -> None:
    for name in ("unlabelled", "temperature"):
        if getattr(config, name) is not None and config.teacher is None:
            raise UserError(f"{flag(name)}: needs a --teacher, a finished run to learn from")
    if config.unlabelled_size is not None and config.unlabelled is None:
        raise UserError("--unlabelled-size: needs --unlabelled, the texts to take them from")
    if config.teacher is None:
        return
    if config.temperature is not None and not 0 < config.temperature < float("inf"):
        raise UserError(f"--temperature {config.temperature}: must be above 0")
    if config.lm_loss not in (None, "label-words"):
        raise UserError(f"--teacher: not with --lm-loss {config.lm_loss}, only label-words")
    if config.class_weights:
        raise UserError("--teacher: not with --class-weights, since no label is learnt")
    if config.epochs == 0:
        raise UserError("--teacher: not with --epochs 0, which learns nothing")


def _check_metrics(config: RunConfig) -> None:
    named = named_metrics(config.metrics, trusted=config.trust_metric_code)
    if config.trust_metric_code and all(one.here for one in named):
        raise UserError("--trust-metric-code: --metrics names none of the hub; leave it out")


def _check_devices(config: RunConfig) -> None:
    if config.strategy == "auto" and config.devices * config.num_nodes > 1:
        raise UserError("--devices, --num-nodes: several processes need --strategy ddp")
    if config.precision == "16" and config.accelerator == "cpu":
        raise UserError("--precision 16: processors have no float16 training; use bf16 or 32")


#: In an order in which each may rely on those before it.
_CHECKS: tuple[Callable[[RunConfig], None], ...] = (
    _check_ranges,
    _check_exits,
    _check_cut,
    _add_deepest_exit,
    _check_mode,
    _check_tune,
    _check_pool,
    _check_probe_first,
    _check_teacher,
    _check_metrics,
    _check_devices,
)


def flag(field: str) -> str:
    """The command-line spelling of a field: ``batch_size`` is ``--batch-size``."""
    return "--" + field.replace("_", "-")


def hashed(config: RunConfig) -> dict[str, object]:
    """The settings that change what comes out, by field name.

    What is off (null or false) is left out, so that a setting added later renames no finished run.
    """
    settings = {f.name: getattr(config, f.name) for f in fields(config)}
    return {
        name: value
        for name, value in settings.items()
        if name not in NOT_HASHED and value is not None and value is not False
    }
