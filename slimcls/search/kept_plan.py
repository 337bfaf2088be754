"""A plan as a fit's folder has it: one that was stopped goes on with it, whatever clocks say."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slimcls.errors import UserError
from slimcls.search.plan import Plan
from slimcls.search.settings import FitConfig
from slimcls.storage.files import write_text
from slimcls.storage.hashes import sha256_of
from slimcls.storage.json_files import parse_json

#: The file that holds a plan.
PLAN = "plan.json"
#: Raised whenever the same plan makes other runs: an unfinished fit of before cannot go on.
FORMAT = 2
#: What is asked beside the settings: the files that were given, by their contents.
CONTENT = "content"
#: Settings that change nothing of what is tried.
FREE = ("out", "overwrite")


def keep_plan(fit: FitConfig, data: str, plan: Plan) -> None:
    """Write a plan down, with what it was made for. Raises UserError where the disk is full.

    ``data`` is the fingerprint of the rows.
    """
    held = {"for": _asked(fit), "data": data, "format": FORMAT, "plan": asdict(plan)}
    text = json.dumps(held, indent=1, ensure_ascii=False)
    write_text(fit.folder / PLAN, text + "\n")


def kept_plan(fit: FitConfig, data: str | None = None) -> Plan | None:
    """The plan that was written down; None where there is none.

    Raises UserError where it was made for other settings or other rows, or cannot be read.
    """
    path = fit.folder / PLAN
    if not path.is_file():
        return None
    try:
        held = parse_json(path.read_text(encoding="utf-8"))
        found: dict[str, Any] = {name: _plain(value) for name, value in held["plan"].items()}
        plan, kept_for, rows = Plan(**found), dict(held["for"]), held["data"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{path}: is no plan that slimcls wrote; --overwrite starts again"
        ) from None
    asked = _asked(fit)
    differ = [name for name in asked if kept_for.get(name) != asked[name]]
    other = [f"--{name.replace('_', '-')}" for name in differ if name != CONTENT]
    if CONTENT in differ or data not in (None, rows):
        other.append("content of its data")
    if other:
        raise UserError(
            f"{fit.folder}: holds a fit with another {', '.join(other)}; name another --out, or "
            "--overwrite starts again"
        )
    if data is not None and held.get("format") != FORMAT:
        raise UserError(
            f"{path}: was planned by an older slimcls, which tried other things; --overwrite "
            "starts again, or name another --out"
        )
    return plan


def _asked(fit: FitConfig) -> dict[str, object]:
    settings = {name: value for name, value in asdict(fit).items() if name not in FREE}
    files = [path for path in (fit.dataset, fit.unlabelled) if path and Path(path).is_file()]
    # Without reading a row: a finished fit is answered at once, but for these files alone.
    return settings | {CONTENT: [sha256_of(Path(path)) for path in files]}


def _plain(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
