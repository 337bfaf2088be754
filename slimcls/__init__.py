"""Cut a decoder language model to the layers a text classifier needs, and measure the cost.

``slimcls.train.train(RunConfig(...))`` runs one fine-tuning; ``slimcls.load(RUN)`` opens its result
for ``.predict(texts)``, and ``slimcls.SlimClassifier`` is both for scikit-learn.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from slimcls.version import __version__

# Since 1.32 onnxruntime gives the machine a number and reports what it runs, from its import on,
# unless it is told not to. Whoever wants that sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Threads of numpy's OpenBLAS turn for 30 ms each before they sleep, from numpy's import on: an
# eighth of the processor time to an exported classifier's first answer on two cores, and more on
# more. After 2^20 cycles they sleep too, and are as many.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "20")

__all__ = ["RunConfig", "SlimClassifier", "UserError", "__version__", "fit", "load"]

if TYPE_CHECKING:
    from slimcls.classifier.artefact import load
    from slimcls.config import RunConfig
    from slimcls.errors import UserError
    from slimcls.estimator import SlimClassifier

_HOME = {
    "RunConfig": "slimcls.config",
    "SlimClassifier": "slimcls.estimator",
    "UserError": "slimcls.errors",
    "load": "slimcls.classifier.artefact",
}


def __getattr__(name: str) -> Any:
    """Import torch and the like only when something is asked for: ``--help`` must be quick."""
    import importlib

    if name == "fit":
        # A module that can be called: ``python -m slimcls.fit`` needs it to be one.
        return importlib.import_module("slimcls.fit")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'slimcls' has no attribute {name!r}")
