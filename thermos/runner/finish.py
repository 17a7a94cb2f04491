"""The end of a task on this host: what is left of it is cleared away."""

from __future__ import annotations

from thermos.host import cgroup, proc
from thermos.runner.context import Context
from thermos.runner.signals import PASSES, Task


def clear_away(context: Context, live: Task, *, search: bool) -> list[str]:
    """What survived, described; empty when nothing did. *search*: processes may be where only a search finds them."""
    group = context.header.cgroup
    survivors: list[str] = []
    if group is not None and cgroup.leave(group):
        cgroup.kill(group)
        for _ in range(PASSES):
            if cgroup.remove(group):
                break
            cgroup.wait_empty(group, 0.25)
        else:
            survivors += [proc.describe(pid) for pid in cgroup.members(group)]
    if search and context.cookie:
        survivors += [proc.describe(stat.pid) for stat in live.kill_strays(f"{context.cookie}.".encode())]
    return survivors
