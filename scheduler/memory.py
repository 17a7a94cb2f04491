"""When Python looks for garbage.

With hundreds of thousands of tasks, a collection of all objects would stop everything for a good part of a second:
young ones are collected as ever, old ones only when nobody waits.
"""

from __future__ import annotations

import gc
from typing import Final

#: Far beyond Python's own: the last one is never reached.
THRESHOLDS: Final = (50_000, 20, 1_000_000)
#: So often old ones are collected, when nobody waits.
INTERVAL_S: Final = 600.0


def settle_memory() -> None:
    """Collect what is garbage now, and look at nothing of what is left again: tasks go by their last reference."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
