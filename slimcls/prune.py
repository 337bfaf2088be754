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
    from slimcls.layers.layer_scores import Scores
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
    from slimcls.layers.scoring import check_memory
    from slimcls.pruning import folder

    scores = _scores(config, source, parts)
    layers = scores.kept_layers(config.keep or 0) if scores else tuple(config.layers or ())
    text = scores.text if scores else ""
    about = folder.describe(
        source,
        layers,
        select=config.rule if scores else "layers",
        scores=scores.fingerprint if scores and text else "",
        text=text,
    )
    check_memory(source, layers, _device(config), config.force)
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

    dtype, device = model.dtype, _device(config)
    held_out = _sample(config, parts.held_out.drawn(config.held_out, config.seed), source)
    texts = parts.healing.drawn(config.heal * BATCH, config.seed)
    sample = _sample(config, texts, source)
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


def evaluate(config: PruneConfig) -> pd.DataFrame:
    """Measure what removal does, without training; a row a criterion and number of layers.

    Figures are kept under ``out`` as they are found: the same command goes on where it was stopped.
    """
    parts = _parts(config)
    assert parts is not None
    source = _source(config)
    from slimcls.backbones.truncate import depth_of, read_config
    from slimcls.layers.scoring import open_whole
    from slimcls.pruning import evaluation

    depth = depth_of(read_config(source))
    most = min(config.most or depth // 2, depth - 1)
    held_out = _sample(config, parts.held_out.drawn(config.held_out, config.seed), source)
    labelled = _labelled(config, source) if config.dataset else None
    known, keep_known = _known(config, [source.fingerprint, *_asked(config, held_out, labelled)])
    model = open_whole(source, _device(config), config.force)
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
    from slimcls.layers.scoring import open_whole
    from slimcls.pruning import evaluation
    from slimcls.pruning.bits import Subject

    held_out = _sample(config, parts.held_out.drawn(config.held_out, config.seed), source)
    labelled = _labelled(config, source) if config.dataset else None
    sample = _scoring_sample(config, parts.scoring, source, [config.rule])
    subject = Subject(
        lambda: open_whole(source, force=config.force),
        lambda model: _choice(config, model, sample),
        lambda model: evaluation.measure(model, held_out, labelled),
    )
    about = [source.fingerprint, *_asked(config, held_out, labelled), sample.fingerprint]
    return subject, about


def _classifier(config: PruneConfig, parts: Parts) -> tuple[Subject, list[Any]]:
    """A finished run, measured on its own test items."""
    from slimcls import artefact
    from slimcls.backbones.cache import content_hash
    from slimcls.backbones.families import blocks_of
    from slimcls.backbones.selectors import check_keep
    from slimcls.layers.calibration import encode
    from slimcls.pruning import trained
    from slimcls.pruning.bits import Subject

    assert config.classifier is not None
    folder = Path(config.classifier)
    items = trained.test_items(folder, config.data_dir)
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
    model = content_hash(path for path in (folder / "model").iterdir() if path.is_file())
    return subject, [model, items.fingerprint, sample.fingerprint]


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


def _scores(config: PruneConfig, source: Source, parts: Parts | None) -> Scores | None:
    """What chooses the layers that stay; None where they are named."""
    from slimcls.layers import layer_scores, scoring

    assert config.model is not None
    if config.layers:
        return None
    assert config.keep is not None
    row = importance.find(config.rule)
    if config.scores is not None:
        scores = layer_scores.read(Path(config.scores))
        scores.check(config.rule, source.fingerprint, config.model, f"--scores {config.scores}")
        return scores
    sample = None
    if row.needs_text:
        assert parts is not None
        sample = _scoring_sample(config, parts.scoring, source, [config.rule])
    return scoring.measure(
        row,
        source,
        sample,
        keep=config.keep,
        seed=config.seed,
        device=_device(config),
        force=config.force,
    )


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

    return devices.exact_device(config.accelerator)


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
    return Labelled(inputs, tokenizer, list(data.spec.labels), data.fingerprint)


def _asked(config: PruneConfig, held_out: Sample, labelled: Labelled | None) -> list[Any]:
    """What decides the figures of a model."""
    items = [config.demos, config.test_size, config.max_text_tokens, config.seed]
    return [held_out.fingerprint, *([labelled.fingerprint, *items] if labelled else [])]


def _known(config: PruneConfig, about: list[Any]) -> tuple[Known, Any]:
    """Figures that an earlier start has found, and what keeps new ones."""
    from slimcls.pruning.evaluation import Figures

    kept, write = _kept_file(Path(config.out) / "known.json", about)
    known = {name: Figures(**figures) for name, figures in kept.items()}

    def keep() -> None:
        kept.update({name: dataclasses.asdict(one) for name, one in known.items()})
        write()

    return known, keep


def _kept_file(path: Path, about: list[Any]) -> tuple[dict[str, Any], Callable[[], None]]:
    """What a file holds of an earlier start with the same settings, and what writes it."""
    from slimcls.runs import write_text

    kept: dict[str, Any] = {}
    if path.is_file():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            other, kept = content["about"] != about, content["figures"]
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"{path}: cannot be read; delete it, or name another --out") from None
        if other:
            raise UserError(
                f"--out {path.parent}: holds figures of other settings; name another folder"
            )

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
