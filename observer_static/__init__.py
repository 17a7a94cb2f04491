"""Turns what the detectors found into self-contained pages and publishes them atomically."""
