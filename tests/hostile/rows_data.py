"""Data files that are broken, odd or made to hurt, before each verb that reads them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hostile.table import Case, Make, both, text

ROWS = [(f"word {n} and {'rain' if n % 2 else 'soup'}", "ab"[n % 2]) for n in range(40)]
GOOD = "".join(f"{words},{label}\n" for words, label in ROWS)
LINES = "".join(json.dumps({"text": words, "label": label}) + "\n" for words, label in ROWS)
DEEP = "[" * 50_000 + "]" * 50_000


def parquet(
    name: str, columns: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
) -> Make:
    """A Parquet file of the rows, with further columns and schema metadata (JSON)."""

    def make(folder: Path, world: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table(
            {"text": [row[0] for row in ROWS], "label": [n % 2 for n in range(len(ROWS))]}
            | (columns or {})
        )
        if metadata is not None:
            table = table.replace_schema_metadata(
                {key: json.dumps(value) for key, value in metadata.items()}
            )
        pq.write_table(table, folder / name)

    return make


def far_future() -> dict[str, Any]:
    """A column of times that Python's calendar does not reach."""
    import pyarrow as pa

    return {"when": pa.array([2**62] * len(ROWS), pa.timestamp("us"))}


def _far(name: str) -> Make:
    return lambda folder, world: parquet(name, far_future())(folder, world)


#: Names of a file and its bytes, and what training says of it in its one line.
BROKEN: tuple[tuple[str, str, str | bytes, str], ...] = (
    ("empty", "f.csv", b"", "empty"),
    ("header alone", "f.csv", "text,label\n", r"f\.csv"),
    ("latin-1", "f.csv", b"text,label\ncaf\xe9,a\n", "UTF-8"),
    ("UTF-16", "f.csv", ("text,label\n" + GOOD).encode("utf-16"), "UTF-8|UTF-16|columns?"),
    ("open quote", "f.csv", 'text,label\n"open,a\n' + GOOD, r"f\.csv"),
    ("ragged", "f.csv", "text,label\na,b,c\n" + GOOD, "line 2"),
    ("twin columns", "f.csv", "text,text,label\na,b,c\n", "text"),
    ("no columns known", "f.csv", "alpha,beta\n1,2\n3,4\n", r"f\.csv"),
    ("zeros", "f.parquet", b"\0" * 100, r"f\.parquet"),
    ("half a parquet", "f.parquet", b"PAR1" + b"\x15\0" * 40, r"f\.parquet"),
    ("list lines", "f.jsonl", "[1]\n[2]\n", "line 1"),
    ("not JSON", "f.jsonl", "{text: a}\n", "line 1"),
    ("deep", "f.jsonl", DEEP + "\n" + LINES, "line 1"),
    ("deep value", "f.jsonl", f'{{"text": "a", "label": {DEEP}}}\n' + LINES, "line 1"),
    ("half a surrogate", "f.jsonl", '{"text":"a \\ud800 b","label":"a"}\n' + LINES, "line 1"),
    ("endless number", "f.jsonl", '{"text": "a", "label": %s}\n' % ("9" * 5000) + LINES, "line 1"),
)  # fmt: skip

#: The verbs that read every row, each with words that need one word more: the file.
READ_ALL = {
    "train": "train --dataset {file} {quick}",
    "baseline": "baseline --dataset {file} --method tfidf {quick}",
    "score": "score --model tiny-gpt2 --text {file} --out s.json",
    "prune": "prune --model tiny-gpt2 --keep 2 --text {file} --out P",
}


def _broken() -> list[Case]:
    cases = []
    for what, name, raw, says in BROKEN:
        for verb, words in READ_ALL.items():
            if verb in ("score", "prune") and what in NEEDS_LABELS:
                continue
            line = words.replace("{file}", name)
            cases.append(Case(f"{verb}: {what} {name}", line, 2, says, text(name, raw)))
    return cases


#: Faults of the labels alone: what only reads texts may take the file.
NEEDS_LABELS = {"deep value", "endless number", "no columns known", "header alone"}


def _features(label: dict[str, Any]) -> dict[str, Any]:
    """What the datasets library writes of a label column."""
    return {"huggingface": {"info": {"features": {"label": label}}}}


METADATA: tuple[tuple[str, dict[str, Any]], ...] = (
    ("label_names numbers", {"label_names": [1, 2]}),
    ("label_names of a number", {"label_names": {"label": 3}}),
    ("label_names null", {"label_names": None}),
    ("label_names nested", {"label_names": {"label": [["a"], ["b"]]}}),
    ("huggingface null", {"huggingface": None}),
    ("huggingface list", {"huggingface": [1]}),
    ("huggingface info null", {"huggingface": {"info": None}}),
    ("features list", {"huggingface": {"info": {"features": [1]}}}),
    ("ClassLabel nameless", _features({"_type": "ClassLabel"})),
    ("ClassLabel numbers", _features({"_type": "ClassLabel", "names": [1, 2]})),
    ("ClassLabel short", _features({"_type": "ClassLabel", "names": ["a"]})),
)  # fmt: skip

