"""Texts into token ids as whole prompts with demonstrations (lm, p-cls)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from slimcls.data import framing, seams
from slimcls.data.cutting import tokens_of
from slimcls.data.encoding import DEFAULT_TOKENS, Encoded, FramedEncoder, PairEncoder
from slimcls.data.pairs import Pair, around_slots, cut_item, cut_items, even, parts_of
from slimcls.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

#: With less room than this for a text, demonstrations count as not fitting the context.
LEAST_TOKENS = 16

#: Beginnings of texts that a tokenizer may join to what stands before them in different ways.
_PROBES = ("a", "The", "s", "'s", "1", ".", "...", ":", "-", "é", "中", "😀", "\n", "")


class PromptBuilder:
    """Builds prompts: demonstrations, then the query up to its label slot, joined by line ends.

    A query's own label is never in its prompt. Long texts, those of demonstrations too, are cut to
    ``max_text_tokens`` so that template, label slot and demonstrations survive; a prompt and any
    label word after it never exceed the context.

    Args:
        tokenizer: a fast transformers tokenizer.
        template: holds {text}, or {premise} and {hypothesis}, and after them {label}.
        label_words: one a class; each gets one blank in front.
        demonstrations: (text, class number) in the order they are shown.
        context: most tokens that the model takes.
        max_text_tokens: tokens of a text that are kept; None for ``usual_tokens``, or less where
            the context needs it.
        usual_tokens: see there.
        pair: what the columns of text pairs are called, where pairs go in.
        apart: make a text's tokens apart from the prompt's, where the tokenizer can be taught to
            (``framed``): then the text that is cut is the text as it stands in the prompt.

    Raises:
        UserError: the demonstrations do not fit the context, with the numbers.

    Source: Yuan et al., arXiv 2402.11700 (templates, demonstrations).
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        *,
        template: str,
        label_words: Sequence[str],
        demonstrations: Sequence[tuple[str, int]],
        context: int,
        max_text_tokens: int | None = None,
        usual_tokens: int = DEFAULT_TOKENS,
        pair: tuple[str, str] | None = None,
        apart: bool = False,
    ) -> None:
        self.tokenizer, self.context, self.pair = tokenizer, context, pair
        self.label_words = tuple(label_words)
        *self._around, after, self._tail = around_slots(template)
        self._around.append(after.rstrip())
        self._demonstrations = [(text.strip(), label) for text, label in demonstrations]
        self.label_ids = self._label_ids()
        self.max_text_tokens = self._fitting(max_text_tokens, usual_tokens)
        #: Text of all demonstrations; empty without any.
        self.prefix = self._prefix(self.max_text_tokens)
        #: How many demonstrations were cut.
        self.demonstrations_cut = sum(self.cut(text)[1] for text, _ in self._demonstrations)
        self._shared: list[int] | None = None
        #: What encodes with a tokenizer that has the prompt in it; None where none does.
        self.framed = self._framed() if apart else None

    @property
    def frame(self) -> tuple[str, ...]:
        """What stands before and after the text in every prompt, and between those of a pair."""
        join = f"{self.prefix}\n" if self.prefix else ""
        before, *others = self._around
        return join + before, *others

    def cut(self, text: str) -> tuple[str, bool]:
        """The text stripped, with at most ``max_text_tokens`` tokens, and whether it was cut.

        It is cut between characters, never inside one.
        """
        return cut_item(self.tokenizer, text.strip(), self.max_text_tokens)

    def prompt(self, text: str) -> str:
        """Everything up to the label slot, for a text as it is."""
        return _put(self.frame, text)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Token ids of whole prompts for texts cut as needed.

        Each is as if tokenised as one string, but for what is ``framed``. Where the tokenizer
        allows it, only what stands behind the demonstrations is tokenised.
        """
        if self.framed:
            return self.framed.encode(texts)
        cuts = cut_items(self.tokenizer, [text.strip() for text in texts], self.max_text_tokens)
        ids = self._prompt_ids([text for text, _ in cuts])
        room = self.context - self._longest_word
        n_cut = 0
        for place, (text, was_cut) in enumerate(cuts):
            if len(ids[place]) > room:
                ids[place], was_cut = self._shrunk(text, room), True
            n_cut += was_cut
        self._check_shared(ids)
        return Encoded(ids, n_cut)

    def shared_prefix_ids(self) -> list[int]:
        """Token ids that every prompt built here begins with; [] without demonstrations.

        They end before a blank or line end that belongs to the frame: no pre-tokenizer joins
        letters or signs across it, so no text can change them, and tokens always follow them.
        """
        if self.framed:
            return self.framed.shared_prefix_ids()
        if self._shared is None:
            self._shared = self._beginning(_blank_follows)[0] if self.prefix else []
        return list(self._shared)

    def first_token_ids(self) -> list[int]:
        """The first token of each label word.

        Raises:
            UserError: two label words begin with the same token.
        """
        first: dict[int, str] = {}
        for word, ids in zip(self.label_words, self.label_ids, strict=True):
            if other := first.get(ids[0]):
                raise UserError(
                    f"label words {other!r} and {word!r} begin with the same token; give other "
                    "label_words in a dataset YAML, or use --lm-loss sequence"
                )
            first[ids[0]] = word
        return list(first)

    def _framed(self) -> FramedEncoder | None:
        before, *between, after = self.frame
        tokenizer = framing.framed(self.tokenizer, before, after, *between)
        room = self.context - self.max_text_tokens
        pair = self.pair is not None
        if tokenizer is None or tokenizer.num_special_tokens_to_add(pair=pair) > room:
            return None
        if self.pair:
            return PairEncoder(
                tokenizer,
                context=self.context,
                max_text_tokens=self.max_text_tokens,
                shares=bool(self.prefix),
                pair=self.pair,
            )
        return FramedEncoder(
            tokenizer,
            context=self.context,
            max_text_tokens=self.max_text_tokens,
            shares=bool(self.prefix),
        )

    def _prompt_ids(self, texts: Sequence[str]) -> list[list[int]]:
        lead, length = self._lead
        rest = [self.prompt(text)[length:] for text in texts]
        return [lead + ids for ids in tokens_of(self.tokenizer, rest, whole=not length)]

    @cached_property
    def _lead(self) -> tuple[list[int], int]:
        """Ids of every prompt up to a place behind which it can be tokenised alone, and the place.

        Where :mod:`slimcls.data.seams` promises nothing about the tokenizer, that is its beginning.
        """
        if not self.prefix or not seams.has_seams(self.tokenizer):
            return [], 0
        lead, place = self._beginning(seams.is_seam)
        prompts, wanted = self._probed["text"], self._probed["input_ids"]
        rest = tokens_of(self.tokenizer, [prompt[place:] for prompt in prompts], whole=False)
        return (lead, place) if [lead + ids for ids in rest] == wanted else ([], 0)

    @property
    def _longest_word(self) -> int:
        return max((len(ids) for ids in self.label_ids), default=0)

    def _label_ids(self) -> list[list[int]]:
        """Tokens of each label word where it stands in a prompt."""
        bare = _put(self._around, self._example("text"))
        whole = tokens_of(self.tokenizer, [bare, *(f"{bare} {word}" for word in self.label_words)])
        start = whole[0]
        for word, ids in zip(self.label_words, whole[1:], strict=True):
            if ids[: len(start)] != start or len(ids) == len(start):
                raise UserError(
                    f"label word {word!r}: the tokenizer joins it to the prompt before it; end the "
                    "template's label slot with a colon, or give another label word"
                )
        return [ids[len(start) :] for ids in whole[1:]]

    def _prefix(self, tokens: int) -> str:
        return "\n".join(
            f"{_put(self._around, cut_item(self.tokenizer, text, tokens)[0])} "
            f"{self.label_words[label]}{self._tail}"
            for text, label in self._demonstrations
        )

    def _overhead(self, tokens: int) -> int:
        """Tokens of everything but the query's text, demonstrations cut to ``tokens``."""
        prefix, around = self._prefix(tokens), "".join(self._around)
        prompt = tokens_of(self.tokenizer, [f"{prefix}\n{around}" if prefix else around])[0]
        return len(prompt) + self._longest_word

    def _fitting(self, wanted: int | None, usual: int) -> int:
        """The tokens of a text: as wanted, or the most up to the usual ones that fit.

        Of a pair they are an even number.
        """
        if self.pair:
            wanted, usual = wanted and even(wanted), even(usual)
        least = min(wanted or LEAST_TOKENS, self.context)
        need = self._overhead(least)
        if need + least > self.context:
            count = len(self._demonstrations)
            raise UserError(
                f"{count} demonstrations with template and label word take {need} tokens and the "
                f"text up to {least}, over the context of {self.context}: use fewer --demos or a "
                "smaller --max-text-tokens"
            )
        if wanted is not None:
            return wanted
        low, high = least, usual
        while low < high:
            middle = (low + high + 1) // 2
            if self._overhead(middle) + middle <= self.context:
                low = middle
            else:
                high = middle - 1
        return even(low) if self.pair else low

    def _shrunk(self, text: str, room: int) -> list[int]:
        """Ids of the longest prompt that fits, where joining made more tokens than foreseen."""
        tokens = self.max_text_tokens
        ids = tokens_of(self.tokenizer, [self.prompt(text)])[0]
        while len(ids) > room and tokens > 0:
            tokens -= 1
            shorter, _ = cut_item(self.tokenizer, text, tokens)
            ids = tokens_of(self.tokenizer, [self.prompt(shorter)])[0]
        return ids

    @cached_property
    def _probed(self) -> dict[str, list[Any]]:
        """Prompts of odd texts, their ids, and the characters that each id stands for."""
        prompts = [self.prompt(self._example(probe)) for probe in _PROBES]
        return {
            **self.tokenizer(prompts, return_offsets_mapping=True, padding=False),
            "text": prompts,
        }

    def _beginning(self, may_end: Callable[[str, str], bool]) -> tuple[list[int], int]:
        """Ids that all prompts begin with, as far as they may end between the characters there.

        The second is that place in the text; nothing and 0 where there is none.
        """
        before = self.frame[0]
        common = longest_common_prefix(self._probed["input_ids"])
        ends = [end for _, end in self._probed["offset_mapping"][0]]
        for count in range(len(common), 0, -1):
            end = ends[count - 1]
            if 0 < end < len(before) and may_end(before[end - 1], before[end]):
                return common[:count], end
        return [], 0

    def _check_shared(self, ids: Sequence[list[int]]) -> None:
        shared = self._shared
        if shared and any(item[: len(shared)] != shared for item in ids):
            raise UserError(
                "the tokenizer joins a text to the demonstrations before it; use --no-share-prefix"
            )

    def _example(self, text: str) -> str:
        """What goes in, with this text in the first slot."""
        return Pair(text, "text") if self.pair else text


def _put(around: Sequence[str], text: str) -> str:
    """A text, or both of a pair, with what stands before, between and after."""
    before, *behind = around
    parts = zip(parts_of(text), behind, strict=True)
    return before + "".join(f"{part}{after}" for part, after in parts)


def _blank_follows(before: str, behind: str) -> bool:
    return behind.isspace() and not before.isspace()


def longest_common_prefix(items: Sequence[list[int]]) -> list[int]:
    """The ids that all sequences begin with."""
    if not items:
        return []
    low, high = min(items), max(items)
    count = 0
    while count < min(len(low), len(high)) and low[count] == high[count]:
        count += 1
    return low[:count]
