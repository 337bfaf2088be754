"""Criteria for which layers stay: a row each, with its formula and where it comes from.

In all of them x_i is the residual stream that enters block i and x_{i+1} what leaves it, before the
final norm, for real tokens alone; a block's own part is f_i = x_{i+1} - x_i, whatever happens
inside. So parallel residuals (GPT-NeoX: attention and MLP both read x_i) need nothing special. A
post-norm block (opt-350m) gives x_{i+1} = norm(norm(x_i + attention) + MLP): f_i holds the effect
of its norms too, and a block whose attention and MLP add nothing scores what its two norms alone
do, near 0 only where their gains are nearly equal.

To add a criterion that looks at one block at a time, write its value for each token and a row of
CRITERIA::

    def euclidean(passage):
        "Mean over tokens of |f_i|. Least goes first."
        return passage.added

    Criterion("euclidean", value=euclidean, axis="|output - input|"),
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slimcls.backbones import selectors
from slimcls.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from slimcls.layers.activations import Passage
    from slimcls.layers.profiles import Findings
    from slimcls.layers.samples import Sample

#: (depth, keep, seed) -> ids of the kept layers.
Pick = Callable[[int, int, int], tuple[int, ...]]

#: (model, sample, keep, seed) -> findings for every depth from ``keep`` layers on.
SearchLayers = Callable[["PreTrainedModel", "Sample", int, int], "Findings"]


@dataclass(frozen=True)
class Criterion:
    """One way to choose the layers that stay: has one of ``value``, ``search`` and ``pick``."""

    name: str
    value: Callable[[Passage], Tensor] | None = None
    """A number for each token a block has worked on; a layer's score is its mean over tokens."""
    last_only: bool = False
    """Whether ``value`` is taken of each text's last token alone: the one that mode cls decides
    by."""
    search: SearchLayers | None = None
    """Anything else that looks at texts."""
    pick: Pick | None = None
    """A rule that looks at no text."""
    axis: str = ""
    """What a score is, in a few words."""
    samples: int = 256
    """Texts it is measured on where nobody says how many."""
    needs_gradient: bool = False
    """Whether it looks at gradients, which quantised weights do not have."""
    each_depth: bool = False
    """Whether it works its way down, so that fewer layers to stay cost more."""

    @property
    def needs_text(self) -> bool:
        """Whether it looks at the model and at texts."""
        return self.pick is None

    def measure(
        self, model: PreTrainedModel, text: Sample, keep: int = 1, seed: int = 0
    ) -> Findings:
        """What it finds out on texts; ``keep`` is the smallest depth that will be asked about.

        Args:
            model: A causal language model with all its layers, on the device where it shall run.
            text: Token ids of the texts.
            keep: From 1 to one less than the model has.
            seed: Of the bootstrap.

        Raises:
            UserError: activations that are NaN or infinite; names the layer and the text.
        """
        if self.search is not None:
            return self.search(model, text, keep, seed)
        return measure_together(model, text, [self.name], seed)[self.name]

    def kept_layers(
        self, model: PreTrainedModel, depth: int, text: Sample | None = None, seed: int = 0
    ) -> tuple[int, ...]:
        """Ids of the ``depth`` layers of ``model`` that stay, ascending.

        ``text`` is not looked at where the criterion is a rule; ``seed`` draws the layers of
        ``random``. Raises UserError as :meth:`measure`, and for a depth that leaves no choice.
        """
        from slimcls.backbones.families import blocks_of

        full = len(blocks_of(model))
        selectors.check_keep(full, depth, self.name)
        if self.pick is not None:
            return self.pick(full, depth, seed)
        if text is None:
            raise ValueError(f"{self.name} needs texts")
        return self.measure(model, text, depth, seed).kept[depth]


def block_influence(passage: Passage) -> Tensor:
    """Block Influence: 1 - mean over tokens of cos(x_i, x_{i+1}). Least goes first.

    Source: Men et al., arXiv 2403.03853 (ShortGPT).
    """
    return passage.turned.square() / 2


