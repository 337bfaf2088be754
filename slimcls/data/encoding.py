"""Texts into token ids as a tokenizer makes them: bare, or with the prompt that it has in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimcls.data import framing
from slimcls.data.cutting import shortened, tokens_of
from slimcls.data.pairs import even, parts_of, shares
from slimcls.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

#: Tokens of a text that are kept where the context allows and nobody says otherwise.
DEFAULT_TOKENS = 256


@dataclass(frozen=True)
class Encoded:
    """Token ids of some texts, in their order, and how many of the texts were cut."""

    ids: list[list[int]]
    n_cut: int


class TextEncoder:
    """Bare texts (cls), as plain ``tokenizer(text, truncation=True)`` encodes them.

    Args:
        tokenizer: a fast transformers tokenizer.
        context: most tokens that the model takes.
        max_text_tokens: tokens of a text that are kept, the tokenizer's own beginning or end not
            counted; None for ``usual_tokens``, or less where the context needs it.
        usual_tokens: see there.

    Raises:
        UserError: ``max_text_tokens`` is over the context.
    """

    #: What the two columns of text pairs are called, where pairs go in.
    pair: tuple[str, str] | None = None

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        *,
        context: int,
        max_text_tokens: int | None = None,
        usual_tokens: int = DEFAULT_TOKENS,
    ) -> None:
        self.tokenizer, self.context = tokenizer, context
        added = tokenizer.num_special_tokens_to_add(pair=self.pair is not None)
        most = context - added
        if max_text_tokens is not None and max_text_tokens > most:
            raise UserError(
                f"--max-text-tokens {max_text_tokens}: the model's context leaves {most} for text"
            )
        self.max_text_tokens = max_text_tokens or min(usual_tokens, most)
        if self.pair:
            self.max_text_tokens = even(self.max_text_tokens)
        #: Most tokens of an encoded text, the tokenizer's own included.
        self.max_length = self.max_text_tokens + added

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Token ids of stripped texts, cut on the right."""
        whole = [text.strip() for text in texts]
        begun = [shortened(self.tokenizer, text, self.max_length) for text in whole]
        ids = tokens_of(self.tokenizer, begun)
        n_cut = 0
        for place, text in enumerate(begun):
            if len(ids[place]) > self.max_length:
                found = self.tokenizer(text, truncation=True, max_length=self.max_length)
                ids[place] = list(found["input_ids"])
                n_cut += 1
            elif not ids[place]:
                raise ValueError("the tokenizer gives no token for an empty text")
        return Encoded(ids, n_cut)

    def shared_prefix_ids(self) -> list[int]:
        """Token ids that every text begins with and that are worth reading once: none."""
        return []


class FramedEncoder(TextEncoder):
    """Prompts, by a tokenizer that :func:`slimcls.data.framing.framed` put one into.

    Ids are those of plain ``tokenizer(text, truncation=True)``: a text is cut after so many of its
    tokens as they stand in the prompt, and the prompt never is. An empty text has no blank before
    it.

    Args:
        tokenizer: A fast transformers tokenizer with a prompt in it.
        context: Most tokens that the model takes.
        max_text_tokens: Tokens of a text that are kept.
        shares: Whether what stands before the texts is worth reading once for all of them.

    Raises:
        UserError: there is no prompt in the tokenizer, or no room for it in the context.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        *,
        context: int,
        max_text_tokens: int,
        shares: bool,
    ) -> None:
        around = framing.ids_around(tokenizer)
        if around is None:
            raise UserError("the tokenizer beside it has no prompt in it")
        super().__init__(tokenizer, context=context, max_text_tokens=max_text_tokens)
        self._before, self._after = around
        self._shares = shares

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Token ids of whole prompts, texts cut on the right."""
        found = tokens_of(self.tokenizer, [self._begun(text) for text in texts], whole=False)
        most = self.max_text_tokens
        return Encoded(
            [[*self._before, *ids[:most], *self._after] for ids in found],
            sum(len(ids) > most for ids in found),
        )

    def shared_prefix_ids(self) -> list[int]:
        """Token ids that every prompt begins with, and at least one token follows."""
        if not self._shares:
            return []
        return self._before if self._after else self._before[:-1]

    def without_prompt(self) -> PreTrainedTokenizerFast:
        """The tokenizer as it was before a prompt came into it, for all the model's context."""
        bare = framing.unframed(self.tokenizer)
        bare.model_max_length = self.context
        return bare

    def _begun(self, text: str) -> str:
        """A beginning that holds all tokens that are kept, however many blanks are before them."""
        begun = shortened(self.tokenizer, text, self.max_text_tokens + 1)
        if len(begun) == len(text):
            return text
        return shortened(self.tokenizer, text.strip(), self.max_text_tokens + 1)


class PairEncoder(FramedEncoder):
    """Pairs of texts, by a tokenizer that has in it what stands before, between and after them.

    Ids are those of plain ``tokenizer(first, second, truncation=True)``: the longer text is cut
    first (:func:`slimcls.data.pairs.shares`).

    Args:
        tokenizer: A fast transformers tokenizer that :func:`slimcls.data.framing.framed` or
            ``joined`` made for pairs.
        context: Most tokens that the model takes.
        max_text_tokens: Tokens of both texts together that are kept; one less where it is odd.
        shares: Whether what stands before the texts is worth reading once for all of them.
        pair: What the columns of both texts are called.

    Raises:
        UserError: there is no place for pairs in the tokenizer, or no room for them in the context.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        *,
        context: int,
        max_text_tokens: int | None,
        shares: bool,
        pair: tuple[str, str],
        usual_tokens: int = DEFAULT_TOKENS,
    ) -> None:
        around = framing.ids_around(tokenizer, pair=True)
        if around is None:
            raise UserError("the tokenizer beside it has no place for pairs in it")
        self.pair = pair
        TextEncoder.__init__(
            self,
            tokenizer,
            context=context,
            max_text_tokens=max_text_tokens,
            usual_tokens=usual_tokens,
        )
        self._before, self._between, self._after = around
        self._shares = shares

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Token ids of whole prompts of pairs, the longer text cut first, on the right."""
        parts = [parts_of(text) for text in texts]
        first, second = (
            tokens_of(self.tokenizer, [self._begun(pair[at]) for pair in parts], whole=False)
            for at in (0, 1)
        )
        ids, n_cut = [], 0
        for one, other in zip(first, second, strict=True):
            kept = shares(len(one), len(other), self.max_text_tokens)
            n_cut += kept != (len(one), len(other))
            begun = [*self._before, *one[: kept[0]], *self._between]
            ids.append([*begun, *other[: kept[1]], *self._after])
        return Encoded(ids, n_cut)
