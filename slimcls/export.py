"""A run as a small folder: ``python -m slimcls.export RUN FOLDER --bits 8``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimcls import cli
from slimcls.classifier.description import CASCADE, ONNX, read_description
from slimcls.errors import UserError
from slimcls.exporting.settings import ALL, ExportConfig, check_out
from slimcls.kinds import WHOLE
from slimcls.storage.files import alone, check_writable, replacing_folder

if TYPE_CHECKING:
    from slimcls.exporting.report import Report
    from slimcls.session.again import Drawn

#: What brings the exporter.
EXTRA = "export"


def export(config: ExportConfig) -> Report:
    """Write the exported folder, whole or not at all, and say what it changes.

    Raises :class:`slimcls.errors.UserError` for what the caller got wrong, and where more
    validation texts get another label than may.
    """
    description = _described(config)
    check_out(config)
    drawn = _drawn(config)
    from slimcls.classifier.artefact import load_run
    from slimcls.exporting.work import fill

    out = Path(config.out)
    classifier = load_run(config.run)
    with alone(out, "there"), replacing_folder(out) as folder:
        return fill(folder, classifier, description, config, drawn)


def _described(config: ExportConfig) -> dict[str, Any]:
    folder, description = read_description(Path(config.run))
    if ONNX in description:
        raise UserError(f"{folder}: was exported already; name the run that it was exported from")
    if description.pop(CASCADE, None):
        print(
            f"note: {folder} leaves early; what is exported sees every text with all its layers. "
            "An exit's own run exports that exit alone",
            file=sys.stderr,
        )
    return description


def _drawn(config: ExportConfig) -> Drawn | None:
    """The run's data and items; None where they cannot be had and need not be."""
    from slimcls.session.again import drawn_again

    try:
        return drawn_again(Path(config.run), config.data_dir)
    except UserError as error:
        if config.vocabulary is not None:
            raise UserError(f"{error}; --vocabulary needs the texts of the run") from error
        if config.bits == WHOLE or config.tolerate == ALL:
            print(f"note: validation texts are not compared: {error}", file=sys.stderr)
            return None
        raise UserError(
            f"{error}; --tolerate {ALL} exports without comparing validation texts"
        ) from error


def main(argv: list[str] | None = None) -> int:
    """The command: write the folder, print what it changes."""
    config = cli.parse(
        ExportConfig,
        sys.argv[1:] if argv is None else argv,
        prog="slimcls export",
        positional=("run", "out"),
        example="slimcls export RUN small --bits 8",
        extra=EXTRA,
    )
    check_writable(Path(config.out))
    report = export(config)
    from slimcls.exporting.report import figures

    lines = (f"  {what:<16}{figure}" for what, figure in figures(report))
    what = f"ONNX, {config.bits} bits" if config.to == "onnx" else "for transformers"
    cli.say("\n".join([f"{config.out}: {what}", *lines]))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
