"""How the house stands: files, imports against the direction, circles, and the path of ``keep``.

``python scripts/house.py`` reads the imports of ``slimcls/`` as text, lazy ones and those for types
included, holds them against the order of rooms that docs/architecture.md gives, and prints what it
finds. ``--trace`` also trains a tiny model and follows ``keep``: every call between two files of
slimcls that hands on the settings, the kept layers or how many there are. A file stands on the
floor above all that it imports. A *climb* is a step of the path to a file on a higher floor than
the one before; a *return* is a step into a file that the path had entered before and left since.
``--write-map`` writes docs/map.md, a line a file, from the modules' docstrings.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "slimcls"

#: What carries ``keep`` through a run.
CARRIES = ("keep", "layers", "config")

Graph = dict[str, set[str]]


def modules(root: Path) -> dict[str, Path]:
    """Every module of the package by its dotted name; a package's face is the package's name."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root: Path = ROOT) -> Graph:
    """Which modules of the package each imports, anywhere in its text.

    The package itself, which only hands names on, counts as nobody's import.
    """
    known = modules(root)
    return {
        name: set(_imported(ast.parse(path.read_text(encoding="utf-8")), known)) - {name, PACKAGE}
        for name, path in known.items()
        if name != PACKAGE
    }


def _imported(tree: ast.AST, known: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def room(module: str) -> str:
    """The room of a module: its folder, or its own name at the top level."""
    return module.split(".")[1]


def circles(graph: Graph) -> list[list[str]]:
    """Groups of modules that import one another in a loop (Tarjan's components of two or more)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            place = stack.index(name)
            group, stack[place:] = stack[place:], []
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return found


def rooms(graph: Graph) -> Graph:
    """Which rooms import which others."""
    joined: Graph = {}
    for name, others in graph.items():
        mine = joined.setdefault(room(name), set())
        mine.update({room(other) for other in others} - {room(name)})
    return joined


def floors(graph: Graph) -> dict[str, int]:
    """The floor of each module: one above the highest that it imports; a circle shares one."""
    together = {name: min(group) for group in circles(graph) for name in group}
    joined: Graph = {}
    for name, others in graph.items():
        mine = together.get(name, name)
        joined.setdefault(mine, set()).update(together.get(o, o) for o in others)
        joined[mine].discard(mine)

    @cache
    def floor(name: str) -> int:
        return 1 + max((floor(other) for other in joined.get(name, ())), default=0)

    return {name: floor(together.get(name, name)) for name in graph}


def order(root: Path = ROOT) -> dict[str, int]:
    """The level of each room as docs/architecture.md gives it; 0 is the ground."""
    text = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = re.search(r"^## The order\n.*?^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    if block is None:
        raise SystemExit("docs/architecture.md: no block under 'The order'")
    lines = [line.split() for line in block[1].splitlines()]
    return {name: level for level, names in enumerate(reversed(lines)) for name in names}


def against(graph: Graph, levels: dict[str, int]) -> list[str]:
    """Imports that do not run downwards, in words; rooms that the order does not name."""
    unknown = sorted({room(name) for name in graph} - levels.keys())
    found = [f"{name}: not in the order of docs/architecture.md" for name in unknown]
    for name in sorted(graph):
        for other in sorted(graph[name]):
            mine, theirs = room(name), room(other)
            if mine != theirs and levels.get(mine, 0) <= levels.get(theirs, 0):
                found.append(f"{name} imports {other}")
    return found


def page_of_files(root: Path = ROOT) -> str:
    """docs/map.md: a row a file, its sentence from its docstring."""
    lines = [
        "# Every file",
        "",
        "Made from the modules' docstrings by `python scripts/house.py --write-map`.",
        "",
        "| file | what it is |",
        "| --- | --- |",
    ]
    for path in modules(root).values():
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        first = " ".join(said.split("\n\n")[0].split()).replace("|", "\\|")
        lines.append(f"| `{path.relative_to(root).as_posix()}` | {first} |")
    return "\n".join(lines) + "\n"


class Trace:
    """Follows the settings of a run from file to file: calls that hand on what carries ``keep``."""

    def __init__(self, root: Path) -> None:
        self.names = {str(path): name for name, path in modules(root).items()}
        self.calls: list[tuple[str, str]] = []

    def __call__(self, frame: Any, event: str, value: Any) -> None:
        """As :func:`sys.setprofile` calls it."""
        if event != "call" or frame.f_back is None:
            return
        here = self.names.get(frame.f_code.co_filename)
        came = self.names.get(frame.f_back.f_code.co_filename)
        taken = frame.f_code.co_varnames[: frame.f_code.co_argcount]
        if here and came and here != came and any(name in CARRIES for name in taken):
            self.calls.append((came, here))

    def counts(self, floor: dict[str, int]) -> tuple[int, int, int]:
        """Calls between files, climbs among them, and returns to a file that was left."""
        path = [here for _, here in self.calls]
        steps = list(itertools.pairwise(path))
        climbs = sum(floor.get(after, 0) > floor.get(before, 0) for before, after in steps)
        returns = sum(
            after != before and after in path[: place + 1]
            for place, (before, after) in enumerate(steps)
        )
        return len(self.calls), climbs, returns


def trace_of_a_run(root: Path) -> Trace:
    """Train a tiny model on made-up rows, from the command line on, and follow ``keep``."""
    import tempfile

    sys.path.insert(0, str(root))
    from slimcls.train import main as train

    traced = Trace(root)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.csv"
        rows = [f"{'rain' if i % 2 else 'bread'} on day {i},{i % 2}" for i in range(60)]
        data.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
        words = ["--dataset", str(data), "--model", "tiny-gpt2", "--keep", "2", "--shots", "all"]
        sys.setprofile(traced)
        try:
            train([*words, "--epochs", "1", "--accelerator", "cpu", "--out", str(folder)])
        finally:
            sys.setprofile(None)
    return traced


def main() -> int:
    """Print the figures; exit code 1 where an import runs against the order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout to look at")
    parser.add_argument("--trace", action="store_true", help="follow keep through a tiny run")
    parser.add_argument("--write-map", action="store_true", help="write docs/map.md")
    asked = parser.parse_args()
    graph = imports(asked.root)
    if asked.write_map:
        (asked.root / "docs" / "map.md").write_text(page_of_files(asked.root), encoding="utf-8")
    top = list((asked.root / PACKAGE).glob("*.py"))
    lines = sum(len(p.read_text("utf-8").splitlines()) for p in modules(asked.root).values())
    print(f"files at the top level: {len(top)}; in all: {len(graph) + 1}, {lines} lines")
    print(f"circles of files: {[' '.join(group) for group in circles(graph)] or 'none'}")
    print(f"circles of rooms: {[' '.join(group) for group in circles(rooms(graph))] or 'none'}")
    wrong = against(graph, order())
    print("\n".join([f"against the order: {len(wrong)}", *wrong]))
    if asked.trace:
        calls, climbs, returns = trace_of_a_run(asked.root).counts(floors(graph))
        print(f"path of keep: {calls} calls between files, {climbs} climbs, {returns} returns")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
