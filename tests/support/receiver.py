"""An HTTP server that takes POSTs, and behaves as badly as a test wants."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple

#: Instead of a status: no answer until the end of the test; none at all; one that is no HTTP.
HANG: Final = -1
HANG_UP: Final = -2
NOISE: Final = -3
DRIP: Final = -4


class Posted(NamedTuple):
    """One POST as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Keeps what is posted. *answers*: what the next POSTs get, by default 200."""

    def __init__(self, port: int = 0) -> None:
        self.posts: list[Posted] = []
        self.answers: list[int] = []
        self.otherwise = 200
        self._over = threading.Event()
        self._server = _Server(("127.0.0.1", port), self._handler())
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?a=b"

    def _handler(self) -> Callable[..., BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.posts.append(Posted(self.path, dict(self.headers), body))
                receiver._answer(self, receiver.answers.pop(0) if receiver.answers else receiver.otherwise)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler

    def _answer(self, handler: BaseHTTPRequestHandler, answer: int) -> None:
        with contextlib.suppress(OSError):  # whoever posted may have gone
            if answer == HANG:
                self._over.wait(60)
            elif answer == NOISE:
                handler.wfile.write(b"\0\1\2 this is not HTTP\r\n\r\n")
            elif answer == DRIP:
                for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + 600 * b"x":
                    handler.wfile.write(bytes((byte,)))
                    if self._over.wait(0.05):
                        break
            elif answer != HANG_UP:
                handler.send_response(answer)
                handler.send_header("Content-Length", "0")
                handler.end_headers()

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True
    address_family = socket.AF_INET

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hangs up is what some tests are about


@contextlib.contextmanager
def receiver(port: int = 0) -> Iterator[Receiver]:
    """One, for a test."""
    made = Receiver(port)
    try:
        yield made
    finally:
        made.close()
