"""A classifier's task: its classes, its mode, and the form in which texts go in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from slimcls.data.encoding import DEFAULT_TOKENS, FramedEncoder, PairEncoder, TextEncoder
from slimcls.data.framing import joined
from slimcls.data.pairs import BETWEEN
from slimcls.data.prompts import PromptBuilder
from slimcls.errors import UserError
from slimcls.kinds import LossName, ModeName

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from slimcls.classifier.confidence import Confidence
    from slimcls.classifier.modes import Mode

Encoder = PromptBuilder | TextEncoder


@dataclass(frozen=True, kw_only=True)
class Task:
    """All that a classifier has to know beside weights and tokenizer.

    A run makes it of its settings, an artefact of its ``slimcls.json``; encoder and mode are then
    made here for both.
    """

    mode: ModeName
    labels: tuple[str, ...]
    """Names of the classes; a class number is a place here."""
    context: int
    """Most tokens that the model takes."""
    max_text_tokens: int | None = None
    """Tokens of a text that are kept; None: the usual ones, or less where the context needs it."""
    usual_tokens: int = DEFAULT_TOKENS
    """Tokens of a text that are kept where nobody says."""
    lm_loss: LossName | None = None
    """The loss, in mode lm."""
    pool: Literal["mean"] | None = None
    """What the head reads in training, in mode cls; an artefact's reads the last token, to which a
    layer has brought the mean."""
    template: str = ""
    """What stands around a text in a prompt; the modes lm and p-cls alone have prompts."""
    label_words: tuple[str, ...] = ()
    """A word a class, in prompts."""
    demonstrations: tuple[tuple[str, int], ...] = ()
    """Texts with their class numbers, in the order that prompts show them."""
    pair: tuple[str, str] | None = None
    """What the columns of both texts are called, where pairs of texts are classified."""
    answers_alone: bool = True
    """Whether an artefact classifies bare texts in whatever program opens it: its tokenizer has
    the prompt in it, its head a row a class. In a run: where that can be done."""
    confidence: Confidence | None = None
    """What its probabilities are worth, where that was measured."""

    def encoder(self, tokenizer: PreTrainedTokenizerFast) -> Encoder:
        """What makes token ids of texts: whole prompts, or bare texts in mode cls.

        Raises UserError where prompts do not fit the context, or pairs the tokenizer.
        """
        if self.mode == "cls" and self.pair:
            return self._of_bare_pairs(joined(tokenizer, BETWEEN), self.pair)
        if self.mode == "cls":
            return TextEncoder(
                tokenizer,
                context=self.context,
                max_text_tokens=self.max_text_tokens,
                usual_tokens=self.usual_tokens,
            )
        return PromptBuilder(
            tokenizer,
            template=self.template,
            label_words=self.label_words,
            demonstrations=self.demonstrations,
            context=self.context,
            max_text_tokens=self.max_text_tokens,
            usual_tokens=self.usual_tokens,
            pair=self.pair,
            apart=self.answers_alone and not self._by_whole_words,
        )

    def saved_encoder(self, tokenizer: PreTrainedTokenizerFast) -> Encoder:
        """The same for the tokenizer of an artefact, which may have the prompt in it.

        Raises UserError where it should and has not.
        """
        if self.mode == "cls" and self.pair:
            return self._of_bare_pairs(tokenizer, self.pair)
        if self.mode == "cls" or not self.answers_alone:
            return self.encoder(tokenizer)
        if self.pair:
            return PairEncoder(
                tokenizer,
                context=self.context,
                max_text_tokens=self.max_text_tokens or self.usual_tokens,
                shares=bool(self.demonstrations),
                pair=self.pair,
            )
        return FramedEncoder(
            tokenizer,
            context=self.context,
            max_text_tokens=self.max_text_tokens or self.usual_tokens,
            shares=bool(self.demonstrations),
        )

    def strategy(self, encoder: Encoder) -> Mode:
        """The mode, with the label words as this encoder's prompts have them.

        An artefact that answers alone has a head for the classes, whatever its mode was. Raises
        UserError where two begin with the same token and the loss sees only that.
        """
        from slimcls.classifier.modes import make_mode

        if not isinstance(encoder, PromptBuilder):
            return make_mode("cls", None, [], self.pool)
        if self.mode == "lm" and not self._by_whole_words:
            encoder.first_token_ids()
        return make_mode(self.mode, self.lm_loss, encoder.label_ids)

    def _of_bare_pairs(
        self, tokenizer: PreTrainedTokenizerFast | None, pair: tuple[str, str]
    ) -> PairEncoder:
        """What puts a line end between both texts. Raises UserError for None."""
        if tokenizer is None:
            raise UserError(
                "--mode cls: this model's tokenizer puts tokens around texts in a way that takes "
                "no pairs; take another model"
            )
        return PairEncoder(
            tokenizer,
            context=self.context,
            max_text_tokens=self.max_text_tokens,
            usual_tokens=self.usual_tokens,
            shares=False,
            pair=pair,
        )

    @property
    def _by_whole_words(self) -> bool:
        """Whether a class is its whole label word, not only that word's first token."""
        return self.lm_loss == "sequence"
