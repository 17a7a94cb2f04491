"""Coordinators as they are, and as they should not be: real servers on this machine, asked by the real client."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from scheduler.core.events import AskCoordinator, CoordinatorAnswered
from scheduler.sla_coordinator import MAX_ANSWER_BYTES, SlaCoordinators
from scheduler.states import ScheduleStatus
from tests.support import scheduled
from tests.support.box import SOON_S

pytestmark = pytest.mark.process

TASK = scheduled.task(ScheduleStatus.PENDING, ScheduleStatus.RUNNING, task_id="t-1", instance=3, agent_id="a", host="h")


def ask(url: str, timeout_s: float = SOON_S, key: str = "ok", countdown_ms: int | None = 5000) -> CoordinatorAnswered:
    """What comes of a question."""
    answers: queue.SimpleQueue[CoordinatorAnswered] = queue.SimpleQueue()
    SlaCoordinators("west", timeout_s, answers.put).ask(AskCoordinator(7, url, key, TASK, countdown_ms))
    return answers.get(timeout=SOON_S)


@contextlib.contextmanager
def coordinator(answer: str | bytes, status: int = 200, asked: list[Any] | None = None) -> Iterator[str]:
    """One that always says the same; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if asked is not None:
                asked.append((self.path, json.loads(body)))
            data = answer if isinstance(answer, bytes) else answer.encode()
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def strange(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """One that does with the first connection what it likes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            connected, _ = listener.accept()
            with connected, contextlib.suppress(OSError):
                serve(connected)

        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join()


def test_what_it_is_told() -> None:
    asked: list[Any] = []
    with coordinator('{"ok": true}', asked=asked) as url:
        assert ask(f"{url}/drain?x=1") == CoordinatorAnswered(7, True)
    ((path, body),) = asked
    assert path == "/drain?x=1&task=west%2Fwww%2Fprod%2Fweb%2F3"
    assert body["task"] == "west/www/prod/web/3"
    assert body["forceMaintenanceCountdownMs"] == "5000"
    task = body["taskConfig"]
    assert task["status"] == ScheduleStatus.RUNNING
    assert task["assignedTask"]["taskId"] == "t-1"
    assert task["assignedTask"]["instanceId"] == 3
    assert task["assignedTask"]["task"]["job"] == {"role": "www", "environment": "prod", "name": "web"}
    assert task["assignedTask"]["task"]["isService"] == 0
    assert [event["status"] for event in task["taskEvents"]] == [ScheduleStatus.PENDING, ScheduleStatus.RUNNING]


def test_a_no_is_an_answer() -> None:
    with coordinator('{"ok": false, "other": true}') as url:
        assert ask(url) == CoordinatorAnswered(7, False)


@pytest.mark.parametrize(
    "answer, status, word",
    [
        ('{"ok": true}', 500, "answered 500"),
        ('{"ok": true}', 302, "answered 302"),
        ("yes", 200, "no JSON"),
        ("[true]", 200, "does not say"),
        ('{"other": true}', 200, "does not say"),
        ('{"ok": 1}', 200, "does not say"),
        ('{"ok": "true"}', 200, "does not say"),
        (b"\xff\xfe", 200, "no JSON"),
        ('{"ok": true}' + " " * MAX_ANSWER_BYTES, 200, "longer than"),
        ("[" * 60_000, 200, "no JSON"),
    ],
)
def test_whatever_else_it_says_is_a_no(answer: str | bytes, status: int, word: str) -> None:
    with coordinator(answer, status) as url:
        found = ask(url)
    assert not found.is_allowed
    assert word in (found.failure or "")


def test_one_that_hangs_is_given_up() -> None:
    with strange(_wait_for_end) as url:
        found = ask(url, timeout_s=0.2)
    assert (found.is_allowed, found.failure) == (False, "there was no answer within 0.2 s")


def test_one_that_sends_for_ever_is_given_up() -> None:
    def drip(connected: socket.socket) -> None:
        connected.sendall(b"HTTP/1.1 200 OK\r\nX-More: ")
        connected.settimeout(0.01)
        while True:
            with contextlib.suppress(TimeoutError):
                if not connected.recv(1 << 16):
                    return
            connected.sendall(b"x")

    with strange(drip) as url:
        found = ask(url, timeout_s=0.2)
    assert (found.is_allowed, found.failure) == (False, "there was no answer within 0.2 s")


def test_one_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "refused" in (ask(f"http://127.0.0.1:{port}/").failure or "")


@pytest.mark.parametrize("url", ["http://", "ftp://h/", "http://h:port/", "http://[", "", "http://127.0.0.1:1/a b"])
def test_urls_that_are_none(url: str) -> None:
    assert ask(url).failure


def test_tls_with_one_that_does_not_speak_it() -> None:
    with strange(lambda connected: connected.sendall(b"HTTP/1.1 400 what\r\n\r\n")) as url:
        assert "SSL" in (ask(url.replace("http:", "https:")).failure or "")


def _wait_for_end(connected: socket.socket) -> None:
    while connected.recv(1 << 16):
        pass
