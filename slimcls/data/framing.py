"""A tokenizer that puts a prompt around every text by itself, in whatever program opens its file.

The file says three things more than the model's own. Its normaliser strips a text, and puts the
blank in front that the prompt has there. Its template has two special tokens more, which stand for
all tokens before and after the text. Tokens that are looked for in texts are looked for once the
text is stripped, or each stretch between two of them would be taken for a text of its own.

A tokenizer of text pairs has the prompt in its template for pairs, with a third such token between
both texts; its template for a text alone stays as it was.

Tokens before, in and after a text are then made apart: for a template as of "Review: {text}", a
line end and "Mood:", they are those of the prompt as one string wherever no token reaches across
the seams.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from slimcls.data.cutting import tokens_of

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerFast

#: The template's tokens that stand for what is before and after the text.
BEFORE, AFTER = "[slimcls: before the text]", "[slimcls: after the text]"
BETWEEN = "[slimcls: between the texts]"

#: What Python's ``str.strip`` takes away; and where a text begins and ends, as every dialect of
#: regular expressions says it.
_BLANKS = "[\t-\r\x1c- \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
_START, _END = r"(?<![\s\S])", r"(?![\s\S])"

#: Texts by which a tokenizer is tried: no sign at their ends that a tokenizer may join to a line
#: end behind it.
_PROBES = ("a", "The", "s", "1", "é", "中", "The rain, 12 days\nof it; it's\n\n  cold")

#: Ids before, between (of pairs alone) and after the texts.
_Ids = Sequence[list[int]]


def framed(
    tokenizer: PreTrainedTokenizerFast, before: str, after: str, between: str | None = None
) -> PreTrainedTokenizerFast | None:
    """A copy of a tokenizer that puts ``before`` and ``after`` around every text.

    With ``between`` it does so with every pair of texts, and puts that between both. None where
    this kind of tokenizer cannot: where it would not give the tokens of the prompt as one string
    for texts that begin and end in a letter or digit.
    """
    blank = " " if before.endswith(" ") else ""
    if between is not None and between.endswith(" ") is not bool(blank):
        return None
    ids = _ids_around(tokenizer, [before, *([] if between is None else [between]), after], blank)
    made = ids and _made(tokenizer, ids, blank)
    if not made:
        return None
    if between is None:
        prompts = [f"{before}{probe}{after}" for probe in _PROBES]
        same = tokens_of(made, _PROBES) == tokens_of(tokenizer, prompts)
    else:
        seconds = _PROBES[::-1]
        pairs = zip(_PROBES, seconds, strict=True)
        prompts = [f"{before}{first}{between}{second}{after}" for first, second in pairs]
        same = made(list(_PROBES), list(seconds))["input_ids"] == tokens_of(tokenizer, prompts)
    return made if same else None


def joined(tokenizer: PreTrainedTokenizerFast, between: str) -> PreTrainedTokenizerFast | None:
    """A copy of a tokenizer that puts ``between`` between both texts of a pair, and no prompt.

    The tokens of all three are those of each alone, whatever the tokenizer makes of them as one
    string. None where the tokenizer puts tokens around texts in a way that is not known here.
    """
    (ids,) = tokens_of(tokenizer, [between], whole=False)
    return _made(tokenizer, [[], ids, []], "")


def _made(
    tokenizer: PreTrainedTokenizerFast, ids: _Ids, blank: str
) -> PreTrainedTokenizerFast | None:
    """A copy of a tokenizer that puts these ids around texts, each stripped, ``blank`` before it.

    None where it puts tokens around texts already, in a way that is not known here.
    """
    normalizer, processor = _parts(tokenizer)
    steps = _steps(processor)
    if steps is None:
        return None
    looked_for = [token.content for token in _added(tokenizer) if not token.special]
    ours = _normaliser(blank, looked_for)
    normalizer = {"type": "Sequence", "normalizers": [ours, *([normalizer] if normalizer else [])]}
    return _with_parts(tokenizer, normalizer, _joined(_around(steps, tokenizer, ids)))


def unframed(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """A copy of a tokenizer that :func:`framed` or :func:`joined` made, without the prompt.

    It gives a text the ids of the tokenizer that was framed.
    """
    normalizer, processor = _parts(tokenizer)
    assert normalizer is not None
    _, *own = normalizer["normalizers"]
    for step in _steps(processor) or []:
        if step["type"] == "TemplateProcessing":
            for form in ("single", "pair"):
                step[form] = [part for part in step[form] if not _is_ours(part)]
            for name in (BEFORE, BETWEEN, AFTER):
                step["special_tokens"].pop(name, None)
    return _with_parts(tokenizer, own[0] if own else None, processor)


def ids_around(tokenizer: PreTrainedTokenizerFast, *, pair: bool = False) -> _Ids | None:
    """Ids before and after every text, the tokenizer's own beginning and end included.

    With ``pair``, those before, between and after the texts of every pair. None for a tokenizer
    that has no prompt for such.
    """
    form = "pair" if pair else "single"
    _, processor = _parts(tokenizer)
    found: list[list[int]] = []
    for step in _steps(processor) or []:
        if step["type"] != "TemplateProcessing":
            continue
        if found or not any(map(_is_ours, step[form])):
            return None
        found = [[]]
        for part in step[form]:
            if "Sequence" in part:
                found.append([])
            else:
                found[-1].extend(step["special_tokens"][part["SpecialToken"]["id"]]["ids"])
    return found or None


def _ids_around(
    tokenizer: PreTrainedTokenizerFast, around: Sequence[str], blank: str
) -> _Ids | None:
    """Ids of what stands around the texts, as they are around a letter.

    None where they are not apart from those of texts.
    """
    *befores, after = around
    begun = ["".join(f"{some}a" for some in befores[: count + 1]) for count in range(len(befores))]
    texts = [f"{blank}a", *begun, f"{begun[-1]}{after}"]
    text, *found = tokens_of(tokenizer, texts, whole=False)
    ids: list[list[int]] = []
    last: list[int] = []
    for place, whole in enumerate(found):
        ends = len(whole) if place == len(befores) else len(whole) - len(text)
        if whole[: len(last)] != last or (place < len(befores) and whole[ends:] != text):
            return None
        ids.append(whole[len(last) : ends])
        last = whole
    return ids


def _steps(processor: dict[str, Any] | None) -> list[dict[str, Any]] | None:
    """What adds tokens to a text's, and what adds none; None for kinds that are not known here."""
    if processor is None:
        return []
    steps = processor["processors"] if processor["type"] == "Sequence" else [processor]
    known = all(step["type"] in ("ByteLevel", "TemplateProcessing") for step in steps)
    return steps if known else None


