"""A grid's YAML becomes the runs it says, or one line that says what is wrong with it."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from slimcls.config import RunConfig
from slimcls.errors import UserError
from slimcls.grids.cells import Grid
from slimcls.grids.definition import read_grid

SHARED = {"dataset": "trec", "model": "tiny-gpt2"}


def grid(**content: object) -> Grid:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some.yaml"
        path.write_text(yaml.safe_dump(SHARED | content), encoding="utf-8")
        return read_grid(str(path))


def settings(made: Grid, *names: str) -> list[tuple[object, ...]]:
    return [tuple(getattr(cell.run, name) for name in names) for cell in made.cells]


AXES = {
    "mode": st.lists(st.sampled_from(["lm", "p-cls", "cls"]), min_size=1, unique=True),
    "keep": st.lists(st.integers(1, 48) | st.just("all"), min_size=1, max_size=4, unique=True),
    "seed": st.lists(st.integers(0, 2**40), min_size=1, max_size=4, unique=True),
    "lr": st.lists(st.floats(1e-6, 0.5), min_size=1, max_size=3, unique=True),
    "layers": st.just([None]),
    "compile": st.lists(st.booleans(), min_size=1, max_size=2, unique=True),
}


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.fixed_dictionaries({}, optional=AXES))
def test_every_combination_once_in_the_order_of_the_file(axes):
    made = grid(**axes)
    wanted = list(itertools.product(*axes.values()))
    # The file's keys are sorted by safe_dump, so compare as sets and count.
    assert sorted(map(repr, settings(made, *axes))) == sorted(map(repr, wanted))
    assert len({cell.label for cell in made.cells}) == len(wanted), "labels tell cells apart"


def test_the_first_axis_varies_slowest():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "g.yaml"
        path.write_text("dataset: trec\nseed: [7, 8]\nkeep: [1, 2]\nmode: cls\n", encoding="utf-8")
        made = read_grid(str(path))
    assert settings(made, "seed", "keep") == [(7, 1), (7, 2), (8, 1), (8, 2)]
    assert made.cells[0].label == "trec cls gpt2-xl keep 1 seed 7"


@hypothesis_settings(deadline=None, max_examples=30)
@given(
    st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, unique=True),
    st.lists(st.sampled_from(["lm", "cls"]), min_size=1, unique=True),
)
def test_exclude_drops_what_fits_all_its_fields(keeps, modes):
    rule = {"keep": keeps, "mode": modes}
    made = settings(
        grid(keep=[1, 2, 3, 4, 5], mode=["lm", "p-cls", "cls"], exclude=[rule]), "keep", "mode"
    )
    assert len(made) == 15 - len(keeps) * len(modes)
    assert not [(k, m) for k, m in made if k in keeps and m in modes]


def test_a_rule_may_name_a_setting_that_the_file_leaves_at_its_default():
    made = grid(keep=[1, 2], exclude=[{"keep": 1, "mode": "p-cls", "tune": "full"}])
    assert settings(made, "keep") == [(2,)]


def test_cells_have_axes_of_their_own():
    made = grid(
        keep=[48, 1], seed=[0, 1], cells=[{"model": "gpt2-xl"}, {"model": "gpt2", "keep": "all"}]
    )
    assert sorted(set(settings(made, "model", "keep"))) == [
        ("gpt2", "all"), ("gpt2-xl", 1), ("gpt2-xl", 48),
    ]  # fmt: skip
    assert len(made.cells) == 6


def test_what_stands_in_two_blocks_is_one_cell():
    made = grid(cells=[{"keep": [1, 2]}, {"keep": [2, 3]}])
    assert settings(made, "keep") == [(1,), (2,), (3,)]


def test_what_is_taught_is_a_group_of_its_own():
    """Its teacher and its texts are no settings of the name, and tell runs apart all the same."""
    cells = [{"keep": 2}, {"teacher": "runs", "unlabelled": "rest", "unlabelled_size": [10, 20]}]
    made = grid(seed=[0, 1], cells=cells)
    assert [len(group.cells) for group in made.groups()] == [2, 2, 2]
    assert not any(group.searches for group in made.groups())


def test_layers_are_lists_themselves():
    assert settings(grid(layers=[0, 1, 5]), "layers") == [([0, 1, 5],)]
    made = grid(layers=[[0, 1], [0, 5]])
    assert settings(made, "layers", "keep") == [([0, 1], 2), ([0, 5], 2)]
    assert "layers 0,5" in made.cells[1].label


def test_exits_are_lists_themselves() -> None:
    """Read as an axis, two depths of one training were a training each, without a word."""
    assert settings(grid(exits=[2, 4], keep=4), "exits") == [([2, 4],)]
    assert settings(grid(exits=[[1, 4], [2, 4]], keep=4), "exits") == [([1, 4],), ([2, 4],)]


def test_numbers_that_yaml_takes_for_texts():
    assert settings(grid(lr=["1e-4", 3e-4], precision=32), "lr", "precision") == [
        (1e-4, "32"), (3e-4, "32"),
    ]  # fmt: skip


def test_what_the_command_line_gives_wins(tmp_path):
    path = tmp_path / "g.yaml"
    path.write_text("dataset: trec\nout: here\n", encoding="utf-8")
    assert read_grid(str(path), out="there", data_dir=None).cells[0].run.out == "there"
    assert read_grid(str(path)).cells[0].run.out == "here"


SEARCH = {"keep": [1, 2], "seed": [5, 6, 7], "lr": [1e-4, 1e-3, 1e-2], "epochs": [1, 2]}


def test_a_group_has_its_candidates_at_the_first_seed():
    made = grid(**SEARCH, choose={"over": ["lr", "epochs"]})
    groups = made.groups()
    assert len(groups) == 2
    for group in groups:
        assert len(group.candidates) == 6
        assert {cell.run.seed for cell in group.candidates} == {5}
        chosen = group.of(group.settings(group.candidates[3]))
        assert [cell.run.seed for cell in chosen] == [5, 6, 7]
        assert len({(cell.run.lr, cell.run.epochs, cell.run.keep) for cell in chosen}) == 1


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.integers(2, 7))
def test_every_group_searches_the_same_drawn_candidates(budget):
    groups = grid(**SEARCH, choose={"over": ["lr", "epochs"], "budget": budget}).groups()
    searched = [{tuple(group.settings(c).items()) for c in group.candidates} for group in groups]
    assert searched[0] == searched[1]
    assert len(searched[0]) == min(budget, 6)


def test_without_a_search_every_run_is_a_group_over_seeds():
    groups = grid(keep=[1, 2], seed=[1, 2]).groups()
    assert [len(group.cells) for group in groups] == [2, 2]
    assert not any(group.searches for group in groups)


WRONG = {
    "unknown axis": ({"keap": [1, 2]}, "unknown setting 'keap'; did you mean 'keep'?"),
    "like no axis": ({"qqq": [1, 2]}, "unknown setting 'qqq'; see --help"),
    "another trainer's": ({"learning_rate": [1e-4]}, "did you mean 'lr'?"),
    "empty axis": ({"keep": []}, "keep: an axis without values"),
    "no layers": ({"layers": []}, "layers: an axis without values"),
    "a value of another type": ({"keep": [1, "two"]}, "--keep two: must be a whole number"),
    "an unknown mode": ({"mode": ["cls", "pcls"]}, "did you mean p-cls?"),
    "twice": ({"seed": [1, 2, 1]}, "seed: 1 stands there twice"),
    "nothing left": ({"keep": [1, 2], "exclude": [{"keep": [1, 2]}]}, "an empty grid"),
    "a rule without effect": ({"exclude": [{"keep": 7}]}, "exclude: {'keep': 7} drops nothing"),
    "a rule on no setting": ({"exclude": [{"kep": 7}]}, "did you mean 'keep'?"),
    "rules that are no list": ({"exclude": {"keep": 7}}, "exclude: must be a list"),
    "cells that are no list": ({"cells": {"keep": 7}}, "cells: must be a list"),
    "no cells": ({"cells": []}, "cells: is empty"),
    "impossible": (
        {"mode": ["cls", "lm"], "tune": "head", "seed": 3},
        "trec lm tiny-gpt2 keep 2 seed 3: --tune head: mode lm has no head",
    ),
    "impossible in a search": (
        {"keep": [1, 2], "tune": ["last-2", "full"], "choose": {"over": "tune"}},
        "trec p-cls tiny-gpt2 keep 1 tune last-2 seed 0: --tune last-2: from last-1",
    ),
    "overwrite": ({"overwrite": True}, "overwrite: not in a grid"),
    "devices": ({"devices": 2, "strategy": "ddp"}, "not in a grid: a cell is one process"),
    "an axis that tells nothing apart": ({"out": ["a", "b"]}, "out: takes one value"),
    "choose nothing": ({"choose": {"over": []}}, "names no setting"),
    "choose without over": ({"choose": {"budget": 2}}, "choose: must be a mapping"),
    "choose what is no axis": (
        {"choose": {"over": ["lr"]}, "keep": [1, 2]}, "choose: over: lr: needs a list of values",
    ),
    "choose what is no setting": (
        {"choose": {"over": ["lrr"]}, "lr": [1e-3, 1e-2]},
        "unknown setting in choose 'lrr'; did you mean 'lr'?",
    ),
    "choose one of one": ({"choose": {"over": ["lr"]}, "lr": [1e-3]}, "one candidate only"),
    "choose items": (
        {"choose": {"over": ["demos"]}, "demos": [1, 4]}, "decides which texts a run has",
    ),
    "choose seeds": ({"choose": {"over": ["seed"]}, "seed": [1, 2]}, "never chosen"),
    "choose by test": (
        {"choose": {"over": ["lr"], "by": "test_accuracy"}, "lr": [1e-3, 1e-2]},
        "unknown choose: by 'test_accuracy'; did you mean 'validation_accuracy'?",
    ),
    "no budget": ({"choose": {"over": ["lr"], "budget": 1}, "lr": [1e-3, 1e-2]}, "at least 2"),
    "choose with a typo": ({"choose": {"ovr": ["lr"]}}, "choose: must be a mapping"),
    "choose with more": (
        {"choose": {"over": ["lr"], "budgett": 2}, "lr": [1e-3, 1e-2]}, "did you mean 'budget'?",
    ),
    "a searched setting excluded": (
        {"choose": {"over": ["lr"]}, "lr": [1e-3, 1e-2], "exclude": [{"lr": 1e-3}]},
        "exclude: lr: choose searches it",
    ),
    "unequal searches": (
        {
            "choose": {"over": ["lr"]},
            "cells": [{"keep": 1, "lr": [1e-3, 1e-2]}, {"keep": 2, "lr": [1e-3, 1e-2, 1e-4]}],
        },
        "search 2 and 3 candidates",
    ),
    "unequal searches of blocks that add up": (
        {
            "choose": {"over": ["lr"]},
            "cells": [
                {"keep": 1, "lr": [1e-3, 1e-2]}, {"keep": 1, "lr": [1e-4, 1e-2]},
                {"keep": 2, "lr": [1e-3, 1e-2]},
            ],
        },
        "search 2 and 3 candidates",
    ),
    "blocks past the budget": (
        {
            "choose": {"over": ["lr"], "budget": 2},
            "cells": [{"lr": [1e-3, 1e-2]}, {"lr": [1e-4, 1e-2]}],
        },
        "budget 2: several blocks of cells give one group 3 candidates",
    ),
    "candidates without every seed": (
        {
            "choose": {"over": ["lr"]},
            "cells": [{"lr": [1e-3, 1e-2], "seed": [0, 1]}, {"lr": [1e-4, 1e-2], "seed": 1}],
        },
        "search 2 and 3 candidates",
    ),
    "choose a number": ({"choose": {"over": 5}, "lr": [1e-3, 1e-2]}, "over: 5: a list of settings"),
    "choose a setting twice": (
        {"choose": {"over": ["lr", "lr"], "budget": 2}, "lr": [1e-3, 1e-2]},
        "over: lr, lr: names a setting twice",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_one_line(content, said):
    with pytest.raises(UserError) as caught:
        grid(**content)
    line = str(caught.value)
    assert said in line
    assert "some.yaml: " in line
    assert "\n" not in line
    assert len(line) < 300, "no list of all settings"


def test_a_dataset_is_needed(tmp_path):
    path = tmp_path / "g.yaml"
    path.write_text("keep: [1, 2]\n", encoding="utf-8")
    with pytest.raises(UserError, match="dataset: is required"):
        read_grid(str(path))


def test_a_grid_that_is_no_grid_is_one_run():
    (cell,) = grid().cells
    assert cell.run == RunConfig(**SHARED, baseline=False), "a grid has its rivals as runs"
