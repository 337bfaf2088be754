"""A metric as people write them for evaluate: the share of answers that are right."""

import datasets
import evaluate


class Agreement(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description="The share of answers that are right.",
            citation="",
            inputs_description="",
            features=datasets.Features(
                {"predictions": datasets.Value("int32"), "references": datasets.Value("int32")}
            ),
        )

    def _compute(self, predictions, references, scale=1, missing=False):
        right = sum(one == other for one, other in zip(predictions, references, strict=True))
        share = scale * right / len(references)
        return {"share": float("nan") if missing else share, "wrong": len(references) - right}
