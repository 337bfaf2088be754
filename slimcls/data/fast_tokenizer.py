"""A tokenizer.json by the tokenizers library alone, called as a tokenizer of transformers is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer

from slimcls.errors import UserError


class FastTokenizer:
    """What encoders ask of a tokenizer, with the same ids and without transformers.

    Special tokens written out in a text are ordinary characters. Threads may share one: no call
    changes it. ``source`` is a file, or what one holds. Raises UserError where it is no tokenizer.
    """

    def __init__(self, source: Path | str) -> None:
        try:
            if isinstance(source, Path):
                self.backend_tokenizer = Tokenizer.from_file(str(source))
            else:
                self.backend_tokenizer = Tokenizer.from_str(source)
        except Exception as error:  # the library raises plain ones
            reason = str(error).strip().partition("\n")[0][:160]
            what = source if isinstance(source, Path) else "what is kept as a tokenizer"
            raise UserError(f"{what}: is no tokenizer ({reason})") from None
        self.backend_tokenizer.no_padding()
        self.backend_tokenizer.no_truncation()
        self.backend_tokenizer.encode_special_tokens = True

    def __call__(
        self,
        text: str | list[str],
        *,
        add_special_tokens: bool = True,
        truncation: bool = False,
        max_length: int | None = None,
        return_offsets_mapping: bool = False,
        **_: bool,
    ) -> dict[str, list[Any]]:
        """``input_ids`` and, where wanted, ``offset_mapping``: of one text, or a list each."""
        texts = [text] if isinstance(text, str) else text
        found = self._encoded(texts, add_special_tokens, max_length if truncation else None)
        said: dict[str, list[Any]] = {"input_ids": [one.ids for one in found]}
        if return_offsets_mapping:
            said["offset_mapping"] = [one.offsets for one in found]
        return {name: rows[0] for name, rows in said.items()} if isinstance(text, str) else said

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Tokens that are put around every text, or every pair of texts."""
        return self.backend_tokenizer.num_special_tokens_to_add(is_pair=pair)

    def get_vocab(self) -> dict[str, int]:
        """Ids by their tokens."""
        return self._vocabulary

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        return self.backend_tokenizer.get_vocab()

    def _encoded(self, texts: Sequence[str], special: bool, most: int | None) -> list[Encoding]:
        found = self.backend_tokenizer.encode_batch(
            texts, add_special_tokens=special and most is None
        )
        if most is not None:
            # The library's own truncation is a state of the tokenizer, which threads share.
            for one in found:
                one.truncate(most - special * self.num_special_tokens_to_add())
            found = [self.backend_tokenizer.post_process(one, None, special) for one in found]
        return found
