"""The executor's connection to its agent: what :class:`thermos.core.session.Session` decides, done within a loop.

One stream of events, one connection for calls; no thread, no polling, nothing that blocks. The owner is told
notices (``thermos.core.session_events.Notice``), and at last ``Close``; it may call any method from within.
"""

from __future__ import annotations

import os
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from thermos.core.session import Session
from thermos.core.session_events import (
    Action,
    Close,
    Disconnect,
    Event,
    MessageWanted,
    Notice,
    OpenStream,
    Send,
    Started,
    StopWanted,
    StreamLost,
    UpdateWanted,
    Woke,
)
from thermos.executor.channel import tls_context
from thermos.executor.environment import Surroundings
from thermos.executor.wire import Calls, Stream
from thermos.formats.mesos_v1_executor import encode_call
from thermos.host.loop import Loop
from thermos.mesos import ExecutorCall, Label, MesosTaskState, Raw, Reason, TaskStatus

if TYPE_CHECKING:
    import ssl

#: For the last acknowledgements, while the agent is there (``aurora_executor.py``: PERSISTENCE_WAIT).
LINGER_S: Final = 5.0

Owner: TypeAlias = Callable[[Notice | Close], None]


class Agent:
    """The agent, as its executor sees it.

    *chance* gives a new number in [0, 1) each time it is called; *clock* gives wall time, for statuses.
    """

    def __init__(
        self,
        loop: Loop,
        surroundings: Surroundings,
        tell: Owner,
        *,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.session = Session(surroundings.settings)
        self._loop = loop
        self._surroundings = surroundings
        self._tell = tell
        self._chance = chance
        self._clock = clock
        self._events: deque[Event] = deque()
        self._is_deciding = False
        self._is_closed = False
        self._context: ssl.SSLContext | None = None
        self._stream: Stream | None = None
        self._calls: Calls | None = None

    # -- what the executor wants ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look for the agent, for as long as it takes."""
        self._happened(Started())

    def update(
        self,
        task_id: str,
        state: MesosTaskState,
        *,
        message: str | None = None,
        reason: Reason | None = None,
        healthy: bool | None = None,
        labels: Sequence[Label] = (),
        container_status: Raw | None = None,
        data: bytes | None = None,
    ) -> TaskStatus:
        """Tell the agent, until it acknowledges it, that the task is in this state; gives what it will be told."""
        status = TaskStatus(
            task_id,
            state,
            new_uuid(),
            self._clock(),
            executor_id=self._surroundings.settings.executor_id,
            message=message,
            reason=reason,
            healthy=healthy,
            labels=tuple(labels),
            container_status=container_status,
            data=data,
        )
        self._happened(UpdateWanted(status))
        return status

    def message(self, data: bytes) -> None:
        """Send *data* to the framework, which may or may not arrive."""
        self._happened(MessageWanted(data))

    def stop(self, linger_s: float = LINGER_S) -> None:
        """Leave once all updates are acknowledged: Close says when. An agent that restarts, or does not answer, is

        waited for as long as its recovery may take; one that has answered all calls has *linger_s*.
        """
        self._happened(StopWanted(linger_s))

    def close(self) -> None:
        """Leave now, whatever is undelivered; nothing is told any more."""
        self._is_closed = True
        self._events.clear()
        self._loop.cancel(self)
        self._disconnect()

    # -- the session and its actions -----------------------------------------------------------------------------------

    def _happened(self, event: Event) -> None:
        """Let the session decide about *event*; about one thing at a time, also if an action makes another happen."""
        if self._is_closed:
            return
        self._events.append(event)
        if self._is_deciding:
            return
        self._is_deciding = True
        try:
            while self._events:
                for action in self.session.decide(self._events.popleft(), self._loop.now_s(), self._chance()):
                    self._do(action)
        finally:
            self._is_deciding = False
        self._set_alarm()

    def _do(self, action: Action) -> None:
        if self._is_closed:  # by what the owner did about an action before
            return
        match action:
            case OpenStream():
                self._disconnect()
                self._open(action.call)
            case Send():
                self._call(action.call)
            case Disconnect():
                self._disconnect()
            case Close():
                self._disconnect()
                self._tell(action)
            case _:
                self._tell(action)

    def _set_alarm(self) -> None:
        wake_at_s = None if self._is_closed else self.session.wake_at_s
        if wake_at_s is None:
            self._loop.cancel(self)
        else:
            self._loop.call_later(self, wake_at_s - self._loop.now_s(), lambda: self._happened(Woke()))

    # -- connections ---------------------------------------------------------------------------------------------------

    def _open(self, call: ExecutorCall) -> None:
        address, token = self._surroundings.address, self._surroundings.token
        if address.tls is not None:
            try:
                self._context = tls_context(address.tls)
            except OSError as error:
                self._happened(StreamLost(f"the files for https (LIBPROCESS_SSL_…) cannot be used: {error}"))
                return
        self._stream = Stream(self._loop, address, token, self._context, self._happened, self._encode(call))

    def _call(self, call: ExecutorCall) -> None:
        if self._calls is None or not self._calls.is_usable:
            self._hang_up()
            self._calls = Calls(
                self._loop, self._surroundings.address, self._surroundings.token, self._context, self._happened
            )
        self._calls.call(self._encode(call))

    def _encode(self, call: ExecutorCall) -> bytes:
        settings = self._surroundings.settings
        return encode_call(call, settings.executor_id, settings.framework_id)

    def _disconnect(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._hang_up()

    def _hang_up(self) -> None:
        if self._calls is not None:
            self._calls.close()
            self._calls = None


def new_uuid() -> bytes:
    """A random UUID (RFC 4122, version 4), as bytes."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    return bytes(raw)
