"""How long ago something was of which the wall time is kept, whatever is done to the clock meanwhile.

What was seen since the start is told by monotonic time. Of what was before there is only the wall time that was kept:
it is looked at once, at the start; what lies in the future by then is taken to have been just now.
"""

from __future__ import annotations

from scheduler.core.events import Now
from scheduler.model import Task
from scheduler.states import TERMINAL, ScheduleStatus


class Elapsed:
    """Moments, by what they are about. *now*: of the start."""

    def __init__(self, now: Now) -> None:
        self._start = now
        #: About what → the wall time that is kept, and the moment itself.
        self._seen: dict[object, tuple[int, float]] = {}

    def begin(self, now: Now) -> None:
        """The state was loaded, or decisions were taken back: what was not seen is judged by the clock of now."""
        self._start = now

    def note(self, about: object, now: Now) -> None:
        """It is now, and kept with the wall time of *now*."""
        self._seen[about] = (now.wall_ms, now.mono_s)

    def forget(self, about: object) -> None:
        """Nobody will ask for it any more."""
        self._seen.pop(about, None)

    def note_task(self, task_id: str, status: ScheduleStatus | None, now: Now) -> None:
        """The task came into its state just now; None: it is not kept any more."""
        if status is None or status in TERMINAL:
            self.forget(task_id)
        else:
            self.note(task_id, now)

    def at_s(self, about: object, kept_ms: int) -> float:
        """The moment, in monotonic seconds, that is kept with the wall time *kept_ms*."""
        seen = self._seen.get(about)
        if seen is not None and seen[0] == kept_ms:
            return seen[1]
        return self._start.mono_s - max(0, self._start.wall_ms - kept_ms) / 1000

    def since_ms(self, about: object, kept_ms: int, now: Now) -> int:
        """So many milliseconds have passed since then."""
        return max(0, round((now.mono_s - self.at_s(about, kept_ms)) * 1000))

    def age_ms(self, task: Task, now: Now) -> int:
        """For so many milliseconds the task has been in its state."""
        return self.since_ms(task.task_id, task.changed_at_ms, now)


def by_the_clock(wall_ms: int) -> tuple[Elapsed, Now]:
    """For those who only look, and have nothing but the clock: what it says, and a moment to ask with."""
    now = Now(wall_ms, 0.0)
    return Elapsed(now), now
