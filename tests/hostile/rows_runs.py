"""Finished and half-finished runs that were changed behind their back, and reports on them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from hostile.table import Case, Make, both, text

GOOD = "".join(f"word {n} and {'rain' if n % 2 else 'soup'},{{{n % 2}}}\n" for n in range(40))
AGAIN = "train --dataset {rev} {quick}"


def rows(name: str, *labels: str) -> Make:
    """A data file of two labels."""
    return text(name, "text,label\n" + GOOD.replace("{0}", labels[0]).replace("{1}", labels[1]))


def changed(change: Callable[[Path], object], folder: str = "runs") -> Make:
    """The finished run where a quick run would have it, changed."""

    def make(here: Path, world: Path) -> None:
        name = (world / "cls").resolve().name
        shutil.copytree(world / "cls", here / folder / name)
        change(here / folder / name)

    return make


def begun(checkpoint: bytes) -> Callable[[Path], None]:
    """The run as if it had been stopped in training, with this checkpoint."""

    def change(run: Path) -> None:
        (run / "result.parquet").unlink()
        (run / "checkpoints").mkdir()
        (run / "checkpoints" / "last.ckpt").write_bytes(checkpoint)

    return change


def killed_in_handover(run: Path) -> None:
    """The run as if it had been killed while it wrote its artefact."""
    (run / "result.parquet").unlink()
    shutil.rmtree(run / "model")
    (run / ".model.1.tmp").mkdir()
    (run / ".model.1.tmp" / "config.json").touch()


def without_weights(run: Path) -> None:
    """Somebody has deleted the weights of the artefact."""
    (run / "model" / "model.safetensors").unlink()


def figures_kept(folder: Path) -> None:
    """The figures are there still, and nothing was trained behind the user's back."""
    (run,) = (folder / "runs").iterdir()
    assert (run / "result.parquet").is_file()
    assert not (run / "model" / "model.safetensors").exists()


def twice(folder: Path, world: Path) -> None:
    """study1, and study[1] that is a pattern for it."""
    for name in ("study1", "study[1]"):
        changed(lambda run: None, name)(folder, world)


def one_page(name: str) -> Callable[[Path], None]:
    """A report is there, and is of one run."""

    def check(folder: Path) -> None:
        assert (folder / name).is_file()

    return check


def finished(folder: Path) -> None:
    """The run is whole."""
    (run,) = (folder / "runs").iterdir()
    assert (run / "result.parquet").is_file()
    assert (run / "model" / "model.safetensors").is_file()
    assert not (run / "checkpoints").exists()


def no_picture(folder: Path) -> None:
    """Nothing of a note is live in the page."""
    page = (folder / "report" / "report.html").read_text(encoding="utf-8")
    assert '<img src="http' not in page
    assert "<script>alert" not in page


def noted(note: str) -> Make:
    """A dataset with a note."""
    spec = text("d.yaml", f"files: {{train: f.csv}}\nnote: '{note}'\n")
    return both(rows("f.csv", "a", "b"), spec)


#: Trains, then reports, in one row each: the words behind ``&&`` are a second command.
REPORT = " && report runs"

CASES = [
    Case("cascade: a run without exits", "cascade {cls}", 2, "was trained without exits; train w"),
    Case("cascade: no run", "cascade nowhere", 2, "nowhere: no such run directory"),
    Case("cascade: the model folder", "cascade {cls}/model", 2, "no finished run there; name"),
    *(
        Case(f"cascade: --risk {risk}", f"cascade {{cls}} --risk {risk}", 2, f"--risk.*{said}")
        for risk, said in (
            ("0", "must be a percentage above 0 and below 100"),
            ("100", "must be a percentage above 0 and below 100"),
            ("-1", "must be a percentage above 0 and below 100"),
            ("nan", "must be a percentage|takes a number|number"),
            ("little", "little"),
        )
    ),
    *(
        Case(
            f"train: last.ckpt {what}", AGAIN, 0, r"last\.ckpt", changed(begun(raw)), check=finished
        )
        for what, raw in (
            ("empty", b""),
            ("junk", b"junk" * 99),
            ("half a zip", b"PK\3\4" + b"\0" * 99),
            ("an old pickle", b"\x80\2}q\0."),
        )
    ),
    Case(
        "train: finished, but its weights are gone",
        AGAIN,
        0,
        r"finished before, but its model/ lacks the weights; --overwrite starts again",
        changed(without_weights),
        check=figures_kept,
    ),
    Case(
        "train: finished, its weights are gone, and it shall start again",
        AGAIN + " --overwrite",
        0,
        "test accuracy",
        changed(without_weights),
        check=finished,
    ),
    Case(
        "train: finished, but its result is junk",
        AGAIN,
        2,
        r"result\.parquet",
        changed(lambda run: (run / "result.parquet").write_bytes(b"PAR1junk")),
    ),
    Case(
        "train: killed while it wrote model/",
        AGAIN,
        0,
        "",
        changed(killed_in_handover),
        check=finished,
    ),
    Case(
        "report: dollars in labels",
        "train --dataset f.csv {quick}" + REPORT,
        0,
        "report",
        rows("f.csv", "$10_to_$20", "under $10_$"),
        check=one_page("report/report.html"),
    ),
    Case(
        "report: dollars in a name",
        "train --dataset 'a$\\x$.csv' {quick}" + REPORT,
        0,
        "report",
        rows("a$\\x$.csv", "a", "b"),
        check=one_page("report/report.html"),
    ),
    Case(
        "report: brackets in a folder's name",
        "report 'study[1]'",
        0,
        "report",
        twice,
        check=one_page("report/report.html"),
    ),
    *(
        Case(
            f"report: a note with {what}",
            "train --dataset d.yaml {quick}" + REPORT,
            0,
            "report",
            noted(note),
            check=no_picture,
        )
        for what, note in (
            ("a live picture", "![x](http://evil.example/y.png)"),
            ("a lost picture", "![x](figures/nope.png)"),
            ("a picture from outside", "![x](figures/../../secret.svg)"),
            ("a script", "<script>alert(1)</script>"),
        )
    ),
    Case("report: nothing there", "report runs", 2, "runs"),
    Case(
        "report: a foreign result",
        "report runs",
        2,
        r"runs|result\.parquet",
        text("runs/x/result.parquet", b"PAR1junk"),
    ),
    Case(
        "predict: formulas are written as text",
        "predict {cls} f.csv",
        0,
        "",
        text("f.csv", "text,label\n=1+cmd|' /C calc'!A0,a\n+1,b\n-2,a\n@x,b\n"),
        check=lambda folder: _no_formula(folder / "f.predicted.csv"),
    ),
]


def _no_formula(path: Path) -> None:
    """What would run has an apostrophe in front; what is a number has none."""
    import csv

    with path.open(newline="", encoding="utf-8") as file:
        cells = [row[0] for row in csv.reader(file)][1:]
    assert cells == ["'=1+cmd|' /C calc'!A0", "+1", "-2", "'@x"]
