"""An agent that answers what the test says, byte for byte: for what a real one does not do at command."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import h11

from thermos.formats import recordio

SUBSCRIBED: Final = {
    "type": "SUBSCRIBED",
    "subscribed": {
        "executor_info": {"executor_id": {"value": "e"}},
        "framework_info": {"id": {"value": "F"}, "name": "f", "user": "u"},
        "agent_info": {"id": {"value": "S"}, "hostname": "here", "port": 5051},
    },
}
ACCEPTED: Final = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(*events: dict[str, Any]) -> bytes:
    """One HTTP chunk with these events."""
    data = b"".join(recordio.encode(json.dumps(event).encode()) for event in events)
    return b"%x\r\n%b\r\n" % (len(data), data)


def answer(status: int, body: bytes = b"", more: bytes = b"") -> bytes:
    """A whole answer."""
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), more, body)


#: What a healthy agent answers to SUBSCRIBE; the stream stays open.
STREAM: Final = HEAD + chunk(SUBSCRIBED)


@dataclass(frozen=True)
class Stream:
    """A connection that was subscribed on; nothing is said on it between its answer's first byte and its last."""

    connection: socket.socket
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, data: bytes) -> None:
        with self.lock:
            self.connection.sendall(data)


class FakeAgent:
    """Listens in a thread; what SUBSCRIBE and other calls are answered with next is in two queues.

    An answer is bytes, after which the connection stays open, or bytes in a tuple, after which it is closed. An empty
    queue answers as a healthy agent does.
    """

    def __init__(self, path: str | None = None, context: ssl.SSLContext | None = None) -> None:
        self.to_subscribe: deque[bytes | tuple[bytes]] = deque()
        self.to_calls: deque[bytes | tuple[bytes]] = deque()
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.connections = 0
        self._context = context
        self._streams: list[Stream] = []
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._is_closed = False
        if path is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.port = int(self._listener.getsockname()[1])
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(path)
            self._listener.listen()
            self.port = 0
        self._start(self._accept)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The bodies of all requests so far."""
        return [body for _, body in list(self.requests)]

    def say(self, *events: dict[str, Any]) -> None:
        """Send these events on the newest stream."""
        self._streams[-1].send(chunk(*events))

    def send(self, data: bytes) -> None:
        """Send these bytes on the newest stream."""
        self._streams[-1].send(data)

    def hang_up(self) -> None:
        """Close every connection; listen on."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.hang_up()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._listener.close()

    def __enter__(self) -> FakeAgent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def say_aside(self, *events: dict[str, Any]) -> None:
        """``say``, in a thread: for more than the other side's buffers hold while nobody reads them."""
        self._start(self.say, *events)

    def _start(self, run: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._open.add(connection)
            self._talk(connection)
        except (OSError, h11.RemoteProtocolError):
            pass  # the other side hung up
        finally:
            self._open.discard(connection)
            connection.close()

    def _talk(self, connection: socket.socket) -> None:
        http = h11.Connection(h11.SERVER)
        headers: dict[str, str] = {}
        body = b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                data = connection.recv(1 << 16)
                if not data:
                    return
                http.receive_data(data)
            elif isinstance(event, h11.Request):
                headers = {":path": event.target.decode()}
                headers |= {name.decode().lower(): value.decode() for name, value in event.headers}
                body = b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                call = json.loads(body)
                is_subscribe = call["type"] == "SUBSCRIBE"
                queue, otherwise = (self.to_subscribe, STREAM) if is_subscribe else (self.to_calls, ACCEPTED)
                reply = queue.popleft() if queue else otherwise
                stream = Stream(connection)
                with stream.lock:  # whoever sees the request may speak at once: after the answer
                    if is_subscribe:
                        self._streams.append(stream)
                    self.requests.append((headers, call))
                    connection.sendall(reply if isinstance(reply, bytes) else reply[0])
                if isinstance(reply, tuple):
                    return
                # h11 did not see our answer: the next request comes to a new state of it.
                http = h11.Connection(h11.SERVER)
