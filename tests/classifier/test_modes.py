"""The three modes compute what they say, with and without the shared prefix, in every family."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from slimcls.backbones import sources
from slimcls.backbones.tokenizers import open_tokenizer
from slimcls.backbones.truncate import open_cut
from slimcls.classifier.classifier import Classifier
from slimcls.classifier.modes import Classification, Mode, make_mode
from slimcls.classifier.prefix import Prefix
from slimcls.classifier.trunk import read_prefix
from slimcls.data.batches import Batch, collate
from slimcls.data.encoding import TextEncoder

FAMILIES = ["tiny-gpt2", "tiny-opt", "tiny-opt-post", "tiny-llama", "tiny-neox"]
PREFIX = [5, 17, 33, 200, 9, 41, 77, 12]
WORDS = [[300], [301, 44], [302, 9]]
MODES = [("cls", None), ("lm", "label-words"), ("lm", "label-token"), ("lm", "sequence")]


def make_model(family: str, mode: Mode) -> Any:
    source = sources.find(family, None)
    labels = ["a", "b", "c"]
    return open_cut(source, (0, 1), head=mode.head, labels=labels, seed=3, pad_token_id=0)


def queries(count: int = 5) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    sizes = [7, 1, 12, 4, 9][:count]
    return [torch.randint(5, 500, (size,), generator=generator).tolist() for size in sizes]


def batch_of(ids: list[list[int]]) -> Batch:
    return collate([(i, item, i % 3) for i, item in enumerate(ids)], 0)


def prefix_of(model: Any) -> Prefix:
    return read_prefix(getattr(model, model.base_model_prefix), torch.tensor(PREFIX))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("name", "loss"), MODES)
def test_shared_prefix_gives_the_same_logits(family: str, name: str, loss: str | None) -> None:
    mode = make_mode(name, loss, WORDS)
    model = make_model(family, mode)
    whole = batch_of([PREFIX + ids for ids in queries()])
    rest = batch_of(queries())
    with torch.no_grad():
        plain = mode.logits(model, whole, None)[-1]
        shared = mode.logits(model, rest, prefix_of(model))[-1]
    torch.testing.assert_close(shared, plain, atol=1e-5, rtol=0)


SHARED = [mode for mode in MODES if mode[1] != "sequence"]


def loss_of(model: Any, mode: Mode, shared: bool) -> torch.Tensor:
    if shared:
        return mode.loss(model, batch_of(queries()), Prefix(torch.tensor(PREFIX)))
    return mode.loss(model, batch_of([PREFIX + ids for ids in queries()]), None)


def norm_of(tensors: list[torch.Tensor]) -> float:
    return float(torch.stack([t.double().norm() for t in tensors]).norm())


@pytest.mark.usefixtures("exact_norms")
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("name", "loss"), SHARED)
def test_shared_prefix_gives_the_same_gradients(
    family: str, name: str, loss: str | None, dtype: torch.dtype, within: float
) -> None:
    """Against the global norm: the gradient of a key's bias is noise around an exact zero."""
    gradients = []
    for shared in (False, True):
        mode = make_mode(name, loss, WORDS)
        model = make_model(family, mode).to(dtype)
        loss_of(model, mode, shared).backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    apart = [a - b for a, b in zip(*gradients, strict=True)]
    assert norm_of(apart) / norm_of(gradients[0]) < within


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("name", "loss"), SHARED)
def test_shared_prefix_takes_the_same_steps(family: str, name: str, loss: str | None) -> None:
    """Three of gradient descent, far enough to see."""
    before, after = [], []
    for shared in (False, True):
        mode = make_mode(name, loss, WORDS)
        model = make_model(family, mode)
        before = [p.detach().clone() for p in model.parameters()]
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for _ in range(3):
            optimizer.zero_grad()
            loss_of(model, mode, shared).backward()
            optimizer.step()
        after.append([p.detach() for p in model.parameters()])
    moved = [a - b for a, b in zip(after[0], before, strict=True)]
    apart = [a - b for a, b in zip(*after, strict=True)]
    assert norm_of(moved) > 0.01
    assert norm_of(apart) / norm_of(moved) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("name", "loss"), MODES)
