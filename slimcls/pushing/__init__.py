"""A finished classifier on the hub: its card, what may travel, and one commit."""
