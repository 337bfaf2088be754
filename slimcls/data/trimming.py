"""A tokenizer with fewer tokens, in which every text still encodes.

What stays is closed: with a token stay all tokens that any merge makes it of. A text whose tokens
all stay is then encoded exactly as before, since each merge on the way to them is still there and
none came in between; any other text falls into more and shorter tokens, down to single bytes, which
always stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from slimcls.data.framing import with_description
from slimcls.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

#: What surrounds a text by naming tokens with their ids, and under which keys.
_PAIRS = {"BertProcessing": ("sep", "cls"), "RobertaProcessing": ("sep", "cls")}


class Vocabulary:
    """The tokens of a tokenizer and what they are made of.

    Raises UserError where the tokenizer is none that can lose tokens: only byte-pair encodings that
    keep to their merges can.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self._described = json.loads(tokenizer.backend_tokenizer.to_str())
        model = self._described["model"]
        _check_kind(model)
        self._merges = [(left, right) for left, right in model["merges"]]
        self._added = {token["content"]: token["id"] for token in self._described["added_tokens"]}
        self.ids: dict[str, int] = self._added | model["vocab"]
        self._names = {number: name for name, number in self.ids.items()}

    def least(self, needed: Iterable[int]) -> set[str]:
        """What always stays: single bytes, whatever else no merge makes, added tokens, ``needed``.

        Of those ids, and of the tokens that the tokenizer puts around a text, all parts stay too.
        """
        kept = {name for name in self.ids if name not in self._made} | set(self._added)
        kept |= self._around()
        for token in needed:
            kept |= self._parts(self._names[token])
        return kept

    def kept(self, counts: Mapping[int, int], most: int, needed: Iterable[int] = ()) -> list[int]:
        """The ids of the tokens that stay, ascending, ``most`` or a few less.

        Beside the :meth:`least` they are the most frequent by ``counts``, then those that the
        tokenizer has learnt first, which are the most frequent in texts of any kind.

        Raises UserError where the least are more.
        """
        kept = self.least(needed)
        if len(kept) > most:
            raise UserError(
                f"--vocabulary {most}: single bytes, special tokens and the prompt's are "
                f"{len(kept)} already; give at least as many"
            )
        counted = sorted(counts, key=lambda one: (-counts[one], one))
        for name in (*(self._names[token] for token in counted), *self._made):
            if len(kept) == most:
                break
            more = self._parts(name) - kept
            if len(kept) + len(more) <= most:
                kept |= more
        return sorted(self.ids[name] for name in kept)

    def tokenizer_of(self, kept: list[int]) -> PreTrainedTokenizerFast:
        """The tokenizer with these tokens alone, whose new ids are their places in the list."""
        new = {old: place for place, old in enumerate(kept)}
        described = json.loads(json.dumps(self._described))
        model = described["model"]
        vocab = {name: new[old] for name, old in model["vocab"].items() if old in new}
        model["vocab"] = vocab
        # Their order is their priority.
        model["merges"] = [
            [left, right]
            for left, right in self._merges
            if left in vocab and right in vocab and left + right in vocab
        ]
        for token in described["added_tokens"]:
            token["id"] = new[token["id"]]
        for step in _steps(described):
            _renumber(step, new)
        described["padding"] = None
        return with_description(self.tokenizer, described)

    def _around(self) -> set[str]:
        """Tokens that are put around every text."""
        found: set[str] = set()
        for step in _steps(self._described):
            for special in step.get("special_tokens", {}).values():
                for token in special["ids"]:
                    found |= self._parts(self._names[token])
            found |= {step[key][0] for key in _PAIRS.get(step["type"], ())}
        return found

    @cached_property
    def _made(self) -> dict[str, list[tuple[str, str]]]:
        """Of each token that merges make, its two parts, by each of the merges."""
        made: dict[str, list[tuple[str, str]]] = {}
        for left, right in self._merges:
            made.setdefault(left + right, []).append((left, right))
        return made

    def _parts(self, name: str) -> set[str]:
        """A token with all that it may be made of."""
        found, left = set[str](), [name]
        while left:
            one = left.pop()
            if one not in found:
                found.add(one)
                left += (part for pair in self._made.get(one, ()) for part in pair)
        return found


def _check_kind(model: dict[str, Any]) -> None:
    if model["type"] != "BPE":
        raise UserError(
            f"--vocabulary: the model's tokenizer is a {model['type']}, and only one of byte-pair "
            "merges (BPE) can lose tokens without changing texts that have none of them"
        )
    if model.get("ignore_merges"):
        raise UserError(
            "--vocabulary: the model's tokenizer takes whole words past its merges (ignore_merges):"
            " what a text becomes without some of them cannot be told"
        )
    if model.get("continuing_subword_prefix"):
        raise UserError(
            "--vocabulary: the model's tokenizer marks the middle of words "
            "(continuing_subword_prefix), which merges take away: it cannot lose tokens"
        )


def _steps(described: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a tokenizer's post-processor."""
    processor = described["post_processor"]
    if processor is None:
        return []
    steps: list[dict[str, Any]] = processor.get("processors", [processor])
    return steps


def _renumber(step: dict[str, Any], new: Mapping[int, int]) -> None:
    for special in step.get("special_tokens", {}).values():
        special["ids"] = [new[old] for old in special["ids"]]
    for key in _PAIRS.get(step["type"], ()):
        name, old = step[key]
        step[key] = [name, new[old]]
