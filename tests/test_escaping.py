"""Outside text shows as it is, wherever it is shown, and nothing in it is live."""

from __future__ import annotations

import csv
import html
import io

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from matplotlib.cbook import is_math_text
from matplotlib.text import Text

from slimcls.escaping import in_csv, in_figure, in_markdown
from slimcls.reporting.tables import csv_table

PAGE = MarkdownIt("commonmark", {"html": False}).enable("table")

printable = st.text(st.characters(min_codepoint=32, max_codepoint=126))


@given(printable)
def test_markdown_shows_the_text_as_it_is(text: str) -> None:
    shown = PAGE.renderInline(in_markdown(text))
    assert "<" not in shown
    assert html.unescape(shown) == " ".join(text.split())


@given(printable)
def test_a_cell_of_markdown_is_one_cell(text: str) -> None:
    shown = PAGE.render(f"| a | b |\n| --- | --- |\n| x{in_markdown(text)}x | y |\n")
    assert shown.count("<td>") == 2
    assert "<td>y</td>" in shown


@pytest.mark.parametrize("text", ["a\n# b", "a\n\n![x](http://e/y.png)", "a\r\n- b"])
def test_lines_become_one(text: str) -> None:
    assert "\n" not in in_markdown(text)
    assert PAGE.render(in_markdown(text)).count("<p>") == 1


def test_what_needs_no_escape_stays_readable() -> None:
    for text in ("0, 42, 421 *", "my_file.csv", "-1.2 (-2.9 to +0.5)", "p = 0.02; C#", "Q&A!"):
        assert in_markdown(text) == text


@pytest.mark.parametrize("text", ["$10_to_$20", "under $10_$", "a$\\x$.csv", "$x$", "\\$", "a$"])
def test_a_figure_takes_no_text_for_mathematics(text: str) -> None:
    drawn = in_figure(text)
    assert not is_math_text(drawn)
    assert Text(0, 0, drawn)._preprocess_math(drawn) == (text, False), "what matplotlib draws"


def test_a_figure_has_no_room_for_a_page() -> None:
    assert in_figure("x" * 20_000) == "x" * 120 + "..."


@pytest.mark.parametrize("text", ["=1+cmd", "+a", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "-", "\n1"])
def test_no_spreadsheet_runs_a_cell(text: str) -> None:
    written = csv_table(pd.DataFrame({"text": [text], "number": [-1.5]}))
    row = list(csv.reader(io.StringIO(written, newline="")))[1]
    assert row == ["'" + text.replace("\r", "\n"), "-1.5"]


@pytest.mark.parametrize("cell", ["a=1", "", "-2", "+1.5", "-1,000.25", "-3%", "-1e-5", -2, None])
def test_other_cells_stay_as_they_are(cell: object) -> None:
    assert in_csv(cell) == cell
