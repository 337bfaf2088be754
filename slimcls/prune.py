"""An untuned cut model: ``python -m slimcls.prune M DIR --keep 21 --text T``."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from slimcls import cli, roles
from slimcls.devices import exact_device
from slimcls.pruning import earlier, inputs, subjects
from slimcls.pruning.settings import PruneConfig, check_out
from slimcls.storage.files import alone, check_writable

if TYPE_CHECKING:
    import pandas as pd

    from slimcls.backbones.sources import Source
    from slimcls.pruning.folder import Pruned
    from slimcls.pruning.parts import Parts

T = TypeVar("T")


def _holding_out(work: Callable[[PruneConfig], T]) -> Callable[[PruneConfig], T]:
    """Work of which one process at a time may fill ``--out``; others get Busy."""

    @wraps(work)
    def held(config: PruneConfig) -> T:
        with alone(Path(config.out), "there"):
            check_out(config)
            return work(config)

    return held


@_holding_out
def prune(config: PruneConfig) -> Pruned:
    """Choose the layers that stay, write the model with them, and say what was cut.

    Raises :class:`slimcls.errors.UserError` for what the caller got wrong.
    """
    parts = inputs.text_parts(config)
    source = inputs.source_of(config)
    from slimcls.layers.scoring import check_memory
    from slimcls.pruning import folder

    selection = inputs.pruned_selection(config)
    scores = inputs.scores_of(selection, source, parts)
    layers = selection.layers(source, scores)
    text = scores.text if scores else ""
    about = folder.describe(
        source,
        layers,
        select="layers" if config.layers else config.rule,
        scores=scores.fingerprint if scores else "",
        text=text,
    )
    check_memory(source, layers, exact_device(config.accelerator), config.force)
    model = folder.open_pruned(source, layers)
    if config.heal:
        assert parts is not None
        _say_if_scored_on(config, text, parts)
        model, about = _healed(config, source, parts, model, about)
    folder.write(model, source, about, Path(config.out))
    if config.heal:
        shutil.rmtree(_healing_folder(config), ignore_errors=True)
    return about


def _say_if_scored_on(config: PruneConfig, text: str, parts: Parts) -> None:
    """The scores of a file may have looked at any text of their source."""
    if config.scores and text == parts.held_out.name:
        print(
            f"note: the scores were measured on texts of {text}, of which some may be healed on or "
            "held out here",
            file=sys.stderr,
        )


def _healed(
    config: PruneConfig, source: Source, parts: Parts, model: Any, about: Pruned
) -> tuple[Any, Pruned]:
    """The model after healing, in its own number format, and its description with figures."""
    from slimcls.pruning import evaluation
    from slimcls.pruning.healing import BATCH, Healing, heal

    dtype, device = model.dtype, exact_device(config.accelerator)
    held_out = inputs.sample_of(config, parts.held_out.drawn(config.held_out, config.seed), source)
    texts = parts.healing.drawn(config.heal * BATCH, config.seed)
    sample = inputs.sample_of(config, texts, source)
    model = model.float().to(device)
    before = evaluation.measure(model, held_out).perplexity
    named = [about.source, about.kept_layers, sample.fingerprint, config.heal, config.seed]
    checkpoint = _healing_folder(config) / "last.ckpt"
    work = Healing(sample, config.heal, config.seed, json.dumps(named), checkpoint)
    # As the files will have it.
    model = heal(model, work).to(dtype).float()
    after = evaluation.measure(model, held_out).perplexity
    healed = dataclasses.replace(
        about,
        healed_steps=config.heal,
        healed_on=texts.name,
        perplexity=before,
        perplexity_healed=after,
    )
    return model.to(dtype).cpu(), healed


def _healing_folder(config: PruneConfig) -> Path:
    """Beside the model's folder, which appears whole or not at all."""
    out = Path(config.out)
    return out.with_name(f"{out.name}.healing")


@_holding_out
def evaluate(config: PruneConfig) -> pd.DataFrame:
    """Measure what removal does, without training; a row a criterion and number of layers.

    Figures are kept under ``out`` as they are found: the same command goes on where it was stopped.
    """
    parts = inputs.text_parts(config)
    assert parts is not None
    source = inputs.source_of(config)
    from slimcls.backbones.truncate import depth_of, read_config
    from slimcls.layers.scoring import open_whole
    from slimcls.pruning import evaluation

    depth = depth_of(read_config(source))
    most = min(config.most or depth // 2, depth - 1)
    held_out = inputs.sample_of(config, parts.held_out.drawn(config.held_out, config.seed), source)
    labelled = inputs.labelled_items(config, source) if config.dataset else None
    about = [source.fingerprint, *earlier.what_decides(config, held_out, labelled)]
    known, keep_known = earlier.figures(config, about)
    model = open_whole(source, exact_device(config.accelerator), config.force)
    if config.parts:
        cuts = evaluation.by_part(model)
    else:
        sample = inputs.scoring_sample(config, parts.scoring, source, config.compared)
        removals = range(1, most + 1)
        cuts = evaluation.by_criterion(model, sample, config.compared, removals, config.seed)
    return evaluation.compare(model, cuts, held_out, labelled, known, keep_known)


@_holding_out
def quantise(config: PruneConfig) -> pd.DataFrame:
    """Measure 8 and 4 bits, alone and with removal in both orders; a row a combination.

    Goes on where an earlier start was stopped, as :func:`evaluate`.
    """
    parts = inputs.text_parts(config)
    assert parts is not None
    from slimcls.pruning import bits

    measured = subjects.classifier if config.classifier else subjects.language_model
    subject, about = measured(config, parts)
    path = Path(config.out) / "known-bits.json"
    known, keep_known = earlier.kept_file(path, [*about, config.rule, config.keep, config.seed])
    return bits.compare(subject, known, keep_known)


def main(argv: list[str] | None = None) -> int:
    """The command: write a pruned model, or figures; print what came out."""
    config = cli.parse(
        PruneConfig,
        sys.argv[1:] if argv is None else argv,
        prog="slimcls prune",
        positional=("model", "out"),
        example="slimcls prune smollm2-135m pruned --select bi --keep 21 --text bbcnews",
        groups=roles.headings(),
    )
    check_writable(Path(config.out))
    if not config.evaluate:
        about = prune(config)
        saved = 1 - about.params_kept / about.params_full
        layers = f"{len(about.kept_layers)} of {about.depth} layers"
        cli.say(f"{config.out}: {layers}, {saved:.1%} saved")
        if about.perplexity is not None:
            cli.say(f"perplexity {about.perplexity:.4g}, healed {about.perplexity_healed:.4g}")
        return 0
    table = quantise(config) if config.quantise else evaluate(config)
    from slimcls.pruning import pages

    cli.say(str(pages.write_evaluation(table, config, Path(config.out))))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
