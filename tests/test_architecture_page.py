"""docs/architecture.md names files that are there, and names that stand in them."""

from __future__ import annotations

import ast
import re

import pytest
from conftest import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
#: question, files, names: a row of the table "Where to look".
ROWS = re.findall(r"^\| ([^|]*\?) \| ([^|]*) \| ([^|]*) \|$", PAGE, re.MULTILINE)
KINDS = (ast.FunctionDef, ast.ClassDef)


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([\w./]+)`", cell)


def defined(path: str) -> set[str]:
    """The names at the top level of a file."""
    found = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
        found |= {node.name} if isinstance(node, KINDS) else set()
    return found


def test_the_three_questions_have_their_answers() -> None:
    answers = {question: files + names for question, files, names in ROWS}
    for words in ("a family", "become token ids", "a verdict made", "a mode", "a dataset"):
        assert [q for q, answer in answers.items() if words in q and quoted(answer)], words


@pytest.mark.parametrize(("question", "files", "names"), ROWS)
def test_names_are_defined_in_the_file_beside_them(question: str, files: str, names: str) -> None:
    paths = quoted(files)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
    known = set().union(*(defined(path) for path in paths if path.endswith(".py")))
    assert [name for name in quoted(names) if name not in known] == []


def test_every_path_is_there() -> None:
    paths = set(re.findall(r"`([\w./]+/[\w./]*)`", PAGE))
    assert len(paths) > 20
    places = (ROOT, ROOT / "slimcls")
    assert [path for path in paths if not any((place / path).exists() for place in places)] == []
