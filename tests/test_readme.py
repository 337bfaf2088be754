"""What README and docs/ say is so: commands, code, links, the file map, the refusals.

Commands on a tiny model, and those that use what they made, are run in the order they stand; those
on larger models are parsed. A line that is neither fails the test: nothing is skipped unseen.
"""

from __future__ import annotations

import csv
import os
import re
import shlex
from pathlib import Path

import pytest

from slimcls.__main__ import VERBS, main
from slimcls.baseline import BaselineConfig
from slimcls.cli import parse
from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.pruning.settings import PruneConfig
from slimcls.score import ScoreConfig

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
#: Settings of the verbs whose commands can be checked without a run to work on.
SETTINGS = {
    "train": RunConfig,
    "baseline": BaselineConfig,
    "score": ScoreConfig,
    "prune": PruneConfig,
}
#: Verbs whose commands work on what the others have made.
AFTER = {"predict", "report"}
PREPARE = {"python3 -m venv .venv", ". .venv/bin/activate"}


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


def is_tiny(words: list[str]) -> bool:
    return any(word.startswith("tiny-") for word in words)


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """The folder a reader sits in: two small files, and the runs that commands leave behind."""
    folder = tmp_path_factory.mktemp("desk")
    good, bad = "a warm film, well told, number {}", "two dull hours, badly told, number {}"
    rows = [(good.format(n), "good") for n in range(60)] + [
        (bad.format(n), "bad") for n in range(60)
    ]
    with (folder / "reviews.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    with (folder / "new.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text",), *((text,) for text, _ in rows[::10])])
    return folder


def last_run(desk: Path) -> str:
    return str(max((desk / "runs").glob("*/result.parquet"), key=os.path.getmtime).parent)


def test_there_are_commands():
    assert len(OURS) >= 12
    assert sum(is_tiny(words) for _, words in OURS) >= 3
    assert {words[0] for _, words in OURS} == set(VERBS)


@pytest.mark.parametrize(
    "words", [w for _, w in OURS if w[0] in SETTINGS], ids=lambda words: " ".join(words)
)
def test_a_command_is_understood(words, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT if "--config" in words else tmp_path)
    if "--help" not in words:
        assert parse(SETTINGS[words[0]], words[1:], prog=f"slimcls {words[0]}")


@pytest.mark.slow
def test_the_commands_on_tiny_models_do_what_they_say(desk, capsys, monkeypatch):
    monkeypatch.chdir(desk)
    for page, words in OURS:
        if not is_tiny(words) and words[0] not in AFTER:
            continue
        if words[0] == "report" and words[1] == "grid":
            continue  # the quick grid takes a minute; its own test makes a report of it
        words = [last_run(desk) if word == "RUN" else word for word in words]
        assert main(words) == 0, f"{page.name}: {' '.join(words)}: {capsys.readouterr().err}"
        assert capsys.readouterr().out.strip()
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


def test_the_file_map_is_the_tree():
    listed = re.findall(r"^\| `(slimcls/\S+\.py)` \| (.+) \|$", README, re.MULTILINE)
    tree = {path.relative_to(ROOT).as_posix() for path in (ROOT / "slimcls").rglob("*.py")}
    assert {name for name, _ in listed} == {n for n in tree if not n.endswith("__init__.py")}
    assert len(listed) == len({name for name, _ in listed})
    assert all(sentence.strip().endswith(".") for _, sentence in listed)


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
