"""A small Mesos agent: `/files/read` alone, as a real one answers (mesos/src/files/files.cpp)."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qs, urlsplit

#: 16 pages: a real agent gives no more at a time.
MOST: Final = 65536


class Agent:
    """Files by their paths, and how the agent behaves."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        #: An HTTP status, ``silent`` or ``garbage``; None: as it should.
        self.fault: int | str | None = None
        self.requests = 0
        self.url = ""
        self.ends = threading.Event()

    def answer(self, query: dict[str, list[str]]) -> bytes | None:
        """The body for `/files/read`; None: there is no such file."""
        data = self.files.get(query["path"][0])
        if data is None:
            return None
        offset, length = int(query["offset"][0]), int(query["length"][0])
        if offset == -1 or offset > len(data):
            offset = len(data)
        piece = data[offset : offset + min(length if length >= 0 else MOST, MOST)]
        # A real agent puts bytes above 127 into its JSON as they are, be they UTF-8 or not.
        text = json.dumps(piece.decode("latin-1"), ensure_ascii=False).encode("latin-1")
        return query["jsonp"][0].encode() + b'({"data":' + text + b',"offset":%d});' % offset


class _Handler(http.server.BaseHTTPRequestHandler):
    agent: Agent

    def do_GET(self) -> None:
        agent = self.agent
        agent.requests += 1
        if agent.fault == "silent":
            agent.ends.wait(60)
            return
        address = urlsplit(self.path)
        body = agent.answer(parse_qs(address.query)) if address.path == "/files/read" else None
        status = agent.fault if isinstance(agent.fault, int) else 200 if body is not None else 404
        if agent.fault == "garbage":
            body = b'{"data": "no callback", "offset": 1}'
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="mesos-agent-readonly"')
        self.send_header("Content-Type", "text/javascript")
        body = body if status == 200 and body is not None else b"no"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def running() -> Iterator[Agent]:
    """An agent on a port of this host."""
    agent = Agent()
    handler = type("Handler", (_Handler,), {"agent": agent})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        agent.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, name="agent", kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield agent
        finally:
            agent.ends.set()
            server.shutdown()
            thread.join()