def test_padding_and_batch_size_change_nothing(family: str, name: str, loss: str | None) -> None:
    mode = make_mode(name, loss, WORDS)
    model = make_model(family, mode)
    with torch.no_grad():
        together = mode.logits(model, batch_of(queries()), None)[-1]
        alone = torch.cat([mode.logits(model, batch_of([ids]), None)[-1] for ids in queries()])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_lm_losses_against_the_whole_logits(family: str) -> None:
    ids, labels = queries(), torch.tensor([0, 1, 2, 0, 1])
    firsts = torch.tensor([word[0] for word in WORDS])
    model = make_model(family, make_mode("lm", None, WORDS))
    with torch.no_grad():
        last = torch.stack([model(torch.tensor([item])).logits[0, -1] for item in ids])
        words = make_mode("lm", "label-words", WORDS).loss(model, batch_of(ids), None)
        token = make_mode("lm", "label-token", WORDS).loss(model, batch_of(ids), None)
    torch.testing.assert_close(words, F.cross_entropy(last[:, firsts], labels))
    torch.testing.assert_close(token, F.cross_entropy(last, firsts[labels]))


@pytest.mark.parametrize("family", FAMILIES)
def test_whole_prompt_loss_is_the_causal_language_model_loss(family: str) -> None:
    mode = make_mode("lm", "sequence", WORDS)
    model = make_model(family, mode)
    ids = [mode.training_ids(item, i % 3) for i, item in enumerate(queries())]
    with torch.no_grad():
        ours = mode.loss(model, batch_of(ids), None)
        sums = [
            F.cross_entropy(model(torch.tensor([item])).logits[0, :-1], torch.tensor(item[1:]))
            * (len(item) - 1)
            for item in ids
        ]
    torch.testing.assert_close(ours, sum(sums) / sum(len(item) - 1 for item in ids))


def test_whole_words_are_scored_by_all_their_tokens() -> None:
    mode = make_mode("lm", "sequence", WORDS)
    model = make_model("tiny-gpt2", mode)
    item = queries()[2]
    with torch.no_grad():
        ours = mode.logits(model, batch_of([item]), None)[-1, 0]
        for place, word in enumerate(WORDS):
            logs = model(torch.tensor([item + word])).logits[0].log_softmax(-1)
            by_hand = sum(logs[len(item) - 1 + i, token] for i, token in enumerate(word))
            torch.testing.assert_close(ours[place], by_hand)


def test_class_weights_weigh_at_any_batch_size() -> None:
    weights = torch.tensor([2.0, 0.5, 1.0])
    plain, weighted = make_mode("cls", None, []), make_mode("cls", None, [])
    weighted.class_weights = weights
    model = make_model("tiny-gpt2", plain)
    with torch.no_grad():
        for place, item in enumerate(queries(3)):
            batch = collate([(0, item, place)], 0)
            ratio = weighted.loss(model, batch, None) / plain.loss(model, batch, None)
            torch.testing.assert_close(ratio, weights[place])


@pytest.mark.parametrize("family", FAMILIES)
def test_classification_is_what_plain_transformers_computes(family: str) -> None:
    mode = make_mode("cls", None, [])
    model = make_model(family, mode)
    batch = batch_of(queries())
    mask = torch.arange(batch.input_ids.shape[1])[None] < batch.lengths[:, None]
    with torch.no_grad():
        ours = mode.logits(model, batch, None)[-1]
        theirs = model(input_ids=batch.input_ids, attention_mask=mask.long()).logits
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_a_mode_may_answer_at_several_depths() -> None:
    """Each depth adds its own loss; a classifier says what the deepest says."""

    class TwoDepths(Classification):
        def logits(self, model: Any, batch: Batch, prefix: Any) -> torch.Tensor:
            deep = super().logits(model, batch, prefix)
            return torch.cat([deep.flip(2), deep])

    plain, both = make_mode("cls", None, []), TwoDepths()
    model, batch = make_model("tiny-gpt2", plain), batch_of(queries())
    with torch.no_grad():
        deep = plain.logits(model, batch, None)[0]
        shallow = torch.nn.functional.cross_entropy(deep.flip(1), batch.labels)
        together = both.loss(model, batch, None)
        assert together.item() == pytest.approx((plain.loss(model, batch, None) + shallow).item())
    encoder = TextEncoder(open_tokenizer(sources.find("tiny-gpt2", None)), context=32)
    ours, theirs = (Classifier(model, m, encoder, "abc") for m in (both, plain))
    assert torch.equal(ours.logits(queries()), theirs.logits(queries()))
