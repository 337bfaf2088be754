"""What holds for the first four families holds for every other row, on one tiny model each."""

from __future__ import annotations

import json
import shutil
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from backbones.made_models import BATTERY, composed, ids, make, saved, saved_for_backward, streams
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from slimcls import RunConfig, load
from slimcls.backbones import sizes, tiny
from slimcls.backbones.families import base_of, blocks_of, family_of, final_norm_of, parts_of
from slimcls.backbones.redraw import drawn_blocks
from slimcls.backbones.saved import NEEDS_PROMPT
from slimcls.backbones.sizes import TrainingStep
from slimcls.backbones.sources import Source
from slimcls.backbones.truncate import open_cut
from slimcls.backbones.vocabulary import Compact, in_use
from slimcls.classifier.exits import add_exits, exits_of, read_states
from slimcls.classifier.leaving import leave_early
from slimcls.classifier.modes import make_mode
from slimcls.classifier.prefix import Prefix
from slimcls.classifier.trunk import last_tokens, read_prefix
from slimcls.data.batches import Batch, collate
from slimcls.errors import UserError
from slimcls.layers.criteria import measure_together
from slimcls.layers.losses import text_losses
from slimcls.layers.samples import Sample
from slimcls.pruning.views import only_layers
from slimcls.train import train
from slimcls.training.depths import states_at_depths
from slimcls.training.tuning import add_lora

LABELS = ("yes", "no", "perhaps")
WORDS = [[30], [31, 44], [40, 9]]
PREFIX = [5, 17, 33, 20, 9, 41]
CHOSEN = (0, 2, 3)
QUERIES = [ids(size, 1)[0].tolist() for size in (7, 1, 12, 4)]


class Row:
    """A full tiny model, its folder, and its cuts, each opened once; none is changed."""

    def __init__(self, name: str, folder: Path) -> None:
        self.full: Any = make(name)
        self.source: Source = saved(self.full, folder)
        self.family = family_of(self.full.config)
        self.heads: list[Any] = ["lm", "classification"] if self.family.classifies else ["lm"]
        self._cuts: dict[Any, Any] = {}

    def cut(self, layers: tuple[int, ...], head: str, dtype: torch.dtype = torch.float32) -> Any:
        key = (layers, head, dtype)
        if key not in self._cuts:
            self._cuts[key] = open_cut(
                self.source, layers, head=head, labels=LABELS, dtype=dtype, pad_token_id=1
            )  # type: ignore[arg-type]
        return self._cuts[key]

    def modes(self) -> list[Any]:
        """Every loss and head that this family has."""
        lm = [make_mode("lm", loss, WORDS) for loss in ("label-words", "label-token", "sequence")]
        return [*lm, make_mode("p-cls", None, ())] if self.family.classifies else lm


