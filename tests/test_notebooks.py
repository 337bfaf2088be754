"""Notebooks run on any folder of runs, show what its files say, and never a dataset's texts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import PATIENCE, ROOT
from nbclient import NotebookClient
from reporting.made_layers import make_evidence
from reporting.made_study import make_study

from slimcls.reporting import prose
from slimcls.reporting.convergence import on_convergence
from slimcls.reporting.study import read_study

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

#: What a notebook must show of the made-up study.
SHOWN = {
    "01_depth_and_accuracy": [
        "made, 200 texts a class, seeds 0, 1, 2",
        "The smallest cut that is good enough keeps 3 layers",
        "0.905 ± 0.005",
        "tfidf",
    ],
    "02_what_a_layer_costs": ["71.4%", "4000"],
    "03_where_they_err": ["only_full", "p-cls, 1 of 6 layers"],
}
LAYERS = "04_which_layers_matter"


def outputs(notebook: Any) -> str:
    """Everything that the notebook's cells have put out, as text; pictures by their kind."""
    parts = []
    for cell in notebook.cells:
        for out in cell.get("outputs", []):
            parts.append(out.get("text", ""))
            parts += [
                kind if kind.startswith("image/") else str(content)
                for kind, content in out.get("data", {}).items()
            ]
    return "\n".join(parts)


def run(name: str) -> str:
    """What a notebook puts out when it is run now."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=PATIENCE, kernel_name="python3").execute()
    return outputs(notebook)


def test_there_are_the_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} >= {*SHOWN, LAYERS}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SHOWN))
def test_it_shows_what_the_files_say(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIMCLS_RUNS", str(make_study(tmp_path / "runs")))
    shown = run(name)
    for words in SHOWN[name]:
        assert words in shown
    assert "image/png" in shown


@pytest.mark.slow
def test_evidence_on_layers_is_shown_or_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIMCLS_LAYERS", str(tmp_path / "nothing"))
    shown = run(LAYERS)
    assert "missing: healing: no healing.json" in shown
    assert shown.count("not measured yet") == 10
    assert "image/png" not in shown
    monkeypatch.setenv("SLIMCLS_LAYERS", str(make_evidence(tmp_path / "layers")))
    shown = run(LAYERS)
    assert shown.count("missing: ") == 5
    assert shown.count("not measured yet") == 1
    assert shown.count("image/png") == 4
    for words in ("greedy-loss", "bi-last, trec.txt", "layers 1,4", "4 bits, then removal"):
        assert words in shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_beside_a_figure_of_depth_stands_whether_cuts_had_converged(path: Path) -> None:
    """Where the stored cuts had not come to an end, the cell of the figure says so."""
    notebook = nbformat.read(path, as_version=4)
    (folder,) = re.findall(r'"\.\./(results/\w+)"', notebook.cells[1].source)
    stored = ROOT / folder / "grid" if path.stem == LAYERS else ROOT / folder
    caveats = on_convergence(read_study(stored).found.runs)
    assert bool(caveats) == (path.stem == LAYERS), "the study's runs all came to an end"
    drawn = re.compile(r"accuracy_against|confusions\(|right_by_class|selection_differences")
    cells = [cell for cell in notebook.cells if drawn.search(cell.source)]
    assert cells
    for cell in cells:
        assert "converged" in cell.source or "on_convergence" in cell.source
        for said in caveats:
            assert said in "".join(out.get("text", "") for out in cell.outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_cell_of_a_table_is_cut_off(path: Path) -> None:
    assert "..." not in outputs(nbformat.read(path, as_version=4))


def test_the_first_opens_with_the_answer() -> None:
    first = nbformat.read(NOTEBOOKS[0], as_version=4)
    study = read_study(ROOT / "results" / "study")
    shown = str(first.cells[1].outputs)
    for answer in [prose.setting(study), *prose.answers(study)]:
        assert answer in shown.replace("\\\\", "\\")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_with_its_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not re.search("Traceback|Error", outputs(notebook))
    assert not re.search(r" at 0x[0-9a-f]+>", outputs(notebook))
    assert "execution" not in set().union(*(cell.metadata for cell in code)), "no times"
    assert "image/png" in outputs(notebook)
