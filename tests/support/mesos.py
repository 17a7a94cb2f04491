"""A real Mesos on this machine, and the smallest scheduler for it: what it is told is what counts.

The lab (``../shared/mesos-lab``) is set up once per machine into a cache directory. Its agents share one process
with the master, so one agent alone cannot be stopped. Everything has a deadline, and every process ends by its pid.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import functools
import http.client
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import pytest

from tests.support.box import SOON_S, until
from thermos.formats import recordio
from thermos.host import proc

ROOT: Final = Path(__file__).parents[2]
LAB: Final = ROOT.parent / "shared" / "mesos-lab" / "lab.py"
#: Downloads 35 MB, the first time on a machine.
SETUP_S: Final = 240.0
START_S: Final = 30.0

#: So that a test of a time-out does not take a quarter of an hour; each of them is a flag of Mesos.
FAST: Final = {
    "MESOS_ALLOCATION_INTERVAL": "50ms",
    "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "5secs",
    "MESOS_REGISTRATION_BACKOFF_FACTOR": "10ms",
    "MESOS_AUTHENTICATION_BACKOFF_FACTOR": "10ms",
}


@functools.cache
def lab_directory() -> Path:
    """Where the lab's libraries are, set up if need be; skips the test where that cannot be."""
    if not LAB.exists():
        pytest.skip(f"no Mesos to test with: {LAB} is missing")
    if platform.machine() != "x86_64" or sys.platform != "linux":
        pytest.skip(f"no Mesos to test with: its library is for x86-64 Linux, this is {platform.machine()}")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thermos-tests"
    cache.mkdir(parents=True, exist_ok=True)
    directory = cache / "mesos-lab-1.11.0"
    with open(cache / "mesos-lab.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "ready").exists():
            _set_up(directory)
    return directory


def _set_up(directory: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("no Mesos to test with: setting it up takes gcc")
    shutil.rmtree(directory, ignore_errors=True)
    with tempfile.TemporaryFile("w+") as said:
        words = [sys.executable, str(LAB), "setup", str(directory)]
        setup = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)
        try:
            code: int | str = setup.wait(SETUP_S)
        except subprocess.TimeoutExpired:
            code = f"nothing within {SETUP_S:g} s"
            os.killpg(setup.pid, signal.SIGKILL)  # its own session: pip and gcc with it
            setup.wait()
        if code != 0:
            said.seek(0)
            pytest.skip(f"no Mesos to test with: its setup ended with {code}: {said.read()[-500:]}")
    (directory / "ready").touch()


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Mesos:
    """A master with agents in one process, on a port and in a work directory of their own."""

    def __init__(self, directory: str, agents: int = 1, **flags: str) -> None:
        self.lab = lab_directory()
        self.directory = directory
        self.port = free_port()
        self.agents = agents
        self.flags = {**FAST, **flags}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, or start it again; returns when all agents are registered with the master."""
        assert self._process is None
        words = [
            sys.executable, str(LAB), "run", str(self.lab), "--agents", str(self.agents), "--port", str(self.port),
            "--work", f"{self.directory}/work",
        ]  # fmt: skip
        # Executors inherit an agent's environment: nothing of the test's own Python in it.
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "MESOS"))}
        with open(f"{self.directory}/mesos.log", "ab") as log:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environ, **self.flags},
                start_new_session=True,
            )
        until(self._is_ready, lambda: f"Mesos is ready: {self.log()[-2000:]}", START_S)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"Mesos ended: {self.log()[-2000:]}"
        try:
            state = self.state()
        except (OSError, http.client.HTTPException, ValueError):
            return False
        return bool(state.get("activated_slaves") == self.agents)

    def kill(self) -> None:
        """kill -9: master and agents at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """kill -9, and start again on the same port and work directory."""
        self.kill()
        self.start()

    def pause(self, seconds_until: Callable[[], object]) -> None:
        """Stop all its threads (SIGSTOP) until the condition holds."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            until(seconds_until, "what the pause waits for")
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it, and every executor and task that it started."""
        self.kill()
        marker = self.directory.encode()
        deadline = time.monotonic() + SOON_S
        while pids := [pid for pid in with_marker(marker) if pid != os.getpid()]:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            assert time.monotonic() < deadline, f"still there: {[proc.describe(pid) for pid in pids]}"
        shutil.rmtree(self.directory, ignore_errors=True)

    # -- looking -------------------------------------------------------------------------------------------------------

    def get(self, path: str) -> Any:
        """The JSON at *path*."""
        return get_json(self.port, path)

    def state(self) -> Any:
        """``/master/state``."""
        return self.get("/master/state")

    def log(self) -> str:
        """All that Mesos said."""
        with contextlib.suppress(OSError):
            return Path(f"{self.directory}/mesos.log").read_text("utf-8", "replace")
        return ""

    def sandboxes(self) -> list[Path]:
        """The sandbox of each executor, newest last."""
        runs = self._below("slaves/*/frameworks/*/executors/*/runs/*")
        found = [path for path in runs if path.name != "latest"]
        return sorted(found, key=lambda path: path.stat().st_mtime)

    def has_acknowledged(self, status: Mapping[str, Any]) -> bool:
        """Whether an agent has written down that the framework acknowledged this status (of a checkpointed task)."""
        # StatusUpdateRecord of mesos/src/messages/messages.proto: type (field 1) ACK, uuid (field 3) of 16 bytes
        record = b"\x08\x01\x1a\x10" + base64.b64decode(status["uuid"])
        task_id = status["task_id"]["value"]
        updates = self._below(f"meta/slaves/*/frameworks/*/executors/*/runs/*/tasks/{task_id}/task.updates")
        return any(record in path.read_bytes() for path in updates)

    def _below(self, pattern: str) -> Iterator[Path]:
        """Files of every agent that match *pattern*, in its work directory."""
        for directory in Path(self.directory, "work", "mesos", "work", "agents").glob("*"):
            yield from (directory / "work").glob(pattern)


def get_json(port: int, path: str) -> Any:
    """The JSON at *path* of a server on this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


class Cluster(Protocol):
    """What a ``Scheduler`` needs of a Mesos, this one or another."""

    port: int

    def has_acknowledged(self, status: Mapping[str, Any]) -> bool:
        """Whether it is written down that the framework acknowledged this status."""
        ...

    def sandboxes(self) -> list[Path]:
        """The sandbox of each executor, newest last."""
        ...


def with_marker(marker: bytes) -> list[int]:
    """Processes that have *marker* in their environment: executors have their sandbox there, and hand it on."""
    found = []
    for stat in proc.snapshot():
        with contextlib.suppress(OSError):
            if stat.state not in "ZX" and marker in Path(f"/proc/{stat.pid}/environ").read_bytes():
                found.append(stat.pid)
    return found


@contextlib.contextmanager
def mesos(agents: int = 1, **flags: str) -> Iterator[Mesos]:
    """A running Mesos; everything of it is gone afterwards."""
    lab_directory()
    made = Mesos(tempfile.mkdtemp(prefix="mesos-"), agents, **flags)
    os.chmod(made.directory, 0o755)
    try:
        made.start()
        yield made
    finally:
        made.close()


class Scheduler:
    """Launches tasks with an executor of the test's, and keeps every status that it is told, in order.

    A thread reads its events. It subscribes again, with the same framework id, whenever the master comes back.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        checkpoint: bool = True,
        failover_s: float = 600.0,
        acknowledges: bool = True,
        **info: Any,
    ) -> None:
        self.cluster = cluster
        #: Whether statuses are acknowledged as they come; else by ``acknowledge``.
        self.acknowledges = acknowledges
        self.statuses: list[dict[str, Any]] = []
        self.messages: list[bytes] = []
        self.events: list[dict[str, Any]] = []
        self.framework_id: str | None = None
        self.subscriptions = 0
        self.failure: Exception | None = None
        self._info = {
            "user": "root" if os.geteuid() == 0 else os.environ.get("USER", "nobody"),
            "name": "tests",
            "checkpoint": checkpoint,
            "failover_timeout": failover_s,
            "roles": ["*"],
            "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}],
            **info,
        }
        self._offers: dict[str, dict[str, Any]] = {}
        self._stream_id = ""
        self._changed = threading.Condition()
        self._is_closed = False
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, name="scheduler", daemon=True)
        self._thread.start()
        self.wait(lambda: self.subscriptions, "the scheduler is subscribed")

    # -- asking --------------------------------------------------------------------------------------------------------

    def wait(self, condition: Callable[[], Any], what: str | Callable[[], str], timeout_s: float = SOON_S) -> Any:
        """What *condition* gives, once it gives anything; looked at again after every event."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not (found := condition()):
                if self.failure is not None:
                    raise AssertionError(f"the scheduler failed: {self.failure!r}") from self.failure
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    words = what if isinstance(what, str) else what()
                    told = [(s["task_id"]["value"], s["state"], s.get("message")) for s in self.statuses]
                    raise AssertionError(f"not within {timeout_s:g} s: {words}; told was {told}")
                self._changed.wait(min(left_s, 0.5))
        return found

    def wait_for(self, task_id: str, state: str, timeout_s: float = SOON_S) -> dict[str, Any]:
        """The first status of that task in that state."""

        def found() -> dict[str, Any] | None:
            return next((one for one in self.of(task_id) if one["state"] == state), None)

        status: dict[str, Any] = self.wait(found, lambda: f"{task_id} is {state}", timeout_s)
        return status

    def of(self, task_id: str) -> list[dict[str, Any]]:
        """All statuses of that task, in the order in which they came, duplicates included."""
        return [one for one in list(self.statuses) if one["task_id"]["value"] == task_id]

    def told(self, task_id: str) -> list[dict[str, Any]]:
        """The same, each uuid once: an agent itself repeats what is not acknowledged yet, as when it registers.

        Answers to ``reconcile``, which have none, are left out.
        """
        first: dict[str, dict[str, Any]] = {}
        for one in self.of(task_id):
            if one.get("uuid"):
                first.setdefault(one["uuid"], one)
        return list(first.values())

    def states(self, task_id: str) -> list[str]:
        """Their states, duplicates included."""
        return [one["state"] for one in self.of(task_id)]

    def settle(self) -> None:
        """Return when every status is acknowledged for good: after a crash the agents tell none of them again."""
        until(
            lambda: all(self.cluster.has_acknowledged(one) for one in list(self.statuses) if one.get("uuid")),
            "all acknowledgements are written down",
        )

    # -- acting --------------------------------------------------------------------------------------------------------

    def launch(self, task_id: str, command: Sequence[str] | str, **fields: Any) -> None:
        """Launch a task on the first offer, with an executor that is *command*; for *fields* see ``task_info``."""
        offer = self.take_offer()
        self.accept(offer, [self.task_info(offer, task_id, command, **fields)])

    def take_offer(self) -> dict[str, Any]:
        """The largest offer there is, which nobody else gets: what one task gave back may be an offer of its own."""
        offer: dict[str, Any] = self.wait(lambda: max(self._offers.values(), key=_cpus, default=None), "an offer comes")
        del self._offers[offer["id"]["value"]]
        return offer

    def accept(self, offer: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]]) -> None:
        """Launch all of *tasks* on *offer* in one call."""
        operation = {"type": "LAUNCH", "launch": {"task_infos": list(tasks)}}
        accept = {"offer_ids": [offer["id"]], "operations": [operation], "filters": {"refuse_seconds": 0.0}}
        self.call({"type": "ACCEPT", "accept": accept})

    def task_info(
        self,
        offer: Mapping[str, Any],
        task_id: str,
        command: Sequence[str] | str,
        *,
        data: bytes = b"",
        environ: Mapping[str, str] | None = None,
        executor_id: str | None = None,
        cpus: float = 0.1,
        mem: float = 64.0,
        ports: Sequence[int] = (),
        executor: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """A task on *offer*, with an executor that is *command*: words, or one line for a shell."""
        variables = [{"name": name, "value": value} for name, value in (environ or {}).items()]
        if isinstance(command, str):
            words: dict[str, Any] = {"shell": True, "value": command}
        else:
            words = {"shell": False, "value": command[0], "arguments": list(command)}
        role = {"role": "*", "allocation_info": {"role": "*"}}
        scalar = [
            {"name": name, "type": "SCALAR", "scalar": {"value": value}, **role}
            for name, value in (("cpus", cpus), ("mem", mem))
        ]
        ranges = [
            {
                "name": "ports",
                "type": "RANGES",
                "ranges": {"range": [{"begin": port, "end": port} for port in ports]},
                **role,
            }
        ]
        return {
            "name": task_id,
            "task_id": {"value": task_id},
            "agent_id": offer["agent_id"],
            "resources": scalar + (ranges if ports else []),
            "executor": {
                "type": "CUSTOM",
                "executor_id": {"value": executor_id or f"executor-{task_id}"},
                "framework_id": {"value": self.framework_id},
                "command": {**words, "environment": {"variables": variables}},
                "resources": [
                    {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}, **role},
                    {"name": "mem", "type": "SCALAR", "scalar": {"value": 32.0}, **role},
                ],
                **(executor or {}),
            },
            "data": base64.b64encode(data).decode(),
            **fields,
        }

    def kill(self, task_id: str, grace_s: float | None = None) -> None:
        """Ask for its end."""
        kill: dict[str, Any] = {"task_id": {"value": task_id}}
        if grace_s is not None:
            kill["kill_policy"] = {"grace_period": {"nanoseconds": int(grace_s * 1e9)}}
        self.call({"type": "KILL", "kill": kill})

    def shutdown(self, executor_id: str, agent_id: str) -> None:
        """End an executor with all its tasks."""
        body = {"executor_id": {"value": executor_id}, "agent_id": {"value": agent_id}}
        self.call({"type": "SHUTDOWN", "shutdown": body})

    def reconcile(self) -> None:
        """Ask for the state of every task that the master knows."""
        self.call({"type": "RECONCILE", "reconcile": {"tasks": []}})

    def send(self, executor_id: str, agent_id: str, data: bytes) -> None:
        """Send an executor a message."""
        body = {
            "executor_id": {"value": executor_id},
            "agent_id": {"value": agent_id},
            "data": base64.b64encode(data).decode(),
        }
        self.call({"type": "MESSAGE", "message": body})

    def acknowledge(self, status: Mapping[str, Any]) -> None:
        """Acknowledge a status; nothing for one without a uuid, which the master made up."""
        if status.get("uuid"):
            body = {name: status[name] for name in ("agent_id", "task_id", "uuid")}
            self.call({"type": "ACKNOWLEDGE", "acknowledge": body})

    def call(self, call: Mapping[str, Any]) -> None:
        """Make a call of the v1 scheduler API."""
        body = json.dumps({"framework_id": {"value": self.framework_id}, **call})
        connection = http.client.HTTPConnection("127.0.0.1", self.cluster.port, timeout=10)
        try:
            headers = {"Content-Type": "application/json", "Mesos-Stream-Id": self._stream_id}
            connection.request("POST", "/master/api/v1/scheduler", body, headers)
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == 202, f"{call['type']} was answered {answer.status}: {said!r}"
        finally:
            connection.close()

    def close(self) -> None:
        """Leave; the framework stays until its failover time-out, so end the cluster next."""
        self._is_closed = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(SOON_S)
        assert not self._thread.is_alive()

    # -- its thread ----------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        pause = threading.Event()
        while not self._is_closed:
            try:
                self._subscription()
            except (OSError, http.client.HTTPException):
                pass  # the master is gone, or not there yet
            except Exception as failure:  # noqa: BLE001 - its thread's top: whoever waits fails with it
                self.failure = failure
                return
            pause.wait(0.05)

    def _subscription(self) -> None:
        info = dict(self._info)
        call: dict[str, Any] = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
        if self.framework_id is not None:
            info["id"] = call["framework_id"] = {"value": self.framework_id}
        connection = http.client.HTTPConnection("127.0.0.1", self.cluster.port, timeout=60)
        try:
            connection.connect()
            self._socket = connection.sock
            headers = {"Content-Type": "application/json", "Accept": "application/json"}
            connection.request("POST", "/master/api/v1/scheduler", json.dumps(call), headers)
            answer = connection.getresponse()
            if answer.status != 200:
                answer.read()
                return  # no leader yet
            self._stream_id = answer.headers["Mesos-Stream-Id"]
            decoder = recordio.Decoder()
            while not self._is_closed and (data := answer.read1(1 << 16)):
                for payload in decoder.feed(data):
                    self._take(json.loads(payload))
        finally:
            connection.close()

    def _take(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        acknowledge: dict[str, Any] | None = None
        with self._changed:
            self.events.append(event)
            if kind == "SUBSCRIBED":
                self.framework_id = event["subscribed"]["framework_id"]["value"]
                self._offers.clear()
                self.subscriptions += 1
            elif kind == "OFFERS":
                self._offers.update((offer["id"]["value"], offer) for offer in event["offers"]["offers"])
            elif kind == "RESCIND":
                self._offers.pop(event["rescind"]["offer_id"]["value"], None)
            elif kind == "UPDATE":
                acknowledge = event["update"]["status"]
                self.statuses.append(acknowledge)
            elif kind == "MESSAGE":
                self.messages.append(base64.b64decode(event["message"]["data"]))
            elif kind == "ERROR":
                self.failure = AssertionError(f"the master reports: {event['error']}")
            self._changed.notify_all()
        if acknowledge is not None and self.acknowledges:
            self.acknowledge(acknowledge)


def _cpus(offer: Mapping[str, Any]) -> float:
    return sum(float(one["scalar"]["value"]) for one in offer["resources"] if one["name"] == "cpus")


@contextlib.contextmanager
def scheduler(cluster: Cluster, **settings: Any) -> Iterator[Scheduler]:
    """A subscribed scheduler."""
    made = Scheduler(cluster, **settings)
    try:
        yield made
    finally:
        made.close()
