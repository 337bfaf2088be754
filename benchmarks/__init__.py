"""Claims on speed and memory, a file each: both sides in one call, checked to be equal, timed."""
