"""How much each layer matters: ``python -m slimcls.score M --text SOURCE --out FILE``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slimcls import cli, roles
from slimcls.devices import Accelerator
from slimcls.errors import UserError
from slimcls.layers.criteria import find_criterion
from slimcls.layers.selection import Selection
from slimcls.storage.files import check_writable
from slimcls.storage.paths import NameOrPath, PathName

if TYPE_CHECKING:
    from slimcls.layers.layer_scores import Scores
    from slimcls.layers.samples import Texts


@dataclass(kw_only=True)
class ScoreConfig:
    """Measure how much each layer of a model matters, and say what should stay at each depth."""

    model: NameOrPath
    """Short name (gpt2-xl, opt-1.3b, smollm2-135m, tiny-gpt2, ...), hub id, or local folder."""

    revision: str | None = None
    """Branch, tag or commit of a hub model; the hub's default branch if not given."""

    criterion: str = "bi"
    """bi, bi-last, relative-magnitude, angular, greedy-loss, taylor; or a rule that looks at no
    text: first, sequential, even, random. docs/layers.md has their formulas."""

    text: NameOrPath | None = None
    """Where texts come from: a dataset (its training rows alone), a .txt (a text a line), .csv,
    .tsv, .jsonl or .parquet file, or a folder of .txt files (a text a file)."""

    samples: int | None = None
    """How many texts, drawn by --seed. Default: 256, 64 for taylor, 32 for greedy-loss."""

    out: PathName | None = None
    """JSON file for the scores, as slimcls train --scores takes it; a figure is put beside it."""

    keep: int = 1
    """Fewest layers that greedy-loss shall work its way down to; the others answer for all."""

    max_text_tokens: int | None = None
    """Longest text in tokens; longer ones are cut. Default: 256, less where the context is."""

    text_column: str | None = None
    """Column that holds the text, for the user's own files."""

    skip_bad_rows: bool = False
    """Leave out rows of the user's own files that cannot be used, and say which; else they are an
    error."""

    data_dir: PathName | None = None
    """Folder with NAME/SPLIT.parquet files; SLIMCLS_DATA_DIR if not given."""

    batch_size: int = 8
    """Texts per forward pass; does not change a score beyond rounding."""

    seed: int = 0
    """Draws the texts and the bootstrap, and the layers of random."""

    accelerator: Accelerator = "auto"
    """Device, as Lightning names it."""

    force: bool = False
    """Go on although the model seems too big for this machine's memory."""

    overwrite: bool = False
    """Write over an output file that is there."""

    def __post_init__(self) -> None:
        cli.keep_plain(self)
        criterion = find_criterion(self.criterion, "--criterion")
        least = {"samples": 1, "keep": 1, "max_text_tokens": 2, "batch_size": 1, "seed": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise UserError(f"--{name.replace('_', '-')} {value}: must be at least {bound}")
        if criterion.needs_text and self.text is None:
            raise UserError(f"--text: {self.criterion} looks at texts; name a dataset or a file")
        if self.out is not None:
            self._check_out(Path(self.out))

    def _check_out(self, out: Path) -> None:
        if out.suffix.lower() != ".json":
            raise UserError(f"--out {out}: must end in .json")
        if out.exists() and not self.overwrite:
            raise UserError(f"{out}: is there already; --overwrite writes over it")


def _selection(config: ScoreConfig) -> Selection:
    """The choice that the scores shall answer for."""
    return Selection(
        model=config.model,
        select=config.criterion,
        keep=config.keep,
        samples=config.samples,
        max_text_tokens=config.max_text_tokens,
        batch_size=config.batch_size,
        seed=config.seed,
        accelerator=config.accelerator,
        force=config.force,
    )


def score(config: ScoreConfig) -> Scores:
    """Measure a model's layers; nothing is written.

    Raises :class:`slimcls.errors.UserError` for what the caller got wrong, before the model's
    weights are opened where that can be known.
    """
    from slimcls.backbones import sources

    selection = _selection(config)
    sources.check_name(config.model, config.revision)
    texts = _texts(config) if selection.measures else None
    # Whether there is a choice shows before weights are fetched.
    source = sources.find(config.model, config.revision, selection.check_model)
    return selection.measure(source, selection.sample(texts, source) if texts else None)


def _texts(config: ScoreConfig) -> Texts:
    from slimcls.layers.samples import read_texts

    assert config.text is not None
    folder = Path(config.data_dir) if config.data_dir else None
    return read_texts(
        config.text,
        data_dir=folder,
        text_column=config.text_column,
        skip_bad_rows=config.skip_bad_rows,
    )


def main(argv: list[str] | None = None) -> int:
    """The command: print a table; write the scores and their figure with ``--out``."""
    config = cli.parse(
        ScoreConfig,
        sys.argv[1:] if argv is None else argv,
        prog="slimcls score",
        positional=("model",),
        example="slimcls score smollm2-135m --text reviews.csv --out scores.json",
        groups=roles.headings(),
    )
    if config.out is not None:
        check_writable(Path(config.out).parent)
    scores = score(config)
    from slimcls.layers.layer_scores import write_scores
    from slimcls.layers.score_report import draw_scores, score_table

    cli.say(score_table(scores))
    if config.out is None:
        return 0
    out = Path(config.out)
    written = [out]
    if scores.scores is not None:
        written.append(out.with_suffix(".png"))
        draw_scores(scores, written[-1])
    # The scores last: where they are, everything is.
    write_scores(scores, out)
    cli.say(f"written: {', '.join(map(str, written))}")
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