SPEC = "files: {{train: f.csv}}\nlabels: {labels}\nlabel_words: {words}\n"


def _merged(folder: Path) -> None:
    import duckdb

    rows = duckdb.sql(f"select per_class from '{folder}/runs/*/result.parquet'").fetchall()
    names = {row["label"] for row in json.loads(rows[0][0])} if rows else set()
    assert names >= {"us", "US", "uk"}


def _two_columns(folder: Path) -> None:
    """The label was no part of the text."""
    header = (folder / "f.predicted.csv").read_text(encoding="utf-8").splitlines()[0]
    assert re.split(r"[,;|\t]", header)[:2] == ["text", "label"]


def case_labels() -> str:
    """Three labels, two of which differ in case only."""
    words, labels = ("rain", "sun", "wind"), ("us", "US", "uk")
    rows = (f"number {n} {words[n % 3]},{labels[n % 3]}\n" for n in range(90))
    return "text,label\n" + "".join(rows)


CASES = [
    *_broken(),
    *(
        Case(
            f"train: {what}",
            "train --dataset f.parquet {quick}",
            0,
            "accuracy|classes",
            parquet("f.parquet", metadata=metadata),
        )
        for what, metadata in METADATA
    ),
    *(
        Case(f"{verb}: times beyond the calendar", words, 0, "", _far("f.parquet"))
        for verb, words in {
            "train": "train --dataset f.parquet {quick}",
            "predict": "predict {cls} f.parquet",
        }.items()
    ),
    Case(
        "train: labels that differ in case only",
        "train --dataset d.yaml {quick}",
        0,
        "",
        both(
            text("f.csv", case_labels()),
            text("d.yaml", SPEC.format(labels="[us, US, uk]", words="[we, America, Britain]")),
        ),
        check=_merged,
    ),
    Case(
        "train: byte order mark",
        "train --dataset f.csv {quick}",
        0,
        "",
        text("f.csv", b"\xef\xbb\xbf" + ("text,label\n" + GOOD).encode()),
    ),
    Case(
        "train: line ends of Windows",
        "train --dataset f.csv {quick}",
        0,
        "",
        text("f.csv", ("text,label\n" + GOOD).replace("\n", "\r\n")),
    ),
    Case(
        "train: blanks in the header",
        "train --dataset f.csv {quick}",
        0,
        "",
        text("f.csv", " text , label \n" + GOOD),
    ),
    Case(
        "predict: blanks in the header",
        "predict {cls} f.csv",
        0,
        "40 of 40",
        text("f.csv", " text , label \n" + GOOD),
    ),
    *(
        Case(
            f"predict: columns between {what} in a .csv",
            "predict {cls} f.csv",
            0,
            "40 of 40",
            text("f.csv", ("text,label\n" + GOOD).replace(",", mark)),
            check=_two_columns,
        )
        for what, mark in (("tabs", "\t"), ("bars", "|"), ("semicolons", ";"))
    ),
    Case(
        "predict: half a surrogate is one bad row",
        "predict {cls} f.jsonl",
        0,
        "40 of 41",
        text("f.jsonl", '{"text":"a \\ud800 b","label":"a"}\n' + LINES),
    ),
    Case(
        "predict: a deep row is one bad row",
        "predict {cls} f.jsonl",
        0,
        "40 of 41",
        text("f.jsonl", DEEP + "\n" + LINES),
    ),
    Case(
        "predict: latin-1",
        "predict {cls} f.txt",
        2,
        "UTF-8|has a text",
        text("f.txt", b"caf\xe9\n"),
    ),
    Case(
        "predict: one row of latin-1",
        "predict {cls} f.txt",
        0,
        "1 of 2",
        text("f.txt", b"caf\xe9\ngood\n"),
    ),
    *(
        Case(
            f"{verb}: NUL in a text",
            words.replace("{file}", "f.csv"),
            0,
            "",
            text("f.csv", "text,label\n\0\0\0,a\n" + GOOD),
        )
        for verb, words in READ_ALL.items()
    ),
    *(
        Case(
            f"{verb}: a number for a text",
            READ_ALL[verb].replace("{file}", "f.jsonl"),
            0,
            "",
            text("f.jsonl", '{"text": 1, "label": "a"}\n' + LINES),
        )
        for verb in ("train", "baseline")
    ),
    Case("predict: no text at all", "predict {cls} f.txt", 2, r"f\.txt", text("f.txt", "\n\n \n")),
    Case("predict: a file that is none", "predict {cls} f.csv", 2, "no such file"),
    Case(
        "predict: labels of every script",
        "train --dataset f.csv {quick}",
        0,
        "",
        text("f.csv", "text,label\n" + GOOD.replace(",a", ",größe 🙂").replace(",b", ",日本")),
    ),
]
