"""What README and docs/ say is so: commands, code, files, links, paths, the refusals.

A page is worked through as a reader would: its blocks in the order they stand, in a folder with
small files of the names they use. Commands that are not run are understood, at least, and NOT_RUN
says why: nothing is skipped unseen.
"""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, load_script
from exporting.traced import traced_once
from packaging.requirements import Requirement

from slimcls.__main__ import VERBS, main
from slimcls.backbones import families
from slimcls.baseline import DECIDES
from slimcls.classifier import modes
from slimcls.cli import parse
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.grids import attempts
from slimcls.layers import criteria

README = ROOT / "README.md"
PAGES = sorted([README, ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
PREPARE = {
    "python3 -m venv .venv",
    ". .venv/bin/activate",
    # Tried by hand: they make environments of gigabytes.
    "uv sync --locked --extra train",
    "uvx --from .[train] -c constraints.txt slimcls help",
    "uv tool install -c constraints.txt .[train]",
    # test_browser_page.py does what these are for.
    "cp -r docs/browser-page page",
    "npm --prefix page install --ignore-scripts",
    "python -m http.server --directory page",
}
#: A word, and why a command that has it is not run here; the first word that fits counts.
NOT_RUN = {
    "ray": "it needs seconds to start; test_grid_ray.py runs this grid on it",
    "smollm2-135m": "minutes of training; make demo reads it, test_real.py trains and uses it",
    "configs/demo.yaml": "the same model for minutes",
    "opt-1.3b": "gigabytes from the hub",
    "gpt2-xl": "gigabytes from the hub",
    "trec": "texts that are not packaged, and a classifier of the packaged model",
    "EleutherAI/pythia-160m": "hundreds of megabytes from the hub",
    "stanfordnlp/imdb": "a dataset of the hub; test_hub_named.py reads such from a hub on loopback",
    "me/film-reviews": "an account at the hub; tests/pushing pushes to one on loopback, and back",
    "serve": "it does not end by itself; tests/serving and tests/exporting/test_served.py run it",
    "make": "its targets run these tests, or the demo, in a .venv of their own",
    "pip": "what it installs is what runs the tests; test_packaging.py installs into new folders",
    "venv": "the same",
    "uv": "the same",
    "uvx": "the same",
    ".": "for the reader's shell alone",
    "docs/browser-page": "test_browser_page.py makes such a page and opens it",
    "npm": "the same, with packages that are there",
    "http.server": "it serves until it is stopped; the same",
}
#: What is left of the quick grid, which takes a minute; test_grid_ray.py runs the whole of it.
LESS = {
    "dataset": "reviews.csv", "mode": "cls", "seed": 0, "epochs": 1,
    "cells": [{"model": "tiny-gpt2", "keep": [1, "all"]}],
}  # fmt: skip

docs_site = load_script("docs_site")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, the file it stands for, its text."""

    language: str
    title: str
    text: str

    def commands(self) -> list[list[str]]:
        lines = self.text.replace("\\\n", " ").splitlines() if self.language == "bash" else []
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks(page: Path) -> list[Block]:
    fenced = r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$'
    text = page.read_text(encoding="utf-8")
    return [Block(*found) for found in re.findall(fenced, text, re.DOTALL | re.MULTILINE)]


def verb_of(words: list[str]) -> list[str] | None:
    """The words after ``slimcls`` of a slimcls command, in whichever way it is written."""
    if Path(words[0]).name == "slimcls":
        return words[1:]
    if Path(words[0]).name.startswith("python") and words[1] == "-m":
        package, _, verb = words[2].partition(".")
        return [verb, *words[3:]] if package == "slimcls" else None
    return None


COMMANDS = [words for page in PAGES for block in blocks(page) for words in block.commands()]
OURS = [verb for words in COMMANDS if (verb := verb_of(words)) is not None]
OTHERS = [words for words in COMMANDS if verb_of(words) is None]
WORKED = [page for page in PAGES if any(b.language in ("bash", "python") for b in blocks(page))]


def why_not(words: list[str]) -> str | None:
    """The word for which a command is not run; None where it is."""
    plain = {Path(word).name if word.endswith("/pip") else word for word in words}
    return next((word for word in NOT_RUN if word in plain), None)


def rows() -> list[tuple[str, str]]:
    good, bad = "a warm film, well told, number {}", "two dull hours, badly told, number {}"
    return [(text.format(n), label) for text, label in ((good, "good"), (bad, "bad"))
            for n in range(60)]  # fmt: skip


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, for pages that use one without making it."""
    folder = tmp_path_factory.mktemp("earlier")
    write(folder / "reviews.csv", [("text", "label"), *rows()])
    words = ["--dataset", str(folder / "reviews.csv"), "--out", str(folder / "runs")]
    words += ["--shots", "all", "--model", "tiny-gpt2", "--mode", "cls", "--epochs", "1"]
    assert main(["train", *words]) == 0
    return folder / "runs"


def write(path: Path, content: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(content)


@pytest.fixture
def desk(tmp_path: Path, earlier: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder a reader sits in: small files, and what the page's commands leave behind."""
    write(tmp_path / "reviews.csv", [("text", "label"), *rows()])
    write(tmp_path / "new.csv", [("text",), *((text,) for text, _ in rows()[::10])])
    grids = tmp_path / "configs" / "grid"
    grids.mkdir(parents=True)
    quick = yaml.safe_load((ROOT / "configs" / "grid" / "quick.yaml").read_text("utf-8"))
    (grids / "quick.yaml").write_text(yaml.safe_dump(quick | LESS), "utf-8")
    shutil.copytree(earlier, tmp_path / "earlier")
    # What a page adds to these tables is gone afterwards.
    monkeypatch.setattr(families, "FAMILIES", families.FAMILIES)
    monkeypatch.setattr(criteria, "CRITERIA", dict(criteria.CRITERIA))
    monkeypatch.setattr(modes, "BY_LOSS", dict(modes.BY_LOSS))
    monkeypatch.chdir(tmp_path)
    attempts.shared.cache_clear()
    with traced_once():
        yield tmp_path


def last_run(desk: Path) -> str:
    """The newest run that has saved its model."""
    found = list(desk.glob("runs/*/model")) or list(desk.glob("earlier/*/model"))
    return str(max(found, key=os.path.getmtime).parent)


def code_of(words: list[str]) -> object:
    """The exit code of a command."""
    try:
        return main(words)
    except SystemExit as ended:  # --help
        return ended.code


def work(block: Block, desk: Path, names: dict[str, Any], capsys: pytest.CaptureFixture) -> None:
    """Do what a block says."""
    if block.title:
        (desk / block.title).write_text(block.text, encoding="utf-8")
    if block.language == "python" and not block.text.startswith("SeedItems("):  # signatures
        text = re.sub(r"\bRUN\b", lambda _: last_run(desk), block.text)
        exec(compile(text, "page", "exec"), names)
    for words in block.commands():
        if (verb := verb_of(words)) is None or why_not(words):
            continue
        verb = [last_run(desk) if word == "RUN" else word for word in verb]
        assert code_of(verb) == 0, f"{' '.join(words)}: {capsys.readouterr().err}"
        printed = capsys.readouterr().out.strip()
        assert printed, words
        if verb[0] == "report":
            assert Path(printed).read_text(encoding="utf-8").startswith(f"# {verb[1]}\n")


@pytest.mark.slow
@pytest.mark.parametrize("page", WORKED, ids=lambda page: page.name)
def test_a_page_does_what_it_says(page: Path, desk: Path, capsys: pytest.CaptureFixture) -> None:
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page):
        work(block, desk, names, capsys)
    if (labelled := desk / "labelled.csv").exists():
        with labelled.open(encoding="utf-8", newline="") as file:
            found = list(csv.DictReader(file))
        assert len(found) == 12
        assert {row["label"] for row in found} <= {"good", "bad"}


def test_there_are_commands() -> None:
    assert len(OURS) >= 12
    assert {words[0] for words in OURS} == set(VERBS)
    assert {"README.md", "extending.md", "predicting.md"} <= {page.name for page in WORKED}


@pytest.mark.parametrize("words", OURS, ids=lambda words: " ".join(words))
def test_a_command_is_understood(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(ROOT if "--config" in words else tmp_path)
    settings, how = docs_site.asked_for(words[0], words[1:])
    if "--help" not in words:
        assert parse(settings, words[1:], **how)


def test_a_command_that_is_not_run_has_a_reason() -> None:
    """A command of other programs that is not run has one; a reason that nothing needs goes."""
    assert [words for words in OTHERS if why_not(words) is None] == []
    assert {why_not(words) for words in COMMANDS} == {None, *NOT_RUN}


def extras() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return set(project["optional-dependencies"])


def installs(word: str) -> bool:
    """Whether a word of a pip command names something there is."""
    makefile = (ROOT / "Makefile").read_text("utf-8").split()
    if word.startswith((".", "slimcls")):
        return set(Requirement(word.replace(".", "slimcls", 1)).extras) <= extras()
    return word in {*makefile, "constraints.txt"}


@pytest.mark.parametrize("words", OTHERS, ids=lambda words: " ".join(words))
def test_another_command_is_one_that_exists(words: list[str]) -> None:
    if words[0] == "make":
        targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.M)
        assert words[1] in targets
    elif words[1:2] == ["install"]:
        assert Path(words[0]).name == "pip"
        assert [w for w in words[2:] if not w.startswith("-") and not installs(w)] == []
    else:
        assert " ".join(words) in PREPARE


def test_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").split()) <= 1300


def anchors(page: Path) -> set[str]:
    """What a link may name behind a # of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", words).strip().lower().replace(" ", "-") for words in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]*))?\)", page.read_text("utf-8")):
        if "://" not in target:
            path = page.parent / target if target else page
            assert path.exists(), target
            assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_are_those_of_files_that_are_there(page: Path) -> None:
    rooms = "slimcls|docs|configs|scripts|benchmarks|results|notebooks|tests"
    named = re.findall(rf"`((?:{rooms})/[\w./*-]*)", page.read_text(encoding="utf-8"))
    assert [path for path in named if not list(ROOT.glob(path))] == []


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
        shared, _, alone = (
            re.findall(r"`(--[a-z-]+)`", part) for part in rest.partition("; alone,")
        )
        sofar = [*(sofar if first == "the same" else []), *shared]
        used |= {name: [*sofar, *alone] for name in re.findall(r"`([a-z-]+)`", methods)}
    assert used.pop("random-blocks") == []
    # What a mode does to a method is said in words.
    given = {name: {flag(setting) for setting in settings} for name, settings in DECIDES.items()}
    assert {name: set(flags) - {"--mode"} for name, flags in used.items()} == {
        name: flags - {"--mode"} for name, flags in given.items()
    }
