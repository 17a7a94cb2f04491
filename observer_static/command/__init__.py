"""The command line of ``thermos_observer``."""
