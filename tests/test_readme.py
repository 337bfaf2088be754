"""What README and docs/ say is so: commands, code, links, the file map, the refusals.

Commands are run in the order they stand, in a folder with small files of the names they use. Those
that are not are understood, at least, and NOT_RUN says why: nothing is skipped unseen.
"""

from __future__ import annotations

import csv
import os
import re
import shlex
from pathlib import Path

import pytest
import yaml

from slimcls.__main__ import VERBS, main
from slimcls.baseline import CUT, ITEMS, MODEL, BaselineConfig
from slimcls.cli import parse
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.grid import GridConfig
from slimcls.grids import attempts
from slimcls.predict import PredictConfig
from slimcls.pruning.settings import PruneConfig
from slimcls.report import ReportConfig
from slimcls.score import ScoreConfig

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
#: What each verb takes: its settings, and those that stand without a flag.
SETTINGS: dict[str, tuple[type, tuple[str, ...]]] = {
    "train": (RunConfig, ("dataset",)),
    "predict": (PredictConfig, ("run", "input")),
    "grid": (GridConfig, ("config",)),
    "baseline": (BaselineConfig, ("dataset",)),
    "report": (ReportConfig, ("folder",)),
    "score": (ScoreConfig, ("model",)),
    "prune": (PruneConfig, ("model", "out")),
}
PREPARE = {"python3 -m venv .venv", ". .venv/bin/activate"}
#: A word, and why a command that has it is not run here; the first word that fits counts.
NOT_RUN = {
    "ray": "it needs seconds to start; test_grid_ray.py runs this grid on it",
    "smollm2-135m": "minutes of training; make demo trains it, test_real.py opens and uses it",
    "configs/demo.yaml": "the same model for minutes; it is what make demo runs",
    "opt-1.3b": "gigabytes from the hub",
    "gpt2-xl": "gigabytes from the hub",
    "trec": "texts that are not packaged, and a classifier of the packaged model",
    "EleutherAI/pythia-160m": "hundreds of megabytes from the hub",
    "make": "its targets run these tests, or the demo, in a .venv of their own",
    "pip": "what it installs is what runs the tests; test_packaging.py installs into new folders",
    "venv": "the same",
    ".": "for the reader's shell alone",
}


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[list[str]]:
    lines = "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def verb_of(words: list[str]) -> list[str] | None:
    """The words after ``slimcls`` of a slimcls command, in whichever way it is written."""
    if Path(words[0]).name == "slimcls":
        return words[1:]
    if Path(words[0]).name.startswith("python") and words[1] == "-m":
        package, _, verb = words[2].partition(".")
        return [verb, *words[3:]] if package == "slimcls" else None
    return None


COMMANDS = [(page, words) for page in PAGES for words in commands(page)]
OURS = [(page, verb) for page, words in COMMANDS if (verb := verb_of(words)) is not None]
OTHERS = [words for _, words in COMMANDS if verb_of(words) is None]


