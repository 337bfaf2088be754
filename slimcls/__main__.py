"""The console script: ``slimcls VERB ...`` is ``python -m slimcls.VERB ...``."""

from __future__ import annotations

import importlib
import sys

from slimcls.cli import run, say
from slimcls.errors import UserError
from slimcls.version import __version__

#: Every verb with what it does; the module of the same name has ``main(argv) -> int``.
VERBS = {
    "fit": "Find the smallest classifier that is good enough for a data file.",
    "train": "Fine-tune a model, cut to some of its layers, and test it.",
    "predict": "Classify texts with a finished run.",
    "cascade": "Let a run's texts leave at the first depth that is sure.",
    "export": "Turn a finished run into a small folder that classifies without torch.",
    "push": "Push a finished run to the Hugging Face hub, with its card.",
    "serve": "Answer HTTP requests with a finished run.",
    "score": "Measure how much each layer of a model matters.",
    "grid": "Many runs from one YAML file, here or on a cluster, resumable.",
    "baseline": "Measure honest rivals on the items that a run has.",
    "report": "Turn finished runs into tables, figures and verdicts.",
    "prune": "Remove layers of a language model without training it, and measure that.",
}


def main(argv: list[str] | None = None) -> int:
    """Hand the words after the verb to the verb's own ``main``.

    Args:
        argv: The words after ``slimcls``; those of this process if not given.

    Returns:
        The exit code: the verb's own, or 2 where no verb of ours was named.
    """
    words = sys.argv[1:] if argv is None else argv
    return run(lambda: _dispatch(words))


def _dispatch(words: list[str]) -> int:
    match words:
        case [] | ["help"] | ["-h" | "--help", *_]:
            say(overview())
            return 0
        case ["help", verb, *_]:
            return _dispatch([verb, "--help"])
        case ["--version", *_]:
            say(f"slimcls {__version__}")
            return 0
        case [verb, *_] if verb not in VERBS:
            raise UserError.unknown("verb", verb, VERBS, "see slimcls --help")
    code: int = importlib.import_module(f"slimcls.{words[0]}").main(words[1:])
    return code


def overview() -> str:
    """The text of ``slimcls --help``: a sentence a verb."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {what}" for verb, what in VERBS.items())
    return (
        "usage: slimcls VERB [--name value ...]\n\n"
        "Cut a decoder language model to the layers a text classifier needs.\n\n"
        "example:\n  slimcls train reviews.csv --shots all --model smollm2-135m --mode cls\n\n"
        f"{verbs}\n\n"
        "slimcls help VERB shows a verb's settings; slimcls --version the version.\n"
        "python -m slimcls.VERB is the same command."
    )


if __name__ == "__main__":
    sys.exit(main())
