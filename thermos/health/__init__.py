"""Is the task well? Probes ask it, a checker asks them in time; what follows is :mod:`thermos.core.health`'s."""
