"""A client that Debian's thrift makes of Aurora's interface, at a running server."""

from __future__ import annotations

import contextlib
import http.client
import importlib
import io
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from scheduler.api.app import ApiOptions, create_app
from scheduler.api.security import parsed
from scheduler.api.server import Server
from scheduler.states import ScheduleStatus
from scheduler.wire.thrift import Protocol
from tests.support.engine_backend import EngineBackend
from tests.support.independent import MISSING, Independent, compiled

pytestmark = [pytest.mark.skipif(MISSING is not None, reason=str(MISSING)), pytest.mark.process]

OK, AUTH_FAILED = 1, 4
INI = "[users]\nsally = apple, admin\nsteve = pear\n[roles]\nadmin = *\n"


@pytest.fixture(scope="module")
def independent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Independent]:
    with compiled(tmp_path_factory.mktemp("thrift")) as found:
        yield found


@pytest.fixture
def backend() -> EngineBackend:
    return EngineBackend()


@pytest.fixture
def port(backend: EngineBackend) -> Iterator[int]:
    server = Server(create_app(backend, ApiOptions(security=parsed(INI, "security.ini"))), "127.0.0.1", 0)
    server.start()
    try:
        yield server.port
    finally:
        server.close()


class Http:
    """A transport of Thrift's over HTTP. Its own always sends ``application/x-thrift`` as well."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._headers = headers
        self._out = io.BytesIO()
        self._in = io.BytesIO()
        self.status = 0

    def write(self, data: bytes) -> None:
        self._out.write(data)

    def flush(self) -> None:
        self._connection.request("POST", "/api", self._out.getvalue(), self._headers)
        self._out = io.BytesIO()
        answer = self._connection.getresponse()
        self.status = answer.status
        self._in = io.BytesIO(answer.read())

    def read(self, size: int) -> bytes:
        return self._in.read(size)

    def readAll(self, size: int) -> bytes:
        data = self._in.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def client(independent: Independent, port: int, protocol: Protocol, user: str | None) -> Iterator[Any]:
    headers = {} if user is None else {"Authorization": "Basic " + b64encode(user.encode()).decode()}
    headers |= {"Content-Type": "application/x-thrift"}
    if protocol is Protocol.BINARY:
        headers |= {"Content-Type": protocol.value, "Accept": protocol.value}
    with contextlib.closing(Http(port, headers)) as transport:
        yield independent.service.Client(independent.protocols[protocol](transport))


def config(types: Any) -> Any:
    return types.TaskConfig(
        job=types.JobKey("www", "prod", "hello"),
        owner=types.Identity("jane"),
        isService=True,
        priority=0,
        maxTaskFailures=1,
        resources={types.Resource(numCpus=0.25), types.Resource(ramMb=64), types.Resource(diskMb=32)},
        constraints=set(),
        executorConfig=types.ExecutorConfig("AuroraExecutor", "{}"),
        container=types.Container(mesos=types.MesosContainer()),
    )


@pytest.mark.parametrize("protocol", Protocol)
def test_a_job(independent: Independent, backend: EngineBackend, port: int, protocol: Protocol) -> None:
    types = independent.types
    key = types.JobKey("www", "prod", "hello")
    with client(independent, port, protocol, "sally:apple") as scheduler:
        task = config(types)
        job = types.JobConfiguration(
            key=key, owner=task.owner, taskConfig=task, instanceCount=3, cronCollisionPolicy=0
        )  # fmt: skip
        created = scheduler.createJob(job)
        assert (created.responseCode, created.details) == (OK, [])
        assert created.serverInfo.clusterName == "example"
        backend.move(backend.engine.state.tasks.values(), ScheduleStatus.ASSIGNED, ScheduleStatus.RUNNING)
        query = types.TaskQuery(jobKeys={key}, statuses={types.ScheduleStatus.RUNNING})
        tasks = scheduler.getTasksStatus(query).result.scheduleStatusResult.tasks
        assert sorted(one.assignedTask.instanceId for one in tasks) == [0, 1, 2]
        assert {one.status for one in tasks} == {types.ScheduleStatus.RUNNING}
        assert len(scheduler.getJobs("www").result.getJobsResult.configs) == 1
        quota = scheduler.getQuota("www").result.getQuotaResult
        assert any(one.numCpus == 0.75 for one in quota.nonProdSharedConsumption.resources)
        killed = scheduler.killTasks(key, {1}, "")
        assert (killed.responseCode, killed.details) == (OK, [])
        left = scheduler.getTasksWithoutConfigs(query).result.scheduleStatusResult.tasks
        assert sorted(one.assignedTask.instanceId for one in left) == [0, 2]


@pytest.mark.parametrize("protocol", Protocol)
def test_users(independent: Independent, port: int, protocol: Protocol) -> None:
    with client(independent, port, protocol, "steve:pear") as scheduler:
        denied = scheduler.snapshot()
        assert denied.responseCode == AUTH_FAILED
        assert denied.details[0].message == "Subject steve lacks permission thrift.AuroraAdmin:snapshot"
    for user in (None, "sally:pear"):
        with client(independent, port, protocol, user) as scheduler:
            assert scheduler.getRoleSummary().responseCode == OK
    protocols = importlib.import_module("thrift.protocol.TProtocol")
    errors = importlib.import_module("thrift.transport.TTransport")
    with client(independent, port, protocol, None) as scheduler:
        # Thrift's own client does not look at the status; what is in the body is no message.
        with pytest.raises((protocols.TProtocolException, errors.TTransportException, EOFError)):
            scheduler.snapshot()
        assert scheduler._iprot.trans.status == 401
