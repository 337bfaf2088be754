"""SlimClassifier: a cut decoder as a scikit-learn classifier of texts."""

from __future__ import annotations

import dataclasses
import tempfile
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from slimcls.classifier.prediction import texts_listed
from slimcls.config import RunConfig
from slimcls.data.lines import no_utf8
from slimcls.data.memory import NAME, tables_in_memory
from slimcls.errors import Interrupted, UserError
from slimcls.roles import Role, settings_without
from slimcls.runs.schema import Outcome
from slimcls.session.shared import Shared
from slimcls.storage.held import HeldFolder
from slimcls.train import train

if TYPE_CHECKING:
    from slimcls.classifier.prediction import Predictor

#: The settings of a run that an estimator has too, with what stands for them where nobody says:
#: it learns from all rows that it is given, and has no command line to be told about.
SETTINGS = settings_without(Role.DISK)
_DEFAULTS = {f.name: f.default for f in dataclasses.fields(RunConfig)} | {"shots": "all"}

_Settings: Any = dataclasses.make_dataclass(
    "_Settings",
    [(name, Any, dataclasses.field(default=_DEFAULTS[name])) for name in SETTINGS]
    + [(name, Any, dataclasses.field(default=None)) for name in ("template", "label_words")]
    + [("verbose", bool, dataclasses.field(default=False))],
    kw_only=True,
    eq=False,
    repr=False,
)


class SlimClassifier(ClassifierMixin, BaseEstimator, _Settings):
    """A cut decoder language model as a scikit-learn classifier of texts.

    ``X`` is a list, an array, or a column of a table, a string a row; a table of one column will do
    too. Classes are whatever scikit-learn takes: strings, whole numbers, truth values. A fifth of
    the rows at most, and ``validation_size`` at most, choose the epoch and are not trained on, nor
    are the ``demos`` of each class; of texts that come again one counts.

    The parameters are the settings of ``slimcls train`` under their names, with the same defaults
    but for ``shots="all"``; those that name files, folders, a test part or several machines are
    left out. Three more are the estimator's own:

    - ``template``: of a prompt (modes lm and p-cls), with ``{text}`` and ``{label}``.
    - ``label_words``: class to label word, for the same modes; the classes' names where None.
    - ``verbose``: whether training tells how it goes, on stderr.

    Attributes:
        classes_: the classes, sorted, as in ``y``.
        outcome_: the columns of the run's result (:class:`slimcls.runs.schema.Outcome`), such as
            ``validation_accuracy``; nothing is tested, so that of the test part is NaN or None.

    It is pickled as its settings and the bytes of the trained model's files, safetensors and JSON.
    The files lie in a temporary folder that goes with the object. As with any pickle, open none
    that you do not trust.
    """

    classes_: NDArray[Any]
    outcome_: Outcome

    def fit(self, X: Any, y: ArrayLike) -> Self:  # noqa: N803 - the library's own name
        """Train on texts (rows,) and their classes (rows,); an earlier fit stays if it fails.

        Raises UserError, which is a ValueError, for rows or settings that cannot be used; warns by
        ConvergenceWarning of what speaks against the result.
        """
        texts = _texts(X)
        classes, numbers = _classes(y, len(texts))
        names = _names(classes)
        data = tables_in_memory(
            texts,
            [names[number] for number in numbers],
            names,
            template=self.template,
            label_words=_words(self.label_words, classes),
        )
        settings = {name: getattr(self, name) for name in SETTINGS}
        with tempfile.TemporaryDirectory(prefix="slimcls-") as folder:
            config = RunConfig(dataset=NAME, out=folder, baseline=False, **settings)
            shared = Shared(aloud=self.verbose)
            shared.give(config, data)
            try:
                result = train(config, shared)
            except Interrupted as stop:  # its words promise to go on, and nothing is kept here
                raise KeyboardInterrupt("fit was stopped") from stop
            self._model = HeldFolder.of(result.folder / "model")
        self.classes_, self.outcome_ = classes, result.outcome
        self._opened: Predictor | None = None
        if said := result.outcome.warnings:
            warnings.warn(said, ConvergenceWarning, stacklevel=2)
        return self

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The most probable class of each text, (rows,)."""
        shares = self.predict_proba(X)
        return np.asarray(self.classes_[shares.argmax(1)])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities (rows, classes), calibrated, in the order of ``classes_``."""
        check_is_fitted(self)
        found = self._classifier.predict(_texts(X), batch_size=self.eval_batch_size)
        return np.array([list(one.probabilities.values()) for one in found])

    @property
    def _classifier(self) -> Predictor:
        """The trained model, opened where it is first asked."""
        if self._opened is None:
            from slimcls.classifier.artefact import load

            self._opened = load(self._model.path)
        return self._opened

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "classes_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.one_d_array = True, True
        tags.input_tags.two_d_array = False
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the opened model, which its files are enough for."""
        state = dict(super().__getstate__())
        return state | {"_opened": None} if "_opened" in state else state


def _texts(given: Any) -> list[str]:
    """The texts of a column, or of a table of one. Raises UserError."""
    if isinstance(given, str):
        raise UserError("X is one string; give a list of texts")
    if getattr(given, "ndim", 1) == 2:
        if given.shape[1] != 1:
            raise UserError(f"X has {given.shape[1]} columns; give the one that holds the texts")
        given = given.iloc[:, 0] if hasattr(given, "iloc") else given[:, 0]
    texts = texts_listed(given, "X")
    if not texts:
        raise UserError("X holds no text")
    return [str(text) for text in texts]


def _classes(y: ArrayLike, rows: int) -> tuple[NDArray[Any], list[int]]:
    """The classes, sorted, and the number of each row's. Raises UserError."""
    if y is None:
        raise UserError("fit requires y to be passed, but the target y is None")
    try:
        column = column_or_1d(y, warn=True)
        check_consistent_length(range(rows), column)
    except (ValueError, TypeError) as error:
        raise UserError(f"y: {error}") from None
    for place in np.flatnonzero(pd.isna(column)):
        raise UserError(f"y[{place}] is missing; leave the row out")
    try:
        check_classification_targets(column)
        classes, numbers = np.unique(column, return_inverse=True)
    except TypeError:
        raise UserError("y holds classes of several types, which have no order") from None
    except ValueError as error:
        raise UserError(f"y: {error}") from None
    return classes, numbers.tolist()


def _names(classes: NDArray[Any]) -> list[str]:
    """The classes' names in a saved model. Raises UserError where two have the same."""
    names = [" ".join(str(one).split()) for one in classes.tolist()]
    for place, name in enumerate(names):
        if fault := no_utf8([name]):
            raise UserError(f"y: {name!r}: {fault}")
        if not name or name in names[:place]:
            fault = "is the name of two classes" if name else "names no class"
            raise UserError(f"y: {name!r} {fault}; blanks do not tell classes apart")
    return names


def _words(words: Mapping[Any, str] | None, classes: NDArray[Any]) -> list[str] | None:
    """Label words in the order of the classes. Raises UserError where one has none."""
    if words is None:
        return None
    if not isinstance(words, Mapping):
        raise UserError("label_words: must be a mapping, class to word")
    lacking = [one for one in classes.tolist() if one not in words]
    if lacking:
        raise UserError(f"label_words: no word for the class {lacking[0]!r}")
    found = [words[one] for one in classes.tolist()]
    for one, word in zip(classes.tolist(), found, strict=True):
        if not isinstance(word, str) or not word.strip():
            raise UserError(f"label_words: the word for the class {one!r} is {word!r}, no text")
    return found
