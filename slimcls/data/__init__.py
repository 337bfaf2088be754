"""Data: a dataset is a YAML file; its rows become disjoint splits, its texts become prompts."""
