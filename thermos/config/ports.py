"""Names of ports: which a job needs, and which number each has, by way of the announcer's aliases.

A portmap's value is a number (a static port) or the name of another port, whose number it shares; names lead
on to names. The rules are those of Aurora's ``aurora/config/port_resolver.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

from thermos.config.job_schema import DEFAULT_WATCH_SECS, Job, MesosTaskInstance
from thermos.config.probe_checks import ports_in, ports_probed
from thermos.config.probe_schema import READINESS
from thermos.errors import ThermosError
from thermos.schema import ports_wanted

#: A name of a port or, once it is known, its number.
Target = str | int


class PortmapCycle(ThermosError):
    """Names in a portmap lead in a circle, so none of them has a number; names them."""


def resolve(portmap: Mapping[str, Target]) -> dict[str, Target]:
    """What each name finally stands for: a number, or a name that the portmap does not explain.

    Raises:
        PortmapCycle: names that lead back to themselves.
    """
    return {name: _end(name, portmap) for name in portmap}


def unallocated(portmap: Mapping[str, Target]) -> frozenset[str]:
    """The names that must be given a number, for all names of *portmap* to have one. Raises PortmapCycle."""
    return frozenset(target for target in resolve(portmap).values() if isinstance(target, str))


def bind(portmap: Mapping[str, Target], ports: Mapping[str, int]) -> dict[str, Target]:
    """*portmap* with the numbers of *ports*: added, and in place of their names. Raises PortmapCycle."""
    return resolve({**portmap, **ports})


def _end(name: str, portmap: Mapping[str, Target]) -> Target:
    seen = [name]
    target = _number(portmap[name])
    while isinstance(target, str) and target in portmap:
        if target in seen:
            circle = " -> ".join([*seen[seen.index(target) :], target])
            raise PortmapCycle(f"the portmap goes in a circle: {circle}; give one of them a number, or take it out")
        seen.append(target)
        target = _number(portmap[target])
    return target


def _number(target: Target) -> Target:
    """A number that is written as text is a number."""
    return int(target) if isinstance(target, str) and target.isascii() and target.isdecimal() else target


def ports_referred(job: Job | MesosTaskInstance) -> frozenset[str]:
    """The names in ``{{thermos.ports[NAME]}}`` in the shell health check; those in the task are `ports_wanted`'s."""
    shell = job.health_check_config.health_checker.shell
    return ports_in(shell.shell_command) if shell is not None else frozenset()


def portmap(job: Job | MesosTaskInstance) -> dict[str, Target]:
    """The announcer's aliases of *job*; none where it is not announced."""
    return dict(job.announce.portmap) if job.announce is not None else {}


def ports_requested(job: Job | MesosTaskInstance) -> frozenset[str]:
    """The names of the ports that the scheduler must find for each instance of *job*.

    They are those the task refers to, those its probes ask and the announcer's, each followed to its end. Raises
    PortmapCycle.
    """
    aliases = portmap(job)
    return unallocated(aliases) | ((ports_wanted(job.task) | ports_probed(job.x_probes)) - aliases.keys())


def has_health_port(job: Job | MesosTaskInstance) -> bool:
    """Whether the task refers to a port called ``health``, without which HTTP health checks are off."""
    return "health" in ports_wanted(job.task)


def is_checked(job: Job) -> bool:
    """Whether instances of *job* are RUNNING only once something has found them healthy, as the executor has it."""
    if any(probe.purpose != READINESS for probe in job.x_probes):
        return True
    return job.health_check_config.health_checker.shell is not None or "health" in {
        *ports_wanted(job.task),
        *portmap(job),
    }


def watch_secs(job: Job) -> int:
    """How many seconds an updated instance must run: unlike Aurora's, 0 where its health is checked and nobody said."""
    if job.update_config.watch_secs is not None:
        return job.update_config.watch_secs
    return 0 if is_checked(job) else DEFAULT_WATCH_SECS
