"""A finished run as teacher: its scores are what a cut learns, in place of the labels.

Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", arXiv 1503.02531;
that unlabelled texts carry most of it: docs/teaching.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimcls.classifier.description import CASCADE, DESCRIPTION, read_description
from slimcls.config import RunConfig, flag
from slimcls.data.splits import VERSIONS
from slimcls.data.tables import Tables
from slimcls.data.unlabelled import REST, check_unlabelled, draw_unlabelled
from slimcls.errors import UserError
from slimcls.log import Log
from slimcls.roles import Role, settings_with
from slimcls.runs.results import read_result
from slimcls.runs.schema import RESULT, RunResult
from slimcls.storage.cache import build_once, cache_dir, content_hash, file_sha256

if TYPE_CHECKING:
    from torch import Tensor

    from slimcls.classifier.modes import SoftTargets
    from slimcls.session.inputs import Inputs

#: Settings that make a teacher of the same depth and mode another one.
_WAY = settings_with(Role.TRAINING, but=Role.OUTSIDE | Role.ALONE | Role.ARITHMETIC | Role.NEUTRAL)
#: What teacher and pupil must share: else the one has learnt from what the other is judged by.
_SAME = settings_with(Role.ITEMS, but=Role.NAME | Role.OUTSIDE)


@dataclass(frozen=True)
class Teacher:
    """A finished run whose scores are learnt."""

    result: RunResult
    fingerprint: str
    """Content hash of its weights and of what says how they are used."""

    @property
    def words(self) -> str:
        """What it is, as runs of all seeds have it."""
        result = self.result
        assert result.config.layers is not None
        return f"{len(result.config.layers)} layers, {result.config.mode}"

    def otherwise(self, model: str) -> str:
        """How it was trained where that is not the usual way, of a pupil's own ``model``."""
        from slimcls.training.rates import learning_rate

        config, usual = self.result.config, {f.name: f.default for f in fields(RunConfig)}
        usual["lr"] = learning_rate(
            config.tune, len(config.layers or ()), self.result.depth, probe_first=config.probe_first
        )
        said = [
            f"{name.replace('_', '-')} {getattr(config, name)}"
            for name in _WAY
            if getattr(config, name) != usual[name]
        ]
        # By its name: where a folder lies says nothing elsewhere.
        its, own = Path(config.model).name, Path(model).name
        return ", ".join([*([f"model {its}"] if its != own else []), *said])

    def logits(self, texts: Sequence[str], labels: Sequence[str], log: Log) -> Tensor:
        """Its logits (texts, classes), float32, with the classes in the order of ``labels``.

        They are computed once for the same texts, and kept in the cache.
        """
        from safetensors.torch import load_file

        made_from = [self.fingerprint, list(texts), list(labels)]
        key = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:32]

        def build(folder: Path) -> None:
            self._compute(texts, labels, folder / _LOGITS, log)

        return load_file(build_once(cache_dir() / "taught" / key, build) / _LOGITS)["logits"]

    def _compute(self, texts: Sequence[str], labels: Sequence[str], path: Path, log: Log) -> None:
        import torch
        from safetensors.torch import save_file

        from slimcls.classifier.artefact import load_run

        log.say(f"reading {len(texts)} texts with the teacher, {self.result.run}")
        classifier = load_run(self.result.folder)
        ids = classifier.encoder.encode(list(texts)).ids
        found = torch.as_tensor(classifier.logits(ids))
        found = found[:, [classifier.labels.index(name) for name in labels]]
        if not found.isfinite().all():
            raise UserError(f"--teacher {self.result.folder}: its scores are not finite")
        save_file({"logits": found.contiguous()}, path)


_LOGITS = "logits.safetensors"


def with_teacher_found(config: RunConfig, data: Tables, source: str) -> RunConfig:
    """The settings with the run that teaches, where ``--teacher`` names a folder of runs.

    ``source`` is the fingerprint of the pupil's model. Raises UserError where none can teach.
    """
    if config.teacher is None or (Path(config.teacher) / RESULT).is_file():
        return config
    return replace(config, teacher=str(_deepest(Path(config.teacher), config, data, source)))


def _deepest(folder: Path, config: RunConfig, data: Tables, source: str) -> Path:
    """Of a folder of runs the deepest with the pupil's model, mode and items that learnt labels."""
    found: dict[str, RunResult] = {}
    for path in sorted(folder.glob(f"*/{RESULT}")):
        # What cannot be read is another's, and no reason to stop.
        with contextlib.suppress(UserError):
            if run := read_result(path.parent):
                # A copy of a run is that run.
                found.setdefault(run.outcome.run, run)
    if not found:
        raise UserError(f"--teacher {folder}: no finished run, nor a folder of finished runs")
    wanted = ("fine-tuned", source, config.mode, None)
    able = [
        run
        for run in found.values()
        if (run.method, run.source_fingerprint, run.mode, run.teacher) == wanted
        and not _difference(config, data, run)
    ]
    if not able:
        raise UserError(
            f"--teacher {folder}: none of its runs learnt labels in this mode, with this model, "
            "from the same items"
        )
    most = max(len(run.layers) for run in able)
    first, *others = [run for run in able if len(run.layers) == most]
    if others:
        raise UserError(
            f"--teacher {folder}: {1 + len(others)} of its runs with {most} layers could teach; "
            f"name one, such as {first.folder}"
        )
    return first.folder