@pytest.fixture(scope="module", params=BATTERY)
def row(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Row:
    return Row(request.param, tmp_path_factory.mktemp(request.param))


def batch_of(items: list[list[int]]) -> Batch:
    return collate([(place, item, place % 3) for place, item in enumerate(items)], 1)


def test_row_leads_to_the_parts(row: Row) -> None:
    model, family = row.full, row.family
    assert len(blocks_of(model)) == getattr(model.config, family.depth_key) == 4
    assert attrgetter(family.embeddings)(base_of(model)) is model.get_input_embeddings()
    assert getattr(model, family.lm_head) is model.get_output_embeddings()
    assert (model.get_output_embeddings().bias is not None) == family.lm_head_bias
    assert final_norm_of(model) is not None
    for block in blocks_of(model):
        for path in (*family.lora_targets, family.attention_out):
            (projection,) = parts_of(block, path)
            assert isinstance(projection, torch.nn.Linear)
        for path in (family.mlp_out, family.mlp_in):
            assert parts_of(block, path)
    for path in (family.mlp_out, family.mlp_in, *family.per_token):
        for one in path.split("|"):
            optional = model.config.model_type == "granitemoehybrid" and "moe" in one
            assert optional or any(parts_of(block, one) for block in blocks_of(model))


def test_stream_after_first_layers_is_the_full_models(row: Row) -> None:
    with torch.no_grad(), streams(row.full) as theirs:
        row.full(input_ids=ids())
    for head in row.heads:
        cut = row.cut((0, 1), head)
        with torch.no_grad(), streams(cut) as ours:
            cut(input_ids=ids())
        assert all(torch.equal(ours[block], theirs[block]) for block in range(2))
        assert len(ours) == 2


@pytest.mark.parametrize("layers", [CHOSEN, (1,)])
def test_chosen_layers_equal_blocks_composed_by_hand(row: Row, layers: tuple[int, ...]) -> None:
    if row.family.name == "Ettin's decoder" and 0 not in layers:
        with pytest.raises(UserError, match="keep layer 0 too"):
            row.cut(layers, "lm")
        return
    with torch.no_grad():
        expected = composed(row.full, layers)(input_ids=ids()).logits
        assert torch.equal(row.cut(layers, "lm")(input_ids=ids()).logits, expected)
        assert not torch.equal(expected, row.full(input_ids=ids()).logits)


def test_saved_folder_opens_in_plain_transformers(row: Row, tmp_path: Path) -> None:
    kinds = (AutoModelForCausalLM, AutoModelForSequenceClassification)
    for head, kind in zip(row.heads, kinds, strict=False):
        cut = row.cut(CHOSEN, head)
        cut.save_pretrained(tmp_path / head)
        again, report = kind.from_pretrained(tmp_path / head, output_loading_info=True)
        assert not any(report.values())
        for kinds_of in ("layer_types", "attention_layers"):
            full = getattr(row.full.config, kinds_of, None)
            expected = [full[layer] for layer in CHOSEN] if full else None
            assert getattr(again.config, kinds_of, None) == expected
        with torch.no_grad():
            assert torch.equal(again(input_ids=ids()).logits, cut(input_ids=ids()).logits)


@pytest.mark.parametrize("name", ["granite-4", "lfm2"])
def test_a_cut_without_attention_answers_in_plain_transformers(name: str, tmp_path: Path) -> None:
    model = open_cut(saved(make(name), tmp_path / "full"), (0,), head="lm")
    assert model.config.layer_types[0] in ("conv", "linear_attention")
    model.save_pretrained(tmp_path / "cut")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "cut")
    with torch.no_grad():
        assert plain(ids()).logits.equal(model(ids()).logits)


def test_modes_say_what_the_plain_model_says(row: Row) -> None:
    """Logits are transformers' own, alone and in a padded batch, and each loss has a gradient."""
    for mode in row.modes():
        model, batch = row.cut((0, 1), mode.head), batch_of(QUERIES)
        with torch.no_grad():
            together = mode.logits(model, batch, None)[-1]
            alone = [mode.logits(model, batch_of([item]), None)[-1] for item in QUERIES]
            plain = [model(input_ids=torch.tensor([item])).logits for item in QUERIES]
        torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)
        if mode.head == "classification":
            torch.testing.assert_close(together, torch.cat(plain), atol=1e-5, rtol=1e-5)
        elif type(mode).__name__ != "WholePrompt":
            firsts = torch.stack([logits[0, -1, [30, 31, 40]] for logits in plain])
            torch.testing.assert_close(together, firsts, atol=1e-5, rtol=1e-5)
            with torch.no_grad():
                states = last_tokens(base_of(model), batch)[:, 0]  # type: ignore[arg-type]
                read = mode.linear_head(model)(states)
            torch.testing.assert_close(read, firsts, atol=1e-5, rtol=1e-5)
        model.zero_grad()
        mode.loss(model, batch, None).backward()
        first = next(blocks_of(model)[0].parameters()).grad
        assert first is not None
        assert first.abs().sum() > 0
        model.zero_grad()


def test_a_classifier_is_what_transformers_has_or_refused_with_the_reason(row: Row) -> None:
    mapping: Any = AutoModelForSequenceClassification._model_mapping
    found = mapping.get(type(row.full.config), None)
    with torch.device("meta"):
        head = getattr(found(row.full.config), "score", None) if found else None
    assert row.family.classifies == isinstance(head, torch.nn.Linear)
    if row.family.classifies:
        assert row.cut((0, 1), "classification").score.bias is None
        return
    with pytest.raises(UserError, match=f"{row.family.why_not_classes}.*--mode lm"):
        row.cut((0,), "classification")


def norm_of(tensors: list[torch.Tensor]) -> float:
    return float(torch.stack([tensor.norm() for tensor in tensors]).norm())


