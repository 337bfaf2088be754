"""The run directory: its name, its lock, its log, and files that are whole or not there."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from slimcls.config import RunConfig, hashed
from slimcls.errors import Busy, UserError
from slimcls.results import load, predictions, read_result
from slimcls.schema import (
    PREDICTIONS,
    RESULT,
    SCHEMA_VERSION,
    Outcome,
    RunResult,
    column_type,
    columns,
)

__all__ = [
    "PREDICTIONS", "RESULT", "SCHEMA_VERSION", "Log", "Outcome", "RunResult", "clear",
    "is_helper_process", "load", "locked", "predictions", "read_result", "replacing", "run_name",
    "write_config", "write_result", "write_rows", "write_text",
]  # fmt: skip

#: How Parquet is written. Around one row, what helps with many is most of the file, and of the
#: time that reading thousands of such files takes.
_ROWS: dict[str, Any] = {"compression": "zstd"}
_ONE_ROW: dict[str, Any] = {
    "compression": "none",
    "use_dictionary": False,
    "write_statistics": False,
    "store_schema": False,
}


def run_name(config: RunConfig, fingerprints: dict[str, Any], method: str | None = None) -> str:
    """Name of a run's directory: what a person looks for, then a hash of all that matters.

    ``config`` must be resolved (no ``auto``, no default left open); ``fingerprints`` say what data
    and weights are, in place of their names; ``method`` names a baseline that trains no model.
    """
    settings = hashed(config)
    for name in ("dataset", "model", "revision", "text_column", "label_column"):
        settings.pop(name, None)
    if method:
        settings["method"] = method
    content = json.dumps(settings | fingerprints | {"schema": SCHEMA_VERSION}, sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:10]
    model = [_plain(Path(config.model).name)] if config.model else []
    what = [method, *model] if method else [config.mode, *model, *_cut(config)]
    return "-".join([_plain(Path(config.dataset).stem), *what, f"s{config.seed}", digest])


def _cut(config: RunConfig) -> list[str]:
    """Which layers a run keeps, in a word of its name, and that their weights are new."""
    cut = f"k{config.keep}"
    if config.layers != list(range(len(config.layers or []))):
        cut = "l" + "-".join(map(str, config.layers or []))
    words = [cut if len(cut) < 40 else f"k{config.keep}"]
    return [*words, "random"] if config.random_blocks else words


def _plain(word: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", word).strip("-.")[:40] or "x"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run directory; the kernel lets go of it when the process dies.

    Raises UserError if the folder cannot be written, and Busy if another process holds it.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise Busy(f"{folder}: another process is working on this run") from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); see --out") from None
    try:
        for left in folder.rglob(".*.tmp"):  # of a process that was killed while it wrote
            left.unlink(missing_ok=True)
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


class Log:
    """Lines for the person at the terminal, kept in the run's ``log.txt`` from :meth:`keep` on."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._path: Path | None = None
        self._said: list[str] = []

    def keep(self, path: Path) -> None:
        """Append what was said so far, and what will be, to the file."""
        if not self.quiet:
            self._path = path
            self._append("".join(self._said))

    def say(self, text: str) -> None:
        """Print to stderr, above a progress bar."""
        from tqdm import tqdm

        if self.quiet:
            return
        tqdm.write(text, file=sys.stderr)
        self._said.append(text + "\n")
        self._append(self._said[-1])

    def _append(self, text: str) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; flush it and rename it to ``path`` when all went well.

    Raises UserError where the disk is full or the folder cannot be written.
    """
    from safetensors import SafetensorError

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be written ({error}); see --out") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_config(config: RunConfig, path: Path) -> None:
    """Write the settings as the YAML that ``--config`` takes."""
    write_text(path, yaml.safe_dump(dataclasses.asdict(config), sort_keys=False))


def write_result(result: RunResult) -> None:
    """Write the one row of ``result.parquet``: the last act of a run."""
    write_rows(result.folder / RESULT, columns(), [result.row()])


def write_rows(path: Path, columns: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write rows as Parquet; ``columns`` gives each column's Python type."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, _arrow_type(hint)) for name, hint in columns.items()])
    stored = [{k: _stored(row[k], columns[k]) for k in columns} for row in rows]
    table = pa.Table.from_pylist(stored, schema=schema)
    with replacing(path) as temporary:
        pq.write_table(table, temporary, **(_ONE_ROW if len(rows) == 1 else _ROWS))


def _arrow_type(hint: Any) -> Any:
    import pyarrow as pa

    types = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
    plain, is_list = column_type(hint)
    return pa.list_(types[plain]) if is_list else types[plain]


def _stored(value: Any, hint: Any) -> Any:
    """``all`` in a column of numbers is stored as null, so that every file has the same types."""
    return None if value == "all" and column_type(hint)[0] is int else value