def why_not(words: list[str]) -> str | None:
    """The word for which a command is not run; None where it is."""
    plain = {Path(word).name if word.endswith("/pip") else word for word in words}
    return next((word for word in NOT_RUN if word in plain), None)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """The folder a reader sits in: small files, and the runs that commands leave behind."""
    folder = tmp_path_factory.mktemp("desk")
    good, bad = "a warm film, well told, number {}", "two dull hours, badly told, number {}"
    rows = [(good.format(n), "good") for n in range(60)] + [
        (bad.format(n), "bad") for n in range(60)
    ]
    with (folder / "reviews.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    with (folder / "new.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text",), *((text,) for text, _ in rows[::10])])
    grids = folder / "configs" / "grid"
    grids.mkdir(parents=True)
    quick = yaml.safe_load((ROOT / "configs" / "grid" / "quick.yaml").read_text("utf-8"))
    (grids / "quick.yaml").write_text(yaml.safe_dump(quick | LESS), "utf-8")
    return folder


#: What is left of the quick grid, which takes a minute; test_grid_ray.py runs the whole of it.
LESS = {
    "dataset": "reviews.csv", "mode": "cls", "seed": 0, "epochs": 1,
    "cells": [{"model": "tiny-gpt2", "keep": [1, "all"]}],
}  # fmt: skip


def last_run(desk: Path) -> str:
    return str(max((desk / "runs").glob("*/result.parquet"), key=os.path.getmtime).parent)


def code_of(words: list[str]) -> object:
    """The exit code of a command."""
    try:
        return main(words)
    except SystemExit as ended:  # --help
        return ended.code


def test_there_are_commands():
    assert len(OURS) >= 12
    assert {words[0] for _, words in OURS} == set(VERBS)


@pytest.mark.parametrize("words", [w for _, w in OURS], ids=lambda words: " ".join(words))
def test_a_command_is_understood(words, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT if "--config" in words else tmp_path)
    settings, positional = SETTINGS[words[0]]
    if "--help" not in words:
        assert parse(settings, words[1:], prog=f"slimcls {words[0]}", positional=positional)


def test_a_command_that_is_not_run_has_a_reason():
    """A command of other programs that is not run has one; a reason that nothing needs goes."""
    assert [words for words in OTHERS if why_not(words) is None] == []
    assert {why_not(words) for _, words in COMMANDS} == {None, *NOT_RUN}


@pytest.mark.slow
def test_the_commands_do_what_they_say(desk, capsys, monkeypatch):
    monkeypatch.chdir(desk)
    attempts.shared.cache_clear()
    for page, words in OURS:
        if why_not(words):
            continue
        words = [last_run(desk) if word == "RUN" else word for word in words]
        assert code_of(words) == 0, f"{page.name}: {' '.join(words)}: {capsys.readouterr().err}"
        printed = capsys.readouterr().out.strip()
        assert printed
        if words[0] == "report":
            page = Path(printed).read_text(encoding="utf-8")
            assert page.startswith(f"# {words[1]}\n")
            assert "| reviews | cls" in page
    with (desk / "labelled.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert {row["label"] for row in rows} <= {"good", "bad"}


@pytest.mark.slow
def test_the_python_code_runs(desk, capsys, monkeypatch):
    monkeypatch.chdir(desk)
    (code,) = blocks(ROOT / "README.md", "python")
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    lines = capsys.readouterr().out.splitlines()
    assert any("good" in line and "bad" in line for line in lines)


@pytest.mark.parametrize("words", OTHERS, ids=lambda words: " ".join(words))
def test_another_command_is_one_that_exists(words):
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.M)
        assert words[1] in targets
    elif words[1:2] == ["install"]:
        assert Path(words[0]).name == "pip"
        known = {*(ROOT / "Makefile").read_text("utf-8").split(), "constraints.txt", "."}
        assert {word for word in words[2:] if not word.startswith("-")} <= known
    else:
        assert " ".join(words) in PREPARE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


def refusals() -> list[str]:
    table = (ROOT / "docs" / "options.md").read_text(encoding="utf-8").split("Found out")[0]
    return re.findall(r"^\| `(--[^`]+)` \|", table, re.MULTILINE)


@pytest.mark.parametrize("flags", refusals())
def test_what_options_says_is_refused_is_refused(flags):
    with pytest.raises(UserError) as refusal:
        parse(RunConfig, ["--dataset", "sst2", *flags.split()], prog="slimcls train")
    named = re.findall(r"--[a-z-]+", str(refusal.value))
    assert set(named) & set(re.findall(r"--[a-z-]+", flags))


def test_every_setting_outside_a_runs_identity_is_listed():
    from slimcls.config import NOT_HASHED, flag

    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    (line,) = [row for row in page.splitlines() if "not part of a run's identity" in row]
    assert set(re.findall(r"`(--[a-z-]+)`", line)) == {flag(name) for name in NOT_HASHED}


def test_what_options_says_a_baseline_uses_is_what_it_is_given():
    from slimcls.config import flag

    page = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \| (what decides|the same|all)(.*) \|$", page, re.M
    )
    used: dict[str, list[str]] = {}
    sofar: list[str] = []
    for methods, first, rest in rows:
        sofar = [*(sofar if first == "the same" else []), *re.findall(r"`(--[a-z-]+)`", rest)]
        used |= dict.fromkeys(re.findall(r"`([a-z-]+)`", methods), sofar)
    items, model, cut = ([flag(n) for n in names] for names in (ITEMS, MODEL, CUT))
    assert used.pop("random-blocks") == []
    assert {name: [f for f in flags if f != "--mode"] for name, flags in used.items()} == {
        "majority": items, "tfidf": items, "embeddings": [*items, *model],
        "untrained": [*items, *model, *cut],
    }  # fmt: skip
