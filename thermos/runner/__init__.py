"""Runs one task to its end: forks, watches, restarts, finalizes and checkpoints its processes."""
