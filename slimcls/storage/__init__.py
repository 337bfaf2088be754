"""Bytes that are whole or not there, the user's cache, and whether there is a network."""
