"""Pairs of texts: found in files, told apart, cut fairly, and encoded as plain tokenizers do it."""

from __future__ import annotations

import copy
import csv
import json
import pickle
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from conftest import made_up_pairs, write_pairs
from data.small_tokenizers import SENTENCES
from data.test_framing import tokenizer_of
from data.test_seams import ODD, SPLITS, TEXTS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, processors
from transformers import AutoTokenizer

from slimcls.classifier.description import as_json, read_description, task_of
from slimcls.classifier.task import Task
from slimcls.data import catalog, framing, tables, texts
from slimcls.data.dataset import read_dataset
from slimcls.data.encoding import PairEncoder
from slimcls.data.fast_tokenizer import FastTokenizer
from slimcls.data.near_duplicates import (
    near_duplicate_groups,
    near_duplicates_among,
    near_repeats,
)
from slimcls.data.pairs import Pair, as_words, cut_item, cut_items, even, shares, template_fault
from slimcls.data.prompts import PromptBuilder
from slimcls.data.reader import stream_texts
from slimcls.data.splits import draw
from slimcls.data.unlabelled import draw_unlabelled
from slimcls.errors import UserError

TEMPLATE = "Premise: {premise}\nHypothesis: {hypothesis}\nLabel:{label}"
TEMPLATES = (
    TEMPLATE,
    "{premise}\n{hypothesis}\n=>{label};",
    "« {premise} »\n{hypothesis}\n{label}",
)
COLUMNS = ("premise", "hypothesis")
NAMES = ("plain", "begin", "llama-3", "qwen2", "tiny-llama")
PAIRS = st.builds(Pair, TEXTS, TEXTS)
LONG = st.integers(0, 60).map(lambda count: "rain " * count)
MOST = 30


def no_surrogates(pair: Pair) -> bool:
    return not re.search("[\ud800-\udfff]", pair)


def task(mode: Any, template: str = TEMPLATE, **more: Any) -> Task:
    shown = (Pair("slow and dull", "it is quick"), 0), (Pair("fine!", "it is good"), 1)
    prompted: dict[str, Any] = {
        "template": template, "label_words": ("Negative", "Positive"), "demonstrations": shown,
    }  # fmt: skip
    return Task(
        mode=mode, labels=("no", "yes"), context=500, pair=COLUMNS,
        **{"max_text_tokens": MOST, **({} if mode == "cls" else prompted), **more},
    )  # fmt: skip


@cache
def encoder_of(name: str, mode: str) -> Any:
    return task(mode).encoder(tokenizer_of(name))


def framed_of(encoder: Any) -> Any:
    return encoder.framed if isinstance(encoder, PromptBuilder) else encoder


# ---------------------------------------------------------------- what a pair is


@given(first=TEXTS, second=TEXTS)
def test_a_pair_is_both_texts_and_stays_so(first: str, second: str) -> None:
    pair = Pair(first, second)
    assert pair == f"{first}\n{second}"
    for same in (pair, copy.copy(pair), copy.deepcopy(pair), pickle.loads(pickle.dumps(pair))):
        assert isinstance(same, Pair)
        assert (same, same.parts) == (pair, (first, second))
    assert pair.strip().parts == (first.strip(), second.strip())


def test_two_pairs_are_the_same_where_both_texts_are() -> None:
    pair = Pair("A  Cat", "a dog")
    assert texts.key(pair) == texts.key(Pair("a cat", "A\tdog"))
    assert texts.key(pair) != texts.key(Pair("a", "cat a dog"))
    assert texts.key(pair) != texts.key("a cat a dog")
    assert texts.key(Pair("b", "a")) != texts.key(Pair("a", "b"))


# ---------------------------------------------------------------- cutting


@given(first=st.integers(0, 200), second=st.integers(0, 200), half=st.integers(1, 60))
def test_the_longer_text_is_cut_first(first: int, second: int, half: int) -> None:
    most = 2 * half
    one, other = shares(first, second, most)
    assert 0 <= one <= first
    assert 0 <= other <= second
    if first + second <= most:
        assert (one, other) == (first, second)
        return
    assert one + other == most, "nothing is cut that could stay"
    # What is cut is no shorter than the other text is after it; so both lose alike in the end.
    assert one == first or one >= other
    assert other == second or other >= one
    assert shares(second, first, most) == (other, one)


