"""The version of slimcls, and the commit of the checkout that it runs from."""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0"


def checkout_commit() -> str:
    """The checkout's commit, with ``-dirty`` if it was changed; empty for an installed package."""
    import subprocess

    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
