"""The interval of one share: one run, its test items alone."""

from __future__ import annotations

from scipy.stats import binomtest


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927), from 0 to 1.

    It treats the test items as a sample and the trained model as given: it says nothing about
    another seed. Raises ValueError without trials.
    """
    if trials < 1:
        raise ValueError("an interval needs at least one trial")
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)
