"""A dataset's specification: where its rows come from and how they are read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

#: The names a folder's files may have, for each part.
PART_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}


@dataclass(frozen=True)
class DatasetSpec:
    """Where a dataset's rows come from and how they are read.

    Empty ``text_column``, ``label_column``, ``labels``, ``template`` or ``label_words`` are filled
    in from the rows when they are loaded.
    """

    name: str
    version: int = 1
    hub: str | None = None
    hub_revision: str | None = None
    hub_config: str | None = None
    #: Named outright by its hub id: its splits are found as it is read, and the commit that is read
    #: is part of what identifies the rows.
    hub_named: bool = False
    #: Of text pairs both columns' names, a comma between them.
    text_column: str = ""
    label_column: str = ""
    #: Our part (train, validation, test) to the source's name for it.
    splits: dict[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    #: The two columns of text pairs; filled in as well.
    pair: tuple[str, str] | None = None
    #: Holds {text}, or {premise} and {hypothesis}, and after them {label}; a label word follows
    #: with one blank in front.
    template: str = ""
    label_words: tuple[str, ...] = ()
    #: All parts are pooled, repeats removed, and split 80/10/10 by a hash of the text.
    pool: bool = False
    #: Near-duplicates are removed too when parts are pooled.
    near_duplicates: bool = False
    #: Local data files by part; a lone file is under "all".
    files: dict[str, Path] = field(default_factory=dict)
    #: Rows are given in memory, and none of them are for testing.
    in_memory: bool = False
    note: str = ""

    @property
    def own_rows(self) -> bool:
        """Whether rows are the user's own, so that each fault in them is the user's to know."""
        return self.in_memory or bool(self.files)

    @property
    def source(self) -> str:
        """Where rows of the hub are from, as JSON: dataset, config, revision, and the tested split.

        Empty where they are not from the hub.
        """
        if not self.hub:
            return ""
        found = {
            "hub": self.hub,
            "config": self.hub_config,
            "revision": self.hub_revision,
            "split": "" if self.pool else self.splits.get("test", ""),
        }
        return json.dumps({name: value for name, value in found.items() if value})
