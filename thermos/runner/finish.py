"""The end of a task on this host: what is left of it is cleared away, and its file is moved."""

from __future__ import annotations

import os

from thermos.formats import paths
from thermos.host import cgroup, proc
from thermos.host.journal import sync_dir
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


def move_task_file(root: str, task_id: str) -> None:
    """``tasks/active/ID`` becomes ``tasks/finished/ID``, durably. Does nothing if that is done already."""
    active = paths.task_path(root, task_id, paths.ACTIVE)
    finished = paths.task_path(root, task_id, paths.FINISHED)
    try:
        os.rename(active, finished)
    except FileNotFoundError:
        return
    sync_dir(os.path.dirname(finished))
    sync_dir(os.path.dirname(active))
