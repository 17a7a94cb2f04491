"""The connection to the leading master: a thread that reads events, and one that sends calls.

What is decided lies in :mod:`scheduler.mesos.session`; here are sockets. HTTP is the standard library's: two
connections, both of which may block, each in a thread of its own, so that neither waits for the other.

Calls belong to the subscription under which they were made. What cannot be delivered under it is dropped and said:
after the next SUBSCRIBED the scheduler asks Mesos for the state of its tasks, and an offer of before is worth nothing.
"""

from __future__ import annotations

import contextlib
import http.client
import queue
import random
import ssl
import threading
import time
import traceback
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from scheduler.core.events import Call, MasterError, MesosEvent
from scheduler.mesos.finder import Finder, NoLeader
from scheduler.mesos.master_http import ACCEPTED, BAD_REQUEST, Line, Link, Stream, words
from scheduler.mesos.session import (
    Action,
    Address,
    CloseStream,
    FindMaster,
    Heard,
    MasterChanged,
    MasterFound,
    NoMaster,
    OpenStream,
    Phase,
    Say,
    Session,
    SessionEvent,
    SessionSettings,
    Started,
    StreamLost,
    Tell,
    Woke,
)
from thermos.formats import recordio
from thermos.formats.mesos_v1 import CONTENT_TYPE, WireError
from thermos.formats.mesos_v1_scheduler import Subscribe, decode_event, encode_call


class Credential(NamedTuple):
    """For HTTP Basic."""

    principal: str
    secret: str


