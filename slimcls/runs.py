"""The run directory and the result schema: written once, read through one loader."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from slimcls.config import RunConfig, hashed
from slimcls.errors import Busy, UserError

#: Raised whenever a column changes its name, type or meaning, or a run its outcome.
SCHEMA_VERSION = 1
RESULT, PREDICTIONS = "result.parquet", "predictions.parquet"


@dataclass(kw_only=True)
class Outcome:
    """What a run found out; beside the run's settings the columns of its result row."""

    run: str
    """Name of the run directory."""
    schema_version: int
    method: str = "fine-tuned"
    """What was measured: fine-tuned, or the name of a baseline."""
    slimcls_version: str
    torch_version: str
    transformers_version: str
    lightning_version: str
    peft_version: str
    python_version: str
    commit: str
    """Commit of the slimcls checkout, with -dirty if it was changed; empty if it is installed."""
    device: str
    threads: int
    """Threads that torch computed with; another number may change the last bits."""
    source_fingerprint: str
    """Commit of the hub model or content hash of the local one."""
    source_note: str
    scores_fingerprint: str = ""
    """Content hash of the layer scores that chose the kept layers; empty where none did."""
    data_fingerprint: str
    data_version: int
    data_note: str
    """What has to be said beside figures on this data."""
    depth: int
    """Layers of the uncut model."""
    params_full: int
    """Parameters of the uncut backbone, without a head."""
    params_kept: int
    params_saved: float
    """1 - params_kept / params_full."""
    params_trained: int
    embedding_share: float
    """Share of embeddings and positions in the kept parameters."""
    labels_used: int
    """Labels of training, validation and, in a prompt, demonstrations."""
    train_items: int
    validation_items: int
    test_items: int
    texts_cut: int
    """Texts of all splits that were longer than max_text_tokens."""
    repeats_removed: int
    """Training texts left out because they occur again."""
    text_tokens: int
    """Longest text in tokens that is not cut."""
    validation_accuracy: float
    validation_low: float
    """Lower end of the 95 % Wilson interval over items."""
    validation_high: float
    validation_macro_f1: float
    test_accuracy: float
    test_low: float
    test_high: float
    test_macro_f1: float
    per_class: str
    """JSON: precision, recall, f1 and items of each class in the test part."""
    best_epoch: int
    epochs_run: int
    train_seconds: float
    total_seconds: float
    """Wall time of the process that finished the run."""
    examples_per_second: float
    """Training items of one process, steps alone, validation not counted."""
    tokens_per_second: float
    """Real tokens of one process, without padding and without a shared prefix."""
    peak_memory_mb: float
    model_mb: float
    """Size of model/ on disk; 0 if it was not saved."""
    latency_ms: float
    """Median time for one text, tokenising included."""


@dataclass(frozen=True)
class RunResult:
    """A finished run: its settings, its outcome, its folder."""

    config: RunConfig
    outcome: Outcome
    folder: Path

    def row(self) -> dict[str, Any]:
        """The result row: settings first, then the outcome."""
        return dataclasses.asdict(self.config) | dataclasses.asdict(self.outcome)

    def __getattr__(self, name: str) -> Any:
        for part in ("outcome", "config"):
            if name in {f.name for f in dataclasses.fields(self.__dict__[part])}:
                return getattr(self.__dict__[part], name)
        raise AttributeError(name)


def run_name(config: RunConfig, fingerprints: dict[str, Any]) -> str:
    """Name of a run's directory: what a person looks for, then a hash of all that matters.

    ``config`` must be resolved (no ``auto``, no default left open); ``fingerprints`` say what data
    and weights are, in place of their names.
    """
    settings = hashed(config)
    for name in ("dataset", "model", "revision", "text_column", "label_column"):
        settings.pop(name, None)
    content = json.dumps(settings | fingerprints | {"schema": SCHEMA_VERSION}, sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:10]
    cut = f"k{config.keep}"
    if config.layers != list(range(len(config.layers or []))):
        cut = "l" + "-".join(map(str, config.layers or []))
    words = [
        _plain(Path(config.dataset).stem),
        config.mode,
        _plain(Path(config.model).name),
        cut if len(cut) < 40 else f"k{config.keep}",
        f"s{config.seed}",
    ]
    return "-".join([*words, digest])


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
    write_rows(result.folder / RESULT, _columns(), [result.row()])


def write_rows(path: Path, columns: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write rows as Parquet; ``columns`` gives each column's Python type."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, _arrow_type(hint)) for name, hint in columns.items()])
    stored = [{k: _stored(row[k], columns[k]) for k in columns} for row in rows]
    with replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist(stored, schema=schema), temporary, compression="zstd")


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
    except (pa.ArrowException, OSError, IndexError) as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it to run again") from None
    if row.get("schema_version") != SCHEMA_VERSION:
        found = row.get("schema_version")
        raise UserError(f"{path}: schema version {found}, this slimcls reads {SCHEMA_VERSION}")
    # A file of an earlier slimcls lacks the columns that came later: they have their defaults.
    settings = {f.name: row[f.name] for f in dataclasses.fields(RunConfig) if f.name in row}
    settings["shots"] = "all" if settings.get("shots") is None else settings["shots"]
    outcome = {f.name: row[f.name] for f in dataclasses.fields(Outcome) if f.name in row}
    try:
        return RunResult(RunConfig(**settings), Outcome(**outcome), folder)
    except TypeError as error:
        raise UserError(f"{path}: not a result that slimcls wrote ({error})") from None


def _columns() -> dict[str, Any]:
    return get_type_hints(RunConfig) | get_type_hints(Outcome)


def _stored(value: Any, hint: Any) -> Any:
    """``all`` in a column of numbers is stored as null, so that every file has the same types."""
    return None if value == "all" and int in get_args(hint) else value


def _arrow_type(hint: Any) -> Any:
    import pyarrow as pa

    plain = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
    if hint in plain:
        return plain[hint]
    if get_origin(hint) is Literal:
        return plain[type(get_args(hint)[0])]
    if get_origin(hint) is list:
        return pa.list_(_arrow_type(get_args(hint)[0]))
    if get_origin(hint) in (Union, types.UnionType):
        return _arrow_type(get_args(hint)[0])
    raise TypeError(f"no column type for {hint}")