def relative_magnitude(passage: Passage) -> Tensor:
    """Mean over tokens of |f_i| / |x_i + f_i|. Least goes first.

    Source: Samragh et al., arXiv 2312.09299, as compared by Men et al., arXiv 2403.03853.
    """
    return passage.added / passage.size_after


def angular(model: PreTrainedModel, sample: Sample, keep: int, seed: int) -> Findings:
    """For n layers to go, the n neighbours i..i+n-1 of least angle between x_i and x_{i+n}.

    The angle is arccos(cos(x_i, x_{i+n})) / pi at each text's last token, its mean over texts. The
    score of a layer is its angle for n = 1. What goes at one depth may stay at the next: there is
    no order of removal.
    Source: Gromov et al., arXiv 2403.17887.
    """
    from slimcls.layers.angular import angular_blocks

    return angular_blocks(model, sample, seed)


def greedy_loss(model: PreTrainedModel, sample: Sample, keep: int, seed: int) -> Findings:
    """One layer at a time, the one without which the loss is least, measured anew after each.

    The loss is the mean over tokens of the cross-entropy of the next token. The score of a layer
    is by how much the loss rises when it alone is removed; it may be negative.
    Source: Song et al., arXiv 2402.09025 (SLEB). Unlike there, the first and the last layer are
    candidates too.
    """
    from slimcls.layers.greedy import search

    return search(model, sample, keep, seed)


def taylor(model: PreTrainedModel, sample: Sample, keep: int, seed: int) -> Findings:
    """Sum over a block's weights of |w dL/dw|, L the loss of one text; the mean over texts.

    To first order |w dL/dw| is how much the loss changes when w becomes 0. Least goes first.
    Source: the sum over a block is Kim et al., arXiv 2402.02834. They take the absolute value of
    the gradient of all texts together, which shrinks towards nothing the more texts there are and
    the better the model knows them; here it is taken text by text, as Molchanov et al., arXiv
    1611.06440, so that a score means the same for any number of texts. All weights of the block
    count, norms and biases too; no layer is kept in any case.
    """
    from slimcls.layers.gradients import weight_times_gradient
    from slimcls.layers.profiles import by_score

    return by_score(weight_times_gradient(model, sample), seed)


CRITERIA: dict[str, Criterion] = {
    row.name: row
    for row in (
        Criterion("bi", value=block_influence, axis="1 - cosine"),
        Criterion("bi-last", value=block_influence, last_only=True, axis="1 - cosine, last token"),
        Criterion(
            "relative-magnitude", value=relative_magnitude, axis="|output - input| / |output|"
        ),
        Criterion("angular", search=angular, axis="angle at the last token / pi"),
        Criterion(
            "greedy-loss",
            search=greedy_loss,
            axis="rise of the loss without it (nats)",
            samples=32,
            each_depth=True,
        ),
        Criterion(
            "taylor",
            search=taylor,
            axis="sum of |weight x gradient|",
            samples=64,
            needs_gradient=True,
        ),
        Criterion("first", pick=selectors.first),
        Criterion("sequential", pick=selectors.sequential),
        Criterion("even", pick=selectors.even),
        Criterion("random", pick=selectors.random),
    )
}


def find_criterion(name: str, flag: str = "--select") -> Criterion:
    """The criterion of that name. Raises UserError, with the nearest, where there is none."""
    if name not in CRITERIA:
        raise UserError.unknown(flag, name, CRITERIA)
    return CRITERIA[name]


def measure_together(
    model: PreTrainedModel, sample: Sample, names: Sequence[str], seed: int = 0
) -> dict[str, Findings]:
    """Findings of several criteria with a ``value`` from one pass of the texts."""
    from slimcls.layers.activations import Column, tally
    from slimcls.layers.profiles import by_score

    columns = {}
    for row in map(find_criterion, names):
        if row.value is None:
            raise ValueError(f"{row.name} does not look at one block at a time")
        columns[row.name] = Column(row.value, row.last_only)
    return {name: by_score(found, seed) for name, found in tally(model, sample, columns).items()}
