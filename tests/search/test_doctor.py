"""The look at the data: what it finds, what it mends, what it refuses."""

from __future__ import annotations

import csv
import json
import random
import string

import pytest
from data.shared_data import data_dir
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from slimcls.data.dataset import read_dataset
from slimcls.errors import UserError
from slimcls.search.doctor import Look, look
from slimcls.search.look_alikes import same_letters, slips
from slimcls.search.make_up import script_of, words_in


def _text(draw: random.Random, words: int = 12) -> str:
    return " ".join(
        "".join(draw.choices(string.ascii_lowercase, k=draw.randint(2, 8))) for _ in range(words)
    )


def _rows(count: int, labels=("bug", "praise"), seed: int = 0) -> list[tuple[str, str]]:
    draw = random.Random(seed)
    return [(_text(draw), labels[n % len(labels)]) for n in range(count)]


def _csv(path, rows, header=("text", "label")):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def _by_kind(found: Look):
    assert len({(f.kind, f.sentence) for f in found.findings}) == len(found.findings)
    return {finding.kind: finding for finding in found.findings}


def _reread(found: Look):
    return read_dataset(
        found.dataset, text_column=found.text_column, label_column=found.label_column
    )


def _all_rows(tables):
    parts = [p for p in (tables.train, tables.validation, tables.test) if p is not None]
    names = tables.spec.labels
    return [
        (text, names[label])
        for part in parts
        for text, label in zip(part.texts, part.labels, strict=True)
    ]


def test_a_tidy_file_is_left_as_it_is(tmp_path):
    path = _csv(tmp_path / "mail.csv", _rows(200))
    found = look(str(path), tmp_path / "fit")
    assert found.dataset == str(path)
    assert [finding.kind for finding in found.findings] == ["length"]
    assert found.rows == {"train": 160, "validation": 20, "test": 20}
    assert found.classes == {"bug": 100, "praise": 100}
    assert not (tmp_path / "fit").exists()
    assert found.place("test", 7) == "mail.csv, line 9"


def test_a_messy_file_is_mended_and_every_row_that_went_is_named(tmp_path):
    good = _rows(60)
    rows = [
        *good,
        ("", "bug"),  # line 62
        ("   ", "bug"),
        ("no label here at all", ""),
        (good[0][0].upper(), "bug"),
        (good[1][0], "bug"),  # line 66: praise before
        ("a,b\nc \"quoted\" 'x'", "praise"),
    ]
    path = _csv(tmp_path / "mail.csv", rows)
    with path.open("a") as file:
        file.write("one,two,three\n")
    found = look(str(path), tmp_path / "fit")
    kinds = _by_kind(found)
    assert kinds["empty text"].count == 2
    assert kinds["empty text"].places == ("mail.csv, line 62", "mail.csv, line 63")
    assert kinds["empty label"].places == ("mail.csv, line 64",)
    assert kinds["repeat"].places == ("mail.csv, line 65",)
    assert kinds["two labels"].places == ("mail.csv, line 3", "mail.csv, line 66")
    assert kinds["two labels"].count == 2
    assert kinds["unusable row"].places == ("mail.csv, line 69",)
    assert all(kinds[k].done for k in ("empty text", "empty label", "repeat", "two labels"))
    assert found.dataset == str(tmp_path / "fit" / "cleaned.csv")
    assert (found.text_column, found.label_column) == (None, None)
    assert found.read == 67
    left = [*good[:1], *good[2:], rows[-1]]
    assert sorted(_all_rows(_reread(found))) == sorted(left)
    test = _reread(found).test
    numbers = {row[0]: line for line, row in enumerate([("text", ""), *rows], 1)}
    for id, text in zip(test.ids, test.texts, strict=True):
        where = "mail.csv, line 67" if "quoted" in text else f"mail.csv, line {numbers[text]}"
        assert found.place("test", id) == where


