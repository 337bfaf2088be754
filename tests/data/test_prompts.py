import pytest
from data.shared_data import gpt2_tokenizer_folder
from data.small_tokenizers import KINDS, SENTENCES, small_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from slimcls.data.encoding import TextEncoder
from slimcls.data.prompts import PromptBuilder, longest_common_prefix
from slimcls.errors import UserError

TEMPLATE = "Review: {text}\nSentiment:{label}"
WORDS = ("Negative", "Positive")
DEMOS = (("slow and dull", 0), ("warm and funny", 1))
TINY = ("tiny-gpt2", "tiny-opt", "tiny-llama", "tiny-neox")


def _open(name):
    if name in KINDS:
        return small_tokenizer(name)
    if name == "gpt2":
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(gpt2_tokenizer_folder(), split_special_tokens=True)
    from slimcls.backbones import sources, tokenizers

    return tokenizers.open_tokenizer(sources.find(name, None))


@pytest.fixture(scope="module", params=[*KINDS, "gpt2", *TINY])
def tokenizer(request):
    return _open(request.param)


def _builder(tokenizer, **changes):
    arguments = {
        "template": TEMPLATE,
        "label_words": WORDS,
        "demonstrations": DEMOS,
        "context": 512,
        "max_text_tokens": None,
    }
    return PromptBuilder(tokenizer, **(arguments | changes))


def _ids(tokenizer, text):
    return tokenizer(text)["input_ids"]


# Texts with line ends, slots, special tokens, half-characters, signs that join to others.
ODD = (
    *("<|endoftext|>", "<end>", "</s>", "{label}", "{text}", "\n", " ", "...", "😀", "e\u0301"),
    *("Positive", "\nSentiment: Negative", "1984", "'s", "\u200b", "中文", "Review:", "a"),
)
TEXTS = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(ODD), max_size=12).map("".join))


def test_the_prompt_is_as_the_protocol_has_it(tokenizer):
    builder = _builder(tokenizer)
    assert builder.prefix == (
        "Review: slow and dull\nSentiment: Negative\nReview: warm and funny\nSentiment: Positive"
    )
    assert builder.prompt("so-so") == f"{builder.prefix}\nReview: so-so\nSentiment:"
    before, after = builder.frame
    assert builder.prompt("x") == f"{before}x{after}"
    bare = _builder(tokenizer, demonstrations=())
    assert bare.prefix == ""
    assert bare.prompt("so-so") == "Review: so-so\nSentiment:"


def test_a_blank_before_the_label_slot_changes_nothing(tokenizer):
    spaced = _builder(tokenizer, template="Review: {text}\nSentiment: {label}")
    assert spaced.prompt("x") == _builder(tokenizer).prompt("x")


def test_what_follows_the_label_stands_in_demonstrations_only(tokenizer):
    builder = _builder(tokenizer, template="{text} It was{label}, they said.")
    assert builder.prefix.splitlines()[0] == "slow and dull It was Negative, they said."
    assert builder.prompt("x").endswith("\nx It was")


def test_ids_are_those_of_the_whole_string(tokenizer):
    builder = _builder(tokenizer)
    encoded = builder.encode(["fine", "  fine \n", ""])
    assert encoded.n_cut == 0
    assert encoded.ids[0] == _ids(tokenizer, builder.prompt("fine")) == encoded.ids[1]
    assert encoded.ids[2] == _ids(tokenizer, builder.prompt(""))
    assert builder.encode([]).ids == []


def test_label_ids_are_the_tokens_in_context(tokenizer):
    builder = _builder(tokenizer)
    for text in ("fine", "a b c", ""):
        start = _ids(tokenizer, builder.prompt(text))
        for word, ids in zip(WORDS, builder.label_ids, strict=True):
            assert _ids(tokenizer, f"{builder.prompt(text)} {word}") == start + ids
    assert builder.first_token_ids() == [ids[0] for ids in builder.label_ids]


def test_label_words_with_the_same_first_token(tokenizer):
    builder = _builder(tokenizer, label_words=("Zqxjkv one", "Zqxjkv two"))
    with pytest.raises(UserError, match=r"'Zqxjkv one' and 'Zqxjkv two' .* --lm-loss sequence"):
        builder.first_token_ids()


@settings(max_examples=60, deadline=None)
@given(text=TEXTS, most=st.integers(1, 20))
def test_cutting(tokenizer, text, most):
    builder = _builder(tokenizer, max_text_tokens=most)
    kept, was_cut = builder.cut(text)
    stripped = text.strip()
    assert stripped.startswith(kept)
    assert was_cut == (kept != stripped)
    assert kept == kept.strip()
    assert len(tokenizer(kept, add_special_tokens=False)["input_ids"]) <= most
    assert builder.cut(kept) == (kept, False)
    whole = tokenizer(stripped, add_special_tokens=False)["input_ids"]
    assert was_cut == (len(whole) > most)