class MasterConnection:
    """Tells every event of the master's, in order, and Disconnected when it is not heard any more.

    *tell* is called from threads of ours, *say* too, with what an operator should read, and *failed* at most once for
    each thread, with why: a fault of ours has ended it, and Mesos is not heard any more, or not asked. *framework* is a
    ``FrameworkInfo`` as JSON, with the ``id`` of before, if there is one. Never ends the framework.
    """

    def __init__(
        self,
        finder: Finder,
        framework: Mapping[str, Any],
        tell: Callable[[MesosEvent], object],
        failed: Callable[[str], object],
        *,
        credential: Credential | None = None,
        ssl_context: ssl.SSLContext | None = None,
        settings: SessionSettings | None = None,
        say: Callable[[str], object] = lambda text: None,
        mono_s: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._finder = finder
        self._framework = dict(framework)
        known = self._framework.pop("id", None)
        self._framework_id: str | None = known["value"] if known else None
        self._tell = tell
        self._failed = failed
        self._say = say
        self._mono_s = mono_s
        self._chance = chance
        self._ssl_context = ssl_context
        self._headers = {"Content-Type": CONTENT_TYPE, "Accept": CONTENT_TYPE, "User-Agent": "thermos-scheduler"}
        if credential is not None:
            login = f"{credential.principal}:{credential.secret}".encode()
            self._headers["Authorization"] = f"Basic {b64encode(login).decode('ascii')}"
        self._session = Session(settings)
        self._closing = threading.Event()

        self._wake: queue.SimpleQueue[SessionEvent] = queue.SimpleQueue()  # from other threads
        self._lock = threading.Lock()
        self._stream: Stream | None = None
        self._link: Link | None = None
        self._links = 0
        self._events = self._made = self._lost = 0

        self._calls: queue.SimpleQueue[tuple[Link, Call] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._guarded, args=(self._run,), name="master-events", daemon=True)
        self._caller = threading.Thread(target=self._guarded, args=(self._run_calls,), name="master-calls", daemon=True)

    # -- from the scheduler --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look for the master, and subscribe."""
        self._finder.start(self._master_changed)
        self._reader.start()
        self._caller.start()

    def call(self, call: Call) -> None:
        """Make *call* after all those before it. Does not wait; drops it, with a word, where there is no master."""
        link = self._link
        if link is None:
            self._dropped(call, "there is no master")
        else:
            self._calls.put((link, call))

    def close(self, timeout_s: float = 5.0) -> None:
        """Hang up; the framework and its tasks go on. Calls made before are delivered, within that time."""
        self._calls.put(None)
        if self._caller.ident is not None:
            self._caller.join(timeout_s)
        self._closing.set()
        self._interrupt(StreamLost("the scheduler leaves"))
        self._finder.close()
        if self._reader.ident is not None:
            self._reader.join(timeout_s)

    def metrics(self) -> Mapping[str, float]:
        """For ``/vars``, since the start. Lost are calls that could not be delivered, or not for sure."""
        return {"mesos_events": self._events, "mesos_calls": self._made, "mesos_calls_lost": self._lost}

    def _guarded(self, run: Callable[[], None]) -> None:
        """A thread of ours that fails must not fail in silence: nothing would be heard any more."""
        try:
            run()
        except Exception as error:  # noqa: BLE001 - the thread's top
            self._say(traceback.format_exc())
            self._failed(f"the connection to the master failed: {type(error).__name__}: {error}")

    # -- the thread that reads -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        event: SessionEvent = Started()
        while not self._closing.is_set():
            for action in self._session.decide(event, self._mono_s(), self._chance()):
                if (outcome := self._perform(action)) is not None:
                    self._wake.put(outcome)
            if self._closing.is_set():
                break
            event = self._next()
        self._hang_up()

    def _next(self) -> SessionEvent:
        """Wait for whatever comes first."""
        with contextlib.suppress(queue.Empty):
            return self._wake.get_nowait()
        wake_at_s = self._session.wake_at_s
        left_s = None if wake_at_s is None else max(wake_at_s - self._mono_s(), 0.0)
        stream = self._stream
        if stream is not None and stream.is_open:
            return self._read(stream, left_s)
        try:
            return self._wake.get(timeout=left_s)
        except queue.Empty:
            return Woke()

    def _read(self, stream: Stream, left_s: float | None) -> SessionEvent:
        try:
            payloads = stream.read(left_s)
        except TimeoutError:
            return Woke()
        except (OSError, http.client.HTTPException, recordio.FrameError) as error:
            with contextlib.suppress(queue.Empty):
                return self._wake.get_nowait()  # it was ended by us: this is why
            return StreamLost(words(error))
        events = []
        for payload in payloads:
            try:
                events.append(decode_event(payload))
            except WireError as error:
                return StreamLost(f"an event of the master's cannot be read: {error}")
        self._events += len(events)
        return Heard(tuple(events))

    def _perform(self, action: Action) -> SessionEvent | None:
        match action:
            case FindMaster():
                try:
                    return MasterFound(self._finder.find(action.is_again, self._session.settings.answer_s))
                except NoLeader as error:
                    return NoMaster(str(error))
            case OpenStream():
                return self._open(action.address)
            case CloseStream():
                self._hang_up()
            case Tell():
                self._before_telling(action.event)
                self._tell(action.event)
            case Say():
                self._say(action.text)
        return None

    def _before_telling(self, event: MesosEvent) -> None:
        """A call made in answer to SUBSCRIBED must find its way."""
        stream, session = self._stream, self._session
        if session.phase is Phase.SUBSCRIBED and self._link is None and stream is not None and session.framework_id:
            assert session.address is not None
            self._framework_id = session.framework_id
            self._links += 1
            self._link = Link(self._links, session.address, stream.stream_id, session.framework_id)
        elif isinstance(event, MasterError):
            self._link = None

    def _open(self, address: Address) -> SessionEvent:
        body = encode_call(Subscribe(self._framework), self._framework_id)
        stream = Stream(self._http(address, self._session.settings.answer_s), self._headers)
        with self._lock:
            self._stream = stream
        try:
            return stream.open(body)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return StreamLost(f"{address}: {words(error)}")

    def _hang_up(self) -> None:
        self._link = None
        with self._lock:
            stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _http(self, address: Address, timeout_s: float) -> http.client.HTTPConnection:
        if self._ssl_context is None:
            return http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)
        return http.client.HTTPSConnection(address.host, address.port, timeout=timeout_s, context=self._ssl_context)

    # -- from other threads --------------------------------------------------------------------------------------------

    def _master_changed(self, address: Address) -> None:
        current = self._session.address
        if current is None or current != address:
            self._interrupt(MasterChanged(address))

    def _interrupt(self, event: SessionEvent) -> None:
        """Let the reading thread hear of *event*, even if it is waiting for bytes."""
        self._wake.put(event)
        with self._lock:
            if self._stream is not None:
                self._stream.end()

    # -- the thread that calls -----------------------------------------------------------------------------------------

    def _run_calls(self) -> None:
        line = Line(self._http, self._headers)
        while (item := self._calls.get()) is not None:
            link, call = item
            if link is not self._link:
                self._dropped(call, "the master was lost meanwhile")
                continue
            try:
                status, reason = line.post(link, encode_call(call, link.framework_id))
            except (OSError, http.client.HTTPException) as error:
                self._dropped(call, f"{link.address}: {words(error)}")
                # Whether it came to the master nobody knows; with a new subscription all is asked for again.
                if link is self._link:
                    self._interrupt(StreamLost(f"a call had no answer: {words(error)}"))
                continue
            if status == ACCEPTED:
                self._made += 1
                continue
            answer = f"the master at {link.address} answers {status}: {reason}"
            self._dropped(call, answer)
            # 400: it is the call. Anything else: we are not subscribed there, or it leads no more.
            if status != BAD_REQUEST and link is self._link:
                self._interrupt(StreamLost(answer))
        line.close()

    def _dropped(self, call: Call, why: str) -> None:
        self._lost += 1
        self._say(f"call {type(call).__name__} is dropped: {why}")