def _around(
    steps: list[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, ids: _Ids
) -> list[dict[str, Any]]:
    """The steps with the prompt's ids next to the text, inside of the tokenizer's own."""
    template = next((step for step in steps if step["type"] == "TemplateProcessing"), None)
    if template is None:
        text, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
        template = {"type": "TemplateProcessing", "single": [text], "pair": [text, second]}
        template["special_tokens"] = {}
        steps = [*steps, template]
    names = (BEFORE, AFTER) if len(ids) == 2 else (BEFORE, BETWEEN, AFTER)
    parts = []
    for part in template["single"]:
        around = [part]
        if "Sequence" in part:
            around = [_special(names[0])] if ids[0] else []
            for letter, name, some in zip("AB", names[1:], ids[1:], strict=False):
                around.append({"Sequence": {"id": letter, "type_id": 0}})
                around += [_special(name)] if some else []
        parts += around
    template["single" if len(ids) == 2 else "pair"] = parts
    for name, some in zip(names, ids, strict=True):
        if some:
            tokens = tokenizer.convert_ids_to_tokens(some)
            template["special_tokens"][name] = {"id": name, "ids": some, "tokens": tokens}
    return steps


def _joined(steps: list[dict[str, Any]]) -> dict[str, Any]:
    return steps[0] if len(steps) == 1 else {"type": "Sequence", "processors": steps}


def _special(name: str) -> dict[str, Any]:
    return {"SpecialToken": {"id": name, "type_id": 0}}


def _is_ours(part: dict[str, Any]) -> bool:
    return part.get("SpecialToken", {}).get("id") in (BEFORE, BETWEEN, AFTER)


def _normaliser(blank: str, whole: list[str]) -> dict[str, Any]:
    """Strips a text, and puts ``blank`` before what is left.

    What is nothing but one of the tokens ``whole`` stays as it is: these steps are applied to the
    tokens themselves, too, before they are looked for.
    """
    names = f"(?:{'|'.join(map(re.escape, whole))}){_END}"
    other = f"(?!{_START}{names})" if whole else ""
    # Looking back makes a long stretch of blanks be tried once, and not from each blank on.
    steps = [
        _replacing(f"(?<!{_BLANKS}){other}{_BLANKS}+{_END}"),
        _replacing(f"{_START}{other}{_BLANKS}+"),
    ]
    if blank:
        steps.append({"type": "Prepend", "prepend": blank})
        # The library counts wrongly where an expression that matches no character puts one in.
        steps += [_replacing(f"{_START}{blank}(?={names})")] * bool(whole)
    return {"type": "Sequence", "normalizers": steps}


def _replacing(pattern: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": ""}


def _parts(
    tokenizer: PreTrainedTokenizerFast,
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Normaliser and post-processor, as tokenizer.json has them.

    Of these alone: with its vocabulary a whole tokenizer.json may take hundreds of megabytes.
    """
    held = tokenizer.backend_tokenizer
    normalizer, processor = (
        None if part is None else json.loads(part.__getstate__())
        for part in (held.normalizer, held.post_processor)
    )
    return normalizer, processor


def _added(tokenizer: PreTrainedTokenizerFast) -> list[AddedToken]:
    """What was added to the model's own vocabulary, by id."""
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder()
    return [added[place] for place in sorted(added)]


def _with_parts(
    tokenizer: PreTrainedTokenizerFast,
    normalizer: dict[str, Any] | None,
    processor: dict[str, Any] | None,
) -> PreTrainedTokenizerFast:
    """A tokenizer like this one but for two parts; both have one vocabulary in memory.

    What is looked for in texts is looked for once they are normalised.
    """
    from tokenizers import AddedToken, Tokenizer

    old = tokenizer.backend_tokenizer
    parts = Tokenizer.from_str(
        json.dumps(
            {
                "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
                "normalizer": normalizer, "pre_tokenizer": None, "post_processor": processor,
                "decoder": None, "model": {"type": "WordLevel", "vocab": {"": 0}, "unk_token": ""},
            }
        )
    )  # fmt: skip
    made = Tokenizer(old.model)
    made.normalizer, made.post_processor = parts.normalizer, parts.post_processor
    made.pre_tokenizer, made.decoder = old.pre_tokenizer, old.decoder
    made.add_tokens(
        [
            AddedToken(
                token.content, single_word=token.single_word, lstrip=token.lstrip,
                rstrip=token.rstrip, normalized=not token.special or token.normalized,
                special=token.special,
            )
            for token in _added(tokenizer)
        ]
    )  # fmt: skip
    return _like(tokenizer, made)


def with_description(
    tokenizer: PreTrainedTokenizerFast, described: dict[str, Any]
) -> PreTrainedTokenizerFast:
    """A tokenizer like this one, with the parts that tokenizer.json describes so."""
    from tokenizers import Tokenizer

    return _like(tokenizer, Tokenizer.from_str(json.dumps(described)))


def _like(tokenizer: PreTrainedTokenizerFast, made: Tokenizer) -> PreTrainedTokenizerFast:
    """With the settings of another one.

    Its class is the plain one: those of single models build parts of their own when they are
    opened, whatever the file says.
    """
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=tokenizer.model_max_length,
        model_input_names=["input_ids", "attention_mask"],
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        split_special_tokens=tokenizer.split_special_tokens,
        **tokenizer.special_tokens_map,
    )
