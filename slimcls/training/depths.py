"""Hidden states of a frozen backbone at every depth, in one pass: what a probe reads.

A depth of k is what the first k layers leave, 0 the embeddings alone. Of each text two vectors are
kept a depth, both after the model's final norm, as a cut to that depth would have them: the state
of the last token, and the mean over the text's own tokens. Before the norm a mean would be that of
one token: the first one's norm is a hundred times that of the others from some layer on in most
decoders, whatever the text says.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from slimcls.backbones.families import blocks_of, final_norm_of
from slimcls.backbones.sources import Source
from slimcls.backbones.truncate import depth_of, open_cut, read_config
from slimcls.classifier.prefix import Prefix
from slimcls.classifier.trunk import hidden_states
from slimcls.data.batches import Batch, mean_over_tokens
from slimcls.errors import UserError
from slimcls.layers.activations import at_last_token, watched
from slimcls.log import Log
from slimcls.storage.vectors import LIMIT
from slimcls.training.frozen import Frozen, Reading, origin_of


class DepthStates:
    """States of texts at every depth of an uncut model, as they are kept or are computed now.

    ``device`` is where they are computed, in float32. ``deepest`` reads no more than the first so
    many layers. The weights are read when they are needed.
    """

    def __init__(self, source: Source, device: str, log: Log, deepest: int | None = None) -> None:
        config = read_config(source)
        self._source, self._layers = source, tuple(range(deepest or depth_of(config)))
        self._bytes = (len(self._layers) + 1) * 2 * int(config.hidden_size) * 2
        origin = origin_of(source, self._layers, device)
        self._frozen = Frozen(self._open, origin, Reading("depths", states_at_depths), device, log)

    def check(self, items: int) -> None:
        """Raise UserError where states of so many texts take more than the cache may hold."""
        if (takes := items * self._bytes) > LIMIT:
            raise UserError(
                f"--method probe: states of {items:,} texts at {len(self._layers) + 1} depths take "
                f"{takes / 1e9:.1f} GB, over {LIMIT / 1e9:.1f}; use fewer --shots, or a smaller "
                "--validation-size and --test-size"
            )

    def of(self, items: Sequence[list[int]], prefix: list[int]) -> Tensor:
        """States (items, depths, 2, hidden), float16, of token ids that begin with ``prefix``."""
        return self._frozen.of([ids[len(prefix) :] for ids in items], prefix, "32")

    def identity(self, prefix: list[int]) -> str:
        """All that a state depends on beside its text, in a word."""
        return self._frozen.identity(prefix, "32")

    def _open(self) -> PreTrainedModel:
        return open_cut(self._source, self._layers, head="lm", dtype=torch.float32)


def states_at_depths(base: PreTrainedModel, batch: Batch, prefix: Prefix | None) -> Tensor:
    """States (items, depths, 2, hidden), float16: of the last token, and the mean over tokens.

    Each depth is pooled as it is reached: one state of the whole batch is in memory at a time.
    Raises UserError where a state is not finite.
    """
    norm = final_norm_of(base) or nn.Identity()
    found: list[Tensor] = []

    def pool(states: Tensor) -> None:
        # Where a family cannot share what items begin with, it stands in front of each of them.
        normed = norm(states[:, -batch.input_ids.shape[1] :]).float()
        found.append(
            torch.stack([at_last_token(normed, batch), mean_over_tokens(normed, batch)], 1)
        )

    def look(layer: int, before: Tensor, after: Tensor) -> None:
        if layer == 0:
            pool(before)
        pool(after)

    with watched(base, look):
        hidden_states(base, batch, prefix)
    assert len(found) == len(blocks_of(base)) + 1
    states = torch.stack(found, 1).half()
    if not states.isfinite().all():
        raise UserError(
            "--method probe: activations are NaN or infinite: the model's weights are damaged, or "
            "too large for this arithmetic"
        )
    return states
