"""The card that goes to the hub: the run's own, with what the hub knows and how to use it there."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slimcls.classifier.description import ONNX, WORDS
from slimcls.errors import UserError
from slimcls.pushing.parcel import CARD
from slimcls.pushing.settings import PushConfig
from slimcls.runs.schema import RunResult
from slimcls.session.card_data import TASK, card_data

#: What a licence consists of in the head of a card.
_LICENCE = ("license", "license_name", "license_link")


@dataclass(frozen=True)
class Carried:
    """What the hub says of what a classifier is made from."""

    licence: dict[str, str] = field(default_factory=dict)
    """Of the base model, by the keys of a card's head."""
    language: list[str] | None = None
    """Of the dataset."""
    notes: tuple[str, ...] = ()
    """What could not be found out."""


def carried(config: PushConfig, description: dict[str, Any], result: RunResult | None) -> Carried:
    """Licence of the base model and language of the dataset, as their own cards say them.

    What the hub does not say is left out of the card and told in a note.
    """
    known = card_data(description, result)
    notes = []
    licence: dict[str, str] = {}
    language: list[str] | None = None
    if config.license:
        licence = {"license": config.license}
    elif isinstance(known.base_model, str):
        licence = _licence_of(known.base_model)
    if not licence:
        whose = known.base_model or "its base model"
        notes.append(f"no licence is known of {whose}; --license says it")
    if config.languages:
        language = config.languages
    elif known.datasets:
        language = _language_of(known.datasets[0])
    if not language:
        notes.append("no language is known of its texts; --language says it")
    return Carried(licence, language, tuple(notes))


def _licence_of(repo: str) -> dict[str, str]:
    from huggingface_hub import HfApi

    # Whatever it is, the card only lacks a line then, and says so.
    with suppress(Exception):
        data = HfApi().model_info(repo).card_data
        if data is not None and data.license:
            return {name: str(data.get(name)) for name in _LICENCE if data.get(name)}
    return {}


def _language_of(repo: str) -> list[str] | None:
    from huggingface_hub import HfApi

    with suppress(Exception):
        data = HfApi().dataset_info(repo).card_data
        found = data.language if data is not None else None
        if found:
            return [found] if isinstance(found, str) else [str(one) for one in found]
    return None


def hub_card(
    config: PushConfig,
    folder: Path,
    description: dict[str, Any],
    result: RunResult | None,
    found: Carried,
) -> str:
    """The text of the card: the folder's own with a full head, and how to use it from the hub.

    The folder's words stay as they are, changed or not. Its head is made anew but for what slimcls
    does not know of. Raises UserError where it is none.
    """
    from huggingface_hub import ModelCard

    path = folder / CARD
    text = path.read_text(encoding="utf-8") if path.is_file() else _bare(description)
    try:
        card = ModelCard(text if text.startswith("---") else f"---\n{{}}\n---\n\n{text}")
    except Exception as error:  # YAML, and what the hub's classes make of it
        raise UserError(
            f"{path}: the head of the card cannot be read; mend or delete it"
        ) from error
    built = card_data(description, result, config.repo.rpartition("/")[2])
    for name, value in built.__dict__.items():
        if value is not None or name == "pipeline_tag":
            card.data[name] = value
    mine = {"license": config.license, "language": config.languages or None}
    for name, value in ({"language": found.language} | found.licence).items():
        if value and (mine.get(name) or not card.data.get(name)):
            card.data[name] = value
    if card.data.get("eval_results"):
        card.data["model_name"] = config.repo.rpartition("/")[2]
    return f"{card.content.rstrip()}\n\n{_from_hub(config.repo, description)}\n"


def _bare(description: dict[str, Any]) -> str:
    """A card for a classifier that has none of its own: TF-IDF, as it was kept at first."""
    labels = ", ".join(f"`{label}`" for label in description["labels"])
    return (
        f"# TF-IDF with logistic regression\n\nMade by slimcls. Classes: {labels}.\n\n## Use\n\n"
        "With slimcls: `slimcls.load(FOLDER).predict([text])`."
    )


def _from_hub(repo: str, description: dict[str, Any]) -> str:
    """How to use it without a folder."""
    plain = description.get("answers_alone") and ONNX not in description
    lines = [
        "## From the hub",
        "",
        f'With slimcls: `slimcls predict {repo} "some text"`, or '
        f'`slimcls.load("{repo}").predict([text])`.',
    ]
    if plain:
        lines += ["", f'With transformers: `pipeline("{TASK}", "{repo}", truncation=True)`.']
    elif description["mode"] != WORDS:
        fetch = f'huggingface_hub.snapshot_download("{repo}")'
        lines += ["", f"For the code above, which opens a folder: `{fetch}`."]
    return "\n".join(lines)
