"""Classifiers that train no layer, which a cut model has to beat."""
