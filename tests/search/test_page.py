"""The page of a fit: it holds what the answer says and nothing that a hostile text wants."""

from __future__ import annotations

import base64
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser

import pytest
from search.made_answers import HOSTILE, answer, cases

from slimcls.errors import UserError
from slimcls.kinds import CHEAP
from slimcls.search.page import MOST_CLASSES, page_of, ranked, write_page
from slimcls.search.page_figures import against_cost
from slimcls.search.page_words import cut, duration, number, percent, plain, points, sentence, size

CASES = cases()
_VOID = {"meta", "img", "br"}
_SCRIPTS = ("script", "iframe", "object", "embed", "link", "form", "base", "svg")


class _Page(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open and "title" not in self.open:
            self.words.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: page_of(made) for name, made in CASES.items()}


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("case", CASES)
def test_a_page_is_whole_needs_nothing_beside_it_and_says_what_its_pictures_show(pages, case):
    page = _Page(pages[case])
    for tag, attributes in page.tags:
        assert tag not in _SCRIPTS
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:image/svg+xml;base64,").startswith(
                "data:image/svg"
            )
        if tag == "img":
            assert attributes["alt"]
            drawn = base64.b64decode((attributes["src"] or "").split(",")[1]).decode()
            assert "<script" not in drawn
            assert "<image" not in drawn
            assert drawn.count("<svg") == 1
        if tag == "th":
            assert attributes["scope"] in ("row", "col")
    assert "url(" not in pages[case]
    assert "nan" not in page.text.split()
    assert "None" not in page.text


def test_what_others_wrote_is_shown_and_never_obeyed(pages):
    page = _Page(pages["hostile"])
    shown = [word for word in page.words if "alert(1)" in word]
    assert len(shown) > 40
    assert all("<script>alert(1)</script> $x$ &amp;" in word for word in shown)
    assert "{{ 7*7 }}" in page.text
    assert "49" not in page.text
    assert "\x1b" not in pages["hostile"]
    assert "\x00" not in pages["hostile"]
    assert plain("a\ud800b\tc\n") == "a\ufffdb\tc\n"
    assert HOSTILE.count("\u202e") == 1
    # What turns the direction of letters ends where its text ends.
    assert all("bdi" in before for before in _around(pages["hostile"], "\u202e"))


def _around(page: str, sign: str) -> list[str]:
    body = page[page.index("<main>") :]
    body = re.sub(r'(title|alt)="[^"]*"', "", body)
    body = re.sub(r"<pre>.*?</pre>|<p><b>.*?</b></p>|<li><b>.*?</b>", "", body, flags=re.DOTALL)
    return [body[max(0, m.start() - 400) : m.start()] for m in re.finditer(sign, body)]


