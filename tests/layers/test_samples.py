"""Texts to measure on: where they come from, which are drawn, what they become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import made_up_rows, write_csv
from scored import source

from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.errors import UserError
from slimcls.layers.samples import Texts, encode_sample, read_texts

ROWS = [text for text, _ in made_up_rows(12, 3)]


def written(folder: Path, kind: str) -> Path:
    """The same twelve texts in a file of any kind, or a folder."""
    path = folder / f"texts.{kind}"
    frame = pd.DataFrame({"number": range(len(ROWS)), "text": ROWS})
    if kind == "txt":
        path.write_text("\n\n".join(ROWS) + "\n", encoding="utf-8")
    elif kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "tsv":
        frame.to_csv(path, index=False, sep="\t")
    elif kind == "jsonl":
        path.write_text("".join(json.dumps({"text": t}) + "\n" for t in ROWS), encoding="utf-8")
    elif kind == "parquet":
        frame.to_parquet(path)
    else:
        for number, text in enumerate(ROWS):
            file = path / str(number % 2) / f"{number:02}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["txt", "csv", "tsv", "jsonl", "parquet", "folder"])
def test_every_kind_of_source_gives_the_same_texts(kind: str, tmp_path: Path):
    found = read_texts(str(written(tmp_path, kind)))
    assert sorted(found.texts) == sorted(ROWS)
    assert all("texts." in place for place in found.places)
    # Drawn by what they say, so that it does not matter where they stand.
    assert found.drawn(5, 1).texts == read_texts(str(written(tmp_path, "txt"))).drawn(5, 1).texts


def test_a_dataset_gives_training_texts_alone(tmp_path: Path):
    train, test = made_up_rows(40, 1), made_up_rows(30, 2)
    train[3] = test[5]  # also a test text: it must not be measured on
    train[4] = (f"  {train[6][0].upper()}", train[6][1])  # a repeat
    write_csv(tmp_path / "train.csv", train)
    write_csv(tmp_path / "test.csv", test)
    (tmp_path / "notes.txt").write_text("not a text of the dataset", encoding="utf-8")
    found = read_texts(str(tmp_path))
    assert len(found) == 38
    assert not {text for text, _ in test} & set(found.texts)
    assert found.places[0] == f"training row 0 of {tmp_path.name}"
    assert found.notes == ("1 repeated texts left out",)


def test_draws_follow_the_seed_alone():
    texts = Texts("t", tuple(ROWS), tuple(map(str, range(12))))
    assert texts.drawn(6, 1) == texts.drawn(6, 1)
    assert texts.drawn(6, 1).texts != texts.drawn(6, 2).texts
    backwards = Texts("t", tuple(ROWS[::-1]), tuple(map(str, range(12)))[::-1])
    assert backwards.drawn(6, 1) == texts.drawn(6, 1)
    assert len(texts.drawn(99)) == 12


def tokenizer(name: str = "tiny-gpt2") -> Any:
    return open_tokenizer(source(name))


def test_texts_go_in_as_mode_cls_reads_them():
    for name in ("tiny-gpt2", "tiny-opt"):
        ours = tokenizer(name)
        found = encode_sample(Texts("t", ("rain and wind", "a b"), ("1", "2")), ours)
        assert [list(ids) for ids in found.ids] == [ours(t)["input_ids"] for t in found_texts()]
        assert found.tokens == sum(map(len, found.ids))


def found_texts() -> tuple[str, str]:
    return "rain and wind", "a b"


def test_long_texts_are_cut_and_counted():
    found = encode_sample(
        Texts("t", ("rain " * 50, "a b"), ("1", "2")), tokenizer(), max_text_tokens=10
    )
    assert len(found.ids[0]) == 11  # the start token does not count
    assert "1 texts have more than 10 tokens and were cut" in found.notes


def test_the_fingerprint_is_of_the_tokens():
    one, same, other, split = (
        encode_sample(Texts("t", texts, places), tokenizer(), batch_size=size)
        for texts, places, size in [
            (("rain", "wind and"), ("1", "2"), 1),
            (("rain", "wind and"), ("3", "4"), 2),
            (("rain", "wind or"), ("1", "2"), 1),
            (("wind and", "rain"), ("1", "2"), 1),
        ]
    )
    assert one.fingerprint == same.fingerprint
    assert len({one.fingerprint, other.fingerprint, split.fingerprint}) == 3


def test_batches_hold_every_text_once():
    texts = Texts("t", tuple(ROWS), tuple(map(str, range(12))))
    found = encode_sample(texts, tokenizer(), batch_size=5)
    seen = {}
    for batch in found.batches():
        for row, (place, length) in enumerate(zip(batch.places, batch.lengths, strict=True)):
            seen[int(place)] = tuple(batch.input_ids[row, :length].tolist())
    assert [seen[place] for place in range(12)] == list(found.ids)
    assert next(found.only(7).batches()).input_ids.tolist() == [list(found.ids[7])]


# What cannot be measured on.


def test_a_text_of_one_token_is_an_error_in_one_s_own_files_and_left_out_elsewhere():
    texts = Texts("t", ("a", "rain and wind"), ("t.txt line 1", "t.txt line 2"), strict=True)
    with pytest.raises(UserError, match=r"^t.txt line 1: the text 'a' has fewer than 2 tokens"):
        encode_sample(texts, tokenizer())
    lenient = encode_sample(Texts("t", texts.texts, texts.places), tokenizer())
    assert lenient.places == ("t.txt line 2",)
    assert lenient.notes == ("1 texts with fewer than 2 tokens left out",)
    with pytest.raises(UserError, match="'a' has fewer than 2"):
        encode_sample(Texts("t", ("a",), ("row 0",)), tokenizer())


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.txt", "", "empty.txt: the file is empty"),
        ("blank.txt", " \n\n", "blank.txt: the file is empty"),
        ("bytes.txt", b"rain\n\xff\n", "bytes.txt line 2: byte 0xff is not UTF-8"),
        ("gap.csv", "text,label\nrain,1\n,2\n", "gap.csv line 3: no text in column text"),
        ("two.csv", "a,b\nrain,wind\n", "which column holds the text?"),
        ("head.csv", "text\n", "head.csv: holds no rows"),
    ],
)
def test_files_without_texts(name: str, content: str | bytes, words: str, tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError, match=words.replace("?", r"\?")):
        read_texts(str(path))


def test_a_column_by_its_name(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\nrain and wind,x\n", encoding="utf-8")
    assert read_texts(str(path), text_column="a").texts == ("rain and wind",)
    with pytest.raises(UserError, match=r"unknown text column in .*t.csv 'c'"):
        read_texts(str(path), text_column="c")
    with pytest.raises(UserError, match="has no columns"):
        read_texts(str(written(tmp_path, "txt")), text_column="a")


def test_sources_that_are_none(tmp_path: Path):
    with pytest.raises(UserError, match="did you mean 'bbcnews'"):
        read_texts("bbcnew")
    with pytest.raises(UserError, match="cannot be read"):
        read_texts(str(tmp_path / "none.txt"))
    with pytest.raises(UserError, match=r"no .txt file in this folder"):
        read_texts(str(tmp_path))


def test_bad_rows_are_left_out_on_request(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("text,n\nrain and wind,1\n,2\nsun\na,4\nsnow again,5\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"line 4: .* \(--skip-bad-rows leaves such rows out\)"):
        read_texts(str(path))
    found = read_texts(str(path), skip_bad_rows=True)
    assert found.texts == ("rain and wind", "a", "snow again")
    assert "bad rows left out: 2 (line 3, 4)" in found.notes[0]
    assert encode_sample(found, tokenizer()).places == (f"{path} line 2", f"{path} line 6")