def find_teacher(config: RunConfig, data: Tables) -> Teacher:
    """The run that ``--teacher`` names.

    Raises UserError where it is none, has no weights, or has seen other items than the pupil: its
    training texts could then be among those that the pupil is judged by.
    """
    assert config.teacher is not None
    folder = Path(config.teacher)
    result = read_result(folder) if folder.is_dir() else None
    if result is None:
        raise UserError(f"--teacher {folder}: no finished run")
    model = folder / "model"
    if not result.has_model or not (model / DESCRIPTION).is_file():
        raise UserError(f"--teacher {folder}: its model was not saved; train it again")
    if why := _difference(config, data, result):
        raise UserError(f"--teacher {folder}: was trained {why}")
    return Teacher(result, _fingerprint(model))


def _fingerprint(model: Path) -> str:
    """Content hash of what a teacher's scores come from; leaving early is no part of it."""
    from slimcls.classifier.cascade import EXITS_FILE

    weights = [path for path in model.glob("*.safetensors") if path.name != EXITS_FILE]
    try:
        _, description = read_description(model)
        # As a run has written it.
        description.pop(CASCADE, None)
        text = json.dumps(description, indent=1, ensure_ascii=False)
        return content_hash(weights, {DESCRIPTION: text})
    except OSError as error:
        raise UserError(f"--teacher {model.parent}: cannot be read ({error.strerror})") from None


def _difference(config: RunConfig, data: Tables, teacher: RunResult) -> str:
    """In what the pupil's items are not the teacher's; nothing where they are the same."""
    if data.fingerprint != teacher.outcome.data_fingerprint:
        return "on other data"
    if teacher.outcome.draw_version != VERSIONS[config.split]:
        return f"on items that an older slimcls drew with --split {config.split}: train it again"
    for name in _SAME:
        own, its = getattr(config, name), getattr(teacher.config, name)
        if own != its:
            return (
                f"with {flag(name)} {its}, not {own}: it has learnt other texts, maybe those that "
                "this run is judged by"
            )
    return ""


def fingerprints(config: RunConfig, data: Tables) -> dict[str, str]:
    """What a taught run's name has beside its settings; nothing of an untaught one."""
    if config.teacher is None:
        return {}
    found = {"teacher": find_teacher(config, data).fingerprint}
    if config.unlabelled is not None:
        file = config.unlabelled
        check_unlabelled(file)
        found["unlabelled"] = REST if file == REST else file_sha256(Path(file))
        found["unlabelled_size"] = str(config.unlabelled_size)
    return found


@dataclass(frozen=True)
class Lesson:
    """What a run learns from its teacher; nothing where it has none."""

    teacher: Teacher | None = None
    texts: tuple[str, ...] = ()
    """Labelled texts first, in the order of the training part, then those without labels."""
    ids: tuple[list[int], ...] = ()
    """The texts without labels, as they go into the pupil."""
    labels: tuple[str, ...] = ()
    temperature: float = 1.0
    taught: str = ""
    """How, in the words that tell a run from those that were taught otherwise."""

    def targets(self, log: Log) -> SoftTargets | None:
        """The teacher's scores of all texts. Raises UserError where it cannot be opened."""
        if self.teacher is None:
            return None
        from slimcls.classifier.modes import SoftTargets

        found = self.teacher.logits(self.texts, self.labels, log)
        return SoftTargets(found, self.temperature)

    @property
    def columns(self) -> dict[str, Any]:
        """What the result says of it."""
        by = self.teacher.result.outcome.run if self.teacher else ""
        return {"taught": self.taught, "taught_by": by, "unlabelled_texts": len(self.ids)}


def lesson_of(config: RunConfig, data: Tables, inputs: Inputs, log: Log) -> Lesson:
    """The lesson of a run; what it holds and leaves out is said in the log.

    Raises UserError as :func:`find_teacher` and ``draw_unlabelled`` do.
    """
    if config.teacher is None:
        return Lesson()
    teacher = find_teacher(config, data)
    texts = tuple(item.text for item in inputs.splits.train)
    more: tuple[str, ...] = ()
    if config.unlabelled is None:
        log.say("note: without --unlabelled texts a teacher has brought nothing so far")
    else:
        drawn = draw_unlabelled(
            config.unlabelled,
            data,
            inputs.splits,
            column=config.text_column,
            size=config.unlabelled_size,
            seed=config.seed,
        )
        for note in drawn.notes:
            log.say(f"note: {note}")
        more = drawn.texts
    return Lesson(
        teacher,
        (*texts, *more),
        tuple(inputs.encoder.encode(list(more)).ids) if more else (),
        tuple(data.spec.labels),
        config.temperature or 1.0,
        _words(config, teacher),
    )


def _words(config: RunConfig, teacher: Teacher) -> str:
    other = teacher.otherwise(config.model)
    said = f"taught by {teacher.words}{f' ({other})' if other else ''}"
    if config.unlabelled is None:
        return said
    most = "all" if config.unlabelled_size is None else f"{config.unlabelled_size:,}"
    return f"{said}, {most} of {Path(config.unlabelled).name}"
