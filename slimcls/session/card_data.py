"""What the head of a model card says, in the hub's own terms: base, data, figures, task."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from slimcls.backbones.sources import hub_id
from slimcls.classifier.description import ONNX, WORDS, method_of
from slimcls.data import catalog
from slimcls.kinds import CHEAP
from slimcls.runs.schema import Outcome, RunResult

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

TASK = "text-classification"


def card_data(
    description: dict[str, Any], result: RunResult | None, name: str | None = None
) -> ModelCardData:
    """The head of a card, by what ``slimcls.json`` and, where there is one, the result say.

    Figures are of the test part alone; their intervals stand in words in their names. ``name`` is
    what the model is called, the run's directory if not given.
    """
    from huggingface_hub import ModelCardData

    onnx, words = ONNX in description, description["mode"] == WORDS
    base = hub_id(str(description.get("model", "")), str(description.get("source", "")))
    source = _source(description, result)
    figures = _figures(description, result.outcome, source) if result else []
    kinds = (["onnx"] if onnx else []) + ([_tag(description)] if words else ["layer-pruning"])
    return ModelCardData(
        library_name="slimcls" if onnx or words else "transformers",
        pipeline_tag=TASK if description.get("answers_alone") and not onnx else None,
        base_model=base or None,
        base_model_relation="finetune" if base else None,
        datasets=[source["hub"]] if source.get("hub") else None,
        metrics=list(dict.fromkeys(one.metric_type for one in figures)) or None,
        tags=["slimcls", *kinds, TASK],
        model_name=(name or result.outcome.run if result else name) if figures else None,
        eval_results=figures or None,
    )


def _tag(description: dict[str, Any]) -> str:
    """Which rival it is, as the hub's tags are spelt."""
    return CHEAP[str(method_of(description))].lower().replace(" ", "-")


def _source(description: dict[str, Any], result: RunResult | None) -> dict[str, str]:
    """The hub dataset that the rows are of, where one is known, with what else is known of it."""
    held = result.data_source if result else description.get("data_source", "")
    if held:
        found: dict[str, str] = json.loads(held)
        return found
    name = str(description.get("dataset", "")) or (result.config.dataset if result else "")
    if name not in catalog.packaged_names():
        return {}
    spec = catalog.find_dataset(name)
    return {"hub": spec.hub} if spec.hub else {}


def _figures(
    description: dict[str, Any], outcome: Outcome, source: dict[str, str]
) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    o, items = outcome, outcome.test_items
    if not items:
        return []
    dataset = str(description.get("dataset") or source.get("hub") or "own texts")
    about: dict[str, Any] = {
        "task_type": TASK,
        "task_name": "Text classification",
        "dataset_type": source.get("hub") or dataset,
        "dataset_name": dataset,
        "dataset_config": source.get("config"),
        "dataset_split": source.get("split"),
        "dataset_revision": source.get("revision"),
    }
    interval = f"95 % Wilson interval {o.test_low:.3f} to {o.test_high:.3f}"
    found = [
        EvalResult(
            metric_type="accuracy",
            metric_name=f"Accuracy on {items} test texts, {interval} over texts",
            metric_value=o.test_accuracy,
            **about,
        ),
        EvalResult(
            metric_type="f1",
            metric_name=f"Macro-F1 on {items} test texts",
            metric_value=o.test_macro_f1,
            metric_args={"average": "macro"},
            **about,
        ),
    ]
    for key, named in json.loads(o.test_metrics or "{}").items():
        found += [
            EvalResult(
                metric_type=key.partition(":")[0],
                metric_name=f"{key if one == key else f'{key} {one}'} on {items} test texts",
                metric_value=value,
                **about,
            )
            for one, value in named.items()
            if isinstance(value, int | float) and math.isfinite(value)
        ]
    return found
