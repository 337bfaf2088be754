"""Unlabelled texts to measure a model on: found, drawn, and turned into token ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slimcls.data import catalog, texts
from slimcls.data.columns import choose_text_columns
from slimcls.data.reader import READERS, TABLE_FILES, read_rows
from slimcls.data.rows import ADVICE, STOP, BadRows, as_text
from slimcls.data.spec import PART_NAMES
from slimcls.errors import UserError
from slimcls.storage.paths import user_path

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

    from slimcls.data.batches import Batch

#: Tokens that a text must have of its own: with one there is nothing to predict.
LEAST_TO_MEASURE = 2


@dataclass(frozen=True)
class Texts:
    """The texts of a source, each with the place to look for it."""

    name: str
    """What the source is called."""
    texts: tuple[str, ...]
    places: tuple[str, ...]
    strict: bool = False
    """Whether a text too short to measure on is an error, as in the user's own files; elsewhere
    it is left out."""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def drawn(self, count: int, seed: int = 0) -> Texts:
        """``count`` of them, or all, in an order that hangs on nothing but seed and texts."""
        order = sorted(range(len(self)), key=lambda i: texts.rank(self.texts[i], f"{seed} scores"))
        return self.some(order[:count])

    def some(self, numbers: Sequence[int]) -> Texts:
        """Those of these numbers, in this order."""
        return replace(
            self,
            texts=tuple(self.texts[i] for i in numbers),
            places=tuple(self.places[i] for i in numbers),
        )


@dataclass(frozen=True)
class Sample:
    """Token ids of the texts that a model is measured on."""

    ids: tuple[tuple[int, ...], ...]
    places: tuple[str, ...]
    name: str = ""
    batch_size: int = 8
    """Texts that run together; changes no score beyond rounding."""
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def tokens(self) -> int:
        """Tokens of all texts together."""
        return sum(map(len, self.ids))

    @property
    def fingerprint(self) -> str:
        """``sha256:`` of the token ids, text by text."""
        content = json.dumps(self.ids, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"

    def only(self, place: int) -> Sample:
        """One text alone."""
        return Sample((self.ids[place],), (self.places[place],), self.name)

    def batches(self, device: torch.device | str = "cpu") -> Iterator[Batch]:
        """The texts in batches of like length, padded on the right."""
        from slimcls.data.batches import collate
        from slimcls.data.by_length import batches_by_length

        for places in batches_by_length([len(ids) for ids in self.ids], self.batch_size):
            yield collate([(place, list(self.ids[place]), 0) for place in places], 0).to(device)


def encode_sample(
    found: Texts,
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_text_tokens: int | None = None,
    batch_size: int = 8,
) -> Sample:
    """Token ids as mode ``cls`` has them: the bare text, cut on the right.

    Args:
        found: The texts, drawn already.
        tokenizer: As :func:`slimcls.backbones.tokenizers.open_tokenizer` gives it.
        max_text_tokens: Longest text in tokens; default 256, less where the context is smaller.
        batch_size: Texts that run together.

    Raises:
        UserError: a text of the user's own files with fewer than two tokens, or none left.
    """
    from slimcls.data.encoding import TextEncoder

    encoder = TextEncoder(
        tokenizer, context=tokenizer.model_max_length, max_text_tokens=max_text_tokens
    )
    encoded = encoder.encode(found.texts)
    added = tokenizer.num_special_tokens_to_add()
    short = {i for i, ids in enumerate(encoded.ids) if len(ids) - added < LEAST_TO_MEASURE}
    if short and (found.strict or len(short) == len(found)):
        raise UserError(
            f"{found.places[min(short)]}: the text {found.texts[min(short)]!r} has fewer than "
            f"{LEAST_TO_MEASURE} tokens; leave it out"
        )
    notes = list(found.notes)
    if short:
        notes.append(f"{len(short)} texts with fewer than {LEAST_TO_MEASURE} tokens left out")
    if encoded.n_cut:
        notes.append(
            f"{encoded.n_cut} texts have more than {encoder.max_text_tokens} tokens and were cut"
        )
    kept = [i for i in range(len(found)) if i not in short]
    return Sample(
        tuple(tuple(encoded.ids[i]) for i in kept),
        tuple(found.places[i] for i in kept),
        found.name,
        batch_size,
        tuple(notes),
    )


def read_texts(
    source: str,
    *,
    data_dir: Path | None = None,
    text_column: str | None = None,
    skip_bad_rows: bool = False,
) -> Texts:
    """All texts of a source, repeats removed.

    Args:
        source: A dataset (a packaged name, an own .yaml, a folder with a train file), of which
            only training texts are read that occur in no other part; a .txt file (a text a line);
            a .csv, .tsv, .jsonl or .parquet file, all rows; or a folder of .txt files (a text a
            file).
        data_dir: Folder with NAME/SPLIT.parquet for packaged datasets.
        text_column: Names the text column of the user's own files.
        skip_bad_rows: Leaves out what cannot be used of the user's own files, with a note.

    Raises:
        UserError: no such source, or one without a text; in the user's own files a bad row.
    """
    path = user_path(source, "--text")
    if source in catalog.packaged_names():
        return _training_texts(source, data_dir)
    if path.is_dir() and not _has_train_file(path):
        return _folder(path, text_column)
    if path.suffix.lower() in READERS:
        return _rows(path, text_column, BadRows(skip=skip_bad_rows, advice=ADVICE))
    return _training_texts(source, data_dir, text_column, skip_bad_rows)


def _training_texts(
    name: str, data_dir: Path | None, text_column: str | None = None, skip_bad_rows: bool = False
) -> Texts:
    from slimcls.data.dataset import read_dataset

    data = read_dataset(
        name, data_dir=data_dir, text_column=text_column, skip_bad_rows=skip_bad_rows
    )
    others = [part.texts for part in (data.test, data.validation) if part is not None]
    elsewhere = {texts.key(text) for part in others for text in part}
    rows = [
        (text, f"training row {row} of {data.spec.name}")
        for row, text in zip(data.train.ids, data.train.texts, strict=True)
        if texts.key(text) not in elsewhere
    ]
    return _distinct(data.spec.name, rows)


def _distinct(name: str, rows: Sequence[tuple[str, str]], bad_rows: BadRows | None = None) -> Texts:
    """The first of each text that occurs several times; UserError where nothing is there."""
    first: dict[str, tuple[str, str]] = {}
    for text, place in rows:
        first.setdefault(texts.key(text), (text, place))
    if not first:
        raise UserError(f"{name}: no text there")
    repeats = len(rows) - len(first)
    notes = bad_rows.notes() if bad_rows else []
    notes += [f"{repeats} repeated texts left out"] if repeats else []
    strict = bad_rows is not None and not bad_rows.skip
    found, places = zip(*first.values(), strict=True)
    return Texts(name, found, places, strict, tuple(notes))


def _folder(path: Path, text_column: str | None) -> Texts:
    """A text a file, folders inside included, each run of whitespace a blank."""
    _refuse_column(path, text_column)
    found = sorted(path.rglob("*.txt"))
    if not found:
        raise UserError(f"{path}: no .txt file in this folder, and no train file of a dataset")
    return _distinct(path.name, [(_whole_text(file), str(file)) for file in found], STOP)


def _whole_text(file: Path) -> str:
    lines = read_rows(file).columns["text"]
    return " ".join(" ".join(map(str, lines)).split())


def _rows(path: Path, text_column: str | None, bad_rows: BadRows) -> Texts:
    """The texts of all rows of a table, or of all lines; blank lines only part texts."""
    lines = path.suffix.lower() == ".txt"
    if lines:
        _refuse_column(path, text_column)
    rows = read_rows(path, bad_rows)
    (column,) = choose_text_columns(path, list(rows.columns), text_column)
    found = []
    for row, value in enumerate(rows.columns[column]):
        text = (as_text(value) or "").strip()
        if text:
            found.append((text, rows.place(row)))
        elif not lines:
            bad_rows.add(rows.bad(row, f"no text in column {column}"))
    return _distinct(path.name, found, bad_rows)


def _refuse_column(path: Path, text_column: str | None) -> None:
    if text_column is not None:
        raise UserError(f"--text-column {text_column}: {path} has no columns")


def _has_train_file(folder: Path) -> bool:
    return any(
        file.suffix.lower() in TABLE_FILES and file.stem.lower() in PART_NAMES["train"]
        for file in folder.iterdir()
    )
