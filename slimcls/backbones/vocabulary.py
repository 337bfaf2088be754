"""Trains on the embedding rows that a run reads, and gives all others what AdamW would have.

A row whose token never occurs has no gradient: all that the optimiser does to it is its weight
decay. So such rows need neither a gradient nor the optimiser's moments while training lasts, and
afterwards their decay is made up for, step by step, which gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

#: Floats that are decayed together, all steps of a run: about what a core's cache holds.
CHUNK = 2**19

#: Vectorised kernels compute what is left over at the end of a tensor in another way, which may
#: differ in the last bit: with rows of whole vector registers nothing is left over.
WIDTH = 16


def in_use(*parts: Iterable[Sequence[int]]) -> list[int]:
    """The token ids that occur, ascending, each once."""
    return sorted({token for part in parts for ids in part for token in ids})


def pays(config: Any, rows: int) -> bool:
    """Whether a model with this transformers config can train on so many rows, and has more."""
    width = getattr(config, "word_embed_proj_dim", None) or config.hidden_size
    return rows < int(config.vocab_size) and width % WIDTH == 0


def matrices(model: Any) -> list[nn.Parameter]:
    """Parameters with a row a token: the embedding, and a head of its own where there is one."""
    return list(dict.fromkeys(holder.weight for holder in _holders(model)))


def _holders(model: Any) -> list[Any]:
    """Modules whose ``weight`` has a row a token; tied ones hold the same parameter."""
    both = (model.get_input_embeddings(), model.get_output_embeddings())
    return [holder for holder in both if holder is not None]


def rows_of(model: Any, ids: Tensor) -> Tensor:
    """Where the rows of these token ids stand, in a compact model or a whole one."""
    places = getattr(model.get_input_embeddings(), "places", None)
    return ids if places is None else places[ids]


class Compact:
    """A model whose token matrices hold only the rows of ``ids`` until :meth:`restore`.

    The model is changed in place, before its optimiser is made. Token ids go in as before; one
    that is not among ``ids`` raises IndexError. Parameters keep their names. A model that holds
    some rows only is made to hold fewer.
    """

    def __init__(self, model: Any, ids: Sequence[int]) -> None:
        self.model = model
        embedding = model.get_input_embeddings()
        self._before: Tensor | None = getattr(embedding, "places", None)
        self._rows = rows_of(model, torch.tensor(ids))
        if (self._rows < 0).any():
            raise IndexError("a token whose row the model does not hold")
        self._full = matrices(model)
        self._padding = embedding.padding_idx
        put(self.model, [nn.Parameter(full.detach()[self._rows]) for full in self._full])
        places = torch.full((len(self._full[0] if self._before is None else self._before),), -1)
        places[torch.tensor(ids)] = torch.arange(len(ids))
        if self._padding is not None:
            found = (self._rows == self._padding).nonzero()
            embedding.padding_idx = int(found) if len(found) else None
        set_places(embedding, places)

    def restore(self, rates: Sequence[float], weight_decay: float, device: str = "cpu") -> None:
        """The whole matrices again, as ``rates`` (a learning rate a step) have made them.

        ``device`` is where the optimiser computed.
        """
        compact = matrices(self.model)
        for full, trained in zip(self._full, compact, strict=True):
            with torch.no_grad():
                decay(full.detach(), rates, weight_decay, device)
                full[self._rows] = trained.detach().to(full.device)
        put(self.model, self._full)
        embedding = self.model.get_input_embeddings()
        embedding.padding_idx = self._padding
        set_places(embedding, self._before)


def put(model: Any, new: Sequence[nn.Parameter]) -> None:
    """Put these in place of a model's :func:`matrices`; what was tied stays tied."""
    place = dict(zip(matrices(model), new, strict=True))
    for holder in _holders(model):
        holder.weight = place[holder.weight]


def set_places(embedding: Any, places: Tensor | None) -> None:
    """Say in which row of ``embedding`` each token id stands, -1 for none; None: each in its own.

    Token ids go into the embedding as ever.
    """
    if getattr(embedding, "places", None) is None:
        embedding.register_buffer("places", None, persistent=False)
        embedding.to_places = embedding.register_forward_pre_hook(_to_places)
    if places is None:
        embedding.to_places.remove()
        del embedding.places, embedding.to_places
    else:
        embedding.places = places


def _to_places(module: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (module.places[inputs[0]],)


def decay(matrix: Tensor, rates: Sequence[float], weight_decay: float, device: str = "cpu") -> None:
    """Do to ``matrix`` in place what steps of the fused AdamW without a gradient would do.

    A product of all factors would round once instead of once a step, which is another number. Each
    step is therefore done, on pieces that stay in the processor's cache.
    """
    rates = [rate for rate in rates if rate] if weight_decay else []
    for piece in matrix.view(-1).split(CHUNK) if rates else ():
        if device == "cpu":
            for rate in rates:
                piece.mul_(1 - rate * weight_decay)
        else:
            piece.copy_(_stepped(piece.to(device), rates, weight_decay))


def _stepped(piece: Tensor, rates: Sequence[float], weight_decay: float) -> Tensor:
    """Accelerators round a decay in their own ways: let the optimiser itself do it."""
    parameter = nn.Parameter(piece)
    parameter.grad = torch.zeros_like(piece)
    optimizer = torch.optim.AdamW([parameter], weight_decay=weight_decay, fused=True)
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
    return parameter.detach()
