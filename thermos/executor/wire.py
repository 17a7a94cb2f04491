"""The agent's executor API over HTTP/1.1: a stream of events, and calls one at a time. The protocol is h11's.

Each outcome is reported once, as an event of the session's, and nothing after ``close``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import h11

from thermos.core.session_events import Answered, CallLost, CallRefused, Event, StreamLost, SubscribeRefused
from thermos.executor.channel import Channel
from thermos.executor.environment import AgentAddress
from thermos.formats import recordio
from thermos.formats.mesos_v1 import CONTENT_TYPE, WireError
from thermos.formats.mesos_v1_executor import decode_event
from thermos.host.loop import Loop

if TYPE_CHECKING:
    import ssl

#: Of an answer that is no stream: enough for the reason in it.
MAX_REASON_BYTES: Final = 2 << 10
#: Of the headers of an answer.
MAX_HEAD_BYTES: Final = 64 << 10
_ACCEPTED: Final = 202
_OK: Final = 200

Tell: TypeAlias = Callable[[Event], None]


class _Http:
    """A connection, and what of HTTP/1.1 its two uses have in common."""

    def __init__(
        self, loop: Loop, address: AgentAddress, token: str | None, context: ssl.SSLContext | None, tell: Tell
    ) -> None:
        self._tell = tell
        self._is_closed = False
        self._status = 0
        self._reason = bytearray()
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        host = f"[{address.host}]" if ":" in address.host else address.host
        self._headers = [
            ("Host", f"{host}:{address.port}" if address.port else "localhost"),
            ("Content-Type", CONTENT_TYPE),
            ("Accept", CONTENT_TYPE),
        ]
        if token is not None:
            self._headers.append(("Authorization", f"Bearer {token}"))
        self._path = address.path
        self._channel = Channel(loop, address, self, context)

    def close(self) -> None:
        """Be gone, without a word."""
        self._is_closed = True
        self._channel.close()

    def _post(self, body: bytes) -> None:
        headers = [*self._headers, ("Content-Length", str(len(body)))]
        request = h11.Request(method="POST", target=self._path, headers=headers)
        parts = [self._http.send(event) for event in (request, h11.Data(data=body), h11.EndOfMessage())]
        self._channel.send(b"".join(part for part in parts if part))

    def on_data(self, data: bytes) -> None:
        try:
            self._http.receive_data(data)
            while not self._is_closed:
                event = self._http.next_event()
                if event in (h11.NEED_DATA, h11.PAUSED):
                    return
                if isinstance(event, h11.Response):
                    self._status = event.status_code
                elif isinstance(event, h11.Data):
                    self._take(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self._finish()
                elif isinstance(event, h11.ConnectionClosed):
                    return
        except h11.RemoteProtocolError as error:
            self._broken(f"what the agent sends is no HTTP: {error}")

    def on_lost(self, reason: str) -> None:
        rest = self._http.trailing_data[0]
        if rest and not self._status and not rest.startswith(b"HTTP/"):  # not a line of it: h11 still waits for its end
            reason = f"what the agent sends is no HTTP ({len(rest)} bytes of it), and then {reason}"
        self._broken(reason)

    def _take(self, data: bytes) -> None:
        self._reason += data[: MAX_REASON_BYTES - len(self._reason)]

    def _said(self) -> str:
        """The body of an answer, as words."""
        text = self._reason.decode("utf-8", "replace")
        return "".join(character if character.isprintable() else " " for character in text).strip() or "no reason given"

    def _finish(self) -> None:
        raise NotImplementedError

    def _broken(self, reason: str) -> None:
        raise NotImplementedError


class Stream(_Http):
    """One subscription: a request, and events for as long as it lasts."""

    def __init__(
        self,
        loop: Loop,
        address: AgentAddress,
        token: str | None,
        context: ssl.SSLContext | None,
        tell: Tell,
        body: bytes,
    ) -> None:
        super().__init__(loop, address, token, context, tell)
        self._records = recordio.Decoder()
        self._post(body)

    def _take(self, data: bytes) -> None:
        if self._status != _OK:
            super()._take(data)
            return
        for payload in self._records.feed(data):
            if self._is_closed:
                return
            try:
                event = decode_event(payload)
            except WireError as error:
                # With a new subscription the agent sees which tasks we know of; with this one it would wait.
                self._broken(f"the agent sent an event that cannot be read: {error}")
                return
            self._tell(event)
        if self._records.error is not None:
            self._broken(f"the agent's stream cannot be read: {self._records.error}")

    def _finish(self) -> None:
        if self._status == _OK:
            self._broken("the agent ended the stream")
        elif not self._is_closed:
            self.close()
            self._tell(SubscribeRefused(self._status, self._said()))

    def _broken(self, reason: str) -> None:
        if self._is_closed:
            return
        self.close()
        if self._status not in (0, _OK):  # it said no, and hung up before it had said why
            self._tell(SubscribeRefused(self._status, self._said()))
        else:
            self._tell(StreamLost(reason))


class Calls(_Http):
    """A connection for calls. After an outcome it is there for the next one, unless ``is_usable`` says otherwise."""

    def __init__(
        self, loop: Loop, address: AgentAddress, token: str | None, context: ssl.SSLContext | None, tell: Tell
    ) -> None:
        super().__init__(loop, address, token, context, tell)
        self._is_under_way = False

    @property
    def is_usable(self) -> bool:
        """Another call can be made on it."""
        return not self._is_closed and not self._is_under_way

    def call(self, body: bytes) -> None:
        """Make a call; there must be none under way."""
        self._is_under_way = True
        self._status = 0
        self._reason.clear()
        self._post(body)

    def _finish(self) -> None:
        self._is_under_way = False
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:  # "Connection: close"
            self.close()
        # An agent answers 202; one that says 200 has taken it, too.
        if self._status in (_OK, _ACCEPTED):
            self._tell(Answered())
        else:
            self._tell(CallRefused(self._status, self._said()))

    def _broken(self, reason: str) -> None:
        if self._is_closed:
            return
        self.close()
        if self._is_under_way:
            self._is_under_way = False
            self._tell(CallLost(reason))
