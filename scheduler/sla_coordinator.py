"""Asks SLA coordinators over HTTP, each question on a thread of its own.

Whatever a coordinator does – hang, send for ever, answer nonsense – costs no more than a thread for the time-out, and
means no. The protocol is Aurora's (``SlaManager.java``): a POST to ``URL?task=cluster/role/env/name/instance`` with the
task and how long it can wait; 200 and a JSON object whose field is true mean yes.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import SplitResult, quote, urlsplit

from scheduler.core.events import AskCoordinator, CoordinatorAnswered
from scheduler.core.queries import to_wire
from scheduler.model import Task
from scheduler.wire.simple_json import simple
from thermos.formats.aurora_api import SCHEDULED_TASK

log = logging.getLogger(__name__)

#: An answer has one truth in it; of one that is longer, no more is read.
MAX_ANSWER_BYTES: Final = 64 << 10
#: Of what a coordinator says, so much is worth a place in the log.
_SHOWN_BYTES: Final = 200


class _Failure(Exception):
    """There is no answer; says why."""


class SlaCoordinators:
    """Asks, and puts what comes of it into *tell*'s queue. The engine says who is asked when, and how many at once."""

    def __init__(self, cluster_name: str, timeout_s: float, tell: Callable[[CoordinatorAnswered], None]) -> None:
        self._cluster_name = cluster_name
        self._timeout_s = timeout_s
        self._tell = tell

    def ask(self, question: AskCoordinator) -> None:
        """Begin to ask; returns at once."""
        thread = threading.Thread(
            target=self._ask, args=(question,), name=f"coordinator-{question.number}", daemon=True
        )
        thread.start()

    def _ask(self, question: AskCoordinator) -> None:
        key = f"{self._cluster_name}/{question.task.job}/{question.task.instance}"
        try:
            is_allowed = self._answer(question, key)
        except _Failure as error:
            log.warning("SLA coordinator %s gave no answer for %s: %s", question.url, key, error)
            self._tell(CoordinatorAnswered(question.number, False, str(error)))
        except Exception as error:  # the thread's top: whatever it is, the engine must hear that there is no answer
            log.exception("SLA coordinator %s could not be asked for %s", question.url, key)
            self._tell(CoordinatorAnswered(question.number, False, repr(error)))
        else:
            log.info("SLA coordinator %s: %s may %s", question.url, key, "go" if is_allowed else "not go yet")
            self._tell(CoordinatorAnswered(question.number, is_allowed))

    def _answer(self, question: AskCoordinator, key: str) -> bool:
        """Whether it said yes. Raises _Failure."""
        body = json.dumps(body_of(question.task, key, question.countdown_ms)).encode("utf-8", "replace")
        try:
            url = urlsplit(question.url)
            with self._connected(url) as connection:
                path = f"{url.path or '/'}?{url.query + '&' if url.query else ''}task={quote(key, safe='')}"
                connection.request("POST", path, body, {"Content-Type": "application/json", "Connection": "close"})
                with connection.getresponse() as response:
                    said = response.read(MAX_ANSWER_BYTES + 1)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise _Failure(str(error) or type(error).__name__) from None
        if response.status != 200:
            raise _Failure(f"it answered {response.status} {response.reason}: {said[:_SHOWN_BYTES]!r}")
        return _is_yes(said, question.status_key)

    @contextlib.contextmanager
    def _connected(self, url: SplitResult) -> Iterator[http.client.HTTPConnection]:
        """A connection to where *url* leads; when the time is over it is shut down, whatever is going on there."""
        if url.scheme not in ("http", "https") or not url.hostname:
            raise _Failure("its URL is none that can be asked")
        port = url.port or (443 if url.scheme == "https" else 80)
        plain = socket.create_connection((url.hostname, port), self._timeout_s)
        plain.settimeout(None)  # what bounds all of it together is the timer
        is_late = threading.Event()
        with contextlib.ExitStack() as stack:
            stack.callback(plain.close)
            connection = http.client.HTTPConnection(url.hostname, port)
            connection.sock = plain
            if url.scheme == "https":
                connection.sock = ssl.create_default_context().wrap_socket(
                    plain, server_hostname=url.hostname, do_handshake_on_connect=False
                )
            stack.callback(connection.close)
            timer = threading.Timer(self._timeout_s, _cut, (connection.sock, is_late))
            timer.daemon = True
            timer.start()
            stack.callback(timer.cancel)
            try:
                if isinstance(connection.sock, ssl.SSLSocket):
                    connection.sock.do_handshake()
                yield connection
            except (OSError, ValueError, http.client.HTTPException):
                if is_late.is_set():
                    raise _Failure(f"there was no answer within {self._timeout_s:g} s") from None
                raise
            if is_late.is_set():
                raise _Failure(f"there was no answer within {self._timeout_s:g} s")


def _cut(connected: socket.socket, is_late: threading.Event) -> None:
    is_late.set()
    with contextlib.suppress(OSError):  # closed meanwhile
        socket.socket.shutdown(connected, socket.SHUT_RDWR)


def body_of(task: Task, key: str, countdown_ms: int | None) -> dict[str, object]:
    """What a coordinator is told. The countdown is text, as Aurora sends it."""
    body: dict[str, object] = {"taskConfig": simple(SCHEDULED_TASK, to_wire(task)), "task": key}
    if countdown_ms is not None:
        body["forceMaintenanceCountdownMs"] = str(countdown_ms)
    return body


def _is_yes(said: bytes, status_key: str) -> bool:
    if len(said) > MAX_ANSWER_BYTES:
        raise _Failure(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
    try:
        answer = json.loads(said)
    except (ValueError, RecursionError):
        raise _Failure(f"its answer is no JSON: {said[:_SHOWN_BYTES]!r}") from None
    if not isinstance(answer, dict) or not isinstance(answer.get(status_key), bool):
        raise _Failure(f"its answer does not say whether {status_key!r} is true or false: {said[:_SHOWN_BYTES]!r}")
    return bool(answer[status_key])
