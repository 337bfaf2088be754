"""Reports whose words alone are looked at."""

from __future__ import annotations

import pytest


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and written, but empty: to draw them takes three quarters of a report."""
    empty = {"svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>', "png": b"\x89PNG\r\n\x1a\n"}
    monkeypatch.setattr(
        "slimcls.reporting.figure_style._as", lambda figure, kind, extra: empty[kind]
    )
