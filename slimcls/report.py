"""Finished runs into tables, figures and verdicts: ``python -m slimcls.report FOLDER``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from slimcls import cli
from slimcls.errors import UserError
from slimcls.storage.files import check_writable
from slimcls.storage.paths import PathName


@dataclass(kw_only=True)
class ReportConfig:
    """Tables, figures and verdicts from finished runs, the same bytes from the same runs."""

    folder: PathName
    """Folder of run directories, such as runs."""

    out: PathName = "report"
    """Folder that gets report.md, report.html, tables/ and figures/."""

    margin: float = 2.0
    """Percentage points of accuracy whose loss does not matter."""

    title: str | None = None
    """Heading of the report; by default the folder's name."""

    def __post_init__(self) -> None:
        cli.keep_plain(self)
        if not 0 < self.margin < 100:
            raise UserError(f"--margin {self.margin:g}: percentage points, above 0 and below 100")


def report(config: ReportConfig) -> Path:
    """Write the report of a folder of runs; return the path of its Markdown page.

    Raises UserError where there is nothing to report or the pages cannot be written.
    """
    from slimcls.reporting import pages, study

    read = study.read_study(config.folder, config.margin / 100)
    return pages.write_report(
        read, Path(config.out), config.title or Path(config.folder).resolve().name
    )


def main(argv: list[str] | None = None) -> int:
    """The command: write the report and print the path of its page. Returns the exit code."""
    config = cli.parse(
        ReportConfig,
        sys.argv[1:] if argv is None else argv,
        prog="slimcls report",
        positional=("folder",),
        example="slimcls report runs --out report",
    )
    check_writable(Path(config.out))
    page = report(config)
    cli.say(str(page))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
