"""Tables of docs/ say what the stored runs say, and what the code does."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from conftest import ROOT, load_script
from matplotlib.image import imread

from slimcls.data.encoding import DEFAULT_TOKENS
from slimcls.runs.folder import run_name
from slimcls.runs.results import read_result
from slimcls.training.rates import LEARNING_RATES

PAGE = ROOT / "docs" / "defaults.md"


tables = load_script("page_tables")


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("docs/defaults.md", "| trec | 2 |"),
        ("docs/depth-study.md", "| `cls` | 0.963 | 8 | -5.5"),
        ("docs/export.md", "| trimmed, then trained | 0."),
        ("docs/fit.md", "| trec | 200 | 50m | 4 of 30 layers"),
        ("docs/limits.md", "| 3 | "),
        ("docs/options.md", "| sst2 | 2 | 0, 42, 421 | 0.616 |"),
        ("docs/models.md", "| GPT-2 | gpt2 | all | shared |"),
        ("docs/teaching.md", "| trec | 2 |"),
        ("results/README.md", "| trec | 2 | 73.7% |"),
    ],
)
def test_tables_are_those_of_the_results(name: str, figures: str) -> None:
    page = (ROOT / name).read_text(encoding="utf-8")
    assert tables.filled(name) == page, "run make report"
    assert figures in page, "a page without figures is no page"


def test_every_page_with_tables_is_tried() -> None:
    docs = ("defaults", "depth-study", "export", "fit", "limits", "models", "options", "teaching")
    assert set(tables.TABLES) == {f"docs/{name}.md" for name in docs} | {"results/README.md"}


@pytest.mark.parametrize("name", tables.FIGURES)
def test_figures_are_those_of_the_results(name: str) -> None:
    """By their pixels: another version of the library that packs them may pack otherwise."""
    drawn = imread(BytesIO(tables.FIGURES[name]()))
    assert np.array_equal(drawn, imread(ROOT / name)), "run make report"


def test_the_rates_are_those_of_the_code() -> None:
    page = PAGE.read_text()
    lines = [line for line in page.splitlines() if line.startswith("| `")]
    for tune, rows in LEARNING_RATES.items():
        (line,) = [line for line in lines if f"`{tune}`" in line or f"`{tune}-K`" in line]
        assert [float(cell) for cell in line.split("|")[2:4]] == [rows[0][1], rows[-1][1]]


def test_stored_runs_are_read_by_the_one_loader() -> None:
    folders = sorted(tables.RESULTS.iterdir())
    for folder in folders:
        result = read_result(folder)
        if result is None:  # a run that is under way in this working tree
            continue
        prints = {"source": result.source_fingerprint, "data": result.data_fingerprint}
        if result.max_text_tokens is None and result.usual_tokens != DEFAULT_TOKENS:
            prints["usual_tokens"] = str(result.usual_tokens)
        assert run_name(result.config, prints) == folder.name, "its settings answer to its name"
    assert len(folders) > 10
