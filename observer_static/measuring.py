"""What tasks use and how many there are: sampling and metrics, as the observer's loop and its server need them."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from detectors.watch import Changes, TaskKey
from observer_static.facts import TaskFacts
from observer_static.metrics import Metrics, exposition, variables, write_textfile
from observer_static.sampling import Sampling
from thermos.core.state import RunnerState

if TYPE_CHECKING:
    from observer_static.history import UsagePoint
    from thermos.host.usage import TaskUsage

#: Metrics are written to their file this long after a change at the latest, and no more often.
TEXTFILE_S: Final = 5.0

log = logging.getLogger("thermos_observer")


class Measuring:
    """Measures when it is due or when somebody looks; counts tasks.

    *sampling* None: nothing is measured. *is_measured_first*: once for the first *textfile*, too.
    """

    def __init__(
        self,
        sampling: Sampling[TaskKey] | None,
        textfile: str | None,
        version: str,
        *,
        is_measured_first: bool = False,
    ) -> None:
        self.metrics: Metrics[TaskKey] = Metrics()
        self.metrics.own.version = version
        self._sampling = sampling
        self._textfile = textfile
        self._is_measured_first = is_measured_first
        self._textfile_due_s: float | None = None
        #: Why the metrics could not be written to their file; None: they could.
        self.textfile_trouble: OSError | None = None
        #: Of active tasks.
        self._states: dict[TaskKey, RunnerState] = {}

    def close(self) -> None:
        """End what runs on."""
        if self._sampling is not None:
            self._sampling.close()

    # -- for the site --------------------------------------------------------------------------------------------------

    def told(self, key: TaskKey, facts: TaskFacts) -> None:
        """The task was read from disk."""
        self.metrics.task(key, facts)
        if facts.is_active:
            self._states[key] = facts.state
        else:
            self._drop(key)

    def usage(self, key: TaskKey) -> TaskUsage | None:
        """What the task used when last measured."""
        return self._sampling.usage(key) if self._sampling is not None and key in self._states else None

    def history(self, key: TaskKey) -> Sequence[UsagePoint]:
        """What it used in the last hour, oldest first."""
        return self._sampling.history(key) if self._sampling is not None else ()

    def _drop(self, key: TaskKey) -> None:
        if self._states.pop(key, None) is not None and self._sampling is not None:
            self._sampling.forget(key)

    # -- for the loop: its ``Companion`` says what is called when ------------------------------------------------------

    @property
    def fd(self) -> int | None:
        """Readable when a count of disk has answers."""
        return self._sampling.fd if self._sampling is not None else None

    def due_in_s(self) -> float | None:
        """When something is due though ``fd`` says nothing; None: never."""
        now_s = time.monotonic()
        waits_s = [self._sampling.due_in_s(now_s)] if self._sampling is not None else []
        if self._textfile_due_s is not None:
            waits_s.append(max(self._textfile_due_s - now_s, 0.0))
        return min((wait_s for wait_s in waits_s if wait_s is not None), default=None)

    def due(self) -> frozenset[TaskKey]:
        """Measure and write what is due; the tasks of which something is known that was not before."""
        news = self._sampling.due(self._states) if self._sampling is not None else frozenset()
        for key in news:
            self._count(key)
        if news:
            self._textfile_is_old()
        if self._textfile_due_s is not None and time.monotonic() >= self._textfile_due_s:
            self._write_textfile()
        return news

    def changed(self, changes: Changes) -> None:
        """Tasks have changed, and were told of."""
        self.metrics.own.notices += 1
        self.metrics.own.last_change_s = time.time()
        for key in changes.vanished:
            self._drop(key)
            self.metrics.forget(key)
        self._textfile_is_old()

    def _count(self, key: TaskKey) -> None:
        usage = self.usage(key)
        if usage is not None:
            self.metrics.usage(key, usage)
            self.metrics.own.measurements += 1

    def _textfile_is_old(self) -> None:
        if self._textfile is not None and self._textfile_due_s is None:
            self._textfile_due_s = time.monotonic() + TEXTFILE_S

    def begun(self) -> None:
        """All tasks were told of for the first time."""
        if self._textfile is not None:
            if self._is_measured_first:
                self._look_at_all()
            self._write_textfile()

    def _write_textfile(self) -> None:
        assert self._textfile is not None
        self._textfile_due_s = None
        try:
            write_textfile(self.metrics, self._textfile)
            self.textfile_trouble = None
        except OSError as error:
            if self.textfile_trouble is None or self.textfile_trouble.errno != error.errno:
                text = error.strerror or str(error)
                log.error("metrics cannot be written to %s: %s; the next change tries again", self._textfile, text)
            self.textfile_trouble = error

    # -- for the server's threads --------------------------------------------------------------------------------------

    def looked_usage(self, key: TaskKey) -> TaskUsage | None:
        """What the task uses now."""
        if self._sampling is None:
            return None
        usage = self._sampling.look([key], dict(self._states)).get(key)
        if usage is not None:
            self.metrics.usage(key, usage)
        return usage

    def exposition(self) -> bytes:
        """``/metrics``, measured now."""
        return exposition(self.metrics, self._look_at_all)

    def variables(self) -> Mapping[str, object]:
        """``/vars.json``."""
        return variables(self.metrics)

    def _look_at_all(self) -> None:
        if self._sampling is not None:
            states = dict(self._states)
            for key, usage in self._sampling.look(states, states).items():
                self.metrics.usage(key, usage)
