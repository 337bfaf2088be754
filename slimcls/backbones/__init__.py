"""Backbones: from a model's name to the decoder that a run trains, kept layers only."""
