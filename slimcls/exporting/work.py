"""Fills an exported folder, and says what is different from the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slimcls.backbones.packaged import write_card
from slimcls.classifier.classifier import Classifier
from slimcls.exporting.card import card
from slimcls.exporting.making import Made, Maker
from slimcls.exporting.parity import Calibration, Outcome, measured, odd_texts
from slimcls.exporting.report import Report
from slimcls.exporting.settings import PARITY, ExportConfig
from slimcls.session.again import Drawn


def fill(
    folder: Path,
    run: Classifier,
    description: dict[str, Any],
    config: ExportConfig,
    drawn: Drawn | None,
) -> Report:
    """Write all files of an exported folder, and say what is different from the run.

    ``drawn`` are the run's data and items; None where they cannot be had, which only an export
    with all tokens does without.

    Raises UserError where the model cannot be exported, or more labels differ than may.
    """
    maker = Maker(run, description, config, drawn)
    made = maker.make(folder)
    labels, odd = [item.label for item in maker.items], odd_texts(run)
    report = Report(
        to=config.to,
        bits=config.bits,
        megabytes=made.export.megabytes(),
        trimmed=made.trimmed,
        quantised=made.quantised,
        odd=Outcome(run, made.exported, odd).compared(),
        validation=made.validation,
        accuracy=made.outcome.accuracies(labels) if made.outcome else None,
        calibration=_calibrated(made, run, labels) if config.changes else None,
        speed=measured(made.exported, [item.text for item in maker.items] or odd),
    )
    (folder / PARITY).write_text(report.as_json(), encoding="utf-8")
    about = made.export.description
    write_card(folder, card(about, report), about["model"])
    return report


def _calibrated(made: Made, run: Classifier, labels: list[int]) -> Calibration | None:
    """Give the exported classifier a temperature of its own; None where nothing can say which."""
    if made.outcome is None:
        made.export.calibrate(None)
        return None
    own = made.outcome.confidence(labels)
    made.export.calibrate(own)
    of_run = run.confidence.temperature if run.confidence else 1.0
    return made.outcome.calibration(of_run, own.temperature, labels)
