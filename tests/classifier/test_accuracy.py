"""A run's figures are scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from slimcls.classifier.accuracy import metrics


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 6), st.data())
def test_metrics_are_those_of_scikit_learn(classes: int, data: st.DataObject) -> None:
    pairs = st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1))
    truth, predicted = zip(*data.draw(st.lists(pairs, min_size=1, max_size=20)), strict=True)
    scores = torch.nn.functional.one_hot(torch.tensor(predicted), classes).float()
    names = [f"class {place}" for place in range(classes)]
    found = metrics(scores, truth, names)
    expected = precision_recall_fscore_support(
        truth, predicted, labels=range(classes), zero_division=0.0
    )
    assert found.accuracy == accuracy_score(truth, predicted)
    assert found.macro_f1 == pytest.approx(np.mean([expected[2][c] for c in {*truth, *predicted}]))
    assert [row["label"] for row in found.per_class] == names
    for name, theirs in zip(("precision", "recall", "f1", "items"), expected, strict=True):
        assert [row[name] for row in found.per_class] == pytest.approx(theirs.tolist())
    assert all(isinstance(row["items"], int) for row in found.per_class)
