"""A head that begins where logistic regression on the states of untrained layers ends.

A drawn head says nothing at first, and what it sends back disturbs layers that already hold much of
the answer. Source: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
Out-of-Distribution", arXiv 2202.10054: linear probing, then fine-tuning.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from slimcls.classifier.exits import ends_of
from slimcls.classifier.modes import Mode, head_of
from slimcls.classifier.trunk import decoder_of, read_prefix
from slimcls.data.batches import Items, collate
from slimcls.data.by_length import batches_by_length
from slimcls.layers.activations import evaluating
from slimcls.rivals.probe import best_regression, linear_of


def set_heads(
    model: PreTrainedModel,
    mode: Mode,
    train: Items,
    validation: Items,
    prefix: list[int],
    *,
    batch_size: int,
    device: str,
) -> list[float]:
    """Give each head of a model the weights of a regression; the validation accuracy of each.

    Heads have no bias, nor has the regression: a state after the final norm can stand for one. A
    class that training never shows keeps the weights that were drawn for it. Where the mode weighs
    classes, so does the regression.

    Args:
        model: Its heads' weights are changed in place; it ends where it was.
        mode: With a head.
        train: What the regression learns from.
        validation: What the strength of its regularisation is chosen on.
        prefix: Token ids that all items begin with and that the items leave out.
        batch_size: Items that are read at a time.
        device: Where they are read, in the model's own arithmetic.
    """
    before = model.device
    # transformers wraps this method in a way that hides its types.
    nn.Module.to(model, device)
    parts = [_states(model, mode, part, prefix, batch_size) for part in (train, validation)]
    # What prepares training next takes the model to be where it was opened.
    nn.Module.to(model, before)
    right = []
    for end, inputs, unseen in zip(ends_of(model), *parts, strict=True):
        weight = head_of(end).weight
        found, _, _ = best_regression(
            inputs.numpy(),
            train.labels,
            unseen.numpy(),
            validation.labels,
            len(weight),
            intercept=False,
            weights=None if mode.class_weights is None else mode.class_weights.tolist(),
        )
        seen = sorted(set(train.labels))
        with torch.no_grad():
            weight[seen] = linear_of(found, len(weight))[0][seen].to(weight)
        said = (unseen @ weight.detach().float().cpu().T).argmax(1)
        right.append(float((said == torch.tensor(validation.labels)).float().mean()))
    return right


@torch.no_grad()
def _states(
    model: PreTrainedModel, mode: Mode, items: Items, prefix: list[int], batch_size: int
) -> list[Tensor]:
    """What each head reads (items, hidden), float32, from the shallowest depth on."""
    base = decoder_of(model)
    found: list[list[Tensor]] = [[] for _ in ends_of(model)]
    order: list[int] = []
    with evaluating(model):
        read = read_prefix(base, torch.tensor(prefix, device=model.device)) if prefix else None
        for places in batches_by_length([len(ids) for ids in items.ids], batch_size):
            batch = collate([items[place] for place in places], model.config.pad_token_id)
            states = mode.states(model, batch.to(model.device), read)
            for kept, state in zip(found, states, strict=True):
                kept.append(state.float().cpu())
            order += places
    back = torch.tensor(order).argsort()
    return [torch.cat(kept)[back] for kept in found]
