"""Metrics of other people, beside our own: those of the library evaluate."""
