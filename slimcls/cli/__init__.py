"""Command lines from typed dataclasses: a field is a flag, a YAML key and a line of ``--help``."""

from slimcls.cli.ends import run
from slimcls.cli.parsing import parse, typed
from slimcls.cli.settings import ELSEWHERE

__all__ = ["ELSEWHERE", "parse", "run", "typed"]
