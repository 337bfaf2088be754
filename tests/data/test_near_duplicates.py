import random

from slimcls.data.near_duplicates import near_duplicate_groups


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