def test_other_columns_go_with_the_rows(tmp_path):
    rows = [
        {"id": n, "body": t, "topic": y, "tags": ["a", {"b": n}]}
        for n, (t, y) in enumerate(_rows(40))
    ]
    rows.append(rows[3])
    path = tmp_path / "mail.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = look(str(path), tmp_path / "fit", text_column="body", label_column="topic")
    assert (found.text_column, found.label_column) == ("body", "topic")
    with (tmp_path / "fit" / "cleaned.csv").open(newline="") as file:
        copied = list(csv.DictReader(file))
    assert len(copied) == 40
    assert copied[7] == {
        "body": rows[7]["body"], "topic": rows[7]["topic"], "id": "7", "tags": '["a", {"b": 7}]'
    }  # fmt: skip


def test_columns_are_named_only_where_they_are_not_plain_in_the_copy(tmp_path):
    rows = _rows(40, ("1", "2"))
    path = _csv(tmp_path / "a.csv", [*rows, rows[0]], ("one", "two"))
    found = look(str(path), tmp_path / "fit")
    assert (found.text_column, found.label_column) == (None, None)
    assert _reread(found).spec.labels == ("1", "2")
    draw = random.Random(1)
    lines = [{" text": _text(draw), "label": n % 2, "text ": n} for n in range(30)]
    lines.append(lines[0])
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = look(str(tmp_path / "b.jsonl"), tmp_path / "b", text_column=" text")
    assert (found.text_column, found.label_column) == ("text", "label")
    assert len(_all_rows(_reread(found))) == 30


def test_a_folder_keeps_its_parts_and_the_test_part_keeps_its_rows(tmp_path):
    folder = tmp_path / "mail"
    folder.mkdir()
    train, test = _rows(60), _rows(30, seed=1)
    _csv(folder / "train.csv", [*train, test[0], ("", "bug")])
    _csv(folder / "test.csv", test)
    found = look(str(folder), tmp_path / "fit")
    assert found.dataset == str(tmp_path / "fit" / "cleaned")
    assert sorted(p.name for p in (tmp_path / "fit" / "cleaned").iterdir()) == [
        "test.csv",
        "train.csv",
    ]
    assert (found.rows["train"], found.rows["test"]) == (60, 30)
    assert _by_kind(found)["repeat"].places == ("train.csv, line 62",)
    assert "1 text of them in several parts" in _by_kind(found)["repeat"].sentence
    assert _reread(found).test.texts == [text for text, _ in test]
    assert found.place("test", 4) == "test.csv, line 6"


def test_a_class_whose_training_texts_are_all_in_test_is_said_so(tmp_path):
    """Once they are taken out of train, the class seemed never to have been there."""
    rare = [(text, "rare") for text, _ in _rows(3, seed=2)]
    _csv(tmp_path / "train.csv", [*_rows(60), *rare])
    _csv(tmp_path / "test.csv", [*_rows(30, seed=1), *rare])
    with pytest.raises(UserError, match="no training text of class 'rare' is left: each stands in"):
        look(str(tmp_path), tmp_path / "fit")


def test_a_row_that_is_bad_once_it_is_looked_at_counts_once(tmp_path):
    rows = [{"text": text, "label": label} for text, label in _rows(60)]
    rows += [{"text": ["nested"], "label": "bug"}, {"text": "", "label": "bug"}]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "no JSON\n")
    assert look(str(path), tmp_path).read == 63


def test_a_described_dataset_is_described_anew(tmp_path):
    rows = _rows(60, ("yes", "1e3", "naïve: #x"))
    _csv(tmp_path / "a.csv", [*rows, rows[0]])
    (tmp_path / "own.yaml").write_text(
        'name: own\nfiles: {train: a.csv}\nlabels: ["yes", "1e3", "naïve: #x"]\n'
        'template: "Q: {text}\\nA:{label}"\nnear_duplicates: true\npool: true\n'
    )
    found = look(str(tmp_path / "own.yaml"), tmp_path / "fit")
    assert found.text_column is None
    again = _reread(found).spec
    assert again.labels == ("yes", "1e3", "naïve: #x")
    assert again.template == "Q: {text}\nA:{label}"
    assert again.near_duplicates


