"""Words, paths and settings files that no command can take."""

from __future__ import annotations

import os
from pathlib import Path

from hostile.table import Case, Make, both, text

DEEP = "[" * 3_000 + "]" * 3_000
DATA = "files: {train: rev.csv}\n"


def rev(folder: Path, world: Path) -> None:
    """The rows as rev.csv."""
    (folder / "rev.csv").write_bytes((world / "rev.csv").read_bytes())


def settings(content: str) -> Make:
    """A settings file s.yaml."""
    return text("s.yaml", content)


def link(folder: Path, world: Path) -> None:
    """in.csv, and out.csv that is a link to real.csv."""
    rev(folder, world)
    (folder / "real.csv").write_text("mine\n")
    (folder / "out.csv").symlink_to("real.csv")


def written_through(folder: Path) -> None:
    """The link is one still, and the rows are where it leads."""
    assert (folder / "out.csv").is_symlink()
    assert len((folder / "real.csv").read_text().splitlines()) == 91


def pipe(folder: Path, world: Path) -> None:
    """A pipe that nobody writes to, named like data and like weights."""
    os.mkfifo(folder / "p.csv")


def dangling(folder: Path, world: Path) -> None:
    """A link that leads nowhere."""
    (folder / "f.csv").symlink_to("nowhere.csv")


TRAIN = "train --dataset {rev} {quick}"

CASES = [
    Case("no user: --dataset", "train --dataset ~nouser/x.csv {quick}", 2, "~nouser/x.csv"),
    Case("no user: --model", "train --dataset {rev} --model ~nouser/x", 2, "no user nouser"),
    Case(
        "no user: --text",
        "score --model tiny-gpt2 --text ~nouser/x.txt --out s.json",
        2,
        "no user nouser",
    ),
    Case(
        "no user: --data-dir",
        "train --dataset sst2 --data-dir ~nouser/x {quick}",
        2,
        "no user nouser",
    ),
    Case(
        "no user: SLIMCLS_CACHE",
        TRAIN,
        2,
        "SLIMCLS_CACHE ~nouser/x: there is no user nouser",
        env={"SLIMCLS_CACHE": "~nouser/x"},
    ),
    *(
        Case(f"{what}: {flag}", f"{words} {flag}", 2, flag, more=(name,))
        for what, name in {
            "5,000 letters": "x" * 5000,
            "NUL": "a\0b",
            "1,500 folders": "x/" * 1500,
        }.items()
        for flag, words in {
            "--out": "train --dataset {rev} --shots all --model tiny-gpt2 --mode cls --epochs 1",
            "--model": "train --dataset {rev}",
            "--dataset": "train --model tiny-gpt2",
        }.items()
    ),
    Case("300 letters: --out", TRAIN, 2, "--out", more=("--out", "x" * 300)),
    Case(
        "prune: 300 letters: --out",
        "prune --model tiny-gpt2 --layers 0,1",
        2,
        "--out",
        more=("--out", "x" * 300),
    ),
    Case("prune: the root folder", "prune --model tiny-gpt2 --layers 0,1 --out /", 2, "--out /"),
    Case("predict: bytes that are no UTF-8", "predict {cls}", 2, "UTF-8", more=("caf\udce9 film",)),
    Case(
        "train: bytes that are no UTF-8",
        "train {quick} --dataset",
        2,
        "--dataset|dataset",
        more=("caf\udce9.csv",),
    ),
    Case("predict: an empty text", "predict {cls} ''", 2, "the text is empty"),
    Case("predict: a long text", "predict {cls}", 0, "0\\.", more=("word " * 20_000,)),
    Case(
        "predict: end tokens and braces",
        "predict {cls} '<|endoftext|> {text} {0.__class__} %s'",
        0,
        "0\\.",
    ),
    Case(
        "predict: writes through a link",
        "predict {cls} rev.csv --out out.csv --overwrite",
        0,
        "90 of 90",
        link,
        check=written_through,
    ),
    Case(
        "predict: never replaces a device",
        "predict {cls} rev.csv --out null.csv --overwrite",
        2,
        "null.csv: is no file",
        both(rev, lambda folder, _: (folder / "null.csv").symlink_to("/dev/null")),
    ),
    Case("train: a pipe", "train --dataset p.csv {quick}", 2, r"p\.csv", pipe),
    Case("train: a link to nowhere", "train --dataset f.csv {quick}", 2, r"f\.csv", dangling),
    Case("predict: a pipe", "predict {cls} p.csv", 2, r"p\.csv", pipe),
    *(
        Case(
            f"settings: {what}", "train --dataset {rev} --config s.yaml", 2, says, settings(content)
        )
        for what, content, says in (
            ("a key twice", "mode: cls\nmode: p-cls\n", "mode"),
            ("octal", "seed: 010\n", "010"),
            ("sixties", "seed: 1:30\n", "1:30"),
            ("a word for yes", "overwrite: on\n", "on|overwrite"),
            ("5,000 digits", "seed: " + "9" * 5000 + "\n", "seed|line 1"),
            ("nested deep", f"seed: {DEEP}\n", r"s\.yaml"),
            ("a tag", "seed: !!python/object/apply:os.system [touch PWNED]\n", r"s\.yaml"),
            (
                "an anchor bomb",
                "a: &a [x,x]\n"
                + "".join(
                    f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)},*{chr(97 + n)}]\n"
                    for n in range(20)
                ),
                r"s\.yaml|unknown|YAML",
            ),
            ("control characters", "seed: \x01\n", r"s\.yaml"),
            ("latin-1", "dataset: caf\udce9\n", r"s\.yaml"),
            ("nothing", "null\n", "mapping|DATASET|s.yaml"),
        )
    ),
    *(
        Case(f"grid: {what}", "grid s.yaml --out g", 2, says, settings(content))
        for what, content, says in (
            ("a key twice", "dataset: rev.csv\nmode: cls\nmode: lm\n", "mode"),
            ("nested deep", f"dataset: {DEEP}\n", r"s\.yaml"),
            ("a tag", "dataset: !!python/name:os.system\n", r"s\.yaml"),
        )
    ),
    *(
        Case(
            f"dataset: {what}",
            "train --dataset s.yaml {quick}",
            2,
            says,
            both(rev, settings(content)),
        )
        for what, content, says in (
            ("a key twice", DATA + "labels: [a, b]\nlabels: [c, d]\n", "labels"),
            ("nested deep", DATA + f"labels: {DEEP}\n", r"s\.yaml"),
            ("a template without slots", DATA + "template: hello\n", "template"),
            ("a template with code", DATA + 'template: "{text.__class__} {label}"\n', "template"),
            ("a template with two texts", DATA + 'template: "{text} {text} {label}"\n', "template"),
        )
    ),
]
