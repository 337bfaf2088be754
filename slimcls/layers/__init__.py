"""How much each layer matters, and which layers stay."""
