import random

from slimcls.data import near_duplicates
from slimcls.data.near_duplicates import near_duplicate_groups, near_duplicates_among
from slimcls.data.texts import key


def _words(seed, count=60):
    chance = random.Random(seed)
    return ["".join(chance.choices("abcdefghij", k=5)) for _ in range(count)]


def test_different_texts_are_alone():
    assert near_duplicate_groups([" ".join(_words(seed)) for seed in range(5)]) == [0, 1, 2, 3, 4]


def test_a_changed_word_case_and_punctuation_make_a_near_duplicate():
    words = _words(0)
    changed = [*words[:30], "other", *words[31:]]
    assert near_duplicate_groups(
        [" ".join(words), " ".join(_words(1)), ", ".join(changed).upper()]
    ) == [0, 1, 0]


def test_half_of_all_five_grams_is_the_limit():
    words, more = _words(0, 40), _words(1, 40)
    half = " ".join([*words, *more[:36]])  # 36 of 72 five-grams are in common
    less = " ".join([*words, *more[:37]])
    assert near_duplicate_groups([" ".join(words), half]) == [0, 0]
    assert near_duplicate_groups([" ".join(words), less]) == [0, 1]


def test_chains_join():
    words = _words(0, 100)
    texts = [" ".join(words[start : start + 60]) for start in (0, 15, 30)]
    assert near_duplicate_groups([texts[0], texts[2]]) == [0, 1]
    assert near_duplicate_groups(texts) == [0, 0, 0]


def test_short_texts_match_as_a_whole():
    assert near_duplicate_groups(["Good news", "good news!", "good", "...", "?"]) == [0, 0, 2, 3, 4]
    assert near_duplicate_groups([]) == []


def test_near_duplicates_among_others_are_those_that_the_groups_have():
    chance = random.Random(3)
    bases = [_words(seed, 14) for seed in range(12)]
    texts = []
    for _ in range(150):
        words = list(chance.choice(bases))
        for _ in range(chance.randint(0, 3)):
            words[chance.randrange(len(words))] = "other"
        texts.append(" ".join(words[: chance.randint(3, 14)]))
    mine, others = texts[:50], texts[50:]
    expected = {}
    for place, text in enumerate(mine):
        alike = [
            n
            for n, other in enumerate(others)
            if key(text) != key(other) and near_duplicate_groups([text, other]) == [0, 0]
        ]
        if alike:
            expected[place] = alike[0]
    assert 10 < len(expected) < 50
    assert dict(near_duplicates_among(mine, others)) == expected
    assert near_duplicates_among([], others) == near_duplicates_among(mine, []) == []


def test_a_block_at_a_time_gives_the_same_groups(monkeypatch):
    """What all texts open with makes every two of them share something: no whole matrix of that."""
    opening = " ".join(_words(0, 8))
    texts = [f"{opening} {' '.join(_words(seed % 30, 12))}" for seed in range(1, 70)]
    whole = near_duplicate_groups(texts)
    assert len(set(whole)) == 30
    monkeypatch.setattr(near_duplicates, "_BLOCK", 7)
    assert near_duplicate_groups(texts) == whole
