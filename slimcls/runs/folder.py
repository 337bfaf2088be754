"""The run directory: its name, its lock, its settings and its result."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from slimcls.config import RunConfig, hashed
from slimcls.data.splits import VERSIONS
from slimcls.errors import Busy, UserError
from slimcls.roles import Role, settings_with
from slimcls.runs.schema import (
    RESULT,
    SCHEMA_VERSION,
    RunResult,
    column_type,
    result_columns,
)
from slimcls.storage.files import check_writable, remove_leftovers, replacing, write_text

if TYPE_CHECKING:
    import pyarrow as pa

#: How Parquet is written. Around one row, what helps with many is most of the file, and of the
#: time that reading thousands of such files takes.
_ROWS: dict[str, object] = {"compression": "zstd"}
_ONE_ROW: dict[str, object] = {
    "compression": "none",
    "use_dictionary": False,
    "write_statistics": False,
    "store_schema": False,
}


def check_runs_folder(out: Path) -> None:
    """Whether a folder takes runs; one that holds some may be there to be read only.

    Raises UserError.
    """
    if not any(out.glob(f"*/{RESULT}")):
        check_writable(out)


def run_name(config: RunConfig, fingerprints: dict[str, str], method: str | None = None) -> str:
    """Name of a run's directory: what a person looks for, then a hash of all that matters.

    ``config`` must be resolved (no ``auto``, no default left open); ``fingerprints`` say what data
    and weights are, in place of their names; ``method`` names a baseline that trains no model.
    """
    settings = hashed(config)
    for name in settings_with(Role.NAME):
        settings.pop(name, None)
    if method:
        settings["method"] = method
    # The first draw of each rule has no version in its name.
    if (version := VERSIONS[config.split]) > 1:
        settings["draw_version"] = version
    content = json.dumps(settings | fingerprints | {"schema": SCHEMA_VERSION}, sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:10]
    model = [_plain(Path(config.model).name)] if config.model else []
    what = [method, *model] if method else [config.mode, *model, *_cut(config)]
    return "-".join([_plain(Path(config.dataset).stem), *what, f"s{config.seed}", digest])


def _cut(config: RunConfig) -> list[str]:
    """Which layers a run keeps, in a word of its name, and what else is odd about them."""
    cut = f"k{config.keep}"
    if config.layers != list(range(len(config.layers or []))):
        cut = "l" + "-".join(map(str, config.layers or []))
    words = [cut if len(cut) < 40 else f"k{config.keep}"]
    words += ["exits"] if config.exits else []
    return [*words, "random"] if config.random_blocks else words


def _plain(word: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-.")[:40] or "x"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run directory; the kernel lets go of it when the process dies.

    Who holds it may take it once more, as a grid's cell and the training in it do. Raises UserError
    if the folder cannot be written, and Busy if another process or thread holds it.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", is_singleton=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise Busy(f"{folder}: another process is working on this run") from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); see --out") from None
    try:
        remove_leftovers(folder)
        yield
    finally:
        lock.release()


def clear(folder: Path) -> None:
    """Empty a run directory but for its lock; the result goes first."""
    (folder / RESULT).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def is_helper_process(config: RunConfig) -> bool:
    """Whether this process works beside the first one of a run, as its launcher's variables say."""
    if config.devices * config.num_nodes == 1:
        return False
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
    return any(os.environ.get(name, "0") != "0" for name in ranks)


def write_config(config: RunConfig, path: Path, method: str | None = None) -> None:
    """Write the settings as the YAML that ``--config`` takes.

    ``method`` names a baseline that trains no model: what ``--config`` does not take.
    """
    settings = dataclasses.asdict(config) | ({"method": method} if method else {})
    write_text(path, yaml.safe_dump(settings, sort_keys=False))


def write_result(result: RunResult) -> None:
    """Write the one row of ``result.parquet``: the last act of a run."""
    write_rows(result.folder / RESULT, result_columns(), [result.row()])


def write_rows(path: Path, columns: dict[str, object], rows: list[dict[str, object]]) -> None:
    """Write rows as Parquet; ``columns`` gives each column's Python type."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, _arrow_type(hint)) for name, hint in columns.items()])
    stored = [{k: _stored(row[k], columns[k]) for k in columns} for row in rows]
    table = pa.Table.from_pylist(stored, schema=schema)
    with replacing(path) as temporary:
        pq.write_table(table, temporary, **(_ONE_ROW if len(rows) == 1 else _ROWS))


def _arrow_type(hint: object) -> pa.DataType:
    import pyarrow as pa

    types = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
    plain, is_list = column_type(hint)
    return pa.list_(types[plain]) if is_list else types[plain]


def _stored(value: object, hint: object) -> object:
    """``all`` in a column of numbers is stored as null, so that every file has the same types."""
    return None if value == "all" and column_type(hint)[0] is int else value
