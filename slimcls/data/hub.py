"""Datasets from the hub, through the datasets library; code from the hub is never run."""

from __future__ import annotations

from typing import Any

from slimcls.data.catalog import DatasetSpec
from slimcls.data.files import Rows
from slimcls.errors import UserError

#: The hub's own conversion of datasets that are scripts.
CONVERTED = "refs/convert/parquet"


def read(spec: DatasetSpec) -> dict[str, Rows]:
    """Our parts of a hub dataset; a copy in the library's cache needs no network.

    Raises:
        UserError: the hub cannot be reached and there is no copy, no such dataset, revision or
            split, or one whose terms have not been accepted.
    """
    from slimcls.backbones.sources import hub_reachable

    online = hub_reachable()
    if not online:
        _go_offline()
    import datasets

    datasets.disable_progress_bars()
    return {part: _split(spec, name, online) for part, name in spec.splits.items()}


def _go_offline() -> None:
    """Make both libraries look in their caches only, whether or not they are imported yet."""
    import os

    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    import datasets
    import huggingface_hub.constants

    huggingface_hub.constants.HF_HUB_OFFLINE = True
    datasets.config.HF_HUB_OFFLINE = True


def _split(spec: DatasetSpec, name: str, online: bool) -> Rows:
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    where = f"hub dataset {spec.hub} {name}"
    try:
        found: Any = datasets.load_dataset(spec.hub, split=name, **_arguments(spec))
    except DatasetNotFoundError as error:
        if "gated" in str(error):
            raise UserError(
                f"hub dataset {spec.hub} is gated: accept its terms on the hub, then log in with "
                "'hf auth login'"
            ) from None
        raise _absent(spec, online) from None
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        if not online:
            raise _absent(spec, online) from None
        raise UserError(f"{where}: cannot be read: {str(error).splitlines()[0]}") from None
    features = found.features
    names = {column: list(getattr(features[column], "names", None) or []) for column in features}
    columns = {column: found[column][:] for column in found.column_names}
    return Rows(
        where,
        "row",
        list(range(found.num_rows)),
        columns,
        {column: classes for column, classes in names.items() if classes},
    )


def _arguments(spec: DatasetSpec) -> dict[str, Any]:
    if spec.hub_revision != CONVERTED:
        return {"name": spec.hub_config, "revision": spec.hub_revision}
    folder = spec.hub_config or "default"
    files = {name: f"{folder}/{name}/*.parquet" for name in spec.splits.values()}
    return {"revision": CONVERTED, "data_files": files}


def _absent(spec: DatasetSpec, online: bool) -> UserError:
    if online:
        return UserError(
            f"hub dataset {spec.hub} (revision {spec.hub_revision or 'main'}): the hub has no such "
            "dataset, or it is private; see its page, or give the rows with --data-dir"
        )
    return UserError(
        f"hub dataset {spec.hub}: no network and no copy in the cache; connect once, or give the "
        f"rows with --data-dir DIR (DIR/{spec.name}/SPLIT.parquet)"
    )
