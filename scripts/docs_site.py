"""What mkdocs does to our pages, by the functions that begin with ``on_`` (mkdocs.yml, "hooks").

Files from outside docs/ become pages; links lead to a page of the site or are plain words; a line
``<!-- settings: VERB WORDS -->`` becomes the table of what the verb takes (``, besides VERB``: what
the other does not), ``<!-- columns -->`` that of a result; and a built page that loads anything
from another host ends the build.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

#: Pages of the site that lie outside docs/.
OUTSIDE = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "benchmarks.md": "benchmarks/README.md",
}
LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s#]*)(#[^()\s]*)?\)")
FENCED = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
SETTINGS = re.compile(r"^<!-- settings: ([\w -]+?)(?:, besides (\w+))? -->$", re.MULTILINE)

#: Where a tag names what it loads. A link of these kinds is not loaded.
LOADS = {"src", "srcset", "data", "poster"}
NOT_LOADED = {"canonical", "next", "prev", "alternate"}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from outside docs/."""
    from mkdocs.structure.files import File

    for page, path in OUTSIDE.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """A page as the site has it."""
    if page.file.src_uri == "index.md":
        page.meta["hide"] = ["navigation"]
    linked = with_links(markdown, page.file.src_uri, {file.src_uri for file in files})
    return with_tables(linked)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Names in docstrings without the role that Sphinx would read."""
    return re.sub(r":(class|func|meth|mod):(?=<code>)", "", html)


def on_post_build(config: Any) -> None:
    """End the build where a page loads from another host."""
    from mkdocs.exceptions import PluginError

    for path in sorted(Path(config.site_dir).rglob("*")):
        if path.suffix in (".html", ".css"):
            text = path.read_text(encoding="utf-8")
            if found := foreign(text, path.suffix):
                raise PluginError(f"{path.name} loads from another host: {', '.join(found)}")


def with_links(markdown: str, here: str, pages: set[str]) -> str:
    """The text of page ``here`` with links to other ``pages``; to what is no page, its words."""
    source = PurePosixPath(OUTSIDE.get(here, f"docs/{here}"))
    at = {path: page for page, path in OUTSIDE.items()}

    def link(match: re.Match[str]) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        if "://" in target or not target:
            return match[0]
        path = os.path.normpath(source.parent / target)
        page = at.get(path, path.removeprefix("docs/"))
        if page in pages:
            return f"[{words}]({page}{anchor})"
        return words

    parts = FENCED.split(markdown)
    return "".join(part if i % 2 else LINK.sub(link, part) for i, part in enumerate(parts))


def with_tables(markdown: str) -> str:
    """The page with its tables of settings and columns in the place of their marks."""
    page = SETTINGS.sub(lambda m: table_of_settings(*m[1].split(), besides=m[2]), markdown)
    return page.replace("<!-- columns -->", table_of_columns() if "<!-- columns" in page else "")


class _Parsed(Exception):
    """A verb has handed its settings to the parser."""


def asked_for(verb: str, words: Sequence[str] = ()) -> tuple[type, dict[str, Any]]:
    """The settings that a verb has parsed for these words, and how: bare words, groups, example."""
    from unittest.mock import patch

    from slimcls import cli

    def parse(settings: type, words: list[str], **how: Any) -> None:
        raise _Parsed(settings, how)

    module = importlib.import_module(f"slimcls.{verb}")
    with patch.object(cli, "parse", parse):
        try:
            module.main(list(words))
        except _Parsed as parsed:
            return parsed.args[0], parsed.args[1]
    raise ValueError(f"{verb} parses no settings")


def table_of_settings(verb: str, *words: str, besides: str | None = None) -> str:
    """How a verb is written, and its settings: a table a group, a row a setting."""
    from slimcls.cli import parsing
    from slimcls.cli.help import grouped, sentences
    from slimcls.cli.settings import settings_of

    asked, how = asked_for(verb, words)
    known = settings_of(asked_for(besides)[0]) if besides else {}
    settings = [one for name, one in settings_of(asked).items() if name not in known]
    said = sentences(asked)
    parts = [f"`{parsing.usage(how['prog'], how.get('positional', ()))}`"]
    groups = list(grouped(settings, how.get("groups", {})))
    for title, members in groups:
        parts += [f"**{title.capitalize()}**"] if len(groups) > 1 else []
        rows = [_row(one, said.get(one.name, "")) for one in members]
        parts.append(_table(("setting", "takes", "default", "what"), rows))
    return "\n\n".join(['<div class="settings" markdown>', *parts, "</div>"])


def table_of_columns() -> str:
    """A row a column of a result beside the run's settings."""
    from slimcls.cli.help import sentences
    from slimcls.cli.settings import settings_of
    from slimcls.cli.values import in_words
    from slimcls.runs.schema import Outcome

    said = sentences(Outcome)
    rows = [
        (f"`{name}`", in_words(one.hint), said.get(name, "").replace("``", "`"))
        for name, one in settings_of(Outcome).items()
    ]
    return _table(("column", "holds", "what"), rows)


def _row(setting: Any, sentence: str) -> tuple[str, ...]:
    from slimcls.cli.values import in_words

    takes = "a switch" if setting.is_switch else in_words(setting.hint)
    return f"`{setting.flag}`", takes, _without(setting), sentence


def _without(setting: Any) -> str:
    """What holds where a setting is not given."""
    if setting.required:
        return "required"
    if setting.is_switch:
        return "on" if setting.default else "off"
    return "" if setting.default is None else f"`{setting.default}`"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


class _Loads(HTMLParser):
    """Collects what a page loads from another host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        loaded = [given[name] for name in LOADS & given.keys()]
        if tag == "link" and not NOT_LOADED & set(given.get("rel", "").split()):
            loaded.append(given.get("href", ""))
        self.found += [value for value in loaded if re.match(r"(https?:)?//", value.strip())]


def foreign(text: str, suffix: str = ".html") -> list[str]:
    """What a page or a style sheet would load from another host."""
    return list(_in_styles(text)) if suffix == ".css" else _in_page(text)


def _in_page(text: str) -> list[str]:
    reader = _Loads()
    reader.feed(text)
    return reader.found


def _in_styles(text: str) -> Iterator[str]:
    yield from re.findall(r"""url\(\s*["']?((?:https?:)?//[^)"']+)""", text)
    yield from re.findall(r"""@import\s+["']((?:https?:)?//[^"']+)""", text)
