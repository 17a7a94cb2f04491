"""Which group of an update's instances begins next, or what holds it up: canaries, pauses of its own."""

from __future__ import annotations

from typing import NamedTuple

from scheduler.core.update_run import Run
from scheduler.core.updates import AUTO_PAUSED, CANARIES_DONE
from thermos.formats.aurora_api import UpdatePause


class Group(NamedTuple):
    """So many instances may begin now; where none may, what is to be done about it, if anything."""

    size: int = 0
    #: It pauses, and says so.
    pause: UpdatePause | None = None
    message: str = ""
    #: It has failed; why.
    failure: str | None = None
    #: When to look again, monotonic: its canaries are watched.
    look_at_s: float | None = None


def next_group(run: Run, now_s: float) -> Group:
    """What begins next in *run*. *now_s*: monotonic."""
    count = min(len(run.waiting), run.strategy.may_begin(run.begun, len(run.working)))
    if not count or run.is_back or not run.begun:
        return Group(count)
    if run.canaries and run.begun == len(run.canaries):
        promote_ms = run.settings.canary_promote_after_ms
        if promote_ms is None:
            if not run.auto_pauses:
                return Group(pause=UpdatePause.CANARIES_DONE, message=CANARIES_DONE)
        elif run.lost_canaries:
            words = ", ".join(map(str, sorted(run.lost_canaries)))
            return Group(failure=f"canaries ended after they were updated: instances {words}")
        elif run.canaries_done_s + promote_ms / 1000 > now_s:
            return Group(look_at_s=run.canaries_done_s + promote_ms / 1000)
    if run.strategy.is_autopaused and run.auto_pauses < run.strategy.groups_before(run.begun):
        return Group(pause=UpdatePause.GROUP_DONE, message=AUTO_PAUSED)
    return Group(count)