def test_long_texts_need_one_look_at_the_vocabulary(monkeypatch):
    """It is copied whenever it is asked for."""
    tokenizer, asked = _open("tiny-gpt2"), []
    known = type(tokenizer).get_vocab
    monkeypatch.setattr(
        type(tokenizer), "get_vocab", lambda self: (asked.append(self), known(self))[1]
    )
    texts = [f"{count} {'bread ' * 900}" for count in range(5)]
    assert _builder(tokenizer, max_text_tokens=12).encode(texts).n_cut == 5
    assert len(asked) <= 1


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXTS, max_size=4), most=st.integers(1, 40), count=st.integers(0, 2))
def test_prompts_survive_any_text(tokenizer, texts, most, count):
    builder = _builder(tokenizer, max_text_tokens=most, demonstrations=DEMOS[:count], context=160)
    encoded = builder.encode(texts)
    shared = builder.shared_prefix_ids()
    before, after = builder.frame
    longest = max(len(ids) for ids in builder.label_ids)
    assert 0 <= encoded.n_cut <= len(texts)
    for ids in encoded.ids:
        assert len(ids) + longest <= 160
        assert ids[: len(shared)] == shared
        assert len(shared) < len(ids)
        decoded = tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        assert decoded.endswith(after)
        assert before in decoded
    assert builder.encode(texts) == encoded


@settings(max_examples=60, deadline=None)
@given(text=TEXTS, label=st.integers(0, 1))
def test_a_querys_own_label_is_never_in_its_input(tokenizer, text, label):
    builder = _builder(tokenizer)
    kept, _ = builder.cut(text)
    assert builder.prompt(kept) == f"{builder.prefix}\nReview: {kept}\nSentiment:"
    alone = _builder(tokenizer, demonstrations=())
    without_text = alone.prompt("")
    assert all(word not in without_text for word in WORDS)
    assert all(not alone.prompt(kept).endswith(word) for word in WORDS)


def test_the_shared_prefix_holds_the_demonstrations(tokenizer):
    builder = _builder(tokenizer)
    shared = builder.shared_prefix_ids()
    decoded = tokenizer.decode(shared, clean_up_tokenization_spaces=False)
    assert decoded.endswith(f"{builder.prefix}\nReview:")
    assert _builder(tokenizer, demonstrations=()).shared_prefix_ids() == []
    joined = _builder(tokenizer, template="{text}\nSentiment:{label}")
    decoded = tokenizer.decode(joined.shared_prefix_ids(), clean_up_tokenization_spaces=False)
    assert decoded.endswith(joined.prefix)


def test_a_text_that_reaches_into_the_prefix_is_refused():
    class Joining:
        """Merges everything when a text holds an x."""

        def __call__(self, texts, **options):
            texts = [texts] if isinstance(texts, str) else texts
            ids = [[ord(c) + 1000 * ("x" in text) for c in text] for text in texts]
            offsets = [[(n, n + 1) for n in range(len(text))] for text in texts]
            return {"input_ids": ids, "offset_mapping": offsets}

    builder = PromptBuilder(
        Joining(), template="Q: {text}\nA:{label}", label_words=("Yes", "No"),
        demonstrations=[("b", 0)], context=100,
    )  # fmt: skip
    assert builder.shared_prefix_ids()
    builder.encode(["good"])
    with pytest.raises(UserError, match="--no-share-prefix"):
        builder.encode(["fix"])


def test_the_default_text_length_fits_the_context(tokenizer):
    assert _builder(tokenizer).max_text_tokens == 256
    long_demos = [(" ".join(SENTENCES) * 5, label) for label in (0, 1)]
    builder = _builder(tokenizer, demonstrations=long_demos, context=200)
    assert 16 <= builder.max_text_tokens < 70
    assert builder.demonstrations_cut == 2
    encoded = builder.encode([" ".join(SENTENCES) * 5])
    assert encoded.n_cut == 1
    assert 150 < len(encoded.ids[0]) < 200
    again = _builder(
        tokenizer,
        demonstrations=long_demos,
        context=200,
        max_text_tokens=builder.max_text_tokens,
    )
    assert again.prefix == builder.prefix
    assert again.encode([" ".join(SENTENCES) * 5]) == encoded


