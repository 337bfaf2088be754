"""The tokenizers library alone gives the ids that transformers gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slimcls import UserError
from slimcls.backbones import sources
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.data.encoding import TextEncoder
from slimcls.data.fast_tokenizer import FastTokenizer
from slimcls.exporting.parity import ODD

TEXTS = list(ODD)


@pytest.fixture(scope="module", params=["tiny-gpt2", "tiny-opt", "tiny-llama"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    theirs = open_tokenizer(sources.find(request.param, None))
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    theirs.backend_tokenizer.save(str(path))
    return theirs, FastTokenizer(path)


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("most", [None, 5, 40])
def test_the_same_ids_and_offsets(both: Any, special: bool, most: int | None) -> None:
    cut: dict[str, Any] = {"truncation": most is not None, "max_length": most}
    theirs, ours = (
        tokenizer(TEXTS, add_special_tokens=special, return_offsets_mapping=True, **cut)
        for tokenizer in both
    )
    assert ours["input_ids"] == theirs["input_ids"]
    assert ours["offset_mapping"] == theirs["offset_mapping"]
    assert both[1](TEXTS[2], **cut)["input_ids"] == both[0](TEXTS[2], **cut)["input_ids"]


def test_what_encoders_ask(both: Any) -> None:
    theirs, ours = both
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.num_special_tokens_to_add() == theirs.num_special_tokens_to_add()
    encoders = [TextEncoder(one, context=64, max_text_tokens=9) for one in both]
    assert encoders[0].encode(TEXTS) == encoders[1].encode(TEXTS)


def test_no_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"model": 1}')
    with pytest.raises(UserError, match=r"tokenizer.json: is no tokenizer \("):
        FastTokenizer(tmp_path / "tokenizer.json")
