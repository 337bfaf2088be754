"""The packaged models, converted."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from data.shared_data import data_dir
from safetensors.torch import load_file, save_file

from slimcls.backbones import sources
from slimcls.backbones.families import blocks_of
from slimcls.backbones.packaged import PACKAGED, parts_of, write_card
from slimcls.backbones.streamed import Streamed, write_streamed
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.backbones.truncate import open_cut
from slimcls.errors import UserError


@pytest.fixture(scope="module")
def source() -> sources.Source:
    """SmolLM2-135M, converted into the tests' cache."""
    return sources.find("smollm2-135m")


def test_folder_is_plain(source: sources.Source):
    config = json.loads((source.folder / "config.json").read_text())
    assert config["model_type"] == "llama"
    assert config["num_hidden_layers"] == 30
    assert config["tie_word_embeddings"] is True
    assert "quantization_config" not in config
    assert source.note == "4-bit weights expanded"
    assert source.weights[0].stat().st_size == pytest.approx(134_515_008 * 4, rel=0.001)


def test_weights_are_the_packages(source: sources.Source):
    """Two layers' tensors against the gguf package's own expansion, rotary order restored."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    tensors = {tensor.name: tensor for tensor in GGUFReader(parts_of("smollm2-135m")[0]).tensors}

    def expanded(name: str) -> torch.Tensor:
        return torch.from_numpy(dequantize(tensors[name].data, tensors[name].tensor_type).copy())

    cut = open_cut(source, (0, 29), head="lm")
    for place, layer in ((0, 0), (1, 29)):
        block = blocks_of(cut)[place]
        for theirs, ours in (("ffn_up", block.mlp.up_proj), ("attn_v", block.self_attn.v_proj)):
            assert torch.equal(ours.weight, expanded(f"blk.{layer}.{theirs}.weight"))
        rotated = expanded(f"blk.{layer}.attn_k.weight").view(3, 32, 2, 576).transpose(1, 2)
        assert torch.equal(block.self_attn.k_proj.weight, rotated.reshape(192, 576))
    assert torch.equal(cut.model.embed_tokens.weight, expanded("token_embd.weight"))
    assert torch.equal(cut.model.norm.weight, expanded("output_norm.weight"))


def test_each_digit_is_a_token(source: sources.Source):
    tokenizer = open_tokenizer(source)
    ids = tokenizer("in 2024 and 31415", add_special_tokens=False)["input_ids"]
    pieces = [tokenizer.decode([i]) for i in ids]
    assert pieces == ["in", " ", *"2024", " and", " ", *"31415"]
    assert tokenizer.pad_token_id == 2
    assert tokenizer.model_max_length == 8192


def test_it_speaks_english(source: sources.Source):
    """A wrong order of rotary dimensions, or a wrong norm, would leave noise."""
    tokenizer = open_tokenizer(source)
    model = open_cut(source, range(30), head="lm")
    text = tokenizer("The capital of France is", return_tensors="pt")
    with torch.no_grad():
        best = int(model(**text).logits[0, -1].argmax())
    assert tokenizer.decode([best]) == " Paris"


@pytest.fixture(scope="module")
def gemma() -> sources.Source:
    """Gemma 3 270M, converted into the tests' cache; skips where its packages are not there."""
    try:
        parts_of("gemma3-270m")
    except UserError as error:
        pytest.skip(f"{error}; 233 MB, which CI does without")
    return sources.find("gemma3-270m")


