"""Runs the notebooks on the stored results and keeps their outputs, the same bytes each time.

``python scripts/notebooks.py`` runs all, with names (``01_depth_and_accuracy``) those alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"


def execute(path: Path) -> None:
    """Run a notebook where it lies and write it back, without the times of its cells."""
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources=place, record_timing=False
    )
    client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, path)


def main(names: list[str]) -> None:
    """All notebooks, or those that are named."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        if not names or path.stem in names:
            print(path.name)
            execute(path)


if __name__ == "__main__":
    main(sys.argv[1:])
