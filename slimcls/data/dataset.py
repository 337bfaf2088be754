"""What ``--dataset`` names, found and read in one call."""

from __future__ import annotations

from pathlib import Path

from slimcls.data import catalog, tables
from slimcls.data.tables import Tables


def read_dataset(
    name: str,
    *,
    data_dir: str | Path | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    skip_bad_rows: bool = False,
) -> Tables:
    """The rows of a dataset, checked.

    Args:
        name: a packaged name, an own .yaml, a data file, a folder with train/test files, or
            ORG/NAME[:CONFIG][@REVISION] of the hub.
        data_dir: holds ``<name>/<split>.parquet``; ``SLIMCLS_DATA_DIR`` where None.
        text_column: names the text column of the user's own files.
        label_column: names the label column of the user's own files.
        skip_bad_rows: leaves out what cannot be used of the user's own files, with a note.

    Raises:
        UserError: no such dataset, or rows that cannot be found, read or used.
    """
    spec = catalog.find_dataset(name, text_column=text_column, label_column=label_column)
    folder = Path(data_dir) if data_dir else None
    return tables.read_tables(spec, folder, skip_bad_rows=skip_bad_rows)


def may_be_out_of_reach(
    name: str, *, text_column: str | None = None, label_column: str | None = None
) -> bool:
    """Whether a dataset's rows lie elsewhere, so that they may be had later if not now.

    Raises:
        UserError: no such dataset, or a description that cannot be right.
    """
    spec = catalog.find_dataset(name, text_column=text_column, label_column=label_column)
    return not spec.files
