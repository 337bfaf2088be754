"""Tokenizers that treat every text as text and give every text at least one token."""

from __future__ import annotations

from typing import Any, cast

from transformers import PretrainedConfig, PreTrainedTokenizerFast

from slimcls.backbones.families import context_of
from slimcls.backbones.sources import Source
from slimcls.backbones.truncate import read_config
from slimcls.errors import UserError
from slimcls.storage.memory import hand_back

#: Given while opening, because only what is given then is saved with the tokenizer.
_SAVED = {"padding_side": "right", "truncation_side": "right", "split_special_tokens": True}


def open_tokenizer(source: Source, *, never_empty: bool = True) -> PreTrainedTokenizerFast:
    """The model's tokenizer, set up so that plain transformers gives the same ids after saving.

    Padding and truncation are at the right, the pad token is set (the model's own, else its end
    token), ``model_max_length`` is the model's context, and special tokens written out in a text
    are ordinary characters: the pad token's id never occurs in a text's own tokens, so that the
    last token that is not padding is the text's last.

    Args:
        source: Where the tokenizer's files are.
        never_empty: Whether a tokenizer that gives no token for the empty text shall put its
            start token in front of every text. Needed where texts go in without a prompt: a
            tokenizer's file can say "always" but not "for the empty text".

    Raises:
        UserError: no tokenizer in the folder, or one that does not fit the model.
    """
    config = read_config(source)
    tokenizer = stored_tokenizer(source, **_SAVED)
    hand_back()
    check_tokenizer(tokenizer, config, source.name)
    _set_pad_token(tokenizer, source)
    tokenizer.model_max_length = min(tokenizer.model_max_length, context_of(config))
    if never_empty and not tokenizer("")["input_ids"]:
        _put_start_token(tokenizer)
    return cast("PreTrainedTokenizerFast", tokenizer)


def check_tokenizer(tokenizer: Any, config: PretrainedConfig, name: str) -> None:
    """Raise UserError where a tokenizer is not of the model with this configuration.

    ``name`` is what errors call the model.
    """
    most = max(tokenizer.get_vocab().values(), default=0)
    if most >= config.vocab_size:
        raise UserError(
            f"{name}: tokenizer has token id {most}, the model {config.vocab_size} tokens; "
            "take both from the same model"
        )
    if not isinstance(tokenizer.model_max_length, int | float):
        raise UserError(f"{name}: its tokenizer's model_max_length is no number")


def stored_tokenizer(source: Source, **given: Any) -> Any:
    """The model's tokenizer as its files have it, but for what is ``given``.

    Code that a model brings along is never run. Raises UserError as :func:`open_tokenizer` does.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            source.folder, trust_remote_code=False, local_files_only=True, **given
        )
    except Exception as error:  # transformers and tokenizers raise many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise UserError(f"{source.name}: cannot open its tokenizer: {reason}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(f"{source.name}: its tokenizer has no tokenizer.json and no way to get one")
    if not isinstance(tokenizer.model_max_length, int | float):
        raise UserError(
            f"{source.name}: tokenizer_config.json has a model_max_length that is no number: "
            f"{str(tokenizer.model_max_length)[:40]}"
        )
    if not len(tokenizer) or not tokenizer("a", add_special_tokens=False)["input_ids"]:
        raise UserError(f"{source.name}: no tokenizer files beside config.json")
    return tokenizer


def _set_pad_token(tokenizer: Any, source: Source) -> None:
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise UserError(f"{source.name}: its tokenizer has neither a pad nor an end token")
        tokenizer.pad_token = tokenizer.eos_token


def _put_start_token(tokenizer: Any) -> None:
    """A start token before every text, in the tokenizer's file and so for whoever opens it."""
    if tokenizer.bos_token is None:
        tokenizer.bos_token = tokenizer.eos_token or tokenizer.pad_token
    tokenizer.add_bos_token = True