def test_demonstrations_over_the_context(tokenizer):
    many = [(f"text number {n} of the demonstrations", n % 2) for n in range(40)]
    message = r"40 demonstrations .* take \d+ tokens .* over the context of 200: use fewer --demos"
    with pytest.raises(UserError, match=message):
        _builder(tokenizer, demonstrations=many, context=200)
    with pytest.raises(UserError, match="text up to 190, over the context of 200"):
        _builder(tokenizer, context=200, max_text_tokens=190)


def test_a_prompt_is_cut_further_where_joining_makes_more_tokens():
    tokenizer = small_tokenizer("plain")
    builder = _builder(tokenizer, demonstrations=(), max_text_tokens=20, context=40)
    longest = len(builder.encode(["a " * 20]).ids[0])
    builder.context = longest - 3 + max(len(ids) for ids in builder.label_ids)
    encoded = builder.encode(["a " * 20, "a"])
    assert len(encoded.ids[0]) == longest - 3
    assert encoded.n_cut == 1


def test_a_label_word_that_joins_to_the_prompt():
    class Reversing:
        def __call__(self, texts, **options):
            texts = [texts] if isinstance(texts, str) else texts
            return {"input_ids": [[ord(c) for c in reversed(text)] for text in texts]}

    with pytest.raises(UserError, match="label word 'Negative': the tokenizer joins it"):
        _builder(Reversing(), demonstrations=())


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXTS.filter(str.strip), max_size=4), most=st.integers(1, 20))
def test_bare_texts_are_encoded_as_plain_transformers_does(tokenizer, texts, most):
    encoder = TextEncoder(tokenizer, context=64, max_text_tokens=most)
    encoded = encoder.encode(texts)
    n_cut = 0
    for text, ids in zip(texts, encoded.ids, strict=True):
        plain = tokenizer(text.strip(), truncation=True, max_length=encoder.max_length)
        assert ids == plain["input_ids"]
        n_cut += len(_ids(tokenizer, text.strip())) > encoder.max_length
    assert encoded.n_cut == n_cut


def test_text_encoder_limits(tokenizer):
    added = tokenizer.num_special_tokens_to_add()
    assert TextEncoder(tokenizer, context=512).max_text_tokens == 256
    assert TextEncoder(tokenizer, context=100).max_text_tokens == 100 - added
    encoder = TextEncoder(tokenizer, context=100, max_text_tokens=10)
    assert len(encoder.encode([" ".join(SENTENCES)]).ids[0]) == 10 + added
    with pytest.raises(UserError, match="--max-text-tokens 101: the model's context leaves"):
        TextEncoder(tokenizer, context=100, max_text_tokens=101)


def test_a_tokenizer_that_gives_nothing_for_an_empty_text():
    with pytest.raises(ValueError, match="no token for an empty text"):
        TextEncoder(small_tokenizer("plain"), context=10).encode([" "])


@given(st.lists(st.lists(st.integers(0, 2), max_size=6), max_size=5))
def test_longest_common_prefix(items):
    common = longest_common_prefix(items)
    assert all(item[: len(common)] == common for item in items)
    longer = {tuple(item[: len(common) + 1]) for item in items}
    assert not items or len(longer) > 1 or min(map(len, items)) == len(common)


class _Watching:
    """A tokenizer that remembers the longest text it was given."""

    def __init__(self, tokenizer):
        self._tokenizer, self.longest = tokenizer, 0

    def __getattr__(self, name):
        return getattr(self._tokenizer, name)

    def __call__(self, text, **how):
        self.longest = max(self.longest, *map(len, [text] if isinstance(text, str) else text))
        return self._tokenizer(text, **how)


WORD = "film" * 50_000  # one word, cut apart nowhere


def test_a_word_of_any_length_is_cut_before_it_is_tokenised(tokenizer):
    watching = _Watching(tokenizer)
    encoded = TextEncoder(watching, context=512, max_text_tokens=20).encode([WORD, "fine"])
    assert encoded.n_cut == 1
    plain = TextEncoder(tokenizer, context=512, max_text_tokens=20)
    assert encoded.ids == plain.encode([WORD[:9_000], "fine"]).ids
    builder = _builder(watching, max_text_tokens=20)
    assert builder.encode([WORD, "fine"]).n_cut == 1
    assert builder.encode([WORD]).ids == _builder(tokenizer, max_text_tokens=20).encode([WORD]).ids
    assert watching.longest < 10_000


def test_a_text_that_utf8_cannot_hold_is_refused(tokenizer):
    for encoder in (TextEncoder(tokenizer, context=512), _builder(tokenizer)):
        with pytest.raises(UserError, match=r"a text cannot be read: .ud800 is half a surrogate"):
            encoder.encode(["fine", "a \ud800 b"])