def test_every_number_on_the_page_is_one_of_the_answers(pages):
    made = CASES["plain"]
    pool = {95.0, 2022.0, 2021.0, 1.0, float(len(made.classes))}
    pool |= {float(rank) for rank in range(1, len(made.candidates) + 1)}
    pool |= set(_numbers(asdict(made)))
    for seconds in [c.seconds for c in made.candidates] + [made.seconds]:
        whole = round(seconds)
        pool |= {float(n) for n in (whole, whole // 60, whole % 60)}
    for said in re.findall(r"\d[\d,]*(?:\.\d+)?", _Page(pages["plain"]).text):
        decimals = len(said.partition(".")[2])
        found = float(said.replace(",", ""))
        close = [
            value
            for value in pool
            for scaled in (value, 100 * value, -value, -100 * value)
            if round(scaled, decimals) == found or float(f"{scaled:.3g}") == found
        ]
        assert close, said


def _numbers(value):
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _numbers(inner)
    elif isinstance(value, int | float):
        yield float(value)
    elif isinstance(value, str):
        yield from map(float, re.findall(r"\d+(?:\.\d+)?", value))


def test_figures_of_the_answer_stand_in_their_places(pages):
    page = _Page(pages["plain"])
    assert page.text.index(answer().sentence) < 200
    assert "Good enough" in page.text
    rows = {row[1].strip(): row for row in page.rows if len(row) == 9}
    assert list(rows)[1:4] == ["30 of 30 layers", "15 of 30 layers", "8 of 30 layers"]
    chosen = [cell.strip() for cell in rows["8 of 30 layers"]]
    assert chosen[3].startswith("94.5 %91.4 % to 96.7 %")
    assert chosen[4:8] == ["0.51.9", "228 MB", "12.3 ms", "4 min 44 s"]
    assert chosen[8] == "chosen"
    assert [name for name, row in rows.items() if "chosen" in row[8]] == ["8 of 30 layers"]
    assert "reference Takes 42 ms" in " ".join(rows["30 of 30 layers"][8].split())
    assert "too early to show" in rows["4 of 30 layers"][8]
    kinds = {name: rows[name][2].strip() for name in CHEAP.values()}
    assert set(kinds.values()) == {"cheap rival"}
    assert "Too far below to be drawn: majority class (21.3 %)." in page.text.replace(" ( ", " (")
    alts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert "chosen: 8 of 30 layers, 94.5 % at 228 MB; reference: 30 of 30 layers" in alts[0]
    for line in (*answer().advice, *answer().notes, *answer().commands.values()):
        assert line[1:] in page.text


def test_a_cheap_rival_has_its_article_and_its_name_beside_its_mark():
    made = answer()
    name = CHEAP["embeddings"]
    swapped = tuple(replace(c, reference=c.name == name) for c in made.candidates)
    page = _Page(page_of(replace(made, candidates=swapped, other=name)))
    assert "below the reference, which is the mean of the embeddings ." in page.text
    assert "points against the mean of the embeddings is ruled out" in page.text
    drawn = against_cost([c for c in swapped if c.kind != "frozen"], "megabytes", "MB", 2.0)
    beside = [text.get_text() for text in drawn.axes[0].texts]
    assert {*CHEAP.values(), "2", "8", "30"} <= set(beside)


@pytest.mark.parametrize(
    ("case", "says", "not_says"),
    [
        ("rival", "Take TF-IDF", "Second opinions"),
        ("untrained", "there was no other candidate that it had to match", "On test texts"),
        ("untrained", "interval 84.5 % to 91.9 %; not tested", "Lost against"),
        ("one", "smallest loss that these data can show is 3.14 points", "Too far below"),
        ("classes", f"The worst {MOST_CLASSES} of 1000 classes.", "class 20 "),
        ("nothing", "Nothing could be tried", "All candidates"),
    ],
)
def test_what_a_case_says(pages, case, says, not_says):
    text = _Page(pages[case]).text.lower()
    assert says.lower() in text
    assert not_says.lower() not in text


def test_long_names_are_cut_and_kept_whole_in_their_title(pages):
    label = CASES["long"].per_class[0].label
    assert len(label) > 200
    page = _Page(pages["long"])
    assert label not in page.text
    assert f"{label[:60]}" in page.text
    assert label in [attributes.get("title") for _, attributes in page.tags]


def test_the_worst_classes_come_first(pages):
    rows = [row[0] for row in _Page(pages["plain"]).rows if len(row) == 5]
    assert rows[:5] == ["Class", "other", "praise", "bug", "billing"]


def test_candidates_are_ranked_by_accuracy_then_size():
    made = answer().candidates[:3]
    same = [replace(c, accuracy=0.5) for c in made]
    assert [c.name for c in ranked(made)] == ["TF-IDF", "mean of the embeddings", "majority class"]
    assert [c.name for c in ranked(same[::-1])] == [
        "majority class",
        "TF-IDF",
        "mean of the embeddings",
    ]


def test_the_same_answer_gives_the_same_bytes_and_a_bad_place_one_line(pages, tmp_path):
    write_page(CASES["plain"], tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == pages["plain"]
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError):
        write_page(CASES["plain"], tmp_path / "file" / "report.html")


def test_how_numbers_are_said():
    assert percent(0.91249) == "91.2 %"
    assert (points(0.0041), points(-0.0087), points(-0.0004)) == ("0.4", "\u22120.9", "0.0")
    assert (number(1234.5), number(84.06), number(0.0123)) == ("1,234", "84.1", "0.0123")
    assert (size(0), size(4.31)) == ("\u2013", "4.31 MB")
    assert [duration(s) for s in (4.21, 59.6, 200, 7500)] == [
        "4.2 s",
        "1 min 0 s",
        "3 min 20 s",
        "2 h 5 min",
    ]
    assert (cut("abc", 3), cut("abcd", 3)) == ("abc", "abc…")
    assert (sentence("a b"), sentence("A b.")) == ("A b.", "A b.")
