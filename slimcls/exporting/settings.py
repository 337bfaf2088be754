"""ExportConfig: which run becomes what, and how much may change on the way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from slimcls import cli
from slimcls.classifier.description import DESCRIPTION, ONNX, read_description
from slimcls.errors import UserError
from slimcls.kinds import BITS, WHOLE
from slimcls.storage.paths import PathName

#: Per cent: a share of this many is all.
ALL = 100


@dataclass(kw_only=True)
class ExportConfig:
    """Turn a finished run into a small folder that classifies without torch."""

    run: PathName
    """Run directory, or the model folder in it."""

    out: PathName
    """Folder for the exported classifier."""

    to: Literal["onnx"] = "onnx"
    """Format of the model: onnx."""

    bits: int = WHOLE
    """Bits of each number of the model's matrices: 32, 8 or 4. Fewer make it smaller, may make it
    faster, and change probabilities."""

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


def check_out(config: ExportConfig) -> None:
    """UserError where ``--out`` is there: an exported folder alone is written over, on demand."""
    out = Path(config.out)
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / DESCRIPTION).is_file() or ONNX not in read_description(out)[1]:
        raise UserError(f"--out {out}: is there and was not exported; name another folder")
    if not config.overwrite:
        raise UserError(f"--out {out}: is there already; --overwrite writes over it")
