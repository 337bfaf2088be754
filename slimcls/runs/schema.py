"""The result schema: what a finished run says about itself, column by column."""

from __future__ import annotations

import dataclasses
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from slimcls.config import RunConfig
from slimcls.data.encoding import DEFAULT_TOKENS

#: Raised whenever a column changes its name, type or meaning, or a run its outcome.
SCHEMA_VERSION = 1
RESULT, PREDICTIONS = "result.parquet", "predictions.parquet"
VALIDATION = "validation.parquet"

#: Baselines that read words and no model.
WITHOUT_MODEL = ("majority", "tfidf")

#: The columns of predictions.parquet, a row a test item, with their types.
PREDICTED: dict[str, object] = {
    "id": int,
    "label": str,
    "prediction": str,
    "probabilities": list[float],
    "tokens": int,
}


#: The columns of validation.parquet, a row a validation item: what the classifier that was kept
#: says of what chose it, from which temperatures and thresholds are found.
VALIDATED: dict[str, object] = {"id": int, "label": str, "logits": list[float]}


@dataclass(kw_only=True)
class Outcome:
    """What a run found out; beside the run's settings the columns of its result row."""

    run: str
    """Name of the run directory."""
    schema_version: int
    method: str = "fine-tuned"
    """What was measured: fine-tuned, or a baseline. random-blocks and untrained (no epoch) are runs
    like others, of a model cut to ``keep`` layers; so is mean-probe, whose layers are frozen.
    majority, tfidf, embeddings and probe train no layer: their ``keep`` and ``layers`` are null,
    ``mode`` says what goes in (cls: bare texts), ``model`` is empty but for embeddings and probe,
    and settings of a training they do not have stand for nothing. What they share with runs on the
    same items is dataset, data_fingerprint, seed, shots, demos, split, validation_size and
    test_size."""
    slimcls_version: str
    torch_version: str
    transformers_version: str
    lightning_version: str
    peft_version: str
    python_version: str
    commit: str
    """Commit of the slimcls checkout, with -dirty if it was changed; empty if it is installed."""
    device: str
    threads: int
    """Threads that torch computed with; another number may change the last bits."""
    source_fingerprint: str
    """Commit of the hub model or content hash of the local one."""
    source_note: str
    scores_fingerprint: str = ""
    """Content hash of the layer scores that chose the kept layers; empty where none did."""
    taught: str = ""
    """How the run was taught, as ``taught by 30 layers, cls, all of rest``; empty where labels are
    what it has learnt."""
    taught_by: str = ""
    """The run that was the teacher; it has seen the same labels."""
    unlabelled_texts: int = 0
    """Texts that were learnt from the teacher without their labels."""
    data_fingerprint: str
    data_version: int
    data_source: str = ""
    """JSON: the hub dataset that the rows were read from, its configuration, the revision as far as
    it was known and the split that was tested; empty where they were not read from the hub."""
    data_note: str
    """What has to be said beside figures on this data."""
    depth: int
    """Layers of the uncut model; 0 without a model."""
    params_full: int
    """Parameters of the uncut backbone, without a head."""
    params_kept: int
    params_saved: float
    """1 - params_kept / params_full; NaN without a model."""
    params_trained: int
    """Parameters that training changes; of a logistic regression, coefficients and intercepts."""
    embedding_share: float
    """Share of embeddings and positions in the kept parameters; NaN without a model."""
    labels_used: int
    """Labels of training, validation and, in a prompt, demonstrations."""
    train_items: int
    validation_items: int
    test_items: int
    """0 where rows were given in memory: all that is said of the test part is then NaN or null."""
    texts_cut: int
    """Texts of all splits that were longer than max_text_tokens."""
    repeats_removed: int
    """Training texts left out because they occur again."""
    draw_version: int = 1
    """Of the rule that drew the items (``split``); items of another version are not the same."""
    text_tokens: int
    """Longest text in tokens that is not cut; 0 where none is."""
    usual_tokens: int = DEFAULT_TOKENS
    """What text_tokens is where max_text_tokens does not say and the context allows it: by the
    lengths of the training texts."""
    validation_accuracy: float
    validation_low: float
    """Lower end of the 95 % Wilson interval over items."""
    validation_high: float
    validation_macro_f1: float
    test_accuracy: float
    test_low: float
    test_high: float
    test_macro_f1: float
    fitted_temperature: float | None = None
    """What logits are divided by for probabilities, fitted to validation.parquet; null of baselines
    that train no layer, and of runs before there was one."""
    test_nll: float | None = None
    """Mean negative log-likelihood of the true classes of the test part, in nats, without it."""
    test_nll_tempered: float | None = None
    """The same with it."""
    test_ece: float | None = None
    """Expected calibration error of the class named there, with it, in 15 bins of equal size."""
    test_ece_floor: float | None = None
    """What test_ece would be on average if the probabilities were exactly right."""
    test_metrics: str = ""
    """JSON: what each of ``metrics`` says of the test part, a value a name; under ``error`` why one
    says nothing. Empty where none was asked."""
    per_class: str
    """JSON: precision, recall, f1 and items of each class in the test part."""
    warnings: str = ""
    """What speaks against taking the run for a result, and what to try; empty where nothing does,
    and of runs that were not looked at."""
    tfidf_accuracy: float | None = None
    """Test accuracy of TF-IDF with logistic regression, fitted to the same items; null where that
    was left out (``baseline``)."""
    over_tfidf: float | None = None
    """test_accuracy minus tfidf_accuracy."""
    over_tfidf_low: float | None = None
    """Lower end of its 95 % interval, paired by test items."""
    over_tfidf_high: float | None = None
    probe_accuracy: float | None = None
    """The same of a probe of the uncut model, frozen; null where its states were not in the
    cache."""
    over_probe: float | None = None
    over_probe_low: float | None = None
    over_probe_high: float | None = None
    chosen: str = ""
    """What a baseline that trains no layer chose on validation, in words; empty of all else."""
    tried: str = ""
    """JSON: what it chose among, with the validation accuracy of each. Of probes the best of each
    depth and pooling, with its strength of regularisation and its log-loss, which decides."""
    read_layers: int | None = None
    """How many layers a probe reads the output of, 0 for the embeddings: this one, or the one
    beside the run; null of all else."""
    best_epoch: int
    epochs_run: int
    converged: bool | None = None
    """Whether validation had stopped improving before training ended; null where nothing was
    trained, and of runs of an earlier slimcls."""
    train_seconds: float
    total_seconds: float
    """Wall time of the process that finished the run."""
    examples_per_second: float
    """Training items of one process, steps alone, validation not counted."""
    tokens_per_second: float
    """Real tokens of one process, without padding and without a shared prefix."""
    peak_memory_mb: float
    model_mb: float
    """Size of model/ on disk, 0 if it was not saved; of majority, tfidf, embeddings and probe,
    which are not saved, what they take in memory."""
    latency_ms: float
    """Median time for one text, tokenising included."""


