"""Datasets from the hub, through the datasets library; code from the hub is never run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from slimcls.data import copies
from slimcls.data.rows import Rows
from slimcls.data.spec import DatasetSpec
from slimcls.errors import UserError
from slimcls.storage.network import out_of_reach

if TYPE_CHECKING:
    from datasets import Dataset

#: The hub's own conversion of datasets that are scripts.
CONVERTED = "refs/convert/parquet"

LOG_IN = "(then log in with `hf auth login` or set HF_TOKEN)"
GATED = (
    "its authors give access by request; accept their terms on its page and log in with "
    "`hf auth login` or set HF_TOKEN"
)

_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a commit, which never changes, and not a branch or tag."""
    return bool(revision and _COMMIT.fullmatch(revision))


def read_hub_dataset(spec: DatasetSpec) -> dict[str, Rows]:
    """Our parts of a hub dataset; what was read once needs no network.

    Raises:
        UserError: the hub cannot be reached and there is no copy, no such dataset, revision,
            configuration or split, or one whose terms have not been accepted.
    """
    if is_commit(spec.hub_revision) and (copied := copies.read_copies(spec)):
        return copied
    why = out_of_reach()
    if why:
        return copies.read_copies(spec) or _library_copy(spec, why)
    found = _load(spec)
    rows = {part: rows_of(spec, found, name) for part, name in spec.splits.items()}
    copies.write_copies(spec, rows)
    return rows


def _library_copy(spec: DatasetSpec, why: str) -> dict[str, Rows]:
    """What the datasets library itself has in its cache of the main branch."""
    missing = UserError(
        f"hub dataset {spec.hub}: {why} and there is no copy of it on this machine; connect once, "
        f"or give the rows with --data-dir DIR (DIR/{spec.name}/SPLIT.parquet)"
    )
    if spec.hub_revision:
        # The library's cache does not say which branch a copy is from.
        raise missing
    try:
        with _offline():
            found = load_with_library(str(spec.hub), **_arguments(spec))
    except (OSError, ValueError):
        raise missing from None
    return {part: rows_of(spec, found, name) for part, name in spec.splits.items()}


@contextmanager
def _offline() -> Iterator[None]:
    """Keep both libraries, which may be imported already, from trying the network again."""
    import datasets.config
    import huggingface_hub.constants

    places: tuple[Any, ...] = (huggingface_hub.constants, datasets.config)
    before = [place.HF_HUB_OFFLINE for place in places]
    try:
        for place in places:
            place.HF_HUB_OFFLINE = True
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value


def _load(spec: DatasetSpec) -> Mapping[str, Dataset]:
    """:func:`load_with_library`, with its many errors said in a line."""
    from datasets.exceptions import DatasetNotFoundError

    try:
        return load_with_library(str(spec.hub), **_arguments(spec))
    except DatasetNotFoundError as error:
        if "gated" in str(error):
            raise UserError(f"hub dataset {spec.hub}: {GATED}") from None
        at = f" at {spec.hub_revision}" if spec.hub_revision else ""
        raise UserError(
            f"hub dataset {spec.hub}{at}: no such dataset or revision on the hub, or a private one "
            f"{LOG_IN}"
        ) from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = first_line(error)
        if "scripts" in reason:
            reason = f"it is a script, which is never run; try revision: {CONVERTED}"
        raise UserError(f"hub dataset {spec.hub}: cannot be read: {reason}") from None


def first_line(error: Exception) -> str:
    """What of a library's error fits into a line of ours."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def be_quiet() -> None:
    """Let the datasets library show no bars and no warnings."""
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()


def load_with_library(repo: str, **arguments: Any) -> Mapping[str, Dataset]:
    """All splits of a hub dataset by their names; raises what the datasets library raises."""
    import datasets

    be_quiet()
    return dict(datasets.load_dataset(repo, **arguments))


def _arguments(spec: DatasetSpec) -> dict[str, Any]:
    if spec.hub_revision != CONVERTED:
        return {"name": spec.hub_config, "revision": spec.hub_revision}
    folder = spec.hub_config or "default"
    files = {name: f"{folder}/{name}/*.parquet" for name in spec.splits.values()}
    return {"revision": CONVERTED, "data_files": files}


def rows_of(spec: DatasetSpec, found: Mapping[str, Dataset], name: str) -> Rows:
    """The rows of a split: the two columns that are named, or all. UserError where it is absent."""
    if name not in found:
        raise UserError.unknown(f"split of hub dataset {spec.hub}", name, found)
    split = found[name]
    texts = [spec.text_column]
    if spec.text_column not in split.column_names:
        texts = [name.strip() for name in spec.text_column.split(",")]
    columns = [c for c in split.column_names if c in (*texts, spec.label_column)]
    if len(columns) <= len(texts):
        columns = split.column_names
    classes = {column: getattr(split.features[column], "names", None) for column in columns}
    return Rows(
        f"hub dataset {spec.hub} {name}",
        "row",
        list(range(split.num_rows)),
        {column: split[column][:] for column in columns},
        {column: list(names) for column, names in classes.items() if names},
    )
