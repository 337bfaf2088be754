"""The work both sides get: a run's model and encoded items, as slimcls.train would make them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slimcls.backbones.sources import Source
    from slimcls.config import RunConfig
    from slimcls.data.tables import Tables
    from slimcls.session.inputs import Inputs
    from slimcls.training.loop import Work


@dataclass
class Workload:
    """One run up to the moment its weights are read, without a run directory and in silence."""

    config: RunConfig
    """Resolved: nothing is left open."""
    source: Source
    data: Tables
    tokenizer: Any
    inputs: Inputs

    def model(self) -> Any:
        """The cut model, freshly opened, in evaluation mode: the same weights every time."""
        import torch

        from slimcls.backbones.truncate import open_cut

        assert self.config.layers is not None
        return open_cut(
            self.source,
            self.config.layers,
            head=self.inputs.mode.head,
            labels=self.data.spec.labels,
            dtype=torch.float32,
            seed=self.config.seed,
            pad_token_id=self.tokenizer.pad_token_id,
        )

    @property
    def prefix(self) -> list[int]:
        """Token ids that a run with these settings computes once a step; empty for none."""
        shared = self.config.share_prefix and self.inputs.mode.shares_prefix
        return self.inputs.encoder.shared_prefix_ids() if shared else []

    @property
    def labels(self) -> list[int]:
        """Class numbers of the training items."""
        return [example.label for example in self.inputs.splits.train]

    @property
    def whole(self) -> list[list[int]]:
        """Token ids of the training items as they are without slimcls, prompts included."""
        mode = self.inputs.mode
        pairs = zip(self.inputs.train, self.labels, strict=True)
        return [mode.training_ids(ids, label) for ids, label in pairs]

    @property
    def pad_id(self) -> int:
        """Fills up the shorter items of a batch."""
        return int(self.tokenizer.pad_token_id)

    @property
    def words(self) -> list[int]:
        """First token of each label word in mode lm; empty in the others."""
        return [ids[0] for ids in self.inputs.mode.word_ids]

    def work(self, model: Any, folder: Path, *, validation: int | None = None) -> Work:
        """What :func:`slimcls.training.loop.fit` takes; ``validation`` keeps the first items."""
        from slimcls.data.batches import Items
        from slimcls.log import Log
        from slimcls.training.loop import Work

        inputs, prefix = self.inputs, self.prefix
        held_out = inputs.splits.validation[:validation]
        return Work(
            model,
            inputs.mode,
            self.config,
            Items([ids[len(prefix) :] for ids in self.whole], self.labels),
            Items(
                [ids[len(prefix) :] for ids in inputs.validation[:validation]],
                [example.label for example in held_out],
            ),
            prefix,
            folder,
            Log(quiet=True),
        )


def prepare(data_dir: str | None = None, **settings: Any) -> Workload:
    """Draw and encode the items of a run; ``settings`` are those of RunConfig.

    By default the packaged model cut to 2 layers, and trec in mode cls. Raises UserError where the
    data set cannot be had.
    """
    from slimcls.config import RunConfig
    from slimcls.log import Log
    from slimcls.session.place import find_place
    from slimcls.session.shared import Shared

    plain: dict[str, Any] = {"dataset": "trec", "model": "smollm2-135m", "mode": "cls"}
    shared = Shared()
    place = find_place(RunConfig(**(plain | settings), data_dir=data_dir), shared)
    inputs = shared.inputs(place.config, place.source, place.data, Log(quiet=True))
    return Workload(place.config, place.source, place.data, inputs.encoder.tokenizer, inputs)


def without_dropout(model: Any) -> Any:
    """The model with every dropout at zero, so that two sides can be compared step by step."""
    from torch import nn

    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        # Some architectures keep the rates as plain numbers.
        for name in ("dropout", "attention_dropout", "activation_dropout", "layerdrop"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return model


@contextmanager
def run_folder() -> Iterator[Path]:
    """An empty run directory that is gone afterwards."""
    with TemporaryDirectory(prefix="slimcls-bench-") as name:
        yield Path(name)