@pytest.fixture(scope="module")
def packed(gemma: sources.Source, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Gemma's GGUF file, opened by the gguf package."""
    from gguf import GGUFReader

    whole = tmp_path_factory.mktemp("gemma") / "model.gguf"
    whole.write_bytes(b"".join(part.read_bytes() for part in parts_of("gemma3-270m")))
    assert whole.stat().st_size == 253_113_024
    return GGUFReader(whole)


@pytest.mark.slow
def test_gemma_is_plain(gemma: sources.Source):
    config = json.loads((gemma.folder / "config.json").read_text())
    assert config["model_type"] == "gemma3_text"
    assert (config["num_hidden_layers"], config["vocab_size"]) == (18, 262_144)
    assert config["tie_word_embeddings"] is True
    full = [5, 11, 17]
    assert config["layer_types"] == [
        "full_attention" if layer in full else "sliding_attention" for layer in range(18)
    ]
    assert {k: v["rope_theta"] for k, v in config["rope_parameters"].items()} == {
        "full_attention": 1e6, "sliding_attention": 1e4,
    }  # fmt: skip
    assert not {"quantization_config", "_name_or_path"} & config.keys()
    assert gemma.note == "4- to 8-bit weights expanded"
    assert gemma.weights[0].stat().st_size == pytest.approx(268_098_176 * 4, rel=0.001)
    names = {path.name for path in gemma.folder.iterdir()}
    assert names == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip


@pytest.mark.slow
def test_gemmas_weights_are_the_packages(gemma: sources.Source, packed: Any):
    """A layer of each kind against the gguf package's own expansion; norms count from 1 there."""
    from gguf.quants import dequantize

    tensors = {tensor.name: tensor for tensor in packed.tensors}

    def expanded(name: str, rows: slice = slice(None)) -> torch.Tensor:
        data = tensors[name].data[rows]
        return torch.from_numpy(dequantize(data, tensors[name].tensor_type).copy())

    cut = open_cut(gemma, (0, 5), head="lm")
    for place, layer in ((0, 0), (1, 5)):
        block = blocks_of(cut)[place]
        for theirs, ours in (
            ("ffn_up", block.mlp.up_proj), ("ffn_down", block.mlp.down_proj),
            ("attn_q", block.self_attn.q_proj), ("attn_v", block.self_attn.v_proj),
            ("attn_output", block.self_attn.o_proj),
        ):  # fmt: skip
            assert torch.equal(ours.weight, expanded(f"blk.{layer}.{theirs}.weight"))
        for theirs, ours in (
            ("attn_norm", block.input_layernorm), ("attn_q_norm", block.self_attn.q_norm),
            ("post_ffw_norm", block.post_feedforward_layernorm),
        ):  # fmt: skip
            assert torch.equal(ours.weight + 1, expanded(f"blk.{layer}.{theirs}.weight"))
    for rows in (slice(0, 300), slice(131_000, 131_300), slice(262_000, 262_144)):
        found = cut.model.embed_tokens.weight[rows]
        assert torch.equal(found, expanded("token_embd.weight", rows))


#: Text -> pieces of Gemma 3's tokenizer, behind its start token.
GEMMA_SPLITS = {
    "Hello world": [9259, 1902],
    "The capital of France is": [818, 5279, 529, 7001, 563],
    "in 2024 and 31415": ["in", "▁", *"2024", "▁and", "▁", *"31415"],
    "a  b   c": ["a", "▁▁", "b", "▁▁▁", "c"],
    "one\n\ntwo\tthree": ["one", "\n\n", "two", "\t", "three"],
    "Hello've world23 HOW's are yous?": [
        "Hello", "'", "ve", "▁world", *"23", "▁HOW", "'", "s", "▁are", "▁you", "s", "?",
    ],
    "\U0001fae9": ["<0xF0>", "<0x9F>", "<0xAB>", "<0xA9>"],
    "": [],
}  # fmt: skip


@pytest.mark.slow
def test_gemmas_tokenizer_splits_as_it_is_known_to(gemma: sources.Source):
    tokenizer = open_tokenizer(gemma)
    for text, known in GEMMA_SPLITS.items():
        start, *ids = tokenizer(text)["input_ids"]
        assert start == tokenizer.bos_token_id == 2
        assert known in (ids, tokenizer.convert_ids_to_tokens(ids)), text
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1)
    assert tokenizer.model_max_length == 32_768
    # Special tokens that are written out are text.
    assert 105 not in tokenizer("<start_of_turn>user")["input_ids"]


