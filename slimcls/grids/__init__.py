"""Cells of a grid, where it stands, and what works on them."""
