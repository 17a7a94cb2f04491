"""Run tasks of shell processes, checkpoint every transition, and show what became of them."""

from typing import Final

__all__ = ["__version__"]

__version__: Final = "0.1.0"
