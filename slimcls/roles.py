"""What each setting of a run decides: one table, from which all that treats settings alike derives.

A new field of RunConfig needs a row of :data:`ROLES`; ``tests/test_roles.py`` holds it. What it
then is (hashed or not, an axis of a grid or not, shared by runs that are compared, ...) follows
from its roles.
"""

from __future__ import annotations

from enum import Flag, auto


class Role(Flag):
    """What a setting decides; it may decide several things."""

    ITEMS = auto()
    """Which items a run has."""
    NAME = auto()
    """What its content is, whose fingerprint stands in a run's hash in place of the name."""
    REPEAT = auto()
    """Which of many equal repeats a run is: they are averaged."""
    MODEL = auto()
    """Which model there is, uncut."""
    INPUT = auto()
    """What of an item goes into the model."""
    KIND = auto()
    """What kind of run it is: the columns ``mode`` and ``method`` say it."""
    SCORING = auto()
    """How what the model says becomes classes."""
    CUT = auto()
    """Which of the model's layers stay."""
    TRAINING = auto()
    """How weights are trained; means nothing where none are."""
    SEARCHED = auto()
    """How long and how fast training goes: of several, the best on validation is reported."""
    FREE = auto()
    """Nothing of memory, and of time next to nothing."""
    ARITHMETIC = auto()
    """How and by what it is computed, which may change the last bits."""
    NEUTRAL = auto()
    """No class that is ever predicted: runs that differ in it alone are the same."""
    ALONE = auto()
    """What means nothing in a grid, whose cells are a process each and are never done twice."""
    DISK = auto()
    """What means nothing where texts are in memory and the classifier stays there."""
    TOLD = auto()
    """What is measured of a run's answers beside what always is; none of them changes."""
    HASHED = auto()
    """What stands in a run's hash by what it holds, apart from the settings."""
    FOLDER = auto()
    """Where a run is written, and whether what was there goes."""
    OUTSIDE = auto()
    """Where things lie, what is looked at, how it is written: nothing of a run's identity."""


