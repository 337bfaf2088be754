"""What lies beside a rival that is kept: its description, and a card that says what it is."""

from __future__ import annotations

from typing import Any

from slimcls.classifier.words import describe_words
from slimcls.data.spec import DatasetSpec
from slimcls.escaping import in_markdown
from slimcls.kinds import CHEAP
from slimcls.runs.schema import RunResult
from slimcls.session.card import figures
from slimcls.session.card_data import card_data
from slimcls.session.handover import model_name
from slimcls.version import __version__

#: What each rival does with a text.
_DOES = {
    "majority": "It gives every text the same answer: `{chosen}`.",
    "tfidf": "A text's words and pairs of neighbouring words, weighted by TF-IDF with logarithmic "
    "counts, go into a logistic regression ({chosen}). It needs no language model. Words of its "
    "training texts are in it.",
    "embeddings": "The mean of a text's token embeddings, those of {model}, goes into a logistic "
    "regression ({chosen}). Of the model there is the tokenizer and a row for each of its tokens, "
    "in {numbers}; no layer, and the order of words plays no part. A text is cut after {tokens} "
    "tokens.",
}


def describe_rival(names: tuple[str, ...], spec: DatasetSpec, result: RunResult) -> dict[str, Any]:
    """``slimcls.json`` of a rival that is kept: its classes, and what it is made from."""
    config, outcome = result.config, result.outcome
    description = describe_words(outcome.method, names, spec.pair)
    if outcome.source_fingerprint:
        description |= {
            "model": model_name(config.model),
            "source": outcome.source_fingerprint,
            "source_note": outcome.source_note,
        }
    description |= {
        "slimcls_version": __version__,
        "dataset": spec.name,
        "data": outcome.data_fingerprint,
    }
    return description | ({"data_source": outcome.data_source} if outcome.data_source else {})


def rival_card(result: RunResult, description: dict[str, Any]) -> str:
    """README.md of a rival that is kept."""
    o, name = result.outcome, CHEAP[result.outcome.method]
    data, model = (in_markdown(str(description.get(key, ""))) for key in ("dataset", "model"))
    note = f" ({in_markdown(o.source_note)})" if o.source_note else ""
    does = _DOES[o.method].format(
        chosen=in_markdown(o.chosen),
        model=f"{model}{note}",
        numbers=result.config.save_dtype or "float32",
        tokens=o.text_tokens,
    )
    item = (
        '("A first text.", "A second text.")' if description.get("pair") else '"An example text."'
    )
    last = ["The licence of the original model holds for the embeddings too."] if model else []
    parts = [
        f"# {name[:1].upper()}{name[1:]}, classifying {data}",
        f"Made by slimcls {o.slimcls_version}. {does}",
        f"Seed {result.config.seed}. Trained on {o.train_items:,} texts; {o.validation_items:,} "
        f"more chose what there was to choose; {o.labels_used:,} labels were used in all.",
        figures(result, description),
        "## Limits\n\n"
        + " ".join(
            [
                "It knows only these classes, and texts like those it was trained on. Its "
                "probabilities were not calibrated.",
                *last,
            ]
        ),
        f"## Use\n\nWith slimcls and its extra `words`, without torch: "
        f"`slimcls.load(FOLDER).predict([{item}])`. `pipeline.skops` is a pipeline of "
        "scikit-learn's, kept by skops: no code of the file's is run when it is opened.",
    ]
    head = card_data(description, result).to_yaml()
    return f"---\n{head}\n---\n\n" + "\n\n".join(parts) + "\n"
