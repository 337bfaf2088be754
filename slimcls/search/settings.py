"""FitConfig: what to classify, how much may be lost by cutting, how long all of it may take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from slimcls import cli
from slimcls.config import Shots
from slimcls.errors import UserError, in_short
from slimcls.kinds import BITS
from slimcls.storage.paths import NameOrPath, PathName

_UNITS = {"h": 3600, "m": 60, "s": 1}
#: Where fits go whose settings name no folder.
FITS = Path("fits")
#: In a fit's folder, the runs that it has made.
RUNS = "runs"


@dataclass(kw_only=True)
class FitConfig:
    """The smallest classifier that is good enough for a dataset: a cut, or a cheap rival."""

    dataset: NameOrPath
    """A data file, a folder with train/test files, a dataset YAML, a packaged name, or a dataset of
    the hub as ORG/NAME, :CONFIG and @REVISION behind it or not."""

    text_column: str | None = None
    """Column that holds the text, for your own files; of text pairs both, as in
    premise,hypothesis."""

    label_column: str | None = None
    """Column that holds the label, for your own files."""

    data_dir: PathName | None = None
    """Folder with NAME/SPLIT.parquet files; SLIMCLS_DATA_DIR if not given."""

    model: NameOrPath = "smollm2-135m"
    """Short name, hub id, or local folder of the model to cut."""

    revision: str | None = None
    """Branch, tag or commit of a hub model; the hub's default branch if not given."""

    max_loss: float = 2.0
    """Points of accuracy that the smaller classifier may lose against the best one."""

    unlabelled: PathName | None = None
    """Texts without labels, a data file: cuts learn them from the deepest model."""

    budget: str = "30m"
    """Time that all of it may take, as in 90s, 30m or 2h; it decides what is tried."""

    max_mb: float | None = None
    """Most megabytes (10^6 bytes) on disk of what is handed over."""

    max_ms: float | None = None
    """Most milliseconds that it may take for one text on this machine."""

    bits: int | None = None
    """Also hand over the chosen layers as ONNX in so many bits (32, 8 or 4), without torch."""

    shots: Shots = "all"
    """Most training examples per class, or all; the budget may ask for fewer."""

    test_size: int = 1000
    """Most test items."""

    seed: int = 1
    """Draws the items of the search; the seeds after it confirm what was found."""

    out: PathName | None = None
    """Folder for all that comes of it; fits/NAME, by the dataset's name, if not given."""

    overwrite: bool = False
    """Start again although the fit is finished or begun."""

    def __post_init__(self) -> None:
        cli.keep_plain(self)
        seconds_of(self.budget)
        if not 0 < self.max_loss < 100:
            raise UserError(f"--max-loss {self.max_loss:g}: points, above 0 and below 100")
        for name in ("max_mb", "max_ms"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"--{name.replace('_', '-')} {value:g}: must be above 0")
        # An interval wants two test texts.
        for name, least in (("test_size", 2), ("shots", 1)):
            value = getattr(self, name)
            if isinstance(value, int) and value < least:
                raise UserError(f"--{name.replace('_', '-')} {value}: must be at least {least}")
        if self.bits is not None and self.bits not in BITS:
            raise UserError(f"--bits {self.bits}: must be one of {', '.join(map(str, BITS))}")
        if self.seed < 0:
            raise UserError(f"--seed {self.seed}: must be at least 0")

    @property
    def folder(self) -> Path:
        """Where all that comes of it goes."""
        if self.out:
            return Path(self.out)
        name = Path(self.dataset).stem
        # Of the folder that one is in, or of the one above it, the name is not written there.
        return FITS / (Path(self.dataset).resolve().name if name in ("", "..") else name)


def seconds_of(budget: str) -> float:
    """A budget in seconds. Raises UserError where it is none."""
    found = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", budget)
    if not budget or not found:
        raise UserError(f"--budget {in_short(budget)}: a time as in 90s, 30m, 2h or 1h30m")
    parts = zip(found.groups(), _UNITS.values(), strict=True)
    seconds = sum(float(part) * unit for part, unit in parts if part)
    if not 0 < seconds < float("inf"):
        raise UserError(f"--budget {in_short(budget)}: must be above 0")
    return seconds
