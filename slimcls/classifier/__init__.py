"""A classifier in use: token ids in, scores out. Knows no run, no settings of a run, no trainer."""
