"""Tasks on disk as an observer finds them, and a real server on loopback that shows them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detectors.watch import TaskKey
from observer_static.options import Options, served_links
from observer_static.serve import Server, serve
from observer_static.view import Shared
from thermos.formats import checkpoint
from thermos.records import ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

LAUNCHED_MS = 1_700_000_000_000
#: What nobody may be shown, and a log that anybody may be.
SECRET = b"root's own\n"
LOG = b"one\ntwo & <b>three</b>\n"


def a_run(process: str, end: ProcessState | None = ProcessState.SUCCESS, code: int = 0, seq: int = 0) -> list[Record]:
    """The records of one run; *end* None: it is under way."""
    at_s = LAUNCHED_MS / 1000
    records: list[Record] = [
        ProcessStatus(seq, process, ProcessState.WAITING),
        ProcessStatus(seq + 1, process, ProcessState.FORKED, coordinator_pid=2, fork_time=at_s + 1),
        ProcessStatus(seq + 2, process, ProcessState.RUNNING, start_time=at_s + 1.5, pid=3),
    ]
    if end is not None:
        records.append(ProcessStatus(seq + 3, process, end, stop_time=at_s + 2.25, return_code=code))
    return records


class Host:
    """Checkpoint roots in a directory, and the view of them that a server has."""

    def __init__(self, path: Path, options: Options | None = None, site: str | None = None, **more: Any) -> None:
        self.path = path
        self.root = str(path / "root")
        self.tasks: dict[TaskKey, bool] = {}
        options = options or Options(writer="test", version="1", hostname="host1.example.org", raw_links=served_links)
        self.view = Shared(options, self.tasks, site=site, **more)

    def add(
        self,
        task_id: str,
        records: Sequence[Record] = (),
        *,
        root: str | None = None,
        sandbox: str | None = None,
        logs: Mapping[str, bytes] | None = None,
        end: TaskState | None = TaskState.SUCCESS,
        definition: object | bytes | None = None,
        header: RunnerHeader | None = None,
        changed_s: float | None = None,
    ) -> Path:
        """A task with a sandbox of its own; *logs* by their paths below ``.logs``. Returns its sandbox."""
        root = root or self.root
        box = Path(sandbox or self.path / "sandboxes" / task_id)
        box.mkdir(parents=True, exist_ok=True)
        for name, content in (logs or {}).items():
            file = box / ".logs" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        header = header or RunnerHeader(task_id, LAUNCHED_MS, str(box), "host1", "root", {"http": 31000})
        statuses: list[Record] = [TaskStatus(TaskState.ACTIVE, LAUNCHED_MS, 1, 0)]
        if end is not None:
            statuses += [TaskStatus(TaskState.CLEANING, LAUNCHED_MS + 3000, 1, 0)]
            statuses += [TaskStatus(end, LAUNCHED_MS + 4000, 1, 0)]
        stream = Path(root, "checkpoints", task_id, "runner")
        stream.parent.mkdir(parents=True, exist_ok=True)
        stream.write_bytes(b"".join(map(checkpoint.encode, [header, *statuses[:1], *records, *statuses[1:]])))
        if changed_s is not None:
            os.utime(stream, (changed_s, changed_s))
        names = dict.fromkeys(record.process for record in records if isinstance(record, ProcessStatus))
        if definition is None:
            definition = {"name": "a task", "processes": [{"name": name, "cmdline": "true"} for name in names]}
        file = Path(root, "tasks", "finished" if end is not None else "active", task_id)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(definition if isinstance(definition, bytes) else json.dumps(definition).encode())
        self.tasks[TaskKey(root, task_id)] = end is None
        self.view.changed()
        return box

    @contextlib.contextmanager
    def serving(self, host: str = "127.0.0.1", allowed_hosts: Sequence[str] = ()) -> Iterator[Client]:
        """A client of a server of this host."""
        server = serve(self.view, host, 0, allowed_hosts)
        try:
            yield Client(server)
        finally:
            server.close()


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """Asks a server, one connection for each request."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.port = server.port

    def get(self, target: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
        """The answer to a request for *target*, sent as it is written there."""
        fields = {"Host": f"127.0.0.1:{self.port}", "Connection": "close", **(headers or {})}
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        with contextlib.closing(self.connect()) as sock:
            sock.sendall(head.encode("latin-1") + b"\r\n")
            return _answer(sock, method)

    def json(self, target: str) -> Any:
        """The JSON at *target*."""
        answer = self.get(target)
        assert answer.status == 200, answer
        assert answer.headers["Content-Type"] == "application/json"
        return answer.json

    def raw(self, sent: bytes) -> bytes:
        """All that the server says to *sent* until it closes the connection."""
        with contextlib.closing(self.connect()) as sock:
            sock.sendall(sent)
            return b"".join(iter(lambda: sock.recv(65536), b""))

    def connect(self) -> socket.socket:
        """A connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


def _answer(sock: socket.socket, method: str) -> Answer:
    response = http.client.HTTPResponse(sock, method=method)
    try:
        response.begin()
        return Answer(response.status, response.headers, response.read())
    finally:
        response.close()
