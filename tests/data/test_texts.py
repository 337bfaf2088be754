from hypothesis import given
from hypothesis import strategies as st

from slimcls.data.texts import key, letters, rank


def test_key_ignores_case_and_the_amount_of_whitespace():
    assert key("  The\tQuick \n fox ") == key("the quick fox")
    assert key("the quick fox") != key("the quickfox")


def test_letters_ignores_punctuation_spacing_and_case():
    assert letters("Don't stop - it's £7.96m!") == letters("don t stop it s 7 96M")
    assert letters("Straße") == letters("STRASSE")


def test_letters_of_signs_alone_are_the_signs():
    assert letters("!?") != letters("...")
    assert letters("_") == "_"


@given(st.text())
def test_letters_do_not_depend_on_the_way_they_are_computed(text):
    kept = "".join(filter(str.isalnum, text.casefold()))
    assert letters(text) == (kept or key(text))


def test_rank_is_the_same_for_ever():
    assert rank("A text.", "0 train")[0].hex() == "170cb52ef62732d19f3e56be1d060ba6"
    assert rank("a text", "0 train")[0] == rank("A text.", "0 train")[0]
    assert rank("a text", "1 train") != rank("a text", "0 train")
