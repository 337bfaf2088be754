"""From a run with exits to a classifier whose texts leave early, at a loss that was bounded."""
