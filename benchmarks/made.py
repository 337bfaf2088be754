"""Made-up work: random token ids for a model of a given shape with random weights.

It stands in for a run wherever the shape decides and the text does not: the same ids and the same
weights every time, and the two sides of a benchmark take it as they take a real one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

CLASSES, PAD = 6, 1


@dataclass
class Made:
    """Work with made-up token ids for a model with random weights; see benchmarks.sides."""

    model_type: str
    shape: dict[str, Any]
    """Settings of the transformers config, but for its depth."""
    keep: int
    mode: str
    steps: int
    lengths: tuple[int, int]
    """Shortest and longest text, in tokens."""
    demonstrations: int = 0
    """Tokens that every text follows."""
    words: list[int] = field(default_factory=list)
    """No label words: there is no mode lm here."""
    settings: dict[str, Any] = field(default_factory=dict)
    """More settings of the run."""
    most: int = 50000
    """Token ids are drawn below this, and below the vocabulary's end."""
    pad_id: int = PAD

    @cached_property
    def config(self) -> Any:
        """As a run would have it resolved."""
        from slimcls.config import RunConfig

        plain: dict[str, Any] = {"epochs": 1, "lr": 1e-5, "checkpoint_seconds": 1e9}
        plain |= {"dataset": "made", "mode": self.mode, "keep": self.keep}
        return RunConfig(layers=list(range(self.keep)), **(plain | self.settings))

    def model(self) -> Any:
        """Random weights, the same every time."""
        import torch
        from transformers import AutoConfig, AutoModelForSequenceClassification

        depth = "n_layer" if self.model_type == "gpt2" else "num_hidden_layers"
        settings = self.shape | {depth: self.keep, "num_labels": CLASSES, "pad_token_id": PAD}
        torch.manual_seed(0)
        config = AutoConfig.for_model(self.model_type, **settings)
        return AutoModelForSequenceClassification.from_config(config).eval()

    @cached_property
    def whole(self) -> list[list[int]]:
        """Token ids, demonstrations included; none is the padding id."""
        drawn = random.Random(0)
        before = self._ids(random.Random(1), self.demonstrations)
        items = self.steps * self.config.batch_size
        return [before + self._ids(drawn, drawn.randint(*self.lengths)) for _ in range(items)]

    @property
    def prefix(self) -> list[int]:
        """The demonstrations, where they are computed once a step."""
        shared = self.demonstrations if self.config.share_prefix else 0
        return self.whole[0][:shared]

    def _ids(self, drawn: random.Random, count: int) -> list[int]:
        most = min(self.most, self.shape.get("vocab_size", self.most))
        return [drawn.randrange(2, most) for _ in range(count)]

    @property
    def labels(self) -> list[int]:
        """Classes in turn."""
        return [place % CLASSES for place in range(len(self.whole))]

    def work(self, model: Any, folder: Path, *, validation: int | None = None) -> Any:
        """What :func:`slimcls.training.loop.fit` takes."""
        from slimcls.classifier.modes import make_mode
        from slimcls.data.batches import Items
        from slimcls.log import Log
        from slimcls.training.loop import Work

        mode = make_mode(self.mode, None, [])
        rest = [ids[len(self.prefix) :] for ids in self.whole]
        held_out = Items(rest[: validation or 1], self.labels[: validation or 1])
        train, log = Items(rest, self.labels), Log(quiet=True)
        return Work(model, mode, self.config, train, held_out, self.prefix, folder, log)
