"""Every stored result still has the name that its settings, data and weights give it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import ROOT

from slimcls import runs
from slimcls.config import RunConfig
from slimcls.reporting.verdicts import UNTUNED


@pytest.fixture(scope="module")
def stored() -> dict[str, dict[str, Any]]:
    """The rows of all stored results by their files; what an older slimcls lacked is null."""
    files = [str(path) for path in (ROOT / "results").rglob(runs.RESULT)]
    query = "SELECT * FROM read_parquet(?, union_by_name = true, filename = true)"
    with duckdb.connect() as connection:
        table = connection.sql(query, params=[files])
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.fetchall()]
    assert len(rows) == len(files)
    return {row["filename"]: row for row in rows}


def name_of(row: dict[str, Any]) -> str:
    settings = {f.name: row[f.name] for f in fields(RunConfig) if row.get(f.name) is not None}
    config = RunConfig(**{"shots": "all", "keep": "all"} | settings)
    prints = {name: row.get(f"{name}_fingerprint") for name in ("source", "data", "scores")}
    method = row["method"] if row.get("method") in UNTUNED else None
    return runs.run_name(config, {k: v for k, v in prints.items() if v}, method)


def test_no_stored_result_is_renamed(stored: dict[str, dict[str, Any]]) -> None:
    assert len(stored) >= 255
    # A taught run's name has hashes of its teacher's weights too, which no row holds.
    named = {file: name_of(row) for file, row in stored.items() if row.get("teacher") is None}
    assert {f: n for f, n in named.items() if n != Path(f).parent.name} == {}
    assert [stored[file]["run"] for file in named] == list(named.values())
