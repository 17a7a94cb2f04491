"""The ``thermos`` command, one module per verb; nothing imports this package."""
