"""A finished classifier as a small folder that runs without torch, and what that changes."""