def test_a_packaged_dataset_is_looked_at_only(tmp_path):
    found = look("trec", tmp_path / "fit", data_dir=data_dir())
    assert found.dataset == "trec"
    assert not (tmp_path / "fit").exists()
    assert _by_kind(found)["repeat"].done.startswith("left as they are")
    assert "leak" not in _by_kind(found)


def test_near_repeats_are_told_with_their_parts_and_labels(tmp_path):
    rows = _rows(200)
    near = [(f"{text} once more", "bug") for text, _ in rows[:40]]
    found = _by_kind(look(str(_csv(tmp_path / "a.csv", [*rows, *near])), tmp_path))["near-repeat"]
    assert found.count == 40
    assert found.done == ""
    assert found.places[0] == "a.csv, line 202 and a.csv, line 2"
    assert "20 of them have another label" in found.sentence
    assert int(found.sentence.split(", ")[1].split()[0]) > 3


@pytest.mark.parametrize(
    ("labels", "alike"),
    [
        (("Bug", "bug", "praise"), {"Bug", "bug"}),
        (("bug", "bugs", "praise"), {"bug", "bugs"}),
        (("on-hold", "On hold!", "praise"), {"on-hold", "On hold!"}),
        (("café", "cafe", "bar"), {"café", "cafe"}),
        (("delivery", "delviery", "praise"), {"delivery", "delviery"}),
        (("delivery", "delivety", "praise"), {"delivery", "delivety"}),
        (("Bug", "bug", "bugs", "praise"), {"Bug", "bug", "bugs"}),
    ],
)
def test_labels_that_may_be_one_are_named_and_not_merged(tmp_path, labels, alike):
    found = look(str(_csv(tmp_path / "a.csv", _rows(120, labels))), tmp_path / "fit")
    finding = _by_kind(found)["look-alike labels"]
    assert finding.count == len(alike)
    assert all(f"'{name}' ({120 // len(labels)} rows)" in finding.sentence for name in alike)
    assert ";" not in finding.sentence.split(". They")[0]
    assert set(found.classes) == set(labels)


def test_labels_that_only_look_a_little_alike_are_not_named():
    assert same_letters(["a", "b", "!", "?", "c++", "c"]) == [("c++", "c")]
    assert (
        slips(["level 1", "level 2", "level 12", "good", "food", "a", "b", "ab", "positive"]) == []
    )
    many = [f"class {n}" for n in range(1000)]
    assert slips(many) == same_letters(many) == []
    assert slips(["x" * 199 + "a", "x" * 200]) == [("x" * 199 + "a", "x" * 200)]


def test_labels_that_differ_in_blanks_are_read_as_one(tmp_path):
    found = look(str(_csv(tmp_path / "a.csv", _rows(60, ("bug", "bug ", "praise")))), tmp_path)
    finding = _by_kind(found)["look-alike labels"]
    assert finding.done == "read as one label each"
    assert finding.count == 20
    assert found.classes == {"bug": 40, "praise": 20}


def test_classes_too_small_say_why(tmp_path):
    rows = [*_rows(100), *[(text, "rare") for text, _ in _rows(2, seed=3)]]
    finding = _by_kind(look(str(_csv(tmp_path / "a.csv", rows)), tmp_path))["small class"]
    assert finding.count == 1
    assert "'rare' (2 rows)" in finding.sentence
    assert "none to be tested on, so that nothing is known of it: 1 class" in finding.sentence


def test_one_class_that_is_nearly_all(tmp_path):
    rows = [*_rows(180, ("ham",)), *_rows(20, ("spam",), seed=2)]
    assert (
        "90%"
        in _by_kind(look(str(_csv(tmp_path / "a.csv", rows)), tmp_path))["large class"].sentence
    )


