"""Plans: what is tried in the time there is, and that it is kept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimcls.errors import UserError
from slimcls.search.costs import (
    EPOCHS,
    STEPS,
    TAUGHT_EPOCHS,
    TAUGHT_STEPS,
    Texts,
)
from slimcls.search.kept_plan import keep_plan, kept_plan
from slimcls.search.plan import (
    CHEAPEST,
    CONFIRMING,
    READING,
    TRAINING,
    Plan,
    ladder,
    make_plan,
)
from slimcls.search.settings import FitConfig, seconds_of
from slimcls.search.speed import Speed
from slimcls.search.telling import _budget, plan_lines

#: A machine that takes a millisecond for a token and a layer, forwards and backwards.
SPEED = Speed(1e-3, 3e-4)


def texts(items: int = 1000, tokens: int = 20, classes: int = 4) -> Texts:
    return Texts(
        (tokens,) * items,
        (items // classes,) * classes,
        (tokens,) * (items // 5),
        5 * items * tokens,
    )


def plan(budget: float, given: Texts | None = None, fits: int = 99, depth: int = 30) -> Plan:
    return make_plan(given or texts(), depth, SPEED, budget, lambda keep: keep <= fits)


def test_a_ladder_halves_down_to_one_layer() -> None:
    assert ladder(30) == (30, 15, 8, 4, 2, 1)
    assert ladder(1) == (1,)


def test_with_all_the_time_there_is_nothing_is_left_out() -> None:
    found = plan(1e9)
    assert (found.shots, found.max_text_tokens) == (None, None)
    assert found.depths == ladder(30)
    assert found.frozen == ladder(30)[1:]
    assert (found.frozen_shots, found.frozen_tokens) == (None, None)
    assert found.seeds == 3
    assert found.next_seconds is None
    assert found.notes == ()


def test_seconds_are_those_of_what_is_tried() -> None:
    found = plan(1e9)
    tokens, read = 20 * 1000, 20 * 200
    cheap = found.seconds[CHEAPEST]
    assert cheap == pytest.approx(2 + 9 * 0.1 * 4 / 5 + 2 + 4)
    begun = 12 * (4 / 5) ** 0.5  # the regression that the head begins with
    each = [
        8 + begun + (tokens + read) * d * 3e-4 + EPOCHS * (tokens * d * 1e-3 + read * d * 3e-4)
        for d in ladder(30)
    ]
    assert found.epochs == EPOCHS
    assert found.seconds[TRAINING] == pytest.approx(sum(each))
    assert found.seconds[CONFIRMING] == pytest.approx(3 * (cheap + sum(each[:2])))


def test_frozen_layers_read_more_than_cuts_do_where_time_is_short() -> None:
    found = plan(14000, texts(items=4000, tokens=100, classes=2))
    assert found.frozen == ladder(30)[1:]
    assert (found.shots, found.max_text_tokens) == (200, 64)
    assert (found.frozen_shots, found.frozen_tokens) == (200, 128)
    assert found.seconds[READING] <= 0.3 * 14000
    assert found.total <= 14000


def test_few_texts_are_trained_on_for_enough_steps() -> None:
    found = plan(1e9, texts(items=64))
    assert found.epochs == -(-STEPS // 4)


def test_with_a_teacher_heads_are_drawn_and_take_longer() -> None:
    taught = dataclasses.replace(texts(), unlabelled=(20,) * 1000)
    found = plan(1e9, taught)
    assert found.epochs == TAUGHT_EPOCHS
    begun = 12 * (4 / 5) ** 0.5  # the teacher's; a cut's head is drawn, and takes no longer
    each = [
        8 + begun + 44e3 * d * 3e-4 + TAUGHT_EPOCHS * (40e3 * d * 1e-3 + 4e3 * d * 3e-4)
        for d in ladder(30)
    ]
    assert found.seconds[TRAINING] == pytest.approx(sum(each))
    few = dataclasses.replace(taught, classes=(16,) * 4)
    assert plan(1e9, few).epochs == -(-TAUGHT_STEPS // 4)


@given(st.floats(1, 1e6), st.integers(20, 3000), st.integers(1, 500))
def test_a_plan_keeps_to_its_budget(budget: float, items: int, tokens: int) -> None:
    found = plan(budget, texts(items, tokens, classes=2))
    if found.depths or found.frozen:
        assert found.total <= budget * (1 + 1e-9)
    if not found.depths:
        assert found.next_seconds is not None
        assert any("too short to train" in note for note in found.notes)
    elif found.next_seconds is not None:
        assert found.next_seconds > budget


@given(st.floats(10, 1e5))
def test_more_time_is_never_worse(budget: float) -> None:
    less, more = plan(budget), plan(2 * budget)
    assert (more.max_text_tokens or 999) >= (less.max_text_tokens or 999) or not less.depths
    if less.max_text_tokens == more.max_text_tokens and less.shots == more.shots:
        assert len(more.depths) >= len(less.depths) or more.seeds > less.seeds


@given(
    st.floats(5, 5e3), st.integers(40, 3000), st.integers(5, 300), st.sampled_from([6, 12, 18, 30])
)
def test_the_budget_that_is_advised_has_a_deeper_model(
    budget: float, items: int, tokens: int, depth: int
) -> None:
    """As it is printed, in minutes and hours; more texts or frozen layers may take its place."""
    given = texts(items, tokens, classes=2)
    found = plan(budget, given, depth=depth)
    assert (found.next_seconds is None) == (found.depths[:1] == (depth,))
    if found.next_seconds is not None:
        advised = plan(seconds_of(_budget(found.next_seconds)), given, depth=depth)
        assert advised.depths[0] > (found.depths[0] if found.depths else 0)


def test_texts_give_way_before_a_quarter_of_the_layers_does() -> None:
    given = texts(items=4000, tokens=400, classes=2)
    whole = plan(1e9, given).seconds
    found = plan(sum(whole.values()) / 100, given)
    assert found.depths[0] >= 8
    assert found.max_text_tokens in (64, 128, 256)
    assert any("reads the first" in note for note in found.notes)


def test_what_is_told_of_the_texts_is_what_is_read() -> None:
    """By frozen layers alone, where none is trained; by none, where none is tried."""
    given = texts(items=4000, tokens=400, classes=2)
    found = [plan(budget, given) for budget in range(20, 3000, 90)]
    for one in found:
        tokens = one.max_text_tokens if one.depths else one.frozen_tokens if one.frozen else None
        shots = one.shots if one.depths else one.frozen_shots if one.frozen else None
        told = " ".join(one.notes)
        assert ("reads the first" in told) == (tokens is not None)
        assert tokens is None or f"reads the first {tokens} tokens" in told
        assert ("the model learns from" in told) == (shots is not None)
        assert shots is None or f"the model learns from {shots} texts" in told
    untrained = plan(1e9, given, fits=0)
    assert untrained.frozen == ladder(30)[1:]
    (note,) = untrained.notes
    assert note.endswith("not even one layer is trained")


def test_layers_give_way_before_fewer_than_200_texts_a_class_are_learnt_from() -> None:
    given = texts(items=4000, tokens=40, classes=4)
    found = [plan(budget, given) for budget in range(500, 20000, 500)]
    enough = [one for one in found if one.depths and (one.shots or 1000) >= 200]
    few = [one for one in found if one.depths and (one.shots or 1000) < 200]
    assert {one.depths[0] for one in enough} >= {2, 4, 8}
    assert {one.depths[0] for one in few} == {2}, "with which even two layers take too long"
    assert max(one.total for one in few) < min(one.total for one in enough)
    assert all(one.max_text_tokens in (32, 64) for one in few)


@given(st.floats(1, 1e6), st.integers(2, 30000), st.integers(2, 100))
def test_the_mean_of_the_embeddings_takes_little_of_the_time(
    budget: float, items: int, classes: int
) -> None:
    """Or the fewest texts that are ever learnt from; never more than the largest class has."""
    given = texts(max(items, classes), classes=classes)
    found = plan(budget, given)
    least = found.embedded == 50 or (found.embedded is None and max(given.classes) <= 50)
    assert least or 4 * given.embedded(found.embedded) <= budget / 10
    assert found.embedded is None or found.embedded < max(given.classes)
    told = f"mean of the embeddings learns from {found.embedded} texts of a class"
    assert any(told in note for note in found.notes) == (found.embedded is not None)
    assert plan(1e12, given).embedded is None


def test_what_does_not_fit_into_memory_is_not_tried() -> None:
    found = plan(1e9, fits=8)
    assert found.depths == (8, 4, 2, 1)
    assert "8 of its 30 layers are" in found.notes[0]
    assert plan(1e9, fits=0).depths == ()


@pytest.fixture
def config(tmp_path: Path) -> FitConfig:
    return FitConfig(dataset="trec", out=str(tmp_path / "fit"))


def test_a_kept_plan_is_the_same_plan(config: FitConfig) -> None:
    found = plan(5000.0)
    assert kept_plan(config, "sha256:1") is None
    keep_plan(config, "sha256:1", found)
    assert kept_plan(config, "sha256:1") == found
    assert kept_plan(dataclasses.replace(config, overwrite=True), "sha256:1") == found


def test_a_plan_of_another_fit_is_refused(config: FitConfig) -> None:
    keep_plan(config, "sha256:1", plan(5000.0))
    with pytest.raises(UserError, match="another --max-loss; name another --out"):
        kept_plan(dataclasses.replace(config, max_loss=1.0), "sha256:1")
    with pytest.raises(UserError, match="content of its data"):
        kept_plan(config, "sha256:2")
    held = json.loads((config.folder / "plan.json").read_text())
    del held["format"]
    (config.folder / "plan.json").write_text(json.dumps(held))
    assert kept_plan(config) is not None, "what is finished is read all the same"
    with pytest.raises(UserError, match=r"planned by an older slimcls.*--overwrite starts again"):
        kept_plan(config, "sha256:1")
    (config.folder / "plan.json").write_text("{}")
    with pytest.raises(UserError, match="is no plan that slimcls wrote"):
        kept_plan(config, "sha256:1")


@pytest.mark.parametrize(
    ("words", "seconds"), [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("0.5h", 1800)]
)
def test_budgets(words: str, seconds: float) -> None:
    assert seconds_of(words) == seconds


@pytest.mark.parametrize("words", ["", "30", "m", "-5m", "0m", "5 m", "tomorrow", "1e3s"])
def test_what_is_no_budget(words: str) -> None:
    with pytest.raises(UserError, match=r"^--budget "):
        FitConfig(dataset="trec", budget=words)


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_loss", 0.0), ("max_loss", 100.0), ("max_mb", 0.0), ("max_ms", -1.0), ("test_size", 0),
     ("seed", -1), ("shots", 0)],
)  # fmt: skip
def test_settings_that_make_no_sense(name: str, value: float) -> None:
    with pytest.raises(UserError, match=f"^--{name.replace('_', '-')} "):
        FitConfig(dataset="trec", **{name: value})


def test_no_more_of_a_class_is_asked_for_than_there_is() -> None:
    """A run refuses that."""
    small = texts(items=120, tokens=100, classes=4)
    for budget in (5.0, 50.0, 500.0, 5000.0):
        found = plan(budget, small)
        assert found.shots is None or found.shots < 30


def test_a_plan_is_told_in_words() -> None:
    one = Plan(50, 32, (1,), (), 12, 1, {TRAINING: 30.0})
    said = plan_lines(one, {"training": 1640}, 5)
    assert "  1 layer, as many of them as it takes: at most 30 seconds" in said
    more = dataclasses.replace(one, depths=(4, 2, 1), seeds=3, notes=("a note",))
    assert "  4, 2 and 1 layers, as many" in "\n".join(plan_lines(more, {"training": 9}, 2))
    assert plan_lines(more, {"training": 9}, 2)[-1] == "note: a note"


def test_a_reference_of_one_layer_in_thirty_is_not_trained() -> None:
    """It says nothing of the model; of a model of a few layers it does."""
    depths = {plan(budget).depths for budget in range(20, 1000, 20)}
    assert () in depths
    assert (1,) not in depths
    assert (2, 1) in depths
    assert (1,) in {plan(budget, depth=6).depths for budget in range(20, 400, 5)}
