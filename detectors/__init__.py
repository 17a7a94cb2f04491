"""Read-only finders of checkpoint roots; they take no locks and follow no link out of a root."""

from detectors.roots import ChainedPathDetector, FixedPathDetector, MesosPathDetector, PathDetector

__all__ = ["ChainedPathDetector", "FixedPathDetector", "MesosPathDetector", "PathDetector"]