def best_merges(text: str, scores: dict[str, float]) -> list[str]:
    """SentencePiece's own rule: of all neighbours, those whose union has the best score merge."""
    pieces = list(text.replace(" ", "▁"))
    while True:
        pairs = [
            (-scores[a + b], place)
            for place, (a, b) in enumerate(pairwise(pieces))
            if a + b in scores
        ]
        if not pairs:
            return pieces
        _, place = min(pairs)
        pieces[place : place + 2] = ["".join(pieces[place : place + 2])]


@pytest.mark.slow
def test_gemmas_merges_are_those_of_its_scores(gemma: sources.Source, packed: Any):
    """On questions and on made-up words; runs of blanks and lines are checked above."""
    import pyarrow.parquet as pq

    fields = packed.fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    rated = zip(tokens, fields["tokenizer.ggml.scores"].contents(), kinds, strict=True)
    scores = {token: score for token, score, kind in rated if kind == 1}
    questions = pq.read_table(data_dir() / "trec" / "train.parquet")["text"].to_pylist()
    chooser = random.Random(4)
    letters = "abcdefgéñßжщ日本 '-0123456789.,ABC"
    made = ["".join(chooser.choices(letters, k=20)).replace("  ", " ") for _ in range(80)]
    tokenizer = open_tokenizer(gemma)
    texts = [" ".join(text.split()) for text in (*chooser.sample(questions, 80), *made)]
    for text in texts:
        found = tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"][1:])
        assert found == best_merges(text, scores), text


@pytest.mark.slow
def test_gemma_speaks_english(gemma: sources.Source):
    tokenizer = open_tokenizer(gemma)
    model = open_cut(gemma, range(18), head="lm")
    text = tokenizer("The capital of France is", return_tensors="pt")
    sentence = tokenizer(
        "The committee met on Tuesday to discuss the new budget for schools in the city.",
        return_tensors="pt",
    )
    with torch.no_grad():
        best = model(**text).logits[0, -1].topk(5).indices.tolist()
        loss = model(**sentence, labels=sentence["input_ids"]).loss.item()
    assert " Paris" in [tokenizer.decode([token]) for token in best]
    assert loss < 3, "2.74 when it was converted; noise has 12.5"


@pytest.mark.parametrize("name", PACKAGED)
def test_a_name_brings_no_notice_where_there_are_no_terms(name: str, tmp_path: Path):
    row = PACKAGED[name]
    write_card(tmp_path, "# A model\n", name)
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("# A model\n")
    assert (tmp_path / "NOTICE").exists() == (row.terms is not None) == ("Terms" in card)
    if row.terms:
        # The very words that the terms ask for, as a sentence of their own.
        assert "subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms." in card
        assert (tmp_path / "NOTICE").read_text().startswith(f"{row.terms.notice}.\n")


def test_streamed_files_are_those_of_the_library(tmp_path: Path):
    whole = {"a": torch.randn(300, 8), "b.weight": torch.arange(5.0), "c": torch.zeros(0, 3)}
    save_file(whole, tmp_path / "theirs", metadata={"format": "pt"})

    def pieces(tensor: torch.Tensor) -> Any:
        return lambda: [part.numpy().data for part in tensor.split(7)]

    ours = {n: Streamed("F32", tuple(t.shape), t.nbytes, pieces(t)) for n, t in whole.items()}
    write_streamed(tmp_path / "ours", ours)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert torch.equal(load_file(tmp_path / "ours")["a"], whole["a"])
    short = {"a": Streamed("F32", (2,), 8, lambda: [b"1234"])}
    with pytest.raises(RuntimeError, match="a has 4 bytes, not 8"):
        write_streamed(tmp_path / "short", short)
