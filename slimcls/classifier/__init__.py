"""A classifier in use: token ids in, logits out. Knows no run, no settings of a run, no trainer."""
