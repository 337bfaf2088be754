"""An untuned cut model: ``python -m slimcls.prune --model M --select bi --keep 21 --out DIR``."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimcls import cli, importance
from slimcls.errors import UserError
from slimcls.pruning.settings import PruneConfig

if TYPE_CHECKING:
    import pandas as pd

    from slimcls.backbones.sources import Source
    from slimcls.layers.calibration import Sample, Texts
    from slimcls.pruning.bits import Subject
    from slimcls.pruning.evaluation import Known, Labelled
    from slimcls.pruning.folder import Pruned
    from slimcls.pruning.parts import Parts


def prune(config: PruneConfig) -> Pruned:
    """Choose the layers that stay, write the model with them, and say what was cut.

    Raises :class:`slimcls.errors.UserError` for what the caller got wrong.
    """
    parts = _parts(config)
    source = _source(config)
    from slimcls.pruning import folder

    layers, scores = _chosen(config, source, parts)
    about = folder.describe(
        source,
        layers,
        select="layers" if config.layers else config.rule,
        scores=scores,
        text=parts.scoring.name if parts and scores else "",
    )
    model = folder.open_pruned(source, layers)
    if config.heal:
        assert parts is not None
        model, about = _healed(config, source, parts, model, about)
    folder.write(model, source, about, Path(config.out))
    shutil.rmtree(_healing_folder(config), ignore_errors=True)
    return about


def _healed(
    config: PruneConfig, source: Source, parts: Parts, model: Any, about: Pruned
) -> tuple[Any, Pruned]:
    """The model after healing, in its own number format, and its description with figures."""
    from slimcls.pruning import evaluation
    from slimcls.pruning.healing import BATCH, Healing, heal

    dtype, device = model.dtype, _device(config)
    held_out = _sample(config, parts.held_out.drawn(config.held_out, config.seed), source)
    texts = parts.healing.drawn(config.heal * BATCH, config.seed)
    sample = _sample(config, texts, source)
    model = model.float().to(device)
    before = evaluation.measure(model, held_out).perplexity
    named = [about.source, about.kept_layers, sample.fingerprint, config.heal, config.seed]
    checkpoint = _healing_folder(config) / "last.ckpt"
    work = Healing(sample, config.heal, config.seed, json.dumps(named), checkpoint)
    model = heal(model, work)
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


def evaluate(config: PruneConfig) -> pd.DataFrame:
    """Measure what removal does, without training; a row a criterion and number of layers.

    Figures are kept under ``out`` as they are found: the same command goes on where it was stopped.
    """
    parts = _parts(config)
    assert parts is not None
    source = _source(config)
    from slimcls.backbones.truncate import depth_of, open_cut, read_config
    from slimcls.pruning import evaluation

    depth = depth_of(read_config(source))
    most = min(config.most or depth // 2, depth - 1)
    held_out = _sample(config, parts.held_out.drawn(config.held_out, config.seed), source)
    labelled = _labelled(config, source) if config.dataset else None
    known, keep_known = _known(config, source, held_out)
    opened: Any = open_cut(source, range(depth), head="lm")
    model = opened.to(_device(config))
    if config.parts:
        cuts = evaluation.by_part(model)
    else:
        sample = _scoring_sample(config, parts.scoring, source, config.compared)
        removals = range(1, most + 1)
        cuts = evaluation.by_criterion(model, sample, config.compared, removals, config.seed)
    return evaluation.compare(model, cuts, held_out, labelled, known, keep_known)


def quantise(config: PruneConfig) -> pd.DataFrame:
    """Measure 8 and 4 bits, alone and with removal in both orders; a row a combination.

    Goes on where an earlier start was stopped, as :func:`evaluate`.
    """
    parts = _parts(config)
    assert parts is not None
    from slimcls.pruning import bits

    subject, about = _classifier(config, parts) if config.classifier else _model(config, parts)
    path = Path(config.out) / "known-bits.json"
    known, keep_known = _kept_file(path, [*about, config.rule, config.keep, config.seed])
    return bits.compare(subject, known, keep_known)


def _model(config: PruneConfig, parts: Parts) -> tuple[Subject, list[Any]]:
    """A language model, measured by perplexity and, with --dataset, label words."""
    source = _source(config)
    from slimcls.backbones.truncate import depth_of, open_cut, read_config
    from slimcls.pruning import evaluation
    from slimcls.pruning.bits import Subject

    depth = depth_of(read_config(source))
    held_out = _sample(config, parts.held_out.drawn(config.held_out, config.seed), source)
    labelled = _labelled(config, source) if config.dataset else None
    sample = _scoring_sample(config, parts.scoring, source, [config.rule])
    subject = Subject(
        lambda: open_cut(source, range(depth), head="lm"),
        lambda model: _choice(config, model, sample),
        lambda model: evaluation.measure(model, held_out, labelled),
    )
    return subject, [source.fingerprint, held_out.fingerprint, config.dataset, sample.fingerprint]


def _classifier(config: PruneConfig, parts: Parts) -> tuple[Subject, list[Any]]:
    """A finished run, measured on its own test items."""
    from slimcls import artefact
    from slimcls.backbones.families import blocks_of
    from slimcls.backbones.selectors import check_keep
    from slimcls.layers.calibration import encode
    from slimcls.pruning import trained
    from slimcls.pruning.bits import Subject

    assert config.classifier is not None
    items = trained.test_items(Path(config.classifier), config.data_dir)
    opened = artefact.load(config.classifier)
    assert config.keep is not None
    check_keep(len(blocks_of(opened.model)), config.keep, config.rule)
    wanted = config.samples or importance.find(config.rule).samples
    texts = parts.scoring.drawn(wanted, config.seed)
    sample = encode(texts, opened.tokenizer, max_text_tokens=config.max_text_tokens)
    subject = Subject(
        lambda: artefact.load(str(config.classifier)).model,
        lambda model: _choice(config, model, sample),
        lambda model: trained.measure(opened, model, items),
    )
    return subject, [items.fingerprint, sample.fingerprint]


def _choice(config: PruneConfig, model: Any, sample: Sample) -> tuple[int, ...]:
    assert config.keep is not None
    return importance.find(config.rule).kept_layers(model, config.keep, sample, config.seed)


def _parts(config: PruneConfig) -> Parts | None:
    """The texts, dealt to their three uses; None where the cut needs none."""
    if config.text is None:
        return None
    from slimcls.layers import calibration
    from slimcls.pruning.parts import split

    folder = Path(config.data_dir) if config.data_dir else None
    found = calibration.read(config.text, data_dir=folder, text_column=config.text_column)
    return split(found, config.seed)


def _source(config: PruneConfig) -> Source:
    from slimcls.backbones import sources

    assert config.model is not None
    sources.check_name(config.model, config.revision)
    return sources.find(config.model, config.revision, lambda folder: _check(folder, config))


def _check(folder: Path, config: PruneConfig) -> None:
    """Whether the model has the layers that shall stay; before its weights are fetched."""
    from slimcls.backbones.selectors import check_keep, named_layers
    from slimcls.backbones.truncate import config_in, depth_of

    depth = depth_of(config_in(folder, str(config.model)))
    if config.layers:
        named_layers(depth, config.layers)
    elif config.keep is not None:
        check_keep(depth, config.keep, config.rule)


def _chosen(
    config: PruneConfig, source: Source, parts: Parts | None
) -> tuple[tuple[int, ...], str]:
    """The layers that stay, and the fingerprint of the scores that chose them."""
    from slimcls.layers import layer_scores, scoring

    assert config.model is not None
    if config.layers:
        return tuple(config.layers), ""
    assert config.keep is not None
    row = importance.find(config.rule)
    if config.scores is not None:
        scores = layer_scores.read(Path(config.scores))
        scores.check(config.rule, source.fingerprint, config.model, f"--scores {config.scores}")
        return scores.kept_layers(config.keep), scores.fingerprint
    sample = None
    if row.needs_text:
        assert parts is not None
        sample = _scoring_sample(config, parts.scoring, source, [config.rule])
    scores = scoring.measure(
        row,
        source,
        sample,
        keep=config.keep,
        seed=config.seed,
        device=_device(config),
        force=config.force,
    )
    return scores.kept_layers(config.keep), scores.fingerprint if sample else ""


def _scoring_sample(
    config: PruneConfig, texts: Texts, source: Source, criteria: list[str]
) -> Sample:
    """Texts for criteria to look at: as many as the one that asks for fewest takes."""
    wanted = min(importance.find(name).samples for name in criteria)
    return _sample(config, texts.drawn(config.samples or wanted, config.seed), source)


def _sample(config: PruneConfig, texts: Texts, source: Source) -> Sample:
    from slimcls.backbones.tokenizers import open_tokenizer
    from slimcls.layers.calibration import encode

    return encode(texts, open_tokenizer(source), max_text_tokens=config.max_text_tokens)


def _device(config: PruneConfig) -> str:
    from slimcls import devices

    return devices.torch_device(devices.accelerator_for(config.accelerator))


def _labelled(config: PruneConfig, source: Source) -> Labelled:
    """The items of ``--dataset``, as an untrained run in mode lm would test on them."""
    from slimcls.backbones.tokenizers import open_tokenizer
    from slimcls.config import RunConfig
    from slimcls.data import catalog, tables
    from slimcls.inputs import make_inputs
    from slimcls.pruning.evaluation import Labelled
    from slimcls.runs import Log

    assert config.dataset is not None
    assert config.model is not None
    run = RunConfig(
        dataset=config.dataset,
        model=config.model,
        mode="lm",
        shots=1,
        demos=config.demos,
        seed=config.seed,
        test_size=config.test_size,
        validation_size=1,
        max_text_tokens=config.max_text_tokens,
    )
    folder = Path(config.data_dir) if config.data_dir else None
    data = tables.load(catalog.find(config.dataset), folder)
    tokenizer = open_tokenizer(source, never_empty=False)
    inputs = make_inputs(run, data, tokenizer, Log(quiet=True))
    return Labelled(inputs, tokenizer, list(data.spec.labels))


def _known(config: PruneConfig, source: Source, held_out: Sample) -> tuple[Known, Any]:
    """Figures that an earlier start has found, and what keeps new ones."""
    from slimcls.pruning.evaluation import Figures

    about = [
        source.fingerprint, held_out.fingerprint, config.dataset, config.demos, config.test_size,
        config.max_text_tokens, config.seed,
    ]  # fmt: skip
    kept, write = _kept_file(Path(config.out) / "known.json", about)
    known = {name: Figures(**figures) for name, figures in kept.items()}

    def keep() -> None:
        kept.update({name: dataclasses.asdict(one) for name, one in known.items()})
        write()

    return known, keep


def _kept_file(path: Path, about: list[Any]) -> tuple[dict[str, Any], Callable[[], None]]:
    """What a file holds of an earlier start with the same settings, and what writes it."""
    from slimcls.runs import write_text

    content = json.loads(path.read_text()) if path.is_file() else {}
    if content.get("about", about) != about:
        raise UserError(
            f"--out {path.parent}: holds figures of other settings; name another folder"
        )
    kept: dict[str, Any] = content.get("figures", {})

    def write() -> None:
        write_text(path, json.dumps({"about": about, "figures": kept}, indent=1))

    return kept, write


def main(argv: list[str] | None = None) -> int:
    """The command: write a pruned model, or figures; print what came out."""
    config = cli.parse(PruneConfig, sys.argv[1:] if argv is None else argv, prog="slimcls.prune")
    if not config.evaluate:
        about = prune(config)
        saved = 1 - about.params_kept / about.params_full
        print(f"{config.out}: {len(about.kept_layers)} of {about.depth} layers, {saved:.1%} saved")
        if about.perplexity is not None:
            print(f"perplexity {about.perplexity:.4g}, healed {about.perplexity_healed:.4g}")
        return 0
    table = quantise(config) if config.quantise else evaluate(config)
    from slimcls.pruning import pages

    print(pages.write(table, config, Path(config.out)))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
