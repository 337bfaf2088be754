"""The one loader of what finished runs have written: a row a run, or a row a run and test item."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.runs.schema import (
    PREDICTED,
    PREDICTIONS,
    RESULT,
    SCHEMA_VERSION,
    Outcome,
    RunResult,
    column_type,
    defaults,
    may_be_null,
    result_columns,
)

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

T = TypeVar("T")

#: A file and what is wrong with it.
Fault = tuple[Path, str]

#: Values by column, in the order of the rows.
Columns = dict[str, Sequence[Any]]

#: What null stands for in columns of numbers whose setting is a word.
NULLS: dict[str, object] = {"shots": "all", "keep": 0}

_SQL = {int: "BIGINT", float: "DOUBLE", str: "VARCHAR", bool: "BOOLEAN"}

#: Files that have the columns of the first, and files of any columns, whose union is looked up
#: first: that takes as long again.
_ALIKE = "SELECT * FROM read_parquet(?, hive_partitioning = false, filename = true)"
_READ = (
    "SELECT * FROM read_parquet("
    "?, union_by_name = true, hive_partitioning = false, filename = true)"
)

#: For thousands of small files: reading ahead in other threads, column by column, costs more
#: than the reading itself. Older releases of DuckDB lack some.
_SETTINGS = ("threads = 1", "async_threads = 0", "parquet_prefetch_column_gap = 1000000")

#: Most threads that read at once, and the files that make one worth starting.
_THREADS, _SHARE = 8, 100


def _say(line: str) -> None:
    print(f"slimcls: warning: {line}", file=sys.stderr)


def load(folder: str | Path, warn: Callable[[str], object] = _say) -> pd.DataFrame:
    """The finished runs of a folder, a row a run, in the order of their directories' paths.

    ``folder`` holds run directories, or folders of run directories, or is one itself. Columns are
    those of the result schema, and ``folder``, the run directory. What an older slimcls did not
    write yet has its default. ``shots`` is a number or ``all``; ``keep`` is 0 where no layer of a
    model took part; other numbers that may be null have pandas' Int64. Group by columns that may
    be null with ``dropna=False``.

    Files that are broken, foreign or of another schema version, and copies of a run that is there
    already, are left out: ``warn`` gets a line for each.

    Raises:
        UserError: no such folder, or no finished run in it.
    """
    files = _result_files(Path(folder))
    tables, faults = _read_all(files, _results)
    found = _joined(tables)
    order = {str(path): place for place, path in enumerate(files)}
    places = sorted(range(len(found["run"])), key=lambda place: order[found["filename"][place]])
    places, copies = _without_copies(found, places)
    for path, reason in sorted([*faults, *copies]):
        warn(f"{path}: {reason}; left out")
    if not places:
        path, reason = min(faults)
        raise UserError(
            f"{folder}: none of its {len(files)} result files can be used ({path}: {reason})"
        )
    return _frame({name: [values[place] for place in places] for name, values in found.items()})


def predictions(runs: pd.DataFrame, warn: Callable[[str], object] = _say) -> pd.DataFrame:
    """What runs predicted, a row a run and test item, in the order of the test part.

    ``runs`` are rows of :func:`load`. Columns: ``run``, ``id`` (the item's row in its source
    split), ``label``, ``prediction``, ``probabilities`` (a list, in the order of the classes) and
    ``tokens``. ``warn`` gets a line for each run whose file is missing or broken: it has no rows.
    """
    import pandas as pd

    files = {
        Path(folder) / PREDICTIONS: run for folder, run in zip(runs.folder, runs.run, strict=True)
    }
    tables, faults = _read_all(list(files), _predicted)
    for path, reason in sorted(faults):
        warn(f"{path}: {reason}; left out")
    if not tables:
        return pd.DataFrame(columns=["run", *PREDICTED])
    frame = pd.concat(tables, ignore_index=True)
    names = {str(path): run for path, run in files.items()}
    frame.insert(0, "run", frame.pop("filename").map(names))
    return frame


def read_result(folder: Path) -> RunResult | None:
    """The result of a run directory, or None if the run is not finished.

    Raises UserError if the file is broken or of another schema version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        row = pq.ParquetFile(path).read().to_pylist()[0]
    except (pa.ArrowException, OSError, IndexError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it to run again") from None
    if row.get("schema_version") != SCHEMA_VERSION:
        found = row.get("schema_version")
        raise UserError(f"{path}: schema version {found}, this slimcls reads {SCHEMA_VERSION}")
    # A file of an earlier slimcls lacks the columns that came later: they have their defaults.
    settings = {f.name: row[f.name] for f in dataclasses.fields(RunConfig) if f.name in row}
    for name in NULLS:
        settings[name] = "all" if settings.get(name) is None else settings[name]
    outcome = {f.name: row[f.name] for f in dataclasses.fields(Outcome) if f.name in row}
    try:
        return RunResult(RunConfig(**settings), Outcome(**outcome), folder)
    except TypeError as error:
        raise UserError(f"{path}: not a result that slimcls wrote ({error})") from None


def version_of(path: Path) -> int | None:
    """The schema version of a result file; None where it is broken or has none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.ParquetFile(path).read(["schema_version"]).to_pylist()
    except (pa.ArrowException, OSError, ValueError):
        return None
    version = found[0].get("schema_version") if found else None
    return version if isinstance(version, int) else None


def _result_files(folder: Path) -> list[Path]:
    """The result files of a folder, sorted. Raises UserError where there are none to be seen.

    What lies in a folder that may not be entered is taken for one, so that its reader names it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the one that --out named")
    found = []
    try:
        for place in [folder, *_folders(folder)]:
            if _may_hold(place):
                found.append(place / RESULT)
            elif place != folder:
                found += [run / RESULT for run in _folders(place) if _may_hold(run)]
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from None
    if not found:
        raise UserError(f"{folder}: holds no finished run (no */{RESULT} in it)")
    return found


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _may_hold(folder: Path) -> bool:
    try:
        return (folder / RESULT).is_file()
    except PermissionError:
        return True


class _Mixed(Exception):
    """Files that cannot be read as one table."""


def _read_all(
    files: Sequence[Path], read: Callable[[Sequence[Path]], tuple[T, list[Fault]]]
) -> tuple[list[T], list[Fault]]:
    """What ``read`` makes of the files, in their order, a part of them a thread."""
    threads = max(1, min(_THREADS, os.cpu_count() or 1, len(files) // _SHARE))
    size = max(1, -(-len(files) // threads))
    shares = [files[start : start + size] for start in range(0, len(files), size)]
    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(lambda share: _halving(share, read), shares))
    return [t for tables, _ in answers for t in tables], [
        f for _, faults in answers for f in faults
    ]


def _halving(
    files: Sequence[Path], read: Callable[[Sequence[Path]], tuple[T, list[Fault]]]
) -> tuple[list[T], list[Fault]]:
    """Read files at once; where that fails each half by itself, down to the file at fault."""
    import duckdb

    try:
        table, faults = read(files)
    except (duckdb.Error, _Mixed) as error:
        if len(files) == 1:
            return [], [(files[0], f"cannot be read ({str(error).splitlines()[0]})")]
        middle = len(files) // 2
        first, second = (_halving(half, read) for half in (files[:middle], files[middle:]))
        return first[0] + second[0], first[1] + second[1]
    return [table], faults


def _results(files: Sequence[Path]) -> tuple[Columns, list[Fault]]:
    """The columns of result files that are as slimcls wrote them, and what is wrong with others."""
    types, rows = _select([_literal(path) for path in files])
    table: Columns = dict(zip(types, zip(*rows, strict=True), strict=True)) if rows else {}
    odd = _odd(types, table) if rows else ""
    if odd and len(files) > 1:
        # One foreign file may have changed the type of a column for all.
        raise _Mixed
    names, versions = table.get("filename", ()), table.get("schema_version", ())
    counts = Counter(names)
    reasons = {str(path): "" if counts[str(path)] == 1 else "not one row" for path in files}
    for name, version in itertools.zip_longest(names, versions):
        reasons[name] = _fault(version, odd) or reasons[name]
    faults = [(Path(path), reason) for path, reason in reasons.items() if reason]
    if faults:
        good = [not reasons[name] for name in names]
        table = {name: list(itertools.compress(values, good)) for name, values in table.items()}
    return table, faults


def _select(files: list[str]) -> tuple[dict[str, str], list[tuple[object, ...]]]:
    """The columns of files with their types in SQL, and the rows."""
    import duckdb

    with _connection() as connection:
        first = connection.sql(_ALIKE, params=[files[:1]])
        if not _odd(_types(first), {}):
            with contextlib.suppress(duckdb.Error):  # others may lack some of its columns
                return _types(first), connection.sql(_ALIKE, params=[files]).fetchall()
        table = connection.sql(_READ, params=[files])
        return _types(table), table.fetchall()


def _literal(path: Path) -> str:
    """The path for DuckDB, which takes ``*``, ``?`` and ``[`` in it for a pattern."""
    return re.sub(r"[*?\[]", r"[\g<0>]", str(path))


def _connection() -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect()
    for setting in _SETTINGS:
        with contextlib.suppress(duckdb.CatalogException):
            connection.execute(f"SET {setting}")
    return connection


def _types(table: duckdb.DuckDBPyRelation) -> dict[str, str]:
    return dict(zip(table.columns, map(str, table.types), strict=True))


def _odd(types: dict[str, str], table: Columns) -> str:
    """A column that is not as a result has it, by its type or for a null; empty if none is.

    A column of nulls may have any type; without ``table`` there are none.
    """
    for name, hint in result_columns().items():
        values = table.get(name, ())
        if None in values or (table and name not in table):
            if not (name in defaults() or may_be_null(hint)):
                return name
            if not any(value is not None for value in values):
                continue
        if types.get(name) != _sql_type(hint):
            return name
    return ""


def _fault(version: object, odd: str) -> str:
    """Why a row is no result of this slimcls; empty if it is."""
    if isinstance(version, int) and version != SCHEMA_VERSION:
        return f"schema version {version}, this slimcls reads {SCHEMA_VERSION}"
    return f"not a result that slimcls wrote (column {odd})" if odd else ""


def _joined(tables: Sequence[Columns]) -> Columns:
    """One table of several; what an older file lacks is null."""
    joined: Columns = {}
    for name in (*result_columns(), "filename"):
        parts = [table.get(name) or [None] * len(table["filename"]) for table in tables if table]
        joined[name] = list(itertools.chain.from_iterable(parts))
    return joined


def _without_copies(found: Columns, places: Sequence[int]) -> tuple[list[int], list[Fault]]:
    """A grid's cells may lie in several folders: each run counts once."""
    runs, files = found["run"], found["filename"]
    first: dict[str, int] = {}
    faults = []
    for place in places:
        kept = first.setdefault(runs[place], place)
        if kept != place:
            faults.append((Path(files[place]), f"the same run as {files[kept]}"))
    return list(first.values()), faults


def _frame(found: Columns) -> pd.DataFrame:
    import pandas as pd

    known = defaults() | NULLS
    series = {}
    for name, hint in result_columns().items():
        missing = known.get(name)
        values = [missing if value is None else value for value in found[name]]
        series[name] = pd.Series(values, dtype=_dtype(name, hint))
    folders = [str(Path(name).parent) for name in found["filename"]]
    return pd.DataFrame(series | {"folder": pd.Series(folders, dtype=object)})


def _dtype(name: str, hint: object) -> type | str:
    plain, is_list = column_type(hint)
    if is_list or plain is str or isinstance(NULLS.get(name), str):
        return object
    if not may_be_null(hint) or name in NULLS:
        return plain
    return {int: "Int64", bool: "boolean"}.get(plain, plain)


def _predicted(files: Sequence[Path]) -> tuple[pd.DataFrame, list[Fault]]:

    with _connection() as connection:
        table = connection.sql(_READ, params=[[_literal(path) for path in files]])
        types = _types(table)
        for name, hint in PREDICTED.items():
            if types.get(name) != _sql_type(hint):
                raise _Mixed(f"column {name} is {types.get(name, 'missing')}")
        return table.select(", ".join(["filename", *PREDICTED])).df(), []


def _sql_type(hint: object) -> str:
    plain, is_list = column_type(hint)
    return _SQL[plain] + "[]" * is_list
