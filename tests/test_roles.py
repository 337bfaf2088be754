"""Every setting has its roles, and what is derived from them is what it has to be."""

from __future__ import annotations

from dataclasses import fields

import pytest

from slimcls.baseline import DECIDES
from slimcls.config import CUT_SETTINGS, NOT_HASHED, RunConfig
from slimcls.grids.cells import NO_AXES
from slimcls.grids.definition import REFUSED
from slimcls.reporting.evidence import CUT, SHARED
from slimcls.roles import HEADINGS, ROLES, Role, headings, settings_with, settings_without

FIELDS = [f.name for f in fields(RunConfig)]


def test_every_setting_has_a_role() -> None:
    assert set(ROLES) - set(FIELDS) == set(), "a role of a setting that there is none of"
    assert [name for name in FIELDS if not ROLES.get(name, Role(0))] == [], "what does it decide?"


@pytest.mark.parametrize("role", Role)
def test_every_role_is_somebodys(role: Role) -> None:
    some = settings_with(role)
    assert some
    assert set(some) | set(settings_without(role)) == set(FIELDS)
    assert not set(some) & set(settings_without(role))


def test_what_has_a_role_but_not_another() -> None:
    assert settings_with(Role.CUT, but=Role.OUTSIDE) == ("keep", "layers", "select")


def test_runs_that_are_averaged_are_alike_in_all_that_decides_a_class() -> None:
    """What is missing among the shared settings is named otherwise, or changes no prediction."""
    named = {"seed", "mode", "dataset", "model", "method", *CUT, *CUT_SETTINGS}
    named |= {"text_column", "label_column", "skip_bad_rows", "revision", "random_blocks"}
    unseen = set(FIELDS) - set(SHARED) - named - NOT_HASHED - set(settings_with(Role.SEARCHED))
    assert unseen == {"eval_batch_size", "compact_vocabulary", "save_model"}


def test_what_is_hashed_may_be_an_axis() -> None:
    kept_out = sorted(NOT_HASHED - NO_AXES)
    by_content = ["scores", "teacher", "unlabelled", "unlabelled_size"]
    assert kept_out == by_content == sorted(settings_with(Role.HASHED))
    assert set(REFUSED) == {"baseline", "overwrite", "devices", "num_nodes", "strategy"}


def test_a_rival_takes_what_decides_its_figures() -> None:
    words, model, cut = (set(DECIDES[name]) for name in ("tfidf", "embeddings", "untrained"))
    assert words < model < cut
    assert model - words == {"model", "revision", "max_text_tokens", "save_dtype"}
    assert {"seed", "test_size", "out", "overwrite"} < words
    assert set(DECIDES["probe"]) - model == {"mode", "accelerator"}
    assert not cut & {"mode", "random_blocks", *settings_with(Role.TRAINING)}


def test_help_has_every_setting_under_a_heading_and_every_heading_settings() -> None:
    found = headings()
    assert list(found) == list(ROLES)
    assert set(found.values()) == set(HEADINGS)
