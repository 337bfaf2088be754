"""A dataset whose rows are in memory: texts and their classes, all of them to learn from."""

from __future__ import annotations

from collections.abc import Sequence

from slimcls.data.pairs import template_fault
from slimcls.data.rows import Rows
from slimcls.data.spec import DatasetSpec
from slimcls.data.tables import Tables, sources_of, tables_of
from slimcls.errors import UserError

#: What a dataset in memory is called, and its rows.
NAME, WHERE = "in-memory", "X"


def tables_in_memory(
    texts: Sequence[str],
    labels: Sequence[str],
    names: Sequence[str],
    *,
    template: str | None = None,
    label_words: Sequence[str] | None = None,
) -> Tables:
    """A dataset of rows in memory, checked as rows of files are. It has no test part.

    Args:
        texts: a text a row.
        labels: the name of its class a row.
        names: of all classes, in their order.
        template: of a prompt, with ``{text}`` and ``{label}``; the usual one where None.
        label_words: a word a class, in their order; from the names where None.

    Raises:
        UserError: rows that cannot be used, fewer than two classes, a template or label words that
            cannot be right.
    """
    if template is not None and not isinstance(template, str):
        raise UserError(f"template: {template!r} is no text")
    if template is not None and (fault := template_fault(template)):
        raise UserError(f"template: {fault}")
    if label_words is not None and len(label_words) != len(names):
        raise UserError(f"label_words: {len(label_words)} words for {len(names)} classes")
    spec = DatasetSpec(
        name=NAME,
        in_memory=True,
        text_column="text",
        label_column="label",
        labels=tuple(names),
        template=template or "",
        label_words=tuple(label_words or ()),
    )
    columns = {"text": list(texts), "label": list(labels)}
    rows = Rows(WHERE, "row", list(range(len(texts))), columns)
    return tables_of(sources_of(spec, {"train": rows}))