@given(first=st.integers(0, 60), second=st.integers(0, 60), half=st.integers(1, 20))
def test_it_is_what_transformers_calls_longest_first(first: int, second: int, half: int) -> None:
    tokenizer = tokenizer_of("plain")
    ids = [tokenizer("rain " * count + "x")["input_ids"] for count in (first, second)]
    found = tokenizer(
        "rain " * first + "x", "rain " * second + "x", truncation=True, max_length=2 * half
    )
    one, other = shares(*map(len, ids), 2 * half)
    assert found["input_ids"] == ids[0][:one] + ids[1][:other]


@settings(max_examples=40)
@given(pair=st.one_of(PAIRS, st.builds(Pair, LONG, LONG)), half=st.integers(1, 20))
@pytest.mark.parametrize("name", ["plain", "gpt2", "qwen2"])
def test_cut_texts_are_beginnings_of_no_more_tokens(name: str, pair: Pair, half: int) -> None:
    if not no_surrogates(pair):
        return
    tokenizer, pair = tokenizer_of(name), pair.strip()

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    cut, was_cut = cut_item(tokenizer, pair, 2 * half)
    assert cut_items(tokenizer, [pair], 2 * half) == [(cut, was_cut)]
    assert isinstance(cut, Pair)
    lengths = [*map(count, pair.parts)]
    assert was_cut is (sum(lengths) > 2 * half)
    wanted = shares(lengths[0], lengths[1], 2 * half)
    for part, whole, kept, length in zip(cut.parts, pair.parts, wanted, lengths, strict=True):
        assert whole.startswith(part)
        assert count(part) <= kept
        assert part == whole or kept < length


def test_an_odd_number_of_tokens_is_one_less_and_at_least_one_each() -> None:
    assert [even(tokens) for tokens in (1, 2, 3, 24, 25)] == [2, 2, 2, 24, 24]
    for mode in ("cls", "p-cls"):
        encoder = task(mode, max_text_tokens=25).encoder(tokenizer_of("plain"))
        assert encoder.max_text_tokens == framed_of(encoder).max_text_tokens == 24


# ---------------------------------------------------------------- templates


def test_faults_of_templates() -> None:
    assert not template_fault(TEMPLATE)
    assert not template_fault("{text}{label}")
    assert template_fault("{premise}{label}") == "must hold {hypothesis} exactly once"
    assert template_fault("{premise}{premise}{hypothesis}{label}").startswith("must hold {premise}")
    assert template_fault("{hypothesis}{premise}{label}").startswith("must have {premise} before")
    assert template_fault("{premise}{label}{hypothesis}").startswith("must have {hypothesis} bef")
    assert template_fault("nothing") == "must hold {text} exactly once"


# ---------------------------------------------------------------- encoding


