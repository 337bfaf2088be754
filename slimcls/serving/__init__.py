"""A finished classifier behind HTTP: many requests, one worker that takes whatever waits."""
