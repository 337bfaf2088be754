"""The text of ``--help``: how a command is written, an example, and its settings in groups."""

from __future__ import annotations

import ast
import inspect
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping

from slimcls.cli.settings import CONFIG, Setting, settings_of
from slimcls.cli.values import in_words


def help_text(config_class: type, usage: str, example: str, groups: Mapping[str, str]) -> str:
    """What ``--help`` prints: lines of at most 100 letters, and no more than the terminal has."""
    width = min(100, shutil.get_terminal_size().columns)
    settings = settings_of(config_class)
    said = {"config": "YAML of settings; flags win over it."} | sentences(config_class)
    shown = settings if "config" in settings else {"config": CONFIG} | settings
    blocks = [f"usage: {usage}", *_paragraphs(inspect.getdoc(config_class) or "", width)]
    blocks += [f"example:\n  {example}"] if example else []
    for title, members in grouped(shown.values(), groups):
        entries = [_entry(setting, said.get(setting.name, ""), width) for setting in members]
        blocks.append("\n".join([f"{title}:", *entries]))
    command = " ".join(usage.split()[:2])
    blocks.append(f"A bare word may begin with dashes after a --: {command} ... -- '--no way'")
    return "\n\n".join(blocks)


def _paragraphs(doc: str, width: int) -> Iterator[str]:
    for paragraph in doc.split("\n\n"):
        yield textwrap.fill(" ".join(paragraph.split()), width)


def grouped(
    settings: Iterable[Setting], groups: Mapping[str, str]
) -> Iterator[tuple[str, list[Setting]]]:
    """Titles with their settings, both in the order of the settings."""
    found: dict[str, list[Setting]] = {}
    for setting in settings:
        found.setdefault(groups.get(setting.name, "settings"), []).append(setting)
    return iter(found.items())


def _entry(setting: Setting, sentence: str, width: int) -> str:
    """A setting: what it takes and what it is without, then its sentence."""
    takes = "" if setting.is_switch else f" {in_words(setting.hint)}"
    lines = textwrap.wrap(sentence, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join([f"  {setting.flag}{takes}{_without(setting)}", *lines])


def _without(setting: Setting) -> str:
    """What holds where the setting is not given, in brackets."""
    if setting.required:
        return " (required)"
    if setting.default is None:
        return ""
    if setting.is_switch:
        return f" (default: {'on' if setting.default else 'off'})"
    return f" (default: {setting.default})"


def sentences(config_class: type) -> dict[str, str]:
    """What stands under each field of a dataclass, and of those that it extends."""
    found: dict[str, str] = {}
    for part in reversed(config_class.__mro__[:-1]):
        (defined,) = ast.parse(textwrap.dedent(inspect.getsource(part))).body
        assert isinstance(defined, ast.ClassDef)
        for field, below in zip(defined.body, defined.body[1:], strict=False):
            match field, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(sentence))),
                ):
                    found[name] = " ".join(sentence.split())
    return found
