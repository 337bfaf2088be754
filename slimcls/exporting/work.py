"""Fills an exported folder: graph, then fewer bits, each held against the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slimcls.classifier.classifier import Classifier
from slimcls.data.splits import Example
from slimcls.errors import UserError
from slimcls.exporting.card import card
from slimcls.exporting.folder import Export
from slimcls.exporting.parity import ODD, Compared, Outcome, measured
from slimcls.exporting.report import PARITY, Report
from slimcls.exporting.settings import ExportConfig
from slimcls.kinds import WHOLE


def fill(
    folder: Path,
    run: Classifier,
    description: dict[str, Any],
    config: ExportConfig,
    items: Sequence[Example],
) -> Report:
    """Write all files of an exported folder, and say what is different from the run.

    ``items`` are the run's validation items, or none.

    Raises UserError where the model cannot be exported, or more labels differ than may.
    """
    made = Export(run, description, folder)
    exported = made.opened()
    Outcome(run, exported, ODD).check_graph()
    quantised = None
    if config.bits != WHOLE:
        quantised = made.to_bits(config.bits)
        exported = made.opened()
    texts = [item.text for item in items]
    # An interval takes two.
    outcome = Outcome(run, exported, texts) if len(texts) > 1 else None
    validation = outcome.compared() if outcome else None
    if validation:
        _check_labels(validation, config)
    report = Report(
        bits=config.bits,
        megabytes=made.megabytes(),
        quantised=quantised,
        odd=Outcome(run, exported, ODD).compared(),
        validation=validation,
        accuracy=outcome.accuracies([item.label for item in items]) if outcome else None,
        speed=measured(exported, texts or ODD),
    )
    (folder / PARITY).write_text(report.as_json(), encoding="utf-8")
    (folder / "README.md").write_text(card(description, report), encoding="utf-8")
    return report


def _check_labels(seen: Compared, config: ExportConfig) -> None:
    if seen.share > config.tolerate:
        raise UserError(
            f"--bits {config.bits}: {seen.labels_differ} of {seen.texts} validation texts get "
            f"another label ({seen.share:.1f} %), more than --tolerate {config.tolerate:g}; "
            "use more bits, or tolerate more"
        )