def test_shared_prefix_gives_the_same_states_and_gradients(row: Row) -> None:
    """Only the last token is read; norms compute in float32 whatever the model does."""
    model = row.cut((0, 1, 2), "lm", torch.float64)
    # The products of experts that transformers takes by default have no such type.
    model.set_experts_implementation("eager")
    base: Any = base_of(model)
    batch, whole = batch_of(QUERIES), batch_of([PREFIX + item for item in QUERIES])
    prefix = torch.tensor(PREFIX)
    hidden = base(input_ids=whole.input_ids, use_cache=False).last_hidden_state
    plain = hidden[torch.arange(len(QUERIES)), whole.lengths - 1]
    found = [plain, last_tokens(base, batch, Prefix(prefix))[:, 0], last_tokens(base, whole)[:, 0]]
    gradients = []
    for states in found:
        torch.testing.assert_close(states, plain, rtol=1e-5, atol=1e-5)
        model.zero_grad()
        states.square().sum().backward()
        gradients.append([p.grad.clone() for p in base.parameters() if p.grad is not None])
    model.zero_grad()
    for other in gradients[1:]:
        apart = [a - b for a, b in zip(gradients[0], other, strict=True)]
        assert norm_of(apart) / norm_of(gradients[0]) < 1e-5
    with torch.no_grad():
        before = last_tokens(base, batch, read_prefix(base, prefix))[:, 0]
    torch.testing.assert_close(before, plain, rtol=1e-5, atol=1e-5)


#: Of four items the second leaves at the first exit, the last of the others at the next.
LEAVES = [torch.tensor([False, True, False, False]), torch.tensor([False, False, True])]


def test_items_leave_on_their_way_up(row: Row) -> None:
    """Masks, positions and biases shrink with a batch, in the form in which the family has them."""
    model = open_cut(row.source, range(4), head="lm", pad_token_id=1)
    mode, batch = make_mode("lm", "label-words", WORDS), batch_of(QUERIES)
    add_exits(model, [1, 3])
    with torch.no_grad():
        for one in exits_of(model):
            for parameter in one.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator())
        for prefix in (None, read_prefix(base_of(model), torch.tensor(PREFIX))):  # type: ignore[arg-type]
            said = mode.logits(model, batch, prefix)
            left = leave_early(model, mode, batch, prefix, lambda exit_, _: LEAVES[exit_])
            assert left.ends.tolist() == [2, 0, 2, 1]
            told = said[left.ends, torch.arange(4)]
            torch.testing.assert_close(left.logits, told, atol=1e-5, rtol=1e-4)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_depths_and_exits_read_their_own_tokens_behind_a_prefix(row: Row) -> None:
    """Wherever the prefix stands, in front of all items once or of each."""
    model = open_cut(row.source, (0, 1, 2), head="lm", pad_token_id=1)
    base: Any = base_of(model)
    batch, prefix = batch_of(QUERIES), torch.tensor(PREFIX)
    add_exits(model, [1])
    with torch.no_grad():
        pooled = states_at_depths(base, batch, read_prefix(base, prefix))
        read = [
            read_states(model, batch, p)[0] for p in (Prefix(prefix), read_prefix(base, prefix))
        ]
        for place, item in enumerate(QUERIES):
            with streams(model) as seen:
                base(input_ids=torch.tensor([PREFIX + item]), use_cache=False)
            own = exits_of(model)[0].norm(seen[0])[0, len(PREFIX) :]
            for states in read:
                torch.testing.assert_close(states[place], own[-1], rtol=1e-4, atol=1e-5)
            expected = torch.stack([own[-1], own.mean(0)])
            torch.testing.assert_close(pooled[place, 1].float(), expected, rtol=2e-3, atol=2e-3)


def test_layers_that_a_model_is_looked_at_with_are_those_of_a_cut(row: Row) -> None:
    with torch.no_grad():
        expected = row.cut(CHOSEN, "lm")(input_ids=ids()).logits
        with only_layers(row.full, CHOSEN):
            assert torch.equal(row.full(input_ids=ids()).logits, expected)
            # A cache counts layers by their numbers.
            cached = row.full(input_ids=ids(), use_cache=True)
            assert cached.past_key_values.get_seq_length() == 12
            assert torch.equal(cached.logits, expected)


def test_rows_in_use_are_enough(row: Row) -> None:
    mode, batch = make_mode("lm", "label-words", WORDS), batch_of(QUERIES)
    model = open_cut(row.source, (0,), head="lm", pad_token_id=1)
    with torch.no_grad():
        before = mode.logits(model, batch, None)
        used = in_use([[1]], QUERIES, WORDS)
        compact = Compact(model, used)
        assert torch.equal(mode.logits(model, batch, None), before)
        compact.restore([], 0.0)
        assert torch.equal(mode.logits(model, batch, None), before)


