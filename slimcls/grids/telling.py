"""What a grid says in lines: its plan before any work, and how it stands when it ends."""

from __future__ import annotations

from slimcls.backbones.parts import amount
from slimcls.grids import attempts, board
from slimcls.grids.cells import Cell
from slimcls.grids.design import design_lines
from slimcls.grids.ledger import Ledger


def plan_lines(ledger: Ledger) -> list[str]:
    """The table of ``--dry-run``: a row a cell, then what is left, then what it could show."""
    times = ledger.times()
    rows = []
    for cell in ledger.due():
        known = ledger.forecast(cell)
        least = "" if known.whole else "at least "
        rows.append(
            [
                cell.label,
                _state(ledger, cell),
                f"{known.params_kept / 1e6:.1f} M" if known.params_kept else "unknown",
                f"{least}{known.memory / 1e9:.2f} GB" if known.memory else "unknown",
                board.taking(times[cell]),
            ]
        )
    lines = board.aligned(["cell", "state", "parameters", "memory", "time"], rows)
    return [*lines, *_to_fetch(ledger), *_later(ledger), *design_lines(ledger), board.left(ledger)]


def _state(ledger: Ledger, cell: Cell) -> str:
    if ledger.result(cell):
        return "done"
    if ledger.forecast(cell).problem:
        return "cannot run"
    if ledger.diverged(cell):
        return "diverged"
    return "failed" if ledger.failure(cell) else "left"


def _to_fetch(ledger: Ledger) -> list[str]:
    """How much of the models has to come from the hub for what is left."""
    parts: dict[str, int] = {}
    for cell in ledger.due():
        if not ledger.result(cell):
            parts |= ledger.forecast(cell).to_fetch
    return [f"weights to fetch: {amount(sum(parts.values()))}"] if parts else []


def _later(ledger: Ledger) -> list[str]:
    """What will follow the choices that are still to come."""
    waiting = [(g, later) for g, later in ledger.waiting() if later and not ledger.hopeless(g)]
    if not waiting:
        return []
    over, later = ", ".join(waiting[0][0].over), sum(later for _, later in waiting)
    apart = ledger.grid.search.seeds if ledger.grid.search else ()
    chose = f", chosen on seeds {', '.join(map(str, apart))} alone" if apart else ""
    groups = f"{len(waiting)} groups at more seeds"
    return [f"then {later} cells: {groups}, with their best {over}{chose}"]


def ending_lines(ledger: Ledger) -> list[str]:
    """What a grid says last: results, choices, failures, counts."""
    lines = board.table(ledger)
    made = ledger.choices()
    if edges := [choice for choice in made if choice.edge]:
        names = " and ".join(dict.fromkeys(name for choice in edges for name in choice.edge))
        lines.append(
            f"* in {len(edges)} of {len(made)} choices the best {names} stands at an end of what "
            "was searched: a better one may lie beyond"
        )
    for cell in ledger.due():
        if failure := ledger.failure(cell):
            folder = ledger.forecast(cell).folder
            where = f" ({folder / attempts.FAILED})" if folder else ""
            lines.append(f"failed: {cell.label}: {failure.error}{where}")
    return [*lines, *_without_choice(ledger), board.counted(ledger.count())]


def _without_choice(ledger: Ledger) -> list[str]:
    """Why some settings are not chosen, where no more work leads to it."""
    searches = dict.fromkeys(group.guide or group for group, _ in ledger.waiting())
    hopeless = [group for group in searches if ledger.hopeless(group)]
    lines = []
    if count := len(hopeless):
        of = f"{count} choice{'s' if count > 1 else ''}"
        lines.append(f"no candidate of {of} came to numbers; search other settings")
    if (count := len(searches) - len(hopeless)) and not ledger.to_do():
        wait = "choices wait" if count > 1 else "choice waits"
        lines.append(f"{count} {wait} for candidates that failed; --retry-failed")
    return lines
