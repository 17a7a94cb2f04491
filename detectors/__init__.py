"""Read-only finders of checkpoint roots and tasks; they take no locks and follow no link out of a root."""

from detectors.roots import (
    ChainedPathDetector,
    FixedPathDetector,
    Look,
    LookingPathDetector,
    MesosPathDetector,
    PathDetector,
)

__all__ = [
    "ChainedPathDetector",
    "FixedPathDetector",
    "Look",
    "LookingPathDetector",
    "MesosPathDetector",
    "PathDetector",
]
