"""TCP relays on loopback that a test can cut: a network that loses everything, without rights to make one."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

_CHUNK_BYTES: Final = 65536


class Relay:
    """Passes the connections made to its address on to *target*, in a thread of its own.

    While it is cut nothing passes, and nobody is told: connections stay open, as where packets are lost. What was sent
    meanwhile arrives when it is mended, as TCP would send it again.
    """

    def __init__(self, host: str, port: int, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server((host, port))
        self.hosts = f"{host}:{port}"
        self._others: dict[socket.socket, socket.socket] = {}
        self._swallowed: list[socket.socket] = []
        self._to_swallow = 0
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._orders: deque[tuple[Callable[[], None], threading.Event]] = deque()
        self._is_cut = False
        self._is_over = False
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name=f"relay {self.hosts}", daemon=True)
        self._thread.start()

    # -- From the test ---------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """From now on nothing passes."""
        self._order(self._cut)

    def mend(self) -> None:
        """All passes again."""
        self._order(self._mend)

    def drop(self, to_swallow: int = 0) -> None:
        """End all connections, as a server does that dies; the next *to_swallow* are taken and never answered."""

        def act() -> None:
            self._to_swallow = to_swallow
            for one in list(self._others):
                self._end(one)

        self._order(act)

    @property
    def swallowed(self) -> int:
        """How many connections were taken and never answered."""
        return len(self._swallowed)

    def close(self) -> None:
        def act() -> None:
            self._is_over = True

        self._order(act)
        self._thread.join()
        for one in (*self._others, *self._swallowed, self._listener, self._wake, self._woken):
            one.close()
        self._selector.close()

    def _order(self, act: Callable[[], None]) -> None:
        done = threading.Event()
        self._orders.append((act, done))
        self._wake.send(b".")
        assert done.wait(30), f"{self._thread.name} does not answer"

    # -- Its thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_over:
            for key, _ in self._selector.select():
                one = key.fileobj
                assert isinstance(one, socket.socket)
                if one is self._woken:
                    one.recv(_CHUNK_BYTES)
                    while self._orders:
                        act, done = self._orders.popleft()
                        act()
                        done.set()
                    break  # what was ready may not be ours any more
                if one is self._listener:
                    self._accept()
                elif one in self._others:
                    self._pass_on(one)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        if self._to_swallow:
            self._to_swallow -= 1
            self._swallowed.append(near)
            return
        try:
            far = socket.create_connection(self._target, timeout=5)
        except OSError:
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            one.settimeout(5)
            self._others[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, one: socket.socket) -> None:
        try:
            data = one.recv(_CHUNK_BYTES)
            self._others[one].sendall(data)
        except OSError:
            data = b""
        if not data:
            self._end(one)

    def _end(self, one: socket.socket) -> None:
        for each in (one, self._others.get(one)):
            if each is not None and self._others.pop(each, None) is not None:
                with contextlib.suppress(KeyError):
                    self._selector.unregister(each)
                each.close()

    def _cut(self) -> None:
        if not self._is_cut:
            self._is_cut = True
            for one in (self._listener, *self._others):
                self._selector.unregister(one)

    def _mend(self) -> None:
        if self._is_cut:
            self._is_cut = False
            for one in (self._listener, *self._others):
                self._selector.register(one, selectors.EVENT_READ)


@contextlib.contextmanager
def relay(host: str, port: int, target: tuple[str, int]) -> Iterator[Relay]:
    """A relay that ends with the block."""
    made = Relay(host, port, target)
    try:
        yield made
    finally:
        made.close()