def test_a_label_in_its_own_texts_is_a_leak(tmp_path):
    rows = [(f"{text} [{label}]", label) for text, label in _rows(100, ("bug report", "praise"))]
    found = look(str(_csv(tmp_path / "a.csv", rows)), tmp_path)
    leaks = [finding for finding in found.findings if finding.kind == "leak"]
    assert len(leaks) == 1
    assert leaks[0].count == 2
    assert (
        "'bug report' stands in 100% of the texts of class 'bug report' and in 0.0%"
        in leaks[0].sentence
    )


@pytest.mark.parametrize(
    ("mark", "word"),
    [
        ("TCK-{}", "tck-#"),
        ("fwd: {}", "fwd"),
        ("привет всем это письмо про то что номер {} совсем не пришел мне вовремя увы", "script"),
    ],
)
def test_a_word_that_alone_decides_is_a_leak(tmp_path, mark, word):
    rows = [
        (f"{mark.format(100 + n)} {text[: 20 if word == 'script' else None]}", label)
        if label == "bug"
        else (text, label)
        for n, (text, label) in enumerate(_rows(200, ("bug", "praise", "other")))
    ]
    finding = _by_kind(look(str(_csv(tmp_path / "a.csv", rows)), tmp_path))["leak"]
    assert finding.sentence.startswith("looks like a leak")
    assert "class 'bug'" in finding.sentence
    assert word in finding.sentence


def test_a_word_of_many_texts_of_a_class_is_no_leak(tmp_path):
    draw = random.Random(5)
    rows = [
        (
            f"{text} {'goal' if draw.random() < (0.8 if label == 'sport' else 0.02) else 'thing'}",
            label,
        )
        for text, label in _rows(400, ("sport", "politics"))
    ]
    assert "leak" not in _by_kind(look(str(_csv(tmp_path / "a.csv", rows)), tmp_path))


def test_a_word_that_all_texts_have_is_no_leak_of_a_large_class(tmp_path):
    rows = [(f"dear all {text}", label) for text, label in _rows(400, ("x", *["ham"] * 30))]
    assert "leak" not in _by_kind(look(str(_csv(tmp_path / "a.csv", rows)), tmp_path))


