"""Cutting without training: pruned folders, what removal does to a language model, healing."""
