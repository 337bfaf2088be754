"""The card shows what others wrote as it is: no picture, link, HTML or column of theirs is live."""

from __future__ import annotations

import html
from pathlib import Path

from conftest import made_up_rows, write_csv
from markdown_it import MarkdownIt

from slimcls.config import RunConfig
from slimcls.train import train

LABELS = {
    "weather": "![x](http://evil.example/y.png)",
    "food": "a|b `c` *d* <script>alert(1)</script>",
    "travel": "two\nlines # [x](http://evil.example) ```",
}
NOTE = "![x](http://evil.example/z.png) <img src=x> | a | b |"
FILE = "*b* `c` [x](y).csv"


def test_nothing_outside_is_live(tmp_path: Path) -> None:
    write_csv(tmp_path / FILE, [(text, LABELS[label]) for text, label in made_up_rows(90, 3)])
    about = f"files: {{train: '{FILE}'}}\nnote: '{NOTE}'\n"
    (tmp_path / "[d](e) `f`.yaml").write_text(about, encoding="utf-8")
    result = train(
        RunConfig(
            dataset=str(tmp_path / "[d](e) `f`.yaml"),
            out=str(tmp_path / "runs"),
            mode="cls",
            model="tiny-gpt2",
            shots="all",
            epochs=1,
            lr=1e-9,
            accelerator="cpu",
        )
    )
    assert "always answering" in result.warnings, "a label stands in a warning too"
    card = (result.folder / "model" / "README.md").read_text(encoding="utf-8")
    page = (
        MarkdownIt("commonmark", {"html": True}).enable("table").render(card.split("---\n", 2)[2])
    )
    for live in ("<img", "<a ", "<script", "<em>", "<strong>"):
        assert live not in page
    shown = html.unescape(page)
    for outside in (*LABELS.values(), NOTE):
        assert " ".join(outside.split()) in shown
    assert page.count("<tr>") == 1 + 2 + 1 + len(LABELS)
    assert page.count("<pre>") == 1
    assert shown.count("<h1>") == 1
    assert "classifying [d](e) `f`</h1>" in shown
