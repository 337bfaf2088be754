"""What an export has changed: one record, and its words."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from slimcls.exporting.bits import Quantised
from slimcls.exporting.parity import Accuracies, Compared, Speed

#: The file that holds it, beside the model.
PARITY = "parity.json"


@dataclass(frozen=True)
class Report:
    """What an export has changed."""

    bits: int
    megabytes: float
    """Size of graph and tokenizer, in 10^6 bytes."""
    quantised: Quantised | None
    """None at 32 bits."""
    odd: Compared
    """On texts that tokenizers and padding stumble over."""
    validation: Compared | None
    """On the run's validation texts; None where they could not be had."""
    accuracy: Accuracies | None
    """On the same."""
    speed: Speed

    def as_json(self) -> str:
        """As :data:`PARITY` holds it."""
        return json.dumps(dataclasses.asdict(self), indent=1)


def figures(report: Report) -> list[tuple[str, str]]:
    """What changed, in words; the command says the same."""
    speed, odd = report.speed, report.odd
    found = [
        ("size", f"{report.megabytes:.1f} MB, model and tokenizer"),
        ("odd texts", f"{odd.texts} with the same tokens, {odd.labels_differ} other labels"),
    ]
    if report.validation and report.accuracy:
        seen, right = report.validation, report.accuracy
        found += [
            (
                "validation",
                f"{seen.labels_differ} of {seen.texts} other labels ({seen.share:.1f} %); "
                f"probabilities differ by up to {seen.probabilities_differ:.2g}",
            ),
            (
                "accuracy there",
                f"{right.exported:.3f} (the run: {right.run:.3f}), difference "
                f"{100 * right.difference:+.1f} points (95 % interval {100 * right.low:+.1f} to "
                f"{100 * right.high:+.1f})",
            ),
        ]
    else:
        found.append(("validation", "its texts could not be had: nothing was compared"))
    found.append(
        (
            "speed",
            f"one text in {speed.one_text_p50_ms:.1f} ms (95 % of them: "
            f"{speed.one_text_p95_ms:.1f} ms), {speed.texts_per_second:.0f} texts a second",
        )
    )
    return found
