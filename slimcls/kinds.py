"""The kinds of classifiers by the names that settings, artefacts and results share."""

from __future__ import annotations

from typing import Literal, get_args

#: How a decoder classifies; ``classifier/modes.py`` has a strategy for each.
ModeName = Literal["lm", "p-cls", "cls"]
#: Losses of mode lm, the default first; ``classifier/modes.py`` has a row for each.
LossName = Literal["label-words", "label-token", "sequence"]

LM_LOSSES: tuple[LossName, ...] = get_args(LossName)

#: Bits of a number in a model as it was trained, and all that an exported one may have;
#: ``exporting/bits.py`` has how there are fewer.
WHOLE = 32
BITS = (WHOLE, 8, 4)

#: Rivals that train no layer and take seconds, by the names of their methods, as people call them;
#: the smallest first, as a rule. ``rivals/methods.py`` has a row for each.
CHEAP = {"majority": "majority class", "tfidf": "TF-IDF", "embeddings": "mean of the embeddings"}

#: The method of a cut that is not trained: its first layers, frozen, and logistic regression on the
#: mean over a text's tokens.
MEAN_PROBE = "mean-probe"


def in_a_sentence(name: str) -> str:
    """What a classifier is called, inside a sentence: the article is that of a cheap rival."""
    return f"the {name}" if name in CHEAP.values() and name.islower() else name