def test_columns_that_are_no_texts(tmp_path):
    ids = [(f"TCK-{n}", label) for n, (_, label) in enumerate(_rows(100))]
    assert "id-like text" in _by_kind(look(str(_csv(tmp_path / "a.csv", ids)), tmp_path))
    draw = random.Random(0)
    few = [(f"priority {n // 10 % 20}", ("bug", "praise")[n // 10 % 2]) for n in range(200)]
    draw.shuffle(few)
    assert "few different texts" in _by_kind(look(str(_csv(tmp_path / "b.csv", few)), tmp_path))


def test_lengths_and_scripts(tmp_path):
    draw = random.Random(0)
    rows = _rows(100)
    rows += [(_text(draw, 600), "bug") for _ in range(10)]
    rows += [(f"ok{n}", "praise") for n in range(10)]
    rows += [
        ("".join(draw.choices("абвгдежзийклмноп ", k=60)) + " да нет", "bug") for _ in range(20)
    ]
    kinds = _by_kind(look(str(_csv(tmp_path / "a.csv", rows)), tmp_path))
    assert kinds["very long"].count == 10
    assert kinds["one word"].count == 10
    assert kinds["script"].count == 20
    assert "Latin 85.7%, Cyrillic 14.3%" in kinds["script"].sentence
    assert "the longest 600" in kinds["length"].sentence


@pytest.mark.parametrize(
    ("text", "script", "words"),
    [
        ("Straße", "Latin", 1), ("漢字かな", "Chinese or Japanese", 4), ("😀 12", "no letters", 1),
        ("مرحبا", "Arabic", 1), ("Здравствуй, world", "Cyrillic", 2), ("한국어", "Hangul", 1),
    ],
)  # fmt: skip
def test_script_and_words_of_a_text(text, script, words):
    assert script_of(text) == script
    assert words_in(text) == words


def test_an_unlabelled_file_that_is_the_test_part_or_holds_some_of_it(tmp_path):
    path = _csv(tmp_path / "a.csv", _rows(200))
    test = read_dataset(str(path)).test.texts
    (tmp_path / "same.txt").write_text("\n".join(test))
    finding = _by_kind(look(str(path), tmp_path, unlabelled=str(tmp_path / "same.txt")))
    assert finding["unlabelled test texts"].count == 20
    assert "same.txt is the test part" in finding["unlabelled test texts"].sentence
    (tmp_path / "some.txt").write_text("\n".join([*test[:3], _rows(200)[0][0], "fresh words"]))
    finding = _by_kind(look(str(path), tmp_path, unlabelled=str(tmp_path / "some.txt")))
    assert "holds 3 test texts" in finding["unlabelled test texts"].sentence
    _csv(tmp_path / "some.csv", [("fresh words", ""), ("", ""), ("other words", "")])
    finding = _by_kind(look(str(path), tmp_path, unlabelled=str(tmp_path / "some.csv")))
    assert finding["unlabelled rows without text"].count == 1
    assert "line 3: the text is empty" in finding["unlabelled rows without text"].sentence
    named = look(str(path), tmp_path, text_column="text", unlabelled=str(tmp_path / "some.txt"))
    assert _by_kind(named)["unlabelled test texts"].count == 3
    with pytest.raises(UserError, match="no such file"):
        look(str(path), tmp_path, unlabelled=str(tmp_path / "none.txt"))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (_rows(2), "2 rows left of 2"),
        (_rows(9), "needs 10 at the very least"),
        (_rows(50, ("bug",)), "one class only"),
        ([("same", ("bug", "praise")[n % 2]) for n in range(50)], "all texts of column 'text' are"),
        ([(_rows(1)[0][0], "praise"), *_rows(30, ("bug",))], "all of class 'bug'"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_a_line(tmp_path, rows, says):
    path = _csv(tmp_path / "a.csv", rows)
    with pytest.raises(UserError, match=says) as refused:
        look(str(path), tmp_path / "fit")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "fit").exists()


def test_a_thousand_classes(tmp_path):
    rows = _rows(4000, tuple(f"class {n} <b>$x$</b>" for n in range(1000)))
    found = look(str(_csv(tmp_path / "a.csv", [*rows, rows[0]])), tmp_path / "fit")
    assert len(found.classes) == 1000
    assert sum(found.rows.values()) == 4000
    assert _by_kind(found)["small class"].count == 1000


_odd = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(_odd, min_size=1, max_size=6),
    labels=st.lists(_odd | st.sampled_from(["a", "A", "b ", "", "$1"]), min_size=1, max_size=5),
    picks=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), min_size=8, max_size=60),
    names=st.tuples(_odd, _odd),
    kind=st.sampled_from(["csv", "jsonl"]),
)
def test_whatever_the_rows_a_look_ends_well_or_is_refused(
    tmp_path, texts, labels, picks, names, kind
):
    """What it gives can be read by a run, and has each text once with the label that it had."""
    rows = [
        (f"{texts[text % len(texts)]}{text // 3}", labels[label % len(labels)])
        for text, label in picks
    ]
    path = tmp_path / f"odd.{kind}"
    if kind == "csv":
        _csv(path, rows, names)
    else:
        path.write_text(
            "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
        )
    try:
        found = look(str(path), tmp_path / "fit", text_column=names[0], label_column=names[1])
    except UserError as refusal:
        event(str(refusal).split(":")[1][:30])
        return
    event("read")
    given_rows = {(text.strip(), " ".join(label.split())) for text, label in rows}
    tables = _reread(found)
    again = _all_rows(tables)
    assert set(again) <= given_rows
    assert len(again) == len({text for text, _ in again}) == sum(found.rows.values())
    for id in tables.test.ids:
        assert found.place("test", id).startswith("odd.")
    if found.dataset != str(path):
        assert found.dataset == str(tmp_path / "fit" / "cleaned.csv")
