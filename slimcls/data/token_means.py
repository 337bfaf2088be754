"""The mean of a model's token embeddings over a text, for scikit-learn: no model, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from slimcls.data.encoding import TextEncoder
from slimcls.data.fast_tokenizer import FastTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

#: An embedding a token (vocabulary, width).
Rows = NDArray[np.float16] | NDArray[np.float32]


def means_of(rows: Rows, ids: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Means (texts, width) of the rows of each text's token ids, none of them empty."""
    means = np.empty((len(ids), rows.shape[1]))
    for place, one in enumerate(ids):
        means[place] = rows[one].mean(0, dtype=np.float64)
    return means


class TokenMeans(TransformerMixin, BaseEstimator):
    """A step of a pipeline: texts in, the mean of their tokens' embeddings out.

    Its state is a tokenizer as JSON, an array and two numbers, so that skops keeps it without code.
    Of a pair both texts go in, a line end between them.

    Args:
        tokenizer: What a tokenizer's file holds.
        rows: Embeddings (vocabulary, width), float16 or float32.
        context: Most tokens that the tokenizer's model takes.
        max_text_tokens: Tokens of a text that are kept.
    """

    def __init__(self, tokenizer: str, rows: Rows, context: int, max_text_tokens: int) -> None:
        self.tokenizer, self.rows = tokenizer, rows
        self.context, self.max_text_tokens = context, max_text_tokens

    def fit(self, texts: Sequence[str], labels: object = None) -> TokenMeans:
        """Learn nothing: the embeddings are pretrained."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def transform(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Means (texts, width). Raises UserError for a text that is no UTF-8."""
        return means_of(self.rows, self.encoder.encode(texts).ids)

    @property
    def encoder(self) -> TextEncoder:
        """What makes token ids. Raises UserError where the tokenizer is none."""
        opened: TextEncoder | None = self.__dict__.get("_encoder")
        if opened is None:
            opened = self._encoder = TextEncoder(
                cast("PreTrainedTokenizerFast", FastTokenizer(self.tokenizer)),
                context=self.context,
                max_text_tokens=self.max_text_tokens,
            )
        return opened

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_encoder"}
