"""Classify texts with a finished run: ``python -m slimcls.predict RUN "some text"``."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slimcls import cli
from slimcls.data.pairs import Pair
from slimcls.data.reader import READERS
from slimcls.errors import UserError
from slimcls.storage.files import check_writable
from slimcls.storage.paths import PathName

if TYPE_CHECKING:
    from slimcls.classifier.prediction import Predictor

#: What no text ends in, and no file that is read either.
OTHERS = (".json", ".xlsx", ".xls", ".ods", ".xml", ".pdf", ".zip", ".gz")

#: The input that stands for standard input.
PIPED = "-"


@dataclass(kw_only=True)
class PredictConfig:
    """Classify a text, or the texts of a file, with a finished run."""

    run: PathName
    """Run directory, the model folder in it, a folder of slimcls export, or ORG/NAME on the hub."""

    input: str
    """A text, or a .txt (a text a line), .csv, .tsv, .jsonl or .parquet file, or - for standard
    input, a text a line."""

    hypothesis: str | None = None
    """The second text, for a classifier of text pairs; INPUT is the first."""

    out: PathName | None = None
    """File for the results, of the input's kind; default: INPUT with .predicted before its end."""

    text_column: str | None = None
    """Column or key that holds the text; of text pairs both, as in premise,hypothesis."""

    batch_size: int = 64
    """Texts per forward pass; does not change a prediction."""

    json: bool = False
    """Print a JSON object a line, as a .jsonl file would have it; for a text or standard input."""

    abstain_risk: float | None = None
    """Name a class only where it is sure enough that at most so many percent of the answers are
    wrong, as the validation texts show it (docs/predicting.md)."""

    sets: float | None = None
    """Also give each text the classes of a set that lacks the true one in at most so many percent
    of texts."""

    leave_early: bool = True
    """After slimcls cascade, let each text leave at the first exit that is sure of it."""

    strict: bool = False
    """Stop at the first row that cannot be read, instead of reporting and skipping it."""

    overwrite: bool = False
    """Write over an output file that is there."""

    def __post_init__(self) -> None:
        cli.keep_plain(self)
        if self.batch_size < 1:
            raise UserError(f"--batch-size {self.batch_size}: must be at least 1")
        for name, value in self.promises.items():
            if value is not None:
                # numpy is with it, which a wrong flag need not wait for.
                from slimcls.classifier.confidence import share_of

                share_of(value, f"--{name.replace('_', '-')}")

    @property
    def promises(self) -> dict[str, float | None]:
        """What is asked of the probabilities, in percent."""
        return {"abstain_risk": self.abstain_risk, "sets": self.sets}


def main(argv: list[str] | None = None) -> int:
    """The command: results go to a file, or to the terminal for a single text."""
    config = cli.parse(
        PredictConfig,
        sys.argv[1:] if argv is None else argv,
        prog="slimcls predict",
        positional=("run", "input"),
        example="slimcls predict RUN new.csv --out labelled.csv",
        extra="",
    )
    from slimcls.classifier.artefact import load
    from slimcls.classifier.description import read_description

    read_description(Path(config.run))
    paths = _paths(config)
    classifier = load(config.run, leave_early=config.leave_early)
    _check_pair(classifier, config, is_file=bool(paths))
    if config.abstain_risk is not None:
        print(_abstains(classifier, config.abstain_risk), file=sys.stderr)
    if paths:
        return _file(classifier, config, *paths)
    return _piped(classifier, config) if config.input == PIPED else _text(classifier, config)


def _abstains(classifier: Predictor, risk: float) -> str:
    """How many texts get an answer. Raises UserError where none would."""
    found = classifier.abstention(risk)
    return (
        f"--abstain-risk {risk:g}: a class is named from a probability of {found.threshold:.3f} "
        f"on; of the validation texts {found.answered:.0%} get an answer, of which "
        f"{found.wrong:.1%} are wrong"
    )


def _check_pair(classifier: Predictor, config: PredictConfig, *, is_file: bool) -> None:
    """Raise UserError where there is a text too few or too many."""
    if config.hypothesis is not None and (classifier.pair is None or is_file):
        what = "a file has both texts of a pair" if is_file else "this classifier takes one text"
        raise UserError(f"--hypothesis: {what}; leave it out")
    if classifier.pair is None or is_file:
        return
    if config.input == PIPED:
        raise UserError(
            "standard input holds a text a line, and this classifier takes pairs of texts; give a "
            f"file with the columns {' and '.join(classifier.pair)}"
        )
    if not (config.hypothesis or "").strip():
        raise UserError(
            "this classifier takes pairs of texts: give the second one with --hypothesis TEXT"
        )


