"""Rows whose mend lies elsewhere, and where; they are skipped until it is there."""

PENDING: dict[str, str] = {
    **dict.fromkeys(
        [
            "predict: columns between tabs in a .csv",
            "predict: columns between bars in a .csv",
        ],
        "reader",
    ),
    **dict.fromkeys(
        [
            "predict: code beside it",
            "predict: weights that are NaN",
            "predict: quantised weights",
            "predict: ten million layers",
            "predict: token ids beyond the embeddings",
            "predict: a context of words",
            "predict: deep slimcls.json",
            "predict: slimcls.json with a template without text",
            "predict: slimcls.json with a template without label",
            "predict: slimcls.json with a template the wrong way round",
            "predict: slimcls.json with a template of nothing",
            "predict: slimcls.json with a format without end",
            "predict: slimcls.json with a context beyond the model's",
            "predict: a pattern that takes for ever",
            "predict: formulas are written as text",
            "train: last.ckpt empty",
            "train: last.ckpt junk",
            "train: last.ckpt half a zip",
            "train: last.ckpt an old pickle",
        ],
        "classifier",
    ),
    "train: finished, but its weights are gone": "selection",
}
