"""Classifiers that keep no layer, which a cut model has to beat."""