def _text(classifier: Predictor, config: PredictConfig) -> int:
    texts = {"text": config.input}
    given: str = config.input
    if classifier.pair and config.hypothesis is not None:
        given = Pair(config.input, config.hypothesis)
        texts = dict(zip(classifier.pair, given.parts, strict=True))
    (found,) = classifier.predict([given], abstain_risk=config.abstain_risk, sets=config.sets)
    if config.json:
        cli.say(json.dumps(texts | found.columns(), ensure_ascii=False))
        return 0
    shares = (f"  {share:.3f}  {label}" for label, share in found.probabilities.items())
    named = "(not sure enough to name a class)" if found.label is None else found.label
    sets = [] if found.classes is None else [f"  set: {', '.join(found.classes) or 'empty'}"]
    layers = "layer" if found.depth == 1 else "layers"
    depth = [] if found.depth is None else [f"  left after {found.depth} {layers}"]
    cli.say("\n".join([named, *shares, *depth, *sets]))
    return 0


def _piped(classifier: Predictor, config: PredictConfig) -> int:
    from slimcls.classifier.text_files import classify_lines

    # Bytes that are no UTF-8 are the fault of their line alone.
    lines = io.TextIOWrapper(sys.stdin.buffer, "utf-8-sig", "surrogateescape", newline="")
    classify_lines(
        classifier,
        lines,
        sys.stdout,
        name="standard input",
        as_json=config.json,
        batch_size=config.batch_size,
        strict=config.strict,
        **config.promises,
    )
    return 0


def _file(classifier: Predictor, config: PredictConfig, source: Path, target: Path) -> int:
    from slimcls.classifier.text_files import classify_file

    rows, bad = classify_file(
        classifier,
        source,
        target,
        column=config.text_column,
        batch_size=config.batch_size,
        strict=config.strict,
        **config.promises,
    )
    cli.say(f"{rows - bad} of {rows} rows classified: {target}")
    return 0


def _paths(config: PredictConfig) -> tuple[Path, Path] | None:
    """Input and output file, or None where the input is a text itself."""
    source = Path(config.input)
    if config.input == PIPED or not _names_a_file(config.input):
        if config.out or config.text_column:
            raise UserError("--out and --text-column: only with an input file")
        if not config.input.strip():
            raise UserError("the text is empty")
        if config.input != PIPED:
            _check_text(config.input)
        return None
    if config.json:
        raise UserError("--json: a file's results are of its own kind; give a .jsonl file")
    if source.suffix.lower() not in READERS:
        raise UserError(f"{source}: not a kind of file that is read ({', '.join(READERS)})")
    if not source.is_file():
        raise UserError(f"{source}: no such file")
    target = Path(config.out or source.with_suffix(f".predicted{source.suffix}"))
    if target.suffix.lower() != source.suffix.lower():
        raise UserError(f"--out {target}: must end in {source.suffix} like the input")
    if target.exists() and not config.overwrite:
        raise UserError(f"{target}: is there already; --overwrite writes over it")
    if target.exists() and target.samefile(source):
        raise UserError(f"--out {target}: is the input itself; name another file")
    check_writable(target.parent)
    return source, target


def _check_text(text: str) -> None:
    """Say so where a text may have been meant for a file. Raises UserError for a folder."""
    try:
        there = Path(text).exists()
    except (OSError, ValueError):  # longer than a name can be
        return
    if there:
        raise UserError(f"{text}: is a folder or a device; give a file of texts, or a text")
    if text.lower().endswith(tuple(READERS)):
        print(f"note: no file is called {text!r}; it is classified as a text", file=sys.stderr)


def _names_a_file(text: str) -> bool:
    """Whether the input is a file, or by its looks was meant to be one."""
    if text.lower().endswith((*READERS, *OTHERS)) and not any(letter.isspace() for letter in text):
        return True
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # longer than a name can be
        return False


if __name__ == "__main__":
    sys.exit(cli.run(main))
