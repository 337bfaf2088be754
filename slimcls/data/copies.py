"""Copies of hub datasets in the user's cache, so that a run works again without a network."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from slimcls.data.reader import read_rows
from slimcls.data.rows import Rows
from slimcls.data.spec import DatasetSpec
from slimcls.errors import UserError
from slimcls.storage.cache import cache_dir
from slimcls.storage.files import replacing


def copies_folder(spec: DatasetSpec) -> Path:
    """Where the copies of a hub dataset's revision and configuration are."""
    which = [spec.hub, spec.hub_revision or "main", spec.hub_config or "default"]
    which += [spec.text_column, spec.label_column]
    return cache_dir() / "datasets" / "--".join(re.sub(r"[^\w.]+", "-", str(w)) for w in which)


def read_copies(spec: DatasetSpec) -> dict[str, Rows] | None:
    """The parts as they were last read from the hub, or None where one is not there."""
    parts = {}
    for part, name in spec.splits.items():
        try:
            rows = read_rows(copies_folder(spec) / f"{name}.parquet")
        except UserError:
            return None
        parts[part] = replace(rows, where=f"hub dataset {spec.hub} {name}")
    return parts


def write_copies(spec: DatasetSpec, parts: dict[str, Rows]) -> None:
    """Keep the parts; a cache that cannot be written keeps nothing."""
    import pyarrow
    import pyarrow.parquet

    for part, rows in parts.items():
        table = pyarrow.table(rows.columns)
        table = table.replace_schema_metadata({"label_names": json.dumps(rows.label_names)})
        path = copies_folder(spec) / f"{spec.splits[part]}.parquet"
        try:
            with replacing(path) as temporary:
                pyarrow.parquet.write_table(table, temporary)
        except UserError:
            return
