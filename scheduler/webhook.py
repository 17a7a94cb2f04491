"""Tells an HTTP server of every task that came into another state: what ``-webhook_config`` asks for.

The file's form, the body and the names of the figures are those of Aurora 0.22 (``docs/features/webhooks.md``,
``WebhookInfo``, ``Webhook``). Other than there, what is told is durable before, a POST that fails is tried again, and
neither a slow server nor one that is away holds the scheduler up: one thread posts, in order, and what waits for it is
bounded.
"""

from __future__ import annotations

import json
import logging
import random
import socket
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import h11

from scheduler.core.decision import Transition
from scheduler.core.queries import to_wire
from scheduler.states import ScheduleStatus
from scheduler.wire.plain_json import plain
from thermos.errors import ExitCode, ThermosError
from thermos.formats.aurora_api import SCHEDULED_TASK

log = logging.getLogger(__name__)

_FIELDS: Final = ("targetURL", "timeoutMsec", "headers", "statuses")
#: These are for whoever sends the bytes to say.
_OURS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "timestamp"})
#: An answer that may be another one the next time; of the others, nobody need ask twice.
_TRY_AGAIN: Final = frozenset({408, 425, 429})
_READ_BYTES: Final = 16 << 10


class WebhookInvalid(ThermosError):
    """The file cannot be used; *problems* has all that is wrong with it."""

    exit_code = ExitCode.DAMAGED

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


class WebhookConfig(NamedTuple):
    """Where to post, and what. *statuses*: new states that are told."""

    host: str
    port: int
    is_tls: bool
    #: The URL from its path on.
    target: str
    #: For the connection, and for the answer.
    timeout_s: float
    headers: Mapping[str, str]
    statuses: frozenset[ScheduleStatus]


class Patience(NamedTuple):
    """How long it is tried, and how much may wait meanwhile."""

    #: Of one POST: with the waits below, a server may be away for half a minute before anything is given up.
    attempts: int = 8
    first_wait_s: float = 0.25
    max_wait_s: float = 30.0
    #: The oldest go when there are more. A task takes some kilobytes; its configuration is shared.
    max_waiting: int = 10_000


