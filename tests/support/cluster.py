"""A scheduler of ours as its own process, on a Mesos of its own, and a client that speaks Thrift to it."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from scheduler.states import ACTIVE, ScheduleStatus
from scheduler.wire.thrift import Protocol, decode_reply, encode_call
from tests.support.box import SOON_S, until
from tests.support.mesos import ROOT, Mesos, free_port, mesos
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import JobConfiguration, Response, ResponseCode, ScheduledTask, TaskQuery

#: What an agent starts: the executor of this environment, fetched by its path.
EXECUTOR: Final = Path(sys.executable).with_name("thermos_executor")


class Api:
    """Calls of Aurora's API, as the original client makes them."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._numbers = itertools.count(1)

    def call(self, method: str, **arguments: Any) -> Response:
        number = next(self._numbers)
        return decode_reply(self.raw(method, number, **arguments), method, number, Protocol.BINARY)

    def raw(self, method: str, number: int, **arguments: Any) -> bytes:
        """The answer as it comes, to the call with that number."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SOON_S)
        kind = "application/vnd.apache.thrift.binary"
        try:
            body = encode_call(method, number, arguments, Protocol.BINARY)
            connection.request("POST", "/api", body, {"Content-Type": kind, "Accept": kind})
            answer = connection.getresponse()
            data = answer.read()
            assert answer.status == 200, (answer.status, data[:300])
        finally:
            connection.close()
        return data

    def ok(self, method: str, **arguments: Any) -> Response:
        response = self.call(method, **arguments)
        assert response.response_code is ResponseCode.OK, response
        return response

    def tasks(self, **query: Any) -> list[ScheduledTask]:
        """Tasks, oldest first."""
        response = self.ok("getTasksWithoutConfigs", query=TaskQuery(**query))
        assert response.result is not None
        assert response.result.schedule_status_result is not None
        found = list(response.result.schedule_status_result.tasks or ())
        return sorted(
            found, key=lambda task: min((event.timestamp or 0 for event in task.task_events or ()), default=0)
        )

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SOON_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class Scheduler:
    """``aurora-scheduler`` on *mesos_port*, with its store and log in *directory*."""

    def __init__(self, directory: str, mesos_port: int, *flags: str) -> None:
        self.directory = directory
        self.port = free_port()
        self.api = Api(self.port)
        self._words = [
            sys.executable, "-m", "scheduler.main", "-cluster_name", "test", "-http_port", str(self.port),
            "-hostname", "127.0.0.1", "-mesos_master_address", f"127.0.0.1:{mesos_port}",
            "-store", f"{directory}/scheduler.db", "-thermos_executor_path", str(EXECUTOR),
            "-max_reschedule_task_delay_on_startup", "0s", "-framework_failover_timeout", "60s", *flags,
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, or start it again; returns when it is registered with the master."""
        self.begin()
        until(self._is_registered, lambda: f"the scheduler is registered; it said: {self.log[-3000:]}")

    def begin(self) -> None:
        """The same without waiting."""
        with open(f"{self.directory}/scheduler.log", "ab") as log:
            self._process = subprocess.Popen(
                self._words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
                env={
                    "PYTHONFAULTHANDLER": "1",
                    **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "MESOS"))},
                },
            )  # fmt: skip

    def _is_registered(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the scheduler ended: {self.log[-3000:]}"
        try:
            return b'"framework_registered":1' in self.api.get("/vars.json")[1].replace(b" ", b"")
        except OSError:
            return False

    @property
    def log(self) -> str:
        return Path(f"{self.directory}/scheduler.log").read_text(errors="replace")

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end; gives its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            return process.wait(SOON_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # what each of its threads is at goes into the log
            process.wait(SOON_S)
            raise AssertionError(f"the scheduler does not end; it said: {self.log[-8000:]}") from None


class Cluster:
    """Mesos and a scheduler, for a test of both."""

    def __init__(self, mesos_: Mesos, scheduler: Scheduler) -> None:
        self.mesos = mesos_
        self.scheduler = scheduler
        self.api = scheduler.api

    def create(self, name: str, instances: int = 1, code: str | None = None, **more: Any) -> wire.JobKey:
        """Submit a job of a small task (``sleep 1000`` unless *code* says what)."""
        key = wire.JobKey("root", "test", name)
        self.api.ok("createJob", description=job(key, instances, code, **more))
        return key

    def states(self, key: wire.JobKey) -> list[str]:
        """Of all of the job's tasks, oldest first."""
        return [str(task.status) for task in self.api.tasks(job_keys=(key,))]

    def wait(self, what: str, condition: Callable[[], object], timeout_s: float = SOON_S) -> None:
        until(condition, lambda: f"{what}; the scheduler said: {self.scheduler.log[-3000:]}", timeout_s)

    def active(self, key: wire.JobKey) -> list[ScheduledTask]:
        return self.api.tasks(job_keys=(key,), statuses=tuple(sorted(ACTIVE)))

    def wait_running(self, key: wire.JobKey, instances: int = 1, timeout_s: float = SOON_S) -> list[ScheduledTask]:
        """Until so many of it run, and nothing else of it is under way; those."""
        running = ScheduleStatus.RUNNING

        def are_running() -> bool:
            found = self.active(key)
            return len(found) == instances and all(task.status is running for task in found)

        self.wait(f"{instances} of {key.name} run", are_running, timeout_s)
        return self.active(key)


def job(key: wire.JobKey, instances: int = 1, code: str | None = None, **more: Any) -> JobConfiguration:
    """A job of one process, as a client would describe it."""
    task = {
        "name": key.name,
        "processes": [{"name": "main", "cmdline": code or "exec sleep 1000"}],
        "resources": {"cpu": 0.01, "ram": 16 << 20, "disk": 16 << 20},
        "finalization_wait": 5,
    }
    data = {
        "role": key.role, "environment": key.environment, "name": key.name, "cluster": "test",
        "service": more.get("is_service", True), "task": task, "instances": instances,
        "health_check_config": {}, "max_task_failures": 1, "priority": 0,
    }  # fmt: skip
    fields: dict[str, Any] = {
        "job": key,
        "owner": wire.Identity("ann"),
        "is_service": True,
        "priority": 0,
        "max_task_failures": 1,
        "resources": (wire.Resource(num_cpus=0.01), wire.Resource(ram_mb=16), wire.Resource(disk_mb=16)),
        "constraints": (),
        "executor_config": wire.ExecutorConfig("AuroraExecutor", json.dumps(data)),
        "container": wire.Container(mesos=wire.MesosContainer()),
        **more,
    }
    return JobConfiguration(
        key=key, owner=wire.Identity("ann"), task_config=wire.TaskConfig(**fields), instance_count=instances
    )


@contextlib.contextmanager
def cluster(agents: int = 1, flags: Sequence[str] = (), **mesos_flags: str) -> Iterator[Cluster]:
    """Both, started; skips the test where there is no Mesos."""
    with mesos(agents, **mesos_flags) as made, tempfile.TemporaryDirectory(prefix="thermos-scheduler-") as directory:
        scheduler = Scheduler(directory, made.port, *flags)
        try:
            scheduler.start()
            yield Cluster(made, scheduler)
        finally:
            scheduler.kill()
