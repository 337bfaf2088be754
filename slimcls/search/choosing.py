"""Which candidate is handed over: the smallest that was not shown to lose more than it may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from slimcls.search.candidates import Tried, is_better
from slimcls.search.settings import FitConfig


@dataclass(frozen=True)
class Choice:
    """What the search came to, by validation texts alone."""

    tried: tuple[Tried, ...]
    """All candidates, held against the best one, those that are no choice with the reason."""
    chosen: Tried
    best: Tried
    obstacle: str = ""
    """The limit that no candidate meets together with the loss that may be; empty without one."""

    @property
    def deepest(self) -> Tried | None:
        """The deepest cut, where one was trained."""
        cuts = [one for one in self.tried if one.candidate.kind == "cut"]
        return max(cuts, key=lambda one: one.candidate.layers or 0, default=None)


def may_lose(tried: Tried, best: Tried, max_loss: float) -> bool:
    """Whether the one-sided bound of what is lost against the best stays under so many points."""
    high = tried.against(best).candidate.loss_high
    return tried is best or (high is not None and 100 * high <= max_loss)


def best_of(tried: Sequence[Tried]) -> Tried:
    """The most accurate; of equally good ones the smallest."""
    return max(tried, key=lambda one: (one.candidate.accuracy, -one.candidate.megabytes))


def choose(tried: Sequence[Tried], fit: FitConfig) -> Choice:
    """The smallest candidate within the limits whose loss is shown to be no more than it may.

    Where none is, the one within the limits that loses least; where no candidate is within the
    limits, the nearest to them. ``Choice.obstacle`` says so. One answer for all texts is taken only
    where nothing is shown to be right more often: with a rare class it loses next to nothing, and
    finds none of what is looked for.
    """
    best = best_of(tried)
    limits = [_over(one, fit) for one in tried]
    within = [one for one, over in zip(tried, limits, strict=True) if not over]
    passing = [one for one in within if may_lose(one, best, fit.max_loss)]
    guess = [one for one in tried if one.candidate.method == "majority"]
    if any(is_better(one.answers, guess[0].answers) for one in tried if guess):
        passing = [one for one in passing if one.candidate.method != "majority"]
    obstacle = ""
    if passing:
        chosen = min(passing, key=_size)
    elif learnt := [one for one in within if one.candidate.method != "majority"]:
        chosen = max(learnt, key=lambda one: one.candidate.accuracy)
        obstacle = (
            f"no candidate within {_limits(fit)} was shown to lose under {fit.max_loss:g} points"
        )
    else:
        learnt = [one for one in tried if one.candidate.method != "majority"]
        chosen = min(learnt, key=lambda one: (_excess(one, fit), _size(one)))
        obstacle = f"no candidate is within {_limits(fit)}"
    held = {id(one): one.against(best) for one in tried}
    return Choice(
        tuple(
            _marked(held[id(one)], one is chosen, one is best, over)
            for one, over in zip(tried, limits, strict=True)
        ),
        _marked(held[id(chosen)], True, chosen is best, ""),
        _marked(held[id(best)], best is chosen, True, ""),
        obstacle,
    )


def _marked(one: Tried, chosen: bool, best: bool, over: str) -> Tried:
    marks = replace(one.candidate, chosen=chosen, reference=best, excluded=over)
    return replace(one, candidate=marks)


def _size(one: Tried) -> tuple[float, float]:
    """Of equal sizes, as frozen and trained layers have, the more accurate, whatever was timed."""
    return one.candidate.megabytes, -one.candidate.accuracy


def _excess(one: Tried, fit: FitConfig) -> float:
    """The factor by which a candidate is over the limit that it exceeds most."""
    found = one.candidate
    limits = ((found.megabytes, fit.max_mb), (found.milliseconds, fit.max_ms))
    return max(value / limit for value, limit in limits if limit is not None)


def _over(one: Tried, fit: FitConfig) -> str:
    """Which limit a candidate does not meet; empty if it meets all."""
    said = []
    if fit.max_mb is not None and one.candidate.megabytes > fit.max_mb:
        said.append(f"over --max-mb {fit.max_mb:g}")
    if fit.max_ms is not None and one.candidate.milliseconds > fit.max_ms:
        said.append(f"over --max-ms {fit.max_ms:g}")
    return ", ".join(said)


def _limits(fit: FitConfig) -> str:
    given = {"--max-mb": fit.max_mb, "--max-ms": fit.max_ms}
    return " and ".join(f"{flag} {value:g}" for flag, value in given.items() if value is not None)
