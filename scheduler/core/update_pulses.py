"""Pulses: a service that watches a job says from time to time that its update may go on. When each came last, and when
one is late. They have a deadline of their own, so that they move nothing else that an update waits for."""

from __future__ import annotations

from scheduler.core.deadlines import Due
from scheduler.core.parts import Tools
from scheduler.core.update_run import Run
from scheduler.model import JobKey

#: What the update says of a pulse that did not come (Aurora's words).
LATE = "Pulses from external service have timed out."


class Pulses:
    """Of all updates that want some."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        #: When each was last given one, monotonic.
        self._last_s: dict[tuple[JobKey, str], float] = {}

    def resumed(self, run: Run) -> None:
        """The update was taken up: pulses that were sent while nobody led could not be heard."""
        if run.pulse_timeout_s and run.about not in self._last_s:
            self._last_s[run.about] = self.tools.draft.now.mono_s
        self._watch(run)

    def came(self, run: Run) -> None:
        """It was given one."""
        self._last_s[run.about] = self.tools.draft.now.mono_s
        self._watch(run)

    def is_late(self, run: Run) -> bool:
        """Whether the update may not go on, since it wants pulses and was given none for too long."""
        if not run.pulse_timeout_s:
            return False
        last_s = self._last_s.get(run.about)
        return last_s is None or self.tools.draft.now.mono_s - last_s >= run.pulse_timeout_s

    def forget(self, run: Run) -> None:
        """The update is over."""
        self._last_s.pop(run.about, None)
        self.tools.deadlines.cancel(Due.UPDATE_PULSE, run.about)

    def _watch(self, run: Run) -> None:
        last_s = self._last_s.get(run.about)
        if run.pulse_timeout_s and last_s is not None:
            self.tools.deadlines.set(Due.UPDATE_PULSE, run.about, last_s + run.pulse_timeout_s)