def parse_webhook_config(text: str) -> WebhookConfig:
    """The configuration that *text* is. Raises WebhookInvalid with all problems."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WebhookInvalid([f"it is no JSON: {error}"]) from None
    if not isinstance(data, dict):
        raise WebhookInvalid([f"it should be an object with {', '.join(_FIELDS)}"])
    problems = [f"there is no field {name}, only {', '.join(_FIELDS)}" for name in sorted(data.keys() - set(_FIELDS))]
    host, port, is_tls, target = _place(data.get("targetURL"), problems)
    timeout_ms = data.get("timeoutMsec")
    if not isinstance(timeout_ms, int) or isinstance(timeout_ms, bool) or timeout_ms <= 0:
        problems.append(f"timeoutMsec should be milliseconds, more than 0, and is {_shown(timeout_ms)}")
        timeout_ms = 1
    headers = _headers(data.get("headers", {}), problems)
    statuses = _statuses(data.get("statuses", ["*"]), problems)
    if problems:
        raise WebhookInvalid(problems)
    return WebhookConfig(host, port, is_tls, target, timeout_ms / 1000, headers, statuses)


def _shown(value: object) -> str:
    return "missing" if value is None else repr(value)[:60]


def _place(url: object, problems: list[str]) -> tuple[str, int, bool, str]:
    nowhere = ("", 0, False, "/")
    wrong = f"targetURL should be like http://host:port/path, or https://…, and is {_shown(url)}"
    if not isinstance(url, str) or not url.isascii() or any(char <= " " or char == "\x7f" for char in url):
        problems.append(wrong)
        return nowhere
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError:
        problems.append(wrong)
        return nowhere
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        problems.append(wrong)
        return nowhere
    if "@" in parts.netloc:
        problems.append("targetURL has a password in it, where logs show it: write a header Authorization instead")
    is_tls = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.hostname, port or (443 if is_tls else 80), is_tls, target


def _headers(value: object, problems: list[str]) -> Mapping[str, str]:
    if not isinstance(value, dict):
        problems.append("headers should be an object: name → value")
        return {}
    for name, text in value.items():
        if name.lower() in _OURS:
            problems.append(f"headers: {name} is set by the scheduler")
        elif not isinstance(text, str):
            problems.append(f"headers: {name} should be text, and is {_shown(text)}")
        else:
            try:
                h11.Request(method="POST", target="/", headers=[("Host", "x"), (name, text)])
            except (h11.LocalProtocolError, UnicodeError):
                problems.append(f"headers: {name!r} is no header of HTTP, or its value none")
    return MappingProxyType(dict(value))


def _statuses(value: object, problems: list[str]) -> frozenset[ScheduleStatus]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names:
        problems.append('statuses should be a list of states, or "*"')
        return frozenset()
    known = ScheduleStatus.__members__
    unknown = [name for name in names if name != "*" and (not isinstance(name, str) or name not in known)]
    problems += [f"statuses: there is no state {_shown(name)}, only * and {', '.join(known)}" for name in unknown]
    if unknown or "*" in names:
        return frozenset(ScheduleStatus)
    return frozenset(known[name] for name in names)


def body_of(transition: Transition) -> bytes:
    """What is posted: the task as it is now, and the state that it was in (INIT: it is new)."""
    before, after = transition
    old = ScheduleStatus.INIT if before is None else before.status
    return json.dumps({"task": plain(SCHEDULED_TASK, to_wire(after)), "oldState": old.name}).encode()


def post(config: WebhookConfig, body: bytes, at_ms: int) -> int:
    """Post once, on a connection of its own; gives the status of the answer. Takes no longer than the timeout for the
    connection, and once more for the answer. Raises OSError, also where what is answered is no HTTP."""
    headers = {
        "Host": f"[{config.host}]:{config.port}" if ":" in config.host else f"{config.host}:{config.port}",
        "User-Agent": "aurora-scheduler",
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Timestamp": str(at_ms),
        **config.headers,
    }
    if not any(name.lower() == "content-type" for name in config.headers):
        headers["Content-Type"] = "application/json"
    connection = h11.Connection(h11.CLIENT)
    request = h11.Request(method="POST", target=config.target, headers=list(headers.items()))
    parts = [connection.send(request), connection.send(h11.Data(body)), connection.send(h11.EndOfMessage())]
    with _connected(config) as peer:
        until_s = time.monotonic() + config.timeout_s
        peer.sendall(b"".join(part for part in parts if part))
        try:
            while not isinstance(event := connection.next_event(), h11.Response):
                if event is h11.NEED_DATA:
                    left_s = until_s - time.monotonic()
                    if left_s <= 0:
                        raise TimeoutError(f"no answer within {config.timeout_s:g} s")
                    peer.settimeout(left_s)
                    connection.receive_data(peer.recv(_READ_BYTES))
        except h11.RemoteProtocolError as error:
            raise ConnectionError(f"what it answered is no HTTP ({error})") from None
    return event.status_code


def _connected(config: WebhookConfig) -> socket.socket:
    peer = socket.create_connection((config.host, config.port), config.timeout_s)
    if not config.is_tls:
        return peer
    try:
        return ssl.create_default_context().wrap_socket(peer, server_hostname=config.host)
    except BaseException:
        peer.close()
        raise


class Webhook:
    """Posts transitions, in the order in which they are told, from a thread of its own."""

    def __init__(self, config: WebhookConfig, patience: Patience | None = None) -> None:
        self._config = config
        self._patience = patience or Patience()
        self._counts = Counter({"attempts": 0, "success": 0, "errors": 0, "user_errors": 0, "dropped": 0})
        self._waiting: deque[Transition] = deque()
        self._changed = threading.Condition()
        self._until_s: float | None = None
        self._is_dropping = self._is_failing = False
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)

    def start(self) -> None:
        """Begin to post."""
        self._thread.start()

    def tell(self, transitions: Iterable[Transition]) -> None:
        """Post those that are asked for, some time. Returns at once."""
        wanted = [one for one in transitions if one.after.status in self._config.statuses]
        if not wanted:
            return
        with self._changed:
            self._waiting.extend(wanted)
            dropped = max(0, len(self._waiting) - self._patience.max_waiting)
            for _ in range(dropped):
                self._waiting.popleft()
            self._counts["dropped"] += dropped
            is_first = dropped > 0 and not self._is_dropping
            self._is_dropping |= dropped > 0
            self._changed.notify()
        if is_first:
            log.warning(
                "the webhook's server is too slow, or away: the oldest of %d messages are dropped from now on; "
                "webhooks_dropped counts them",
                self._patience.max_waiting,
            )

    def close(self, wait_s: float = 1.0) -> None:
        """End it. What waits is still posted, once each, for at most *wait_s* and the timeout of one POST."""
        with self._changed:
            self._until_s = time.monotonic() + wait_s
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(wait_s + 2 * self._config.timeout_s)
        with self._changed:
            if self._waiting:
                log.warning("%d messages of the webhook were not posted: the scheduler ends", len(self._waiting))

    def metrics(self) -> Mapping[str, float]:
        """Aurora's figures, and what waits and was dropped."""
        with self._changed:
            found: dict[str, float] = {f"webhooks_{name}": count for name, count in self._counts.items()}
            found["webhooks_waiting"] = len(self._waiting)
        return found

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (transition := self._next()) is not None:
            try:
                self._deliver(transition)
            except Exception:  # the thread's top: one message fails, the others go on
                log.exception("a message of the webhook could not be made: %s", transition.after.task_id)
                self._count("errors")

    def _next(self) -> Transition | None:
        with self._changed:
            while not self._waiting and self._until_s is None:
                self._changed.wait()
            if not self._waiting or self._is_over():
                return None
            one = self._waiting.popleft()
            if not self._waiting:
                self._is_dropping = False
            return one

    def _is_over(self) -> bool:
        return self._until_s is not None and time.monotonic() >= self._until_s

    def _count(self, name: str) -> None:
        with self._changed:
            self._counts[name] += 1

    def _deliver(self, transition: Transition) -> None:
        """Post it until it is taken, refused, or has been tried often enough."""
        body = body_of(transition)
        wait_s = self._patience.first_wait_s
        for attempt in range(1, self._patience.attempts + 1):
            problem, is_final = self._try(body, transition.after.changed_at_ms)
            if problem is None:
                self._say_well()
                return
            self._say_failing(problem)
            if is_final or attempt == self._patience.attempts or not self._pause(wait_s):
                break
            wait_s = min(2 * wait_s, self._patience.max_wait_s)
        log.debug("given up: %s of %s", transition.after.status.name, transition.after.task_id)

    def _try(self, body: bytes, at_ms: int) -> tuple[str | None, bool]:
        """Why it was not taken (None: it was), and whether that will be the same the next time."""
        self._count("attempts")
        try:
            status = post(self._config, body, at_ms)
        except OSError as error:
            self._count("errors")
            return str(error) or type(error).__name__, False
        if 200 <= status < 300:
            self._count("success")
            return None, True
        self._count("user_errors")
        return f"it answered {status}", status < 500 and status not in _TRY_AGAIN

    def _pause(self, wait_s: float) -> bool:
        """Wait for about so long; False: there is no time left to try again."""
        jittered_s = wait_s * (0.5 + random.random() / 2)
        with self._changed:
            self._changed.wait_for(lambda: self._until_s is not None, jittered_s)
            return self._until_s is None

    def _say_failing(self, problem: str) -> None:
        if not self._is_failing:
            self._is_failing = True
            where = f"{self._config.host}:{self._config.port}"
            log.warning("the webhook's server %s does not take messages: %s; webhooks_errors counts on", where, problem)

    def _say_well(self) -> None:
        if self._is_failing:
            self._is_failing = False
            log.info("the webhook's server takes messages again")
