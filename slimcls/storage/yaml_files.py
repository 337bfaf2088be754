"""YAML that people write, read strictly: what would surprise them is refused with its line."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from slimcls.errors import UserError, in_short

#: Plain scalars of each kind that mean the same in YAML 1.1, in 1.2 and to a reader.
PLAIN = {
    "bool": re.compile("true|false", re.IGNORECASE),
    "int": re.compile("[+-]?(0|[1-9][0-9]{0,99})"),
    "float": re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"),
    "null": re.compile("null|~|", re.IGNORECASE),
    "str": re.compile(".*", re.DOTALL),
}
#: What YAML 1.1 takes the others for.
TAKEN_FOR = {
    "bool": "true or false", "int": "another number", "float": "another number",
    "timestamp": "a date", "merge": "a merge", "value": "a default",
}  # fmt: skip
#: Most levels of lists and mappings in one another.
DEEPEST = 20


def read_yaml(path: Path | str) -> dict[Any, Any]:
    """A YAML mapping from a file.

    Raises:
        UserError: no such file, not UTF-8, not YAML, or YAML that surprises: a key given twice, a
            number that is octal or a time of day, yes and no, aliases. It names file and line.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _Strict)
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save it as UTF-8") from None
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}{_place(error)}: not YAML: {_problem(error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a mapping, one 'key: value' a line")
    return content


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f" line {mark.line + 1}" if mark else ""


def _problem(error: yaml.YAMLError) -> str:
    said = getattr(error, "problem", None) or getattr(error, "reason", None)
    return " ".join(str(said or "it cannot be parsed").split())


class _Strict(yaml.SafeLoader):
    """A loader that refuses what surprises."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise _refusal("an alias (*name); write out what it stands for", mark)
        self.depth += 1
        if self.depth > DEEPEST:
            raise _refusal(f"nested more than {DEEPEST} deep", self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_scalar_node(self, anchor: dict[Any, yaml.Node]) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        kind = node.tag.rpartition(":")[2]
        if node.style is None and not PLAIN.get(kind, NOTHING).fullmatch(node.value):
            raise _refusal(
                f"{in_short(node.value)} would be taken for {TAKEN_FOR.get(kind, kind)}; quote it "
                "if it is a text, or write it plainly",
                node.start_mark,
            )
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            # A setting may be written with dashes or underscores.
            key = str(key_node.value).replace("-", "_")
            if key in seen:
                raise _refusal(f"{key_node.value!r} stands there twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


#: Fits no value.
NOTHING = re.compile("(?!)")


def _refusal(problem: str, mark: yaml.Mark) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
