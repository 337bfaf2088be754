"""The ways to make a decoder classify: three small strategies behind one interface.

``lm``     demonstrations and query go in, the label word is the next token
``p-cls``  the same prompt goes in, a linear head on its last token names the class
``cls``    the bare text goes in, the same head on its last token

Source: Yuan et al., "Why Lift so Heavy? Slimming Large Language Models by Cutting Off the Layers",
arXiv 2402.11700. ``lm`` has three losses, a row each in ``BY_LOSS``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name
from torch import Tensor, nn
from transformers import PreTrainedModel

from slimcls.backbones.lm_head import token_head, token_logits, vocabulary_logits
from slimcls.classifier.exits import HEAD, ends_of, read_states
from slimcls.classifier.prefix import Prefix
from slimcls.classifier.trunk import decoder_of, hidden_states, last_tokens
from slimcls.data.batches import Batch, mean_over_tokens
from slimcls.errors import UserError
from slimcls.kinds import LM_LOSSES


@dataclass(frozen=True)
class SoftTargets:
    """What a teacher says of the training items, to be learnt in place of their labels."""

    logits: Tensor
    """(items, classes), float32, by the items' places."""
    temperature: float = 1.0
    """Divides both sides' logits."""

    def loss(self, logits: Tensor, places: Tensor) -> Tensor:
        """Mean over the items of KL(teacher, pupil), times the temperature's square.

        Source: Hinton, Vinyals and Dean, arXiv 1503.02531, section 2.
        """
        wanted = self.logits.to(logits.device)[places] / self.temperature
        given = F.log_softmax(logits / self.temperature, dim=1)
        apart = F.kl_div(given, wanted.log_softmax(1), reduction="batchmean", log_target=True)
        return apart * self.temperature**2


class Mode:
    """What a mode does with a batch; ``model`` is a transformers model with its head."""

    head: Literal["lm", "classification"]
    #: Whether the loss can be computed with the demonstrations' keys and values shared.
    shares_prefix = True
    #: Token ids of each class's label word; empty where the mode reads none.
    word_ids: Sequence[Sequence[int]] = ()
    #: Weight of each class in the loss (classes,), or None.
    class_weights: Tensor | None = None
    #: What is learnt in place of the labels, or None.
    soft_targets: SoftTargets | None = None

    def loss(self, model: PreTrainedModel, batch: Batch, prefix: Prefix | None) -> Tensor:
        """Training loss, a scalar: the sum over the depths that the model answers at."""
        return _sum(
            self._loss_of(at_depth, batch) for at_depth in self.logits(model, batch, prefix)
        )

    def _loss_of(self, logits: Tensor, batch: Batch) -> Tensor:
        """The mean over the items of logits (items, classes)."""
        if self.soft_targets is not None:
            return self.soft_targets.loss(logits, batch.places)
        if self.class_weights is None:
            return F.cross_entropy(logits, batch.labels)
        weights = self.class_weights.to(logits.device)
        # torch's own mean divides by the batch's weights, which cancels them at batch size 1.
        return F.cross_entropy(logits, batch.labels, weights, reduction="none").mean()

    def logits(self, model: PreTrainedModel, batch: Batch, prefix: Prefix | None) -> Tensor:
        """Logits (depths, items, classes), float32 or finer, from the shallowest depth on.

        The model answers once at each depth where it has a head: an ordinary one at its last alone.
        The softmax of what it says last are the class probabilities.
        """
        pairs = zip(ends_of(model), self.states(model, batch, prefix), strict=True)
        return torch.stack([self.logits_at(end, model, state) for end, state in pairs])

    def states(self, model: PreTrainedModel, batch: Batch, prefix: Prefix | None) -> list[Tensor]:
        """What the heads read (items, hidden), from the shallowest depth on."""
        return read_states(model, batch, prefix)

    def logits_at(self, end: nn.Module, model: PreTrainedModel, states: Tensor) -> Tensor:
        """Logits (items, classes) of states (items, hidden) as the head of one end sees them.

        ``end`` is an exit of the model, or the model itself. Raises NotImplementedError where a
        mode reads more than a state an item; such models have no exits.
        """
        raise NotImplementedError

    def linear_head(self, model: PreTrainedModel) -> nn.Module:
        """What gives the same probabilities from the state of an item's last token alone.

        Raises UserError where nothing does.
        """
        raise NotImplementedError

    def training_ids(self, ids: list[int], label: int) -> list[int]:
        """What goes in at training for an item encoded as ``ids``."""
        return ids


class Classification(Mode):
    """``p-cls`` and ``cls``: a head without bias on the last token after the final norm."""

    head = "classification"

    def logits_at(self, end: nn.Module, model: PreTrainedModel, states: Tensor) -> Tensor:
        return _exact(getattr(end, HEAD)(states))

    def linear_head(self, model: PreTrainedModel) -> nn.Module:
        return head_of(model)


class OfTheMean(Classification):
    """The same head on the mean over a text's tokens, which is what training reads."""

    def states(self, model: PreTrainedModel, batch: Batch, prefix: Prefix | None) -> list[Tensor]:
        return [mean_over_tokens(hidden_states(decoder_of(model), batch, prefix), batch)]