@dataclass(frozen=True)
class RunResult:
    """A finished run: its settings, its outcome, its folder."""

    config: RunConfig
    outcome: Outcome
    folder: Path

    @property
    def has_model(self) -> bool:
        """Whether the artefact that was saved, if any was, still has its weights."""
        return not self.outcome.model_mb or any((self.folder / "model").glob("*.safetensors"))

    def row(self) -> dict[str, object]:
        """The result row: settings first, then the outcome."""
        return dataclasses.asdict(self.config) | dataclasses.asdict(self.outcome)

    def __getattr__(self, name: str) -> Any:
        for part in ("outcome", "config"):
            if name in {f.name for f in dataclasses.fields(self.__dict__[part])}:
                return getattr(self.__dict__[part], name)
        raise AttributeError(name)


def result_columns() -> dict[str, object]:
    """The columns of a result row with their Python types: settings, then the outcome."""
    return get_type_hints(RunConfig) | get_type_hints(Outcome)


def defaults() -> dict[str, object]:
    """What a file of an earlier slimcls stands for in columns that came later."""
    fields = (*dataclasses.fields(RunConfig), *dataclasses.fields(Outcome))
    return {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}


def column_type(hint: object) -> tuple[type, bool]:
    """How a field is stored: its plain type, and whether it is a list of such.

    What may be null, or a word in place of a number, has the type that stands first.
    """
    if hint in (int, float, str, bool):
        return hint, False
    if get_origin(hint) is Literal:
        return type(get_args(hint)[0]), False
    if get_origin(hint) is list:
        return column_type(get_args(hint)[0])[0], True
    if get_origin(hint) in (Union, types.UnionType):
        return column_type(get_args(hint)[0])
    raise TypeError(f"no column type for {hint}")


def may_be_null(hint: object) -> bool:
    """Whether a column may hold nulls: where nothing was set, or ``all`` in place of a number."""
    return any(part is type(None) or "all" in get_args(part) for part in get_args(hint))
