"""The executor that a Mesos agent launches: one task's life.

Everything here runs in one thread, in :class:`thermos.host.loop.Loop`: the connection to the agent
(``agent.py``), the runner, health checks, limits and farewells are callbacks of that loop, and what they report goes
through :func:`thermos.core.lifetime.decide`.
"""

from thermos.lean import stand_in_for_inspect

stand_in_for_inspect()  # before anything that defines a dataclass
