"""What an export has changed: one record, and its words."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from slimcls.exporting.bits import GROUP, Quantised
from slimcls.exporting.parity import Accuracies, Calibration, Compared, Speed
from slimcls.exporting.trimming import Trimmed


@dataclass(frozen=True)
class Report:
    """What an export has changed."""

    to: str
    bits: int
    megabytes: float
    """Size of model and tokenizer, in 10^6 bytes."""
    trimmed: Trimmed | None
    """None with all tokens."""
    quantised: Quantised | None
    """None at 32 bits."""
    odd: Compared
    """On texts that tokenizers and padding stumble over."""
    validation: Compared | None
    """On the run's validation texts; None where they could not be had."""
    accuracy: Accuracies | None
    """On the same."""
    calibration: Calibration | None
    """On the same, where probabilities may be others than the run's."""
    speed: Speed

    def as_json(self) -> str:
        """As ``parity.json`` holds it."""
        return json.dumps(dataclasses.asdict(self), indent=1)


def figures(report: Report) -> list[tuple[str, str]]:
    """What changed, in words; the command says the same."""
    speed, odd = report.speed, report.odd
    found = [("size", f"{report.megabytes:.1f} MB, model and tokenizer")]
    if report.trimmed:
        found += _tokens(report.trimmed)
    if report.quantised and report.quantised.share_by_columns is not None:
        share = report.quantised.share_by_columns
        also = ", the tokens left out included" if report.trimmed else ""
        found.append(
            (
                f"{report.bits} bits",
                f"{GROUP} numbers share a scale, which takes longer: with one for a column "
                f"{share:.1f} % of the validation texts got another label{also}",
            )
        )
    tokens = "" if report.trimmed else " with the same tokens"
    found.append(("odd texts", f"{odd.texts}{tokens}, {odd.labels_differ} other labels"))
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
    if changed := report.calibration:
        found.append(
            (
                "probabilities",
                f"temperature {changed.temperature:.2f} (the run's: "
                f"{changed.temperature_of_run:.2f}): negative log-likelihood on validation "
                f"{changed.loss:.3f} (at the run's: {changed.loss_before:.3f})",
            )
        )
    found.append(
        (
            "speed",
            f"one text in {speed.one_text_p50_ms:.1f} ms (95 % of them: "
            f"{speed.one_text_p95_ms:.1f} ms), {speed.texts_per_second:.0f} texts a second",
        )
    )
    return found


def _tokens(trimmed: Trimmed) -> list[tuple[str, str]]:
    """What fewer tokens have changed."""
    retuned = f", trained again for {trimmed.epochs} epochs" if trimmed.epochs else ""
    return [
        (
            "vocabulary",
            f"{trimmed.tokens:,} of {trimmed.of:,} tokens, by {trimmed.counted:,} texts{retuned}",
        ),
        (
            "tokens a text",
            f"validation {trimmed.per_text:.1f} (the run: {trimmed.per_text_of_run:.1f}), "
            f"{trimmed.as_before} of {trimmed.validation} texts encoded as before; texts of other "
            f"kinds {trimmed.per_other:.1f} (the run: {trimmed.per_other_of_run:.1f})",
        ),
    ]