def test_lora_trains_every_block(row: Row) -> None:
    model = open_cut(row.source, (0, 3), head="lm", pad_token_id=1)
    adapted = add_lora(model, rank=2, alpha=4, seed=0)
    trained = [name for name, p in adapted.named_parameters() if p.requires_grad]
    for target in row.family.lora_targets:
        for block in range(2):
            places = [f"{row.family.blocks}.{block}.{one}.lora_A" for one in target.split("|")]
            assert sum(place in name for name in trained for place in places) == 1


def test_criteria_and_losses_are_the_models(row: Row) -> None:
    texts = Sample(tuple(map(tuple, QUERIES)), tuple("abcd"))
    found = measure_together(row.full, texts, ["bi", "relative-magnitude"])
    for one in found.values():
        assert len(one.scores) == 4
        assert all(score > 0 for score in one.scores)
    with torch.no_grad():
        sums, counts = text_losses(row.full, batch_of(QUERIES[:1]))
        text = torch.tensor(QUERIES[:1])
        own = row.full(input_ids=text, labels=text).loss
    assert (sums / counts).item() == pytest.approx(own.item(), abs=1e-5)


def test_sizes_are_those_of_the_built_model(row: Row) -> None:
    config: Any = row.full.config
    base = base_of(row.full)
    counted = sizes.count(config, range(4)).params_full
    assert counted == sum(parameter.numel() for parameter in base.parameters())
    everything = sum(parameter.numel() for parameter in row.full.parameters())
    assert sizes.lm_head_params(config) == everything - counted
    for tokens in (16, 64):
        taken = saved_for_backward(base.train(), tokens, batch=4)
        base.eval()
        estimate = TrainingStep(config, 4, tokens, "32").memory(range(4), 0).activations
        assert 0.75 < estimate / taken < 1.35


#: A head with a bias, logits that are divided, and a prefix in every item of a model without a
#: longest text; blocks that are not alike, experts, and layers in front of the head.
RUNS = [
    ("phi", "lm"),
    ("granite", "lm"),
    ("bloom", "p-cls"),
    ("lfm2", "lm"),
    ("qwen3_moe", "p-cls"),
    ("modernbert-decoder", "lm"),
]


@pytest.mark.parametrize(("name", "mode"), RUNS)
def test_a_run_from_the_data_to_the_classifier(
    name: str, mode: str, toy: Path, tmp_path: Path
) -> None:
    model_type, settings = BATTERY[name]
    longer = {} if name == "bloom" else {"max_position_embeddings": 512}
    folder = tmp_path / "model"
    full = tiny.make_model(model_type, settings | longer | {"vocab_size": tiny.VOCABULARY})
    full.save_pretrained(folder)
    for file in tiny.build("tiny-llama").glob("*token*"):
        shutil.copy(file, folder)
    config = RunConfig(
        dataset=str(toy), model=str(folder), mode=mode, keep=2, shots=4, epochs=1,  # type: ignore[arg-type]
        max_text_tokens=16, out=str(tmp_path / "runs"),
    )  # fmt: skip
    result = train(config)
    description = json.loads((result.folder / "model" / "slimcls.json").read_text("utf-8"))
    assert description["answers_alone"] == (mode == "p-cls")
    classifier, texts = load(result.folder), ["rain and wind", "bread was cold today, near the old"]
    encoded = classifier.encoder.encode(texts).ids
    logits = classifier.logits(encoded)
    auto = AutoModelForCausalLM if mode == "lm" else AutoModelForSequenceClassification
    variant = None if description["answers_alone"] else NEEDS_PROMPT
    plain = auto.from_pretrained(result.folder / "model", variant=variant).eval()
    for one, given in zip(logits, encoded, strict=True):
        with torch.no_grad():
            found = plain(input_ids=torch.tensor([given])).logits[0]
        if mode == "lm":
            found = found[-1, [word[0] for word in description["label_word_ids"]]]
        torch.testing.assert_close(one, found, rtol=1e-5, atol=1e-5)


def test_random_blocks_are_whole(row: Row) -> None:
    blocks = drawn_blocks(row.full.config, 0, torch.float32)
    path = f"{row.full.base_model_prefix}."
    place = f"{path}{row.family.blocks}."
    stored = {name for name in row.full.state_dict() if name.startswith(place)}
    assert {path + name for name in blocks} == stored
