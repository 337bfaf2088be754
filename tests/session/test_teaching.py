"""A finished run teaches: what is learnt, what is refused, what the result and reports say."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - the field's own name

from slimcls import runs
from slimcls.cascade import cascade
from slimcls.cascading.settings import CascadeConfig
from slimcls.classifier.artefact import load
from slimcls.classifier.modes import SoftTargets
from slimcls.config import RunConfig
from slimcls.data.splits import VERSIONS
from slimcls.errors import Interrupted, UserError
from slimcls.reporting.evidence import full_depth
from slimcls.reporting.study import read_study
from slimcls.runs.schema import RunResult
from slimcls.session.again import drawn_again
from slimcls.session.shared import Shared
from slimcls.session.teaching import Teacher
from slimcls.train import train
from slimcls.training.checkpoints import Progress


def settings(toy: Path, out: Path, **more: Any) -> RunConfig:
    quick: dict[str, Any] = {
        "model": "tiny-llama", "mode": "cls", "keep": 2, "shots": 12, "epochs": 2, "batch_size": 8,
        "lr": 3e-3, "validation_size": 30, "accelerator": "cpu", "baseline": False,
    }  # fmt: skip
    return RunConfig(dataset=str(toy), out=str(out), **(quick | more))


@pytest.fixture(scope="module")
def teacher(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return train(settings(toy, tmp_path_factory.mktemp("teacher"), keep="all", epochs=8))


def test_the_loss_is_kl_and_its_gradient_that_of_soft_labels() -> None:
    logits = torch.randn(5, 3, requires_grad=True)
    taught = torch.randn(7, 3)
    places = torch.tensor([6, 0, 2, 2, 5])
    for heat in (1.0, 2.5):
        loss = SoftTargets(taught, heat).loss(logits, places)
        wanted = (taught[places] / heat).softmax(1)
        soft_labels = heat**2 * F.cross_entropy(logits / heat, wanted)
        (one,) = torch.autograd.grad(loss, logits)
        (other,) = torch.autograd.grad(soft_labels, logits)
        assert torch.allclose(one, other, atol=1e-6)
        assert loss >= 0
    assert SoftTargets(taught).loss(taught[places], places).item() == pytest.approx(0, abs=1e-6)


def test_the_result_says_who_taught_on_what(toy: Path, tmp_path: Path, teacher: RunResult) -> None:
    shown = settings(toy, tmp_path, teacher=str(teacher.folder), unlabelled="rest")
    result = train(shown)
    assert (
        result.taught == "taught by 6 layers, cls (epochs 8, batch-size 8, lr 0.003), all of rest"
    )
    assert result.taught_by == teacher.run
    assert result.labels_used == teacher.labels_used == 36 + 30
    assert result.unlabelled_texts == 300 - 36 - 30 - 3
    assert runs.read_result(result.folder) == result
    plain = train(settings(toy, tmp_path))
    assert (plain.taught, plain.taught_by, plain.unlabelled_texts) == ("", "", 0)
    assert plain.run != result.run
    fewer = train(dataclasses.replace(shown, unlabelled_size=50))
    assert (fewer.unlabelled_texts, fewer.taught) == (50, result.taught.replace("all of", "50 of"))
    assert fewer.run != result.run


def test_the_pupil_comes_to_agree_with_its_teacher(
    toy: Path, tmp_path: Path, teacher: RunResult
) -> None:
    """More than a cut that has learnt the labels, as long."""
    texts = [f"words of {place} and soup" for place in range(40)]
    wanted = load(teacher.folder).logits(load(teacher.folder).encoder.encode(texts).ids)
    apart = []
    for more in ({"teacher": str(teacher.folder), "unlabelled": "rest"}, {"epochs": 12}):
        result = train(settings(toy, tmp_path, **({"epochs": 3} | more)))
        pupil = load(result.folder)
        found = pupil.logits(pupil.encoder.encode(texts).ids)
        apart.append(float(F.kl_div(found.log_softmax(1), wanted.softmax(1), reduction="sum")))
    assert apart[0] < apart[1]


@pytest.mark.parametrize(
    "more",
    [
        {"mode": "p-cls"},
        {"mode": "lm"},
        {"tune": "head", "lr": 1e-2},
        {"tune": "lora"},
        {"tune": "last-1", "temperature": 2.0},
    ],
)
def test_any_mode_learns_of_any(
    toy: Path, tmp_path: Path, teacher: RunResult, more: dict[str, Any]
) -> None:
    taught = {"teacher": str(teacher.folder), "unlabelled": "rest", "unlabelled_size": 20}
    result = train(settings(toy, tmp_path, **(taught | {"epochs": 1} | more)))
    assert result.unlabelled_texts == 20
    assert load(result.folder).predict("soup")[0].label in load(teacher.folder).labels


def test_killed_it_goes_on_to_the_same_bits(
    toy: Path, tmp_path: Path, teacher: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = {"teacher": str(teacher.folder), "unlabelled": "rest", "unlabelled_size": 40}
    whole = train(settings(toy, tmp_path / "whole", **taught))
    config = settings(toy, tmp_path / "killed", checkpoint_seconds=0.0, **taught)
    says = Progress.on_train_batch_end

    def stop(self: Any, trainer: Any, *rest: Any) -> None:
        says(self, trainer, *rest)
        if trainer.global_step == 13:
            raise Interrupted(2, "stopped")

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "on_train_batch_end", stop)
        with pytest.raises(Interrupted):
            train(config)
    again = train(config)
    for name in ("model/model.safetensors", "predictions.parquet"):
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_its_scores_are_computed_once(
    toy: Path, tmp_path: Path, teacher: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught = {"teacher": str(teacher.folder), "unlabelled": "rest", "unlabelled_size": 30}
    first = train(settings(toy, tmp_path, epochs=1, **taught))
    assert "reading 66 texts with the teacher" in (first.folder / "log.txt").read_text()
    monkeypatch.setattr(Teacher, "_compute", lambda *_: pytest.fail("computed again"))
    train(settings(toy, tmp_path, epochs=1, keep=3, **taught))


def test_a_report_holds_it_against_full_depth(
    toy: Path, tmp_path: Path, teacher: RunResult
) -> None:
    shutil.copytree(teacher.folder, tmp_path / teacher.run)
    for more in ({}, {"teacher": str(teacher.folder), "unlabelled": "rest"}):
        train(settings(toy, tmp_path, epochs=8, **more))
    study = read_study(tmp_path)
    lines = ["cls", "cls, taught by 6 layers, cls (epochs 8, batch-size 8, lr 0.003), all of rest"]
    assert sorted(set(study.found.runs.line)) == lines
    assert sorted(study.compared.differences.line) == lines
    assert set(study.compared.differences.keep) == {2}
    train(settings(toy, tmp_path, keep="all", teacher=str(teacher.folder), unlabelled="rest"))
    found = read_study(tmp_path).found.runs
    assert full_depth(found).run.tolist() == [teacher.run], "taught full depth is no reference"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"seed": 1}, "was trained with --seed 0, not 1"),
        ({"shots": 11}, "was trained with --shots 12, not 11"),
        ({"validation_size": 20}, "was trained with --validation-size 30, not 20"),
        ({"unlabelled": "nowhere.csv"}, "--unlabelled nowhere.csv: no such file"),
    ],
)
def test_a_teacher_of_other_items_is_refused(
    toy: Path, tmp_path: Path, teacher: RunResult, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        train(settings(toy, tmp_path / "out", teacher=str(teacher.folder), **more))
    assert not list((tmp_path / "out").glob("*"))


def test_no_teacher_no_lesson(toy: Path, tmp_path: Path, teacher: RunResult) -> None:
    with pytest.raises(UserError, match="no finished run, nor a folder of finished runs"):
        train(settings(toy, tmp_path, teacher=str(tmp_path)))
    copy = shutil.copytree(teacher.folder, tmp_path / "copy")
    (copy / "model" / "slimcls.json").unlink()
    with pytest.raises(UserError, match="its model was not saved; train it again"):
        train(settings(toy, tmp_path, teacher=str(copy)))
    other = tmp_path / "other"
    shutil.copytree(toy, other)
    with (other / "train.csv").open("a") as file:
        file.write("one more text,food\n")
    with pytest.raises(UserError, match="was trained on other data"):
        train(settings(other, tmp_path, teacher=str(teacher.folder)))


def test_of_a_folder_of_runs_the_deepest_with_the_same_items_teaches(
    toy: Path, tmp_path: Path, teacher: RunResult
) -> None:
    """Not a shallower one, one of another seed, mode or model, a taught one, or a damaged one."""
    out = tmp_path / "out"
    for more in ({"keep": 3}, {"seed": 1}, {"mode": "p-cls"}, {"model": "tiny-gpt2"}):
        train(settings(toy, out, **({"keep": "all", "epochs": 1} | more)))
    with pytest.raises(UserError, match=r"out: none of its runs learnt labels in this mode, with "):
        train(settings(toy, tmp_path / "two", teacher=str(out), demos=0))
    for folder in ("first-copy", teacher.run):
        shutil.copytree(teacher.folder, out / folder)
    (out / "damaged").mkdir()
    (out / "damaged" / "result.parquet").write_text("no table")
    taught = train(settings(toy, out, keep="all", epochs=1, teacher=str(out)))
    assert taught.taught_by == teacher.run
    pupil = train(settings(toy, out, teacher=str(out)))
    assert pupil.taught_by == teacher.run
    assert Path(pupil.config.teacher or "").name in {"first-copy", teacher.run}
    by_name = dataclasses.replace(pupil.config, teacher=str(teacher.folder))
    assert train(by_name).run == pupil.run, "the folder is no setting of its own"
    other = train(settings(toy, out, keep="all", epochs=3))
    with pytest.raises(UserError, match=r"2 of its runs with 6 layers could teach; name one, such"):
        train(settings(toy, out, keep=1, teacher=str(out)))
    shutil.rmtree(other.folder)
    for folder in ("first-copy", teacher.run):
        shutil.rmtree(out / folder / "model")
    with pytest.raises(UserError, match="its model was not saved; train it again"):
        train(settings(toy, out, keep=1, teacher=str(out)))


def test_the_run_that_is_found_teaches_whatever_is_finished_meanwhile(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    first = train(settings(toy, out, keep=3, epochs=1))
    deeper = train(settings(toy, tmp_path / "apart", keep="all", epochs=1))
    inputs = Shared.inputs

    def slow(*given: Any, **named: Any) -> Any:
        shutil.copytree(deeper.folder, out / deeper.run, dirs_exist_ok=True)
        return inputs(*given, **named)

    monkeypatch.setattr(Shared, "inputs", slow)
    assert train(settings(toy, out, teacher=str(out))).taught_by == first.run


def test_teachers_that_were_trained_otherwise_teach_other_cells(
    toy: Path, tmp_path: Path, teacher: RunResult
) -> None:
    """A report takes what is taught alike for seeds of one cell."""
    head = train(settings(toy, tmp_path, keep="all", epochs=1, tune="head"))
    said = [
        train(settings(toy, tmp_path, teacher=str(one.folder))).taught for one in (teacher, head)
    ]
    assert said == [
        "taught by 6 layers, cls (epochs 8, batch-size 8, lr 0.003)",
        "taught by 6 layers, cls (tune head, epochs 1, batch-size 8, lr 0.003)",
    ]


def test_a_teacher_that_learns_to_leave_early_teaches_the_same(toy: Path, tmp_path: Path) -> None:
    deep = train(settings(toy, tmp_path, keep="all", epochs=2, exits=[3, 6]))
    before = train(settings(toy, tmp_path, teacher=str(deep.folder)))
    cascade(CascadeConfig(run=str(deep.folder), risk=60))
    assert train(settings(toy, tmp_path, teacher=str(deep.folder))).run == before.run


def test_items_of_an_older_draw_are_not_taught(
    toy: Path, tmp_path: Path, teacher: RunResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(VERSIONS, "stratified", 2)
    with pytest.raises(UserError, match="an older slimcls drew with --split stratified: train it"):
        train(settings(toy, tmp_path, teacher=str(teacher.folder)))
    with pytest.raises(UserError, match="an older slimcls drew its items, with --split stratified"):
        drawn_again(teacher.folder, None)


def test_without_more_texts_it_warns(toy: Path, tmp_path: Path, teacher: RunResult) -> None:
    result = train(settings(toy, tmp_path, epochs=1, teacher=str(teacher.folder)))
    assert "without --unlabelled texts a teacher has brought nothing" in (
        result.folder / "log.txt"
    ).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"unlabelled": "rest"}, "--unlabelled: needs a --teacher"),
        ({"temperature": 2.0}, "--temperature: needs a --teacher"),
        ({"unlabelled_size": 5}, "--unlabelled-size: needs --unlabelled"),
        ({"teacher": "x", "temperature": 0.0}, "must be above 0"),
        ({"teacher": "x", "class_weights": True}, "not with --class-weights"),
        ({"teacher": "x", "epochs": 0}, "not with --epochs 0"),
        ({"teacher": "x", "mode": "lm", "lm_loss": "sequence"}, "only label-words"),
    ],
)
def test_contradictions_fail_before_anything_is_read(more: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        RunConfig(dataset="trec", **more)
