"""Command lines from typed dataclasses: a field is a flag, a YAML key and a line of ``--help``."""

from slimcls.cli.ends import UNSAID, run, say
from slimcls.cli.parsing import parse, typed
from slimcls.cli.settings import ELSEWHERE, keep_plain

__all__ = ["ELSEWHERE", "UNSAID", "keep_plain", "parse", "run", "say", "typed"]
