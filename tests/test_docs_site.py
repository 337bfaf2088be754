"""The site has every page, leads nowhere else, shows every setting, and loads nothing from afar."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from conftest import ROOT, load_script

from slimcls.__main__ import VERBS
from slimcls.config import RunConfig
from slimcls.runs.schema import Outcome

docs_site = load_script("docs_site")
SETTINGS = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
PAGES = {path.name for path in (ROOT / "docs").glob("*.md")} | set(docs_site.OUTSIDE)


def leaves(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    inner = nav.values() if isinstance(nav, dict) else nav
    return [page for part in inner for page in leaves(part)]


def test_every_page_stands_in_the_navigation_once() -> None:
    assert sorted(leaves(SETTINGS["nav"])) == sorted(PAGES)


def test_nothing_is_asked_of_other_hosts() -> None:
    assert SETTINGS["theme"]["font"] is False
    assert SETTINGS["strict"] is True
    assert not {"extra_javascript", "repo_url", "site_url"} & SETTINGS.keys()


@pytest.mark.parametrize(
    ("here", "words", "becomes"),
    [
        ("index.md", "[a](docs/grids.md#x)", "[a](grids.md#x)"),
        ("index.md", "![a](docs/demo.svg)", "![a](demo.svg)"),
        ("grids.md", "[a](layers.md)", "[a](layers.md)"),
        ("grids.md", "[a](../README.md)", "[a](index.md)"),
        ("speed.md", "[a](../benchmarks/README.md)", "[a](benchmarks.md)"),
        ("benchmarks.md", "[a](../docs/speed.md)", "[a](speed.md)"),
        ("index.md", "[Apache](LICENSE)", "Apache"),
        ("index.md", "[a](https://arxiv.org/abs/1)", "[a](https://arxiv.org/abs/1)"),
        ("index.md", "[a](#x)", "[a](#x)"),
        ("index.md", "```\n[a](LICENSE)\n```", "```\n[a](LICENSE)\n```"),
    ],
)
def test_links_lead_to_pages_of_the_site_or_are_words(here: str, words: str, becomes: str) -> None:
    assert docs_site.with_links(words, here, {*PAGES, "demo.svg"}) == becomes


@pytest.mark.parametrize("verb", VERBS)
def test_the_page_of_commands_has_every_setting(verb: str) -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    shown = page.partition(f"\n## slimcls {verb}\n")[2].partition("\n## ")[0]
    table = docs_site.with_tables(shown)
    known = {f.name for f in fields(RunConfig)} if verb == "baseline" else set()
    asked = {field.name for field in fields(docs_site.asked_for(verb)[0])} - known
    assert [name for name in asked if f"| `--{name.replace('_', '-')}` |" not in table] == []
    assert "| `--mode` |" not in table or verb == "train"


def test_a_setting_stands_with_what_it_takes_and_its_default() -> None:
    (row,) = [r for r in docs_site.table_of_settings("train").splitlines() if "`--keep`" in r]
    assert "whole number" in row
    (row,) = [r for r in docs_site.table_of_settings("train").splitlines() if "`--shots`" in r]
    assert "| `200` | Training examples per class, or all. |" in row


def test_the_columns_of_a_result_are_all_there() -> None:
    page = docs_site.with_tables((ROOT / "docs" / "python.md").read_text(encoding="utf-8"))
    assert [f.name for f in fields(Outcome) if f"| `{f.name}` |" not in page] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('<script src="https://a.example/x.js"></script>', ["https://a.example/x.js"]),
        ('<img alt="" src=//a.example/x.png>', ["//a.example/x.png"]),
        ('<link rel="stylesheet" href="http://a.example/x.css">', ["http://a.example/x.css"]),
        ('<link rel="canonical" href="https://a.example/">', []),
        ('<a href="https://a.example/">out</a><img src="x.png">', []),
        ("<code>&lt;img src='https://a.example/x'&gt;</code>", []),
    ],
)
def test_what_a_page_would_load_from_another_host(text: str, found: list[str]) -> None:
    assert docs_site.foreign(text) == found


def test_what_a_style_sheet_would_load_from_another_host(tmp_path: Any) -> None:
    text = '@import "https://a.example/x.css"; a { background: url(//b.example/y.png) }'
    assert docs_site.foreign(text, ".css") == ["//b.example/y.png", "https://a.example/x.css"]
    assert docs_site.foreign("a { background: url('x.png') }", ".css") == []


def test_a_page_that_loads_from_another_host_ends_the_build(tmp_path: Any) -> None:
    errors = pytest.importorskip("mkdocs.exceptions")
    (tmp_path / "a.html").write_text("<p>fine</p>", encoding="utf-8")
    docs_site.on_post_build(SimpleNamespace(site_dir=str(tmp_path)))
    (tmp_path / "b.html").write_text("<img src='https://a.example/x'>", encoding="utf-8")
    with pytest.raises(errors.PluginError, match=r"b\.html loads from another host"):
        docs_site.on_post_build(SimpleNamespace(site_dir=str(tmp_path)))