#: Every field of RunConfig with what it decides.
ROLES: dict[str, Role] = {
    "dataset": Role.ITEMS | Role.NAME | Role.DISK,
    "data_dir": Role.ITEMS | Role.OUTSIDE | Role.DISK,
    "text_column": Role.ITEMS | Role.NAME | Role.DISK,
    "label_column": Role.ITEMS | Role.NAME | Role.DISK,
    "skip_bad_rows": Role.ITEMS | Role.NAME | Role.DISK,
    "shots": Role.ITEMS,
    "demos": Role.ITEMS,
    "seed": Role.ITEMS | Role.REPEAT | Role.FREE,
    "split": Role.ITEMS,
    "validation_size": Role.ITEMS,
    "test_size": Role.ITEMS | Role.DISK,
    "model": Role.MODEL | Role.NAME,
    "revision": Role.MODEL | Role.NAME,
    "max_text_tokens": Role.INPUT,
    "mode": Role.INPUT | Role.KIND,
    "keep": Role.CUT,
    "layers": Role.CUT,
    "select": Role.CUT,
    # What the file holds is hashed, as the scores' fingerprint.
    "scores": Role.CUT | Role.HASHED | Role.OUTSIDE | Role.DISK,
    "random_blocks": Role.KIND,
    "lm_loss": Role.SCORING,
    "exits": Role.TRAINING | Role.DISK,
    "tune": Role.TRAINING,
    "pool": Role.TRAINING | Role.SCORING,
    "probe_first": Role.TRAINING | Role.FREE,
    "lora_rank": Role.TRAINING,
    "lora_alpha": Role.TRAINING | Role.FREE,
    # Hashed by content; the column taught tells their runs apart.
    "teacher": Role.TRAINING | Role.HASHED | Role.OUTSIDE | Role.DISK,
    "unlabelled": Role.TRAINING | Role.HASHED | Role.OUTSIDE | Role.DISK,
    "unlabelled_size": Role.TRAINING | Role.HASHED | Role.OUTSIDE | Role.DISK,
    "temperature": Role.TRAINING | Role.SEARCHED | Role.FREE | Role.DISK,
    "epochs": Role.TRAINING | Role.SEARCHED,
    "steps": Role.TRAINING | Role.SEARCHED,
    "batch_size": Role.TRAINING | Role.SEARCHED,
    "batch_tokens": Role.TRAINING | Role.SEARCHED,
    "lr": Role.TRAINING | Role.SEARCHED | Role.FREE,
    "weight_decay": Role.TRAINING | Role.SEARCHED | Role.FREE,
    "schedule": Role.TRAINING | Role.SEARCHED | Role.FREE,
    "warmup": Role.TRAINING | Role.SEARCHED | Role.FREE,
    "clip": Role.TRAINING | Role.SEARCHED | Role.FREE,
    "patience": Role.TRAINING | Role.SEARCHED,
    "monitor": Role.TRAINING | Role.SEARCHED,
    "class_weights": Role.TRAINING | Role.FREE,
    # How many processes share a step decides how many items it has.
    "devices": Role.TRAINING | Role.ALONE | Role.DISK,
    "num_nodes": Role.TRAINING | Role.ALONE | Role.DISK,
    "strategy": Role.TRAINING | Role.ALONE | Role.DISK,
    "precision": Role.TRAINING | Role.ARITHMETIC,
    "recompute_features": Role.TRAINING | Role.ARITHMETIC,
    "compile": Role.TRAINING | Role.ARITHMETIC,
    # All rows come out the same, to the last bit: tests/backbones/test_vocabulary.py.
    "compact_vocabulary": Role.TRAINING | Role.NEUTRAL,
    "accelerator": Role.ARITHMETIC,
    # Another batch may change a probability's last bit, and no class: tests/test_train.py.
    "eval_batch_size": Role.ARITHMETIC | Role.NEUTRAL,
    # Not neutral: with dropout on, a shared prefix draws once for a batch.
    "share_prefix": Role.ARITHMETIC,
    "force": Role.OUTSIDE,
    # What is tested is in memory, whether it is written too or not.
    "save_model": Role.NEUTRAL | Role.DISK,
    # Rounded weights are what is tested.
    "save_dtype": Role.ARITHMETIC,
    # What stands beside a run changes nothing of it; a grid's rivals are runs of their own.
    "baseline": Role.TRAINING | Role.ALONE | Role.OUTSIDE | Role.DISK,
    "metrics": Role.TOLD | Role.OUTSIDE | Role.DISK,
    "trust_metric_code": Role.TOLD | Role.OUTSIDE | Role.DISK,
    "logger": Role.TRAINING | Role.OUTSIDE | Role.DISK,
    "checkpoint_seconds": Role.TRAINING | Role.OUTSIDE | Role.DISK,
    "out": Role.FOLDER | Role.OUTSIDE | Role.DISK,
    "overwrite": Role.FOLDER | Role.OUTSIDE | Role.ALONE | Role.DISK,
}

#: The heading of what decides nothing of a run but how it starts and where it is written.
STARTING = "starting and writing"

#: Headings of ``--help`` with what stands under them; the first that fits a setting has it.
HEADINGS = {
    "texts and labels": Role.ITEMS,
    "model": Role.MODEL,
    "way to classify": Role.INPUT | Role.SCORING,
    "layers that stay": Role.CUT | Role.KIND,
    "device and arithmetic": Role.ARITHMETIC,
    "training": Role.TRAINING,
    "figures": Role.TOLD,
    STARTING: Role.FOLDER | Role.OUTSIDE | Role.NEUTRAL,
}

_NONE = Role(0)


def settings_with(roles: Role, but: Role = _NONE) -> tuple[str, ...]:
    """The settings that have one of ``roles`` and none of ``but``, in the table's order."""
    return tuple(name for name, mine in ROLES.items() if mine & roles and not mine & but)


def settings_without(roles: Role) -> tuple[str, ...]:
    """The settings that have none of ``roles``, in the table's order."""
    return tuple(name for name, mine in ROLES.items() if not mine & roles)


def headings() -> dict[str, str]:
    """Under which heading ``--help`` shows each setting."""
    return {
        name: next(title for title, roles in HEADINGS.items() if mine & roles)
        for name, mine in ROLES.items()
    }
