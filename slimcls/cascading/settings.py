"""CascadeConfig: which run leaves early, and what that may cost."""

from __future__ import annotations

from dataclasses import dataclass

from slimcls import cli
from slimcls.storage.paths import PathName


@dataclass(kw_only=True)
class CascadeConfig:
    """Let the texts of a run with exits leave at the first depth that is sure."""

    run: PathName
    """Directory of a finished run of --exits, the deepest or any but the shallowest; its model
    folder learns to leave early at the exits above its end."""

    risk: float = 1.0
    """Most points of accuracy that may be lost against the run's own depth. What is shown of that
    by validation is a one-sided 95 % bound; refused where it cannot be (docs/cascade.md)."""

    def __post_init__(self) -> None:
        cli.keep_plain(self)
        # numpy is with it, which a wrong flag need not wait for.
        from slimcls.classifier.confidence import share_of

        share_of(self.risk, "--risk")