class LabelWords(Mode):
    """``lm``: cross-entropy over the label words' first tokens only, as the authors did."""

    head = "lm"

    def __init__(self, word_ids: Sequence[Sequence[int]]) -> None:
        self.word_ids = [list(ids) for ids in word_ids]

    def logits_at(self, end: nn.Module, model: PreTrainedModel, states: Tensor) -> Tensor:
        return _exact(token_logits(model, states, self._firsts()))

    def linear_head(self, model: PreTrainedModel) -> nn.Module:
        return token_head(model, self._firsts())

    def _firsts(self) -> list[int]:
        """The first token of each class's label word."""
        return [ids[0] for ids in self.word_ids]


class LabelToken(LabelWords):
    """``lm``: cross-entropy over the whole vocabulary at the label word's place."""

    def loss(self, model: PreTrainedModel, batch: Batch, prefix: Prefix | None) -> Tensor:
        firsts = torch.tensor(self._firsts(), device=batch.labels.device)
        return _sum(
            F.cross_entropy(_exact(vocabulary_logits(model, state)), firsts[batch.labels])
            for state in read_states(model, batch, prefix)
        )


class WholePrompt(LabelWords):
    """``lm``: next-token loss over the whole prompt and its label word; scored by whole words."""

    shares_prefix = False

    def training_ids(self, ids: list[int], label: int) -> list[int]:
        return [*ids, *self.word_ids[label]]

    def loss(self, model: PreTrainedModel, batch: Batch, prefix: Prefix | None) -> Tensor:
        hidden = hidden_states(decoder_of(model), batch)
        places = torch.arange(hidden.shape[1] - 1, device=hidden.device)
        real = places[None] < (batch.lengths - 1)[:, None]
        logits = _exact(vocabulary_logits(model, hidden[:, :-1][real]))
        return F.cross_entropy(logits, batch.input_ids[:, 1:][real])

    def logits(self, model: PreTrainedModel, batch: Batch, prefix: Prefix | None) -> Tensor:
        """Log-probability of each whole label word, the sum over its tokens."""
        words = [self._word_logits(model, batch, prefix, ids) for ids in self.word_ids]
        return torch.stack(words, dim=1)[None]

    def linear_head(self, model: PreTrainedModel) -> nn.Module:
        """Of words of a token each: the softmax over the vocabulary cancels out."""
        for ids in self.word_ids:
            if len(ids) > 1:
                raise UserError(
                    f"--lm-loss sequence: a label word has {len(ids)} tokens, which takes more "
                    "than one pass; give label words of a token each, or another loss"
                )
        return token_head(model, self._firsts())

    def _word_logits(
        self, model: PreTrainedModel, batch: Batch, prefix: Prefix | None, word: Sequence[int]
    ) -> Tensor:
        longer = _with_word(batch, word[:-1])
        before = last_tokens(decoder_of(model), longer, prefix, len(word))
        logs = F.log_softmax(_exact(vocabulary_logits(model, before)), dim=-1)
        wanted = torch.tensor(word, device=logs.device).expand(len(logs), -1)
        return logs.gather(-1, wanted[..., None]).squeeze(-1).sum(-1)


#: Losses of mode lm, by the name that ``--lm-loss`` takes.
BY_LOSS: dict[str, type[LabelWords]] = {
    "label-words": LabelWords,
    "label-token": LabelToken,
    "sequence": WholePrompt,
}


def make_mode(
    name: str,
    lm_loss: str | None,
    word_ids: Sequence[Sequence[int]],
    pool: Literal["mean"] | None = None,
) -> Mode:
    """The strategy of a mode; ``word_ids`` are the token ids of each class's label word."""
    if name == "lm":
        return BY_LOSS[lm_loss or LM_LOSSES[0]](word_ids)
    return OfTheMean() if pool else Classification()


def class_weights(labels: Sequence[int], classes: int) -> Tensor:
    """Weights (classes,): the inverse of each class's share, so that an average item weighs 1."""
    counts = torch.bincount(torch.tensor(labels), minlength=classes).float()
    return len(labels) / (counts.clamp(min=1) * (counts > 0).sum())


def head_of(model: PreTrainedModel) -> nn.Linear:
    """The classification head of a model for ``p-cls`` or ``cls``."""
    return cast("nn.Linear", model.score)


def _sum(losses: Iterable[Tensor]) -> Tensor:
    first, *others = losses
    return sum(others, first)


def _exact(logits: Tensor) -> Tensor:
    """Half precision is too coarse for a softmax; what is finer stays as it is."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _with_word(batch: Batch, word: Sequence[int]) -> Batch:
    """The batch with tokens of one label word behind each item's last real token."""
    items = len(batch.lengths)
    room = batch.input_ids.new_zeros(items, len(word))
    ids = torch.cat([batch.input_ids, room], dim=1)
    steps = torch.arange(len(word), device=ids.device)[None] + batch.lengths[:, None]
    ids.scatter_(1, steps, ids.new_tensor(word).expand(items, -1))
    return Batch(ids, batch.lengths + len(word), batch.labels, batch.places)
