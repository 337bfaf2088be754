"""ExportConfig: which run becomes what, and how much may change on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slimcls import cli
from slimcls.classifier.description import DESCRIPTION
from slimcls.errors import UserError
from slimcls.kinds import BITS, WHOLE
from slimcls.storage.paths import PathName

#: Per cent: a share of this many is all.
ALL = 100

#: The file of an exported folder that no run has: what the export changed.
PARITY = "parity.json"


@dataclass(kw_only=True)
class ExportConfig:
    """Turn a finished run into a small folder that classifies without torch."""

    run: PathName
    """Run directory, or the model folder in it."""

    out: PathName
    """Folder for the exported classifier."""

    to: Literal["onnx", "transformers"] = "onnx"
    """Format of the model: onnx, which needs no torch, or transformers, a plain folder for its Auto
    classes with fewer tokens."""

    bits: int = WHOLE
    """Bits of each number of the model's matrices: 32, 8 or 4. Fewer make it smaller, may make it
    faster, and change probabilities."""

    vocabulary: int | Literal["auto"] | None = None
    """Most tokens that the tokenizer keeps, those that the run's texts have most often; auto finds
    the fewest that --tolerate allows. Every text still encodes. Default: all tokens."""

    unlabelled: PathName | None = None
    """A data file whose texts, beside the run's training texts, say which tokens --vocabulary
    keeps; their labels are not read."""

    retune: int = 0
    """Epochs that the classifier with fewer tokens learns the run's scores again, on the texts that
    --vocabulary counts; no label is read."""

    tolerate: float = 5.0
    """Most validation texts, in per cent, that may get another label than the run gives them; else
    nothing is exported."""

    data_dir: PathName | None = None
    """Folder of the run's data, for its validation texts; where the run has found them if not
    given."""

    overwrite: bool = False
    """Write over an exported folder that is there."""

    def __post_init__(self) -> None:
        cli.keep_plain(self)
        if self.bits not in BITS:
            raise UserError(f"--bits {self.bits}: must be one of {', '.join(map(str, BITS))}")
        if not 0 <= self.tolerate <= ALL:
            raise UserError(f"--tolerate {self.tolerate}: must be from 0 to {ALL}, in per cent")
        if isinstance(self.vocabulary, int) and self.vocabulary < 1:
            raise UserError(f"--vocabulary {self.vocabulary}: must be at least 1, or auto")
        if self.retune < 0:
            raise UserError(f"--retune {self.retune}: must be at least 0")
        if self.vocabulary is None:
            self._check_untrimmed()
        if self.to == "transformers" and self.bits != WHOLE:
            raise UserError(f"--bits {self.bits}: only --to onnx has fewer than {WHOLE}")
        if self.unlabelled is not None:
            # It says what a data file is, which takes longer to import than most flags to be wrong.
            from slimcls.data.unlabelled import check_unlabelled

            check_unlabelled(self.unlabelled)

    @property
    def changes(self) -> str:
        """The settings by which a label may change, as they are written; empty without any."""
        fewer = [f"--vocabulary {self.vocabulary}"] if self.vocabulary is not None else []
        return " ".join(fewer + ([f"--bits {self.bits}"] if self.bits != WHOLE else []))

    def _check_untrimmed(self) -> None:
        """UserError for what only fewer tokens give a meaning."""
        for name, value in (("unlabelled", self.unlabelled), ("retune", self.retune)):
            if value:
                raise UserError(f"--{name} {value}: needs --vocabulary, which it is for")
        if self.to == "transformers":
            raise UserError(
                "--to transformers: needs --vocabulary; with all its tokens the run's own model "
                "folder is what it would be"
            )


def check_out(config: ExportConfig) -> None:
    """UserError where ``--out`` is there: an exported folder alone is written over, on demand."""
    out = Path(config.out)
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not all((out / name).is_file() for name in (DESCRIPTION, PARITY)):
        raise UserError(f"--out {out}: is there and was not exported; name another folder")
    if not config.overwrite:
        raise UserError(f"--out {out}: is there already; --overwrite writes over it")
