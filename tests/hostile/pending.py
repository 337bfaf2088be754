"""Rows whose mend lies elsewhere, and where; they are skipped until it is there."""

PENDING: dict[str, str] = {}
