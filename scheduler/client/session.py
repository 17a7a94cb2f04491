"""What one run of a client holds: its surroundings, the clusters, connections, and what it has done so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from scheduler.client import clusters, leader
from scheduler.client.hooks import JobConfig
from scheduler.client.scheduler_api import Scheduler
from scheduler.client.transport import Transport
from scheduler.client.world import World

#: What Aurora's clients call themselves; proxies and statistics know them by it.
USER_AGENT: Final = "Aurora V2"
ADMIN_USER_AGENT: Final = "Aurora Admin"
#: Said on Ctrl-C, until something is done.
NOTHING_DONE: Final = "nothing was changed"


class Session:
    """Gives each verb its schedulers. ``so_far`` is what Ctrl-C tells; verbs keep it true."""

    def __init__(
        self,
        world: World,
        user_agent: str = USER_AGENT,
        transport: Callable[[str, bool], Transport] = Transport,
        members: leader.Members | None = None,
    ) -> None:
        self.world = world
        self.so_far = NOTHING_DONE
        #: The job of the configuration file that the command was given: for its hooks.
        self.config: JobConfig | None = None
        self.bypass_leader = False
        self._user_agent = user_agent
        self._transport = transport
        self._members = members
        self._clusters: clusters.Clusters | None = None
        self._schedulers: dict[str, Scheduler] = {}
        self._open: list[Transport] = []

    @property
    def clusters(self) -> clusters.Clusters:
        """All clusters. Raises InvalidConfiguration."""
        if self._clusters is None:
            self._clusters = clusters.load(self.world.environ)
        return self._clusters

    def scheduler(self, cluster: str) -> Scheduler:
        """The scheduler of a cluster. Raises InvalidConfiguration where there is no such cluster."""
        known = self._schedulers.get(cluster)
        if known is None:
            transport = self._transport(self._user_agent, self.bypass_leader)
            self._open.append(transport)
            known = self._schedulers[cluster] = Scheduler(self.clusters[cluster], self.world, transport, self._members)
        return known

    def close(self) -> None:
        """Close all connections."""
        for transport in self._open:
            transport.close()
