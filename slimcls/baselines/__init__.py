"""The rivals that a cut has to beat."""
