"""The ``thermos`` command, one module per verb; nothing imports this package."""

from thermos.lean import stand_in_for_inspect

stand_in_for_inspect()  # before anything that defines a dataclass
