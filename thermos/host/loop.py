"""One thread's loop: descriptors that can be read or written, timers, and calls posted by other threads.

Whoever runs in it must not block. A callback that raises ends the loop with that exception: a program that goes on
after its own fault would tell its agent things that are not true.
"""

from __future__ import annotations

import heapq
import os
import selectors
import time
from collections import deque
from collections.abc import Callable, Hashable
from itertools import count

Callback = Callable[[], object]


class Loop:
    """Waits for what happens, and calls those who wanted to know. Not for two threads, but for ``post``."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Hashable]] = []
        self._due: dict[Hashable, tuple[int, Callback]] = {}
        self._order = count()
        self._posted: deque[Callback] = deque()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._is_stopped = False

    # -- Descriptors -----------------------------------------------------------------------------------------------

    def watch(self, fd: int, on_readable: Callback | None, on_writable: Callback | None = None) -> None:
        """Call one or the other whenever *fd* can be read or written, until ``unwatch``; replaces what was asked."""
        events = (selectors.EVENT_READ if on_readable else 0) | (selectors.EVENT_WRITE if on_writable else 0)
        data = (on_readable, on_writable)
        if not events:
            self.unwatch(fd)
        elif fd in self._selector.get_map():
            self._selector.modify(fd, events, data)
        else:
            self._selector.register(fd, events, data)

    def unwatch(self, fd: int) -> None:
        """Forget *fd*; nothing if it is not watched. Before it is closed."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    # -- Time ------------------------------------------------------------------------------------------------------

    def now_s(self) -> float:
        """Monotonic time."""
        return self._clock()

    def call_later(self, key: Hashable, in_s: float, callback: Callback) -> None:
        """Call *callback* in so many seconds, once; a later call with the same *key* takes this one's place."""
        number = next(self._order)
        self._due[key] = (number, callback)
        heapq.heappush(self._timers, (self._clock() + max(in_s, 0.0), number, key))

    def cancel(self, key: Hashable) -> None:
        """Take back what was to be called under *key*; nothing if there is none."""
        self._due.pop(key, None)

    # -- Other threads ---------------------------------------------------------------------------------------------

    def post(self, callback: Callback) -> None:
        """Have *callback* called by the loop soon. The one method that any thread may call, and signal handlers."""
        self._posted.append(callback)
        if self._bell >= 0:
            try:
                os.eventfd_write(self._bell, 1)
            except OSError:
                pass  # it rings already, or is being closed

    # -- Running ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Let ``run`` return after what is being called now."""
        self._is_stopped = True

    def run(self) -> None:
        """Wait and call until ``stop``. Raises what a callback raises."""
        self._is_stopped = False
        while not self._is_stopped:
            self.step()

    def step(self, timeout_s: float | None = None) -> None:
        """Wait once, for *timeout_s* at most (None: until something happens), and call whom it concerns."""
        until_s = self._next_s()
        if self._posted:
            timeout_s = 0.0
        elif until_s is not None:
            left_s = max(until_s - self._clock(), 0.0)
            timeout_s = left_s if timeout_s is None else min(left_s, timeout_s)
        for key, events in self._selector.select(timeout_s):
            if key.fd == self._bell:
                self._answer_bell()
                continue
            readable, writable = key.data
            for callback, event in ((readable, selectors.EVENT_READ), (writable, selectors.EVENT_WRITE)):
                # What was called before may have closed it, or put another in its place.
                if callback is not None and events & event and self._is_watched(key.fd, key.data):
                    callback()
        self._call_due()

    def _is_watched(self, fd: int, data: object) -> bool:
        key = self._selector.get_map().get(fd)
        return key is not None and key.data is data

    def _answer_bell(self) -> None:
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            pass
        for _ in range(len(self._posted)):  # those that are posted meanwhile come in the next round
            self._posted.popleft()()

    def _next_s(self) -> float | None:
        while self._timers:
            at_s, number, key = self._timers[0]
            if self._due.get(key, (None,))[0] == number:
                return at_s
            heapq.heappop(self._timers)  # replaced or taken back
        return None

    def _call_due(self) -> None:
        now_s = self._clock()
        while (at_s := self._next_s()) is not None and at_s <= now_s:
            _, _, key = heapq.heappop(self._timers)
            _, callback = self._due.pop(key)
            callback()

    def close(self) -> None:
        """Give back what it holds; the descriptors that it watched belong to others."""
        self._selector.close()
        bell, self._bell = self._bell, -1
        os.close(bell)

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