@pytest.fixture(scope="module", params=["cls", "p-cls"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def saved(name: str, mode: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The tokenizer of an artefact: opened by plain transformers, and without transformers."""
    folder = tmp_path_factory.mktemp(name)
    encoder = framed_of(encoder_of(name, mode))
    assert encoder is not None
    encoder.tokenizer.model_max_length = encoder.max_length
    encoder.tokenizer.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder), FastTokenizer(folder / "tokenizer.json")


@settings(max_examples=25)
@given(pair=st.one_of(PAIRS, st.builds(Pair, LONG, LONG)))
@example(pair=Pair("", "\n"))
@example(pair=Pair(" \n", "x"))
@example(pair=Pair("  a <end> b", "\tc "))
@example(pair=Pair("w" * 3000, "rain"))
@example(pair=Pair("w" * 800, "rain " * 250))
def test_the_file_gives_the_ids_of_the_encoder(
    name: str, mode: str, saved: tuple[Any, Any], pair: Pair
) -> None:
    first, second = pair.parts
    # transformers takes an empty second text for none at all.
    if not no_surrogates(pair) or not second:
        return
    encoder = encoder_of(name, mode)
    (ours,) = encoder.encode([pair]).ids
    plain, fast = saved
    assert plain(first, second, truncation=True)["input_ids"] == ours
    assert 0 < len(ours) <= plain.model_max_length
    again = task(mode).saved_encoder(fast)
    assert isinstance(again, PairEncoder)
    # These two kinds look for special tokens in texts, which an export never does.
    assert again.encode([pair]).ids == [ours] or (name in SPLITS and "<end>" in pair)
    assert again.shared_prefix_ids() == encoder.shared_prefix_ids()
    assert ours[: len(encoder.shared_prefix_ids())] == encoder.shared_prefix_ids()


@settings(max_examples=25)
@given(pair=PAIRS)
def test_ids_are_those_of_the_whole_prompt(name: str, pair: Pair) -> None:
    """As far as neither text is empty or ends in a sign that may join the line end behind it."""
    pair = pair.strip()
    if not no_surrogates(pair) or "<" in pair or not all(p and p[-1].isalnum() for p in pair.parts):
        return
    encoder = task("p-cls", max_text_tokens=300).encoder(tokenizer_of(name))
    assert isinstance(encoder, PromptBuilder)
    whole = encoder.tokenizer(encoder.prompt(pair))["input_ids"]
    assert encoder.encode([pair]).ids == [whole]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_prompt_holds_both_texts_in_their_places(template: str) -> None:
    encoder = task("p-cls", template).encoder(tokenizer_of("gpt2"))
    assert isinstance(encoder, PromptBuilder)
    prompt = encoder.prompt(Pair("it rains", "it is wet"))
    shown = encoder.tokenizer.decode(encoder.encode([Pair(" it rains", "it is wet\n")]).ids[0])
    assert shown == prompt
    last = template.replace("{premise}", "it rains").replace("{hypothesis}", "it is wet")
    assert prompt.endswith(last.partition("{label}")[0].rstrip())
    # A blank before one text alone cannot be in a tokenizer: the prompt is then built.
    assert (encoder.framed is None) is (template == TEMPLATES[2])


def test_where_a_prompt_has_to_be_built_texts_are_cut_as_fairly() -> None:
    encoder = task("lm", lm_loss="sequence").encoder(tokenizer_of("gpt2"))
    assert isinstance(encoder, PromptBuilder)
    assert encoder.framed is None
    found = encoder.encode([Pair("rain " * 100, "wet"), Pair("dry", "sun " * 100), Pair("a", "b")])
    assert found.n_cut == 2
    (bare,) = encoder.encode([Pair("", "")]).ids
    for ids in found.ids[:2]:
        assert len(bare) + MOST - 4 <= len(ids) <= len(bare) + MOST + 1
    room = encoder.context - max(map(len, encoder.label_ids))
    assert all(len(ids) <= room for ids in found.ids)
    assert encoder.tokenizer.decode(found.ids[0]).endswith("\nHypothesis: wet\nLabel:")


def test_bare_pairs_have_a_line_end_between_them() -> None:
    tokenizer = tokenizer_of("begin")
    encoder = task("cls").encoder(tokenizer)
    begin, rain, end, wet = (tokenizer(text, add_special_tokens=False)["input_ids"]
                             for text in ("", "rain", "\n", "wet"))  # fmt: skip
    begin = tokenizer("")["input_ids"]
    assert encoder.encode([Pair(" rain", "wet ")]).ids == [[*begin, *rain, *end, *wet]]
    # A text alone is what it was to other programs, but for blanks around it.
    assert encoder.tokenizer(" rain ")["input_ids"] == [*begin, *rain]


def test_a_tokenizer_that_takes_no_pairs() -> None:
    tokenizer = copy.deepcopy(tokenizer_of("plain"))
    added = processors.RobertaProcessing(("<end>", 0), ("<end>", 0))
    tokenizer.backend_tokenizer.post_processor = added
    with pytest.raises(UserError, match="tokenizer puts tokens around texts in a way that takes"):
        task("cls").encoder(tokenizer)


def test_a_tokenizer_that_puts_no_prompt_around_pairs() -> None:
    tokenizer = copy.deepcopy(tokenizer_of("plain"))
    tokenizer.backend_tokenizer.normalizer = normalizers.Prepend("_")
    encoder = task("p-cls").encoder(tokenizer)
    assert isinstance(encoder, PromptBuilder)
    assert encoder.framed is None
    pair = Pair("rain", "wet")
    assert encoder.encode([pair]).ids == [tokenizer(encoder.prompt(pair))["input_ids"]]
    assert task("cls").encoder(tokenizer).encode([pair]).ids
    with pytest.raises(UserError, match="has no place for pairs"):
        PairEncoder(tokenizer, context=9, max_text_tokens=4, shares=False, pair=COLUMNS)


def test_the_prompt_can_be_taken_out_again(name: str, mode: str) -> None:
    own, encoder = tokenizer_of(name), framed_of(encoder_of(name, mode))
    bare = encoder.without_prompt()
    assert framing.ids_around(bare, pair=True) is None
    for text in ("", "rain and wind", *ODD):
        if not re.search("[\ud800-\udfff]", text):
            assert bare(text)["input_ids"] == own(text)["input_ids"]


def test_an_artefact_gives_back_the_task(mode: str, tmp_path: Path) -> None:
    given = task(mode)
    (tmp_path / "slimcls.json").write_text(json.dumps(as_json(given)), encoding="utf-8")
    _, description = read_description(tmp_path)
    assert description["format"] == 3
    assert task_of(description) == given
    shown = description.get("demonstrations", [])
    assert all(isinstance(text, Pair) for text, _ in task_of(description).demonstrations)
    assert [set(one) for one in shown] == [{*COLUMNS, "label"}] * len(shown)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"pair": ["a"]}, "'pair' must name two columns"),
        ({"pair": ["a", "a"]}, "'pair' must name two columns"),
        ({"pair": "ab"}, "'pair' must name two columns"),
        ({"pair": None}, "'pair' has a value of the wrong kind"),
        ({"template": "{text}{label}"}, "other slots than 'pair' says"),
        ({"demonstrations": [{"text": "a", "label": "no"}]}, "lacks its text"),
    ],
)
def test_a_description_that_cannot_be_right(
    changes: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    (tmp_path / "slimcls.json").write_text(json.dumps(as_json(task("p-cls")) | changes))
    with pytest.raises(UserError, match=re.escape(fault)):
        read_description(tmp_path)


# ---------------------------------------------------------------- files


def test_columns_called_as_those_of_pairs_are_pairs(tmp_path: Path) -> None:
    data = read_dataset(str(write_pairs(tmp_path / "a.csv", made_up_pairs(60, 1))))
    assert data.spec.pair == COLUMNS
    assert data.spec.text_column == "premise,hypothesis"
    assert data.spec.template == TEMPLATE
    assert "columns premise and hypothesis are read as text pairs" in data.notes
    for table in (data.train, data.validation, data.test):
        assert table is not None
        assert all(isinstance(text, Pair) for text in table.texts)


@pytest.mark.parametrize("header", [("sentence1", "sentence2"), ("Question1", "question2")])
def test_other_usual_names(header: tuple[str, str], tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "a.csv", made_up_pairs(60, 1), header)
    assert read_dataset(str(path)).spec.pair == header


def test_columns_are_named(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "a.csv", made_up_pairs(60, 1), ("left", "right"))
    named = read_dataset(str(path), text_column="right, left")
    assert named.spec.pair == ("right", "left")
    assert "read as text pairs" not in " ".join(named.notes)
    one = read_dataset(str(path), text_column="left")
    assert one.spec.pair is None
    assert not any(isinstance(text, Pair) for text in one.train.texts)


def test_a_column_whose_name_has_a_comma_is_one(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "a.csv", made_up_pairs(60, 1), ("a,b", "a"))
    assert read_dataset(str(path), text_column="a,b").spec.pair is None


@pytest.mark.parametrize(
    ("named", "fault"),
    [
        ("premise,hypothesi", "did you mean 'hypothesis'?"),
        ("premise,premise", "name one column, or the two of text pairs"),
        ("premise,hypothesis,label", "name one column, or the two of text pairs"),
        ("premise,label", "--text-column, --label-column: both are label"),
    ],
)
def test_columns_that_are_no_pair(named: str, fault: str, tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "a.csv", made_up_pairs(60, 1))
    with pytest.raises(UserError, match=re.escape(fault)) as error:
        read_dataset(str(path), text_column=named, label_column="label")
    assert "\n" not in str(error.value)


def test_a_pair_lacks_a_text_where_either_is_empty(tmp_path: Path) -> None:
    rows = [*made_up_pairs(60, 1), ("", "b", "same"), ("a", " ", "same")]
    path = write_pairs(tmp_path / "a.csv", rows)
    with pytest.raises(UserError, match=r"line 62: no text in columns premise or hypothesis, nor"):
        read_dataset(str(path))
    assert sum(map(len, _parts(read_dataset(str(path), skip_bad_rows=True)))) == 60


def _parts(data: tables.Tables) -> list[Any]:
    return [data.train, data.validation or [], data.test]


def described(folder: Path, **keys: Any) -> Path:
    write_pairs(folder / "a.csv", made_up_pairs(60, 1))
    path = folder / "d.yaml"
    path.write_text(json.dumps({"files": {"train": "a.csv"}, **keys}))
    return path


@pytest.mark.parametrize("columns", ["premise,hypothesis", ["premise", "hypothesis"], None])
def test_a_description(columns: object, tmp_path: Path) -> None:
    keys = {} if columns is None else {"text_column": columns, "label_column": "label"}
    template = "One: {premise}\nTwo: {hypothesis}\nSame:{label}"
    spec = read_dataset(str(described(tmp_path, template=template, **keys))).spec
    assert (spec.pair, spec.template) == (COLUMNS, template)


def test_a_template_of_the_other_kind(tmp_path: Path) -> None:
    path = described(tmp_path, template="{text}\n{label}")
    with pytest.raises(UserError, match=r"has \{text\}, but .* which need \{premise\} and"):
        read_dataset(str(path))
    path = described(tmp_path, template=TEMPLATE, text_column="premise", label_column="label")
    with pytest.raises(UserError, match=r"has \{premise\} and .* holds texts, which need \{text\}"):
        read_dataset(str(path))


def test_the_fingerprint_says_where_a_pair_is_parted(tmp_path: Path) -> None:
    spec = catalog.find_dataset(str(described(tmp_path)))
    data = tables.read_tables(spec)
    moved = {"train": copy.deepcopy(data.train)}
    first, second = moved["train"].texts[0].parts  # type: ignore[attr-defined]
    assert tables._fingerprint(data.spec, moved) == tables._fingerprint(
        data.spec, {"train": data.train}
    )
    moved["train"].texts[0] = Pair(first + "\nx", second)
    one = tables._fingerprint(data.spec, moved)
    moved["train"].texts[0] = Pair(first, "x\n" + second)
    assert tables._fingerprint(data.spec, moved) != one


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_file_to_be_classified_gives_pairs(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"new{suffix}"
    rows: list[dict[str, object]] = [
        {"id": "1", "left": "a", "right": "b"},
        {"id": "2", "left": "", "right": "b"},
    ]
    if suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["id", "left", "right"])
            writer.writeheader()
            writer.writerows(rows)
    else:
        rows += [{"id": "3", "left": 7, "right": "b"}, {"id": "4", "left": [7], "right": "b"}]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (chunk,) = stream_texts(path, None, 9, ("left", "right"))
    assert chunk[0][1] == Pair("a", "b")
    assert isinstance(chunk[0][1], Pair)
    assert [row.fault for row, _ in chunk[:2]] == ["", "the text under 'left' is empty"]
    if suffix != ".csv":
        assert chunk[2][1] == Pair("7", "b"), "as training reads it"
        assert chunk[3][0].fault == "no text under 'left'"
    (named,) = stream_texts(path, "right,left", 9, ("p", "h"))
    assert named[0][1] == Pair("b", "a")
    for column, fault in (
        (None, r"which columns hold the two texts of a pair\? .* --text-column p,h \(there are id"),
        ("left", "which columns hold the two texts"),
        ("left,middle", "unknown text column"),
    ):
        with pytest.raises(UserError, match=fault):
            list(stream_texts(path, column, 9, ("p", "h")))
    with pytest.raises(UserError, match="texts are classified here, not pairs"):
        list(stream_texts(path, "left,right", 9))


def test_lines_are_no_pairs(tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("a\n")
    with pytest.raises(UserError, match=r"a text a line, and text pairs take two"):
        list(stream_texts(tmp_path / "new.txt", None, 9, COLUMNS))


# ---------------------------------------------------------------- near-copies, leaks, words


def sentence(seed: int, changed: bool = False) -> str:
    words = [f"word{seed}{place}" for place in range(20)]
    return " ".join([*words[:19], "other"] if changed else words)


def test_pairs_are_near_duplicates_where_both_texts_are() -> None:
    pair = Pair(sentence(1), sentence(2))
    near = Pair(sentence(1, changed=True), sentence(2, changed=True).upper())
    half = Pair(sentence(1), "another thing altogether, which says nothing of it")
    moved = Pair(sentence(2), sentence(1))
    found = [pair, near, half, moved, pair]
    assert near_duplicate_groups(found) == [0, 0, 2, 3, 0]
    assert near_duplicates_among([near, half, moved, pair], [pair]) == [(0, 0)]
    assert near_repeats(found) == [(1, 0)]
    # As one text they all but one repeat the first.
    assert near_duplicate_groups([str(text) for text in found]) == [0, 0, 2, 0, 0]


def test_near_copies_and_shared_texts_of_a_test_part_are_told(tmp_path: Path) -> None:
    rows = [(f"{sentence(n)} {n}", f"{sentence(n + 500)} {n}", "ab"[n % 2]) for n in range(40)]
    write_pairs(tmp_path / "train.csv", rows)
    others = [(f"{sentence(n)} {n}", f"{sentence(n + 500)} {n}", "ab"[n % 2])
              for n in range(100, 120)]  # fmt: skip
    near = (rows[0][0] + " more", rows[0][1] + " more", "a")
    shared = (rows[2][0], "quite another thing", "a")
    write_pairs(tmp_path / "test.csv", [*others, near, shared])
    notes = read_dataset(str(tmp_path)).notes
    (note,) = [note for note in notes if "near-copies" in note]
    assert "1 in test" in note
    assert "test.csv line 22 and" in note
    (note,) = [note for note in notes if "share one of their texts" in note]
    assert "1 of 22 in test" in note


def test_texts_alone_share_nothing(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "a.csv", made_up_pairs(60, 1))
    notes = " ".join(read_dataset(str(path), text_column="premise").notes)
    assert "share one of their texts" not in notes


def test_a_pair_in_words_says_whose_they_are() -> None:
    said = as_words(Pair("A cat sleeps, here", "The cat eats here"))
    assert said == (
        "A cat sleeps, here second_the second_cat second_eats second_here both_cat both_here "
        "new_eats new_the gone_sleeps shared_5_tenths"
    )
    assert as_words("A cat") == "A cat"
    assert as_words(Pair("", "")).endswith("shared_0_tenths")


def test_unlabelled_pairs(tmp_path: Path) -> None:
    data = read_dataset(str(write_pairs(tmp_path / "a.csv", made_up_pairs(60, 1))))
    splits = draw(data, shots="all", demos=1, seed=0, validation_size=9, test_size=9)
    path = write_pairs(tmp_path / "more.csv", [*made_up_pairs(9, 2), *made_up_pairs(4, 1)])
    drawn = draw_unlabelled(str(path), data, splits, column=None, size=None, seed=0)
    assert len(drawn.texts) == 9
    assert all(isinstance(text, Pair) for text in drawn.texts)
    (tmp_path / "more.txt").write_text("\n".join(SENTENCES))
    with pytest.raises(UserError, match="text pairs take two"):
        draw_unlabelled(str(tmp_path / "more.txt"), data, splits, column=None, size=None, seed=0)
