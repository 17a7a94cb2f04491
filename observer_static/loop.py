"""The observer's one loop: waits until something changed, then has the site written.

It waits for the kernel's word on files, signals, the end of a helper and results of measuring, and for nothing else:
where nothing happens nothing runs, but for the watcher's rescan and the intervals that somebody asked for.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Final, Protocol

from detectors.watch import Changes, HostWatcher, TaskKey
from observer_static.site import Site

#: A burst of changes is written once: this is how long one may last after its first change.
COALESCE_S: Final = 0.05
#: However much there is to write, no more than about half of the time goes into it.
MAX_COALESCE_S: Final = 1.0
#: So long after the signal that ends it the kernel ends it, should something hang: pages are whole at any moment.
STOP_S: Final = 20

log = logging.getLogger("thermos_observer")


class Signals:
    """SIGTERM, SIGINT and SIGHUP as flags, and a descriptor that wakes the loop; a context manager."""

    def __init__(self) -> None:
        self.is_stopping = False
        self.is_rescan_asked = False
        self.fd, self._theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._old_fd = signal.set_wakeup_fd(self._theirs, warn_on_full_buffer=False)
        self._old = {
            signum: signal.signal(signum, self._note) for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        if signum == signal.SIGHUP:
            self.is_rescan_asked = True
        elif not self.is_stopping:  # whoever asks again is not to wait longer for it
            self.is_stopping = True
            signal.alarm(STOP_S)

    def drain(self) -> None:
        """Wait for the next one again."""
        try:
            while os.read(self.fd, 1 << 10):
                pass
        except BlockingIOError:
            pass

    def __enter__(self) -> Signals:
        return self

    def __exit__(self, *_: object) -> None:
        signal.alarm(0)
        signal.set_wakeup_fd(self._old_fd)
        for signum, handler in self._old.items():
            signal.signal(signum, handler)
        os.close(self.fd)
        os.close(self._theirs)


class Companion(Protocol):
    """What else runs on the loop: measuring.

    The loop waits until ``fd`` is readable or ``due_in_s`` is over, whichever is first, and calls ``due`` in each of
    its turns, whatever it woke up for. ``due`` finds out by itself whether there is something to do, and leaves ``fd``
    unreadable: nobody else reads from it, and one that stays readable keeps the loop awake.
    """

    @property
    def fd(self) -> int | None:
        """Readable when there is something to take; None: nothing to wait for."""

    def due_in_s(self) -> float | None:
        """How long to wait for ``fd`` at most; None: for good."""

    def due(self) -> frozenset[TaskKey]:
        """Take what ``fd`` tells of and do what is due; the tasks of which something is known that was not before."""

    def changed(self, changes: Changes) -> None:
        """Tasks have changed, and their pages are written."""

    def begun(self) -> None:
        """All tasks were looked at for the first time."""


class Observer:
    """Keeps *site* as *watcher* sees the tasks.

    *notices* are what stands on the index in words, and is logged; the watcher's unless told otherwise. *ready* is
    called once, when the index is written; *changed* whenever the tasks are others than before, *written* after each
    turn.
    """

    def __init__(
        self,
        watcher: HostWatcher,
        site: Site,
        signals: Signals,
        companion: Companion | None = None,
        notices: Callable[[], tuple[str, ...]] | None = None,
        ready: Callable[[], object] = lambda: None,
        changed: Callable[[], object] = lambda: None,
        written: Callable[[], object] = lambda: None,
    ) -> None:
        self._watcher = watcher
        self._site = site
        self._signals = signals
        self._companion = companion
        self._find_notices = notices if notices is not None else lambda: watcher.notices
        self._ready = ready
        self._changed = changed
        self._written = written
        self._is_begun = False
        self._is_written = False
        self._window_s = COALESCE_S
        self._notices: tuple[str, ...] = ()

    def begin(self) -> None:
        """Look at everything, and write what people look at first."""
        self._watcher.scan()
        self._site.begin(self._watcher.tasks)
        self._changed()
        self._site.write_lists(self._is_stopping)
        self._site.call_help()
        self._site.write(self._is_stopping)
        if not self._is_stopping():
            self._ready()
        self._end_turn()

    def run_until_complete(self) -> None:
        """Write all pages."""
        while not (self._is_begun or self._is_stopping()):
            self._turn()

    def run(self) -> None:
        """Go on until a signal says to stop."""
        while not self._is_stopping():
            self._turn()

    def _is_stopping(self) -> bool:
        return self._signals.is_stopping

    def _turn(self) -> None:
        site = self._site
        changes = self._watcher.wait(0.0 if site.has_work else self._timeout_s(), *self._fds())
        self._signals.drain()
        if self._is_stopping():
            return
        if site.helper_has_ended():
            site.helper_ended()
        if self._signals.is_rescan_asked:
            self._signals.is_rescan_asked = False
            log.info("looking at everything again")
            changes = _merged(changes, self._watcher.scan())
            site.refresh()
            self._write(changes)
        elif changes:
            self._write(self._burst(changes))
        elif site.has_work:
            site.work()
        if self._companion is not None:
            news = self._companion.due()
            if news:
                site.look_again(news)
                site.write(self._is_stopping)
        self._end_turn()

    def _end_turn(self) -> None:
        self._tell_notices()  # which may have the index written again
        self._written()
        if not self._site.is_complete:
            return
        if self._site.trouble is None and not self._is_written:
            self._is_written = True
            log.info("all pages are written")
        if not self._is_begun:
            self._is_begun = True
            if self._companion is not None:
                self._companion.begun()

    def _fds(self) -> list[int]:
        found = [self._signals.fd]
        if self._site.helper_fd is not None:
            found.append(self._site.helper_fd)
        if self._companion is not None and self._companion.fd is not None:
            found.append(self._companion.fd)
        return found

    def _timeout_s(self) -> float | None:
        return self._companion.due_in_s() if self._companion is not None else None

    def _burst(self, changes: Changes) -> Changes:
        """*changes* with those that follow at once."""
        end_s = time.monotonic() + self._window_s
        while (left_s := end_s - time.monotonic()) > 0 and not self._is_stopping():
            changes = _merged(changes, self._watcher.wait(left_s, self._signals.fd))
            self._signals.drain()
        return changes

    def _tell_notices(self) -> None:
        notices = self._find_notices()
        if notices == self._notices:
            return
        for text in notices:
            if text not in self._notices:
                log.warning("%s", text)
        self._notices = notices
        self._site.roster.listing_changed()

    def _write(self, changes: Changes) -> None:
        begin_s = time.monotonic()
        self._site.apply(changes, self._watcher.tasks)
        self._changed()
        self._site.write(self._is_stopping)
        if self._companion is not None:
            self._companion.changed(changes)
        taken_s = time.monotonic() - begin_s
        self._window_s = min(max(COALESCE_S, taken_s), MAX_COALESCE_S)


def _merged(one: Changes, other: Changes) -> Changes:
    """Both; where a key is in several sets, what there is now says what it means."""
    return Changes(one.appeared | other.appeared, one.changed | other.changed, one.vanished | other.vanished)
