"""A backup of Aurora's scheduler: written by an independent writer, read as changes, nothing dropped without a word."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.changes import PutFramework, PutTask
from scheduler.core.state import State
from scheduler.model import Host, JobKey, Mode, Resources, Task, TaskEvent
from scheduler.states import ScheduleStatus
from scheduler.store.interface import StoreError
from scheduler.store.snapshot_import import NoSnapshot, described, read_snapshot, snapshot_of
from tests.scheduler.store.values import EPOCH_MS, any_task, config, state_of, task
from tests.support.independent import MISSING, Independent, compiled
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import AssignedTask
from thermos.formats.thrift_binary import encode_struct

independent_only = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")


class Writer:
    """Makes backups by code that thrift made of the IDL."""

    def __init__(self, code: Independent) -> None:
        self.api: Any = code.types
        self.storage: Any = code.storage
        self.written = code.struct

    def config(self, name: str = "web", executor: str = "AuroraExecutor") -> Any:
        of = self.api
        return of.TaskConfig(
            job=of.JobKey("www", "prod", name),
            owner=of.Identity(user="mchucarroll"),
            isService=True,
            priority=1,
            maxTaskFailures=1,
            tier="preferred",
            resources=[of.Resource(numCpus=0.5), of.Resource(ramMb=128), of.Resource(namedPort="http")],
            constraints=[
                of.Constraint("rack", of.TaskConstraint(limit=of.LimitConstraint(1))),
                of.Constraint("zone", of.TaskConstraint(value=of.ValueConstraint(False, ["a", "b"]))),
            ],
            executorConfig=of.ExecutorConfig(executor, '{"task": {}}'),
            container=of.Container(mesos=of.MesosContainer()),
        )

    def task(self, task_id: str, status: int, config: Any = None) -> Any:
        of = self.api
        return of.ScheduledTask(
            assignedTask=of.AssignedTask(
                taskId=task_id,
                slaveId="agent-1",
                slaveHost="h1",
                task=config,
                assignedPorts={"http": 31000},
                instanceId=2,
            ),
            status=status,
            failureCount=3,
            timesPartitioned=4,
            taskEvents=[of.TaskEvent(1000, 0, None, "s1"), of.TaskEvent(2000, status, "Ünï", "s1")],
            ancestorId="before",
        )

    def snapshot(self, **more: Any) -> Any:
        of, storage = self.api, self.storage
        amounts = [of.Resource(numCpus=10.5), of.Resource(ramMb=7), of.Resource(diskMb=8)]
        key = of.JobUpdateKey(of.JobKey("www", "prod", "web"), "u1")
        fields: dict[str, Any] = {
            "timestamp": EPOCH_MS,
            "hostAttributes": [
                of.HostAttributes("h1", [of.Attribute("rack", ["r1"]), of.Attribute("host", ["h1"])], 3, "agent-1"),
                of.HostAttributes("h2", [], None, "agent-2"),
            ],
            "tasks": [self.task("t-run", 2, self.config()), self.task("t-end", 3, self.config())],
            "cronJobs": [
                storage.StoredCronJob(
                    of.JobConfiguration(
                        key=of.JobKey("www", "prod", "nightly"), owner=of.Identity("x"), cronSchedule="0 3 * * *",
                        cronCollisionPolicy=1, taskConfig=self.config("nightly"), instanceCount=1,
                    )
                )
            ],
            "schedulerMetadata": storage.SchedulerMetadata("framework-7", {"version": "0.22"}),
            "quotaConfigurations": [
                storage.QuotaConfiguration("www", of.ResourceAggregate(amounts))
            ],
            "jobUpdateDetails": [
                storage.StoredJobUpdateDetails(
                    of.JobUpdateDetails(
                        of.JobUpdate(of.JobUpdateSummary(key=key, user="me", state=of.JobUpdateState(0, 1, 2))),
                        [of.JobUpdateEvent(0, 5, "me", "go")],
                        [of.JobInstanceUpdateEvent(0, 6, 3, None)],
                    )
                )
            ],
            "hostMaintenanceRequests": [of.HostMaintenanceRequest("h1", None, 600, 9)],
        }  # fmt: skip
        return storage.Snapshot(**(fields | more))


@pytest.fixture(scope="module")
def independent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writer]:
    with compiled(tmp_path_factory.mktemp("thrift")) as code:
        yield Writer(code)


def check_all_of_it(state: State) -> None:
    """What :class:`Writer` puts into a snapshot."""
    assert state.framework_id == "framework-7"
    running = state.tasks["t-run"]
    assert running._replace(config=config()) == Task(
        "t-run", 2, config(), ScheduleStatus.RUNNING,
        (TaskEvent(1000, ScheduleStatus.PENDING, None, "s1"), TaskEvent(2000, ScheduleStatus.RUNNING, "Ünï", "s1")),
        "agent-1", "h1", (("http", 31000),), 3, 4, "before",
    )  # fmt: skip
    assert state.tasks["t-end"].status is ScheduleStatus.FINISHED
    assert state.tasks["t-end"].config is running.config
    assert running.config.job == JobKey("www", "prod", "web")
    assert running.config.ports == ("http",)
    assert running.config.resources == Resources(500, 128, 0, 0)
    assert running.config.tier == "preferred"
    assert {one.name for one in running.config.constraints} == {"rack", "zone"}
    assert state.cron_jobs[JobKey("www", "prod", "nightly")].cron_schedule == "0 3 * * *"
    assert state.quotas == {"www": Resources(10500, 7, 8)}
    assert state.hosts == {
        "h1": Host("h1", "agent-1", (("rack", frozenset({"r1"})),), Mode.DRAINING),
        "h2": Host("h2", "agent-2"),
    }
    update = state.updates[JobKey("www", "prod", "web"), "u1"]
    assert update.update_events == (api.JobUpdateEvent(api.JobUpdateStatus.ROLLING_FORWARD, 5, "me", "go"),)
    assert state.maintenance == {"h1": api.HostMaintenanceRequest("h1", None, 600, 9)}


@pytest.mark.parametrize("deflated", [False, True])
class TestIndependentWriter:
    pytestmark = independent_only

    def test_a_snapshot(self, independent: Writer, deflated: bool) -> None:
        data = independent.written(independent.snapshot())
        imported = snapshot_of(zlib.compress(data, 3) if deflated else data)
        check_all_of_it(state_of(imported.changes))
        assert imported.taken_at_ms == EPOCH_MS
        assert imported.counts == {
            "tasks": 2, "cron jobs": 1, "quotas": 1, "updates": 1, "hosts": 2, "maintenance requests": 1,
        }  # fmt: skip
        assert imported.tasks_by_status == {"FINISHED": 1, "RUNNING": 1}
        assert (imported.warnings, imported.left_out) == ((), ())

    def test_a_deduplicated_snapshot(self, independent: Writer, deflated: bool) -> None:
        of = independent.storage
        data = independent.written(
            of.DeduplicatedSnapshot(
                partialSnapshot=independent.snapshot(tasks=None),
                partialTasks=[
                    of.DeduplicatedScheduledTask(independent.task("t-run", 2), 1),
                    of.DeduplicatedScheduledTask(independent.task("t-end", 3), 1),
                    of.DeduplicatedScheduledTask(independent.task("t-lost", 7), 2),
                    of.DeduplicatedScheduledTask(independent.task("t-wrong", 7), -1),
                ],
                taskConfigs=[independent.config("other"), independent.config()],
            )
        )
        imported = snapshot_of(zlib.compress(data, 3) if deflated else data)
        check_all_of_it(state_of(imported.changes))
        assert imported.left_out == (
            "tasks, number 3 in the file: t-lost has configuration 2, which is not there",
            "tasks, number 4 in the file: t-wrong has configuration -1, which is not there",
        )

    def test_what_is_unknown_is_said(self, independent: Writer, deflated: bool) -> None:
        of = independent.api
        tasks = [
            independent.task("t1", 2, independent.config(executor="Thermos")),
            independent.task("t2", 77, independent.config()),
            independent.task("t3", 2, None),
        ]
        lock = of.Lock(of.LockKey(of.JobKey("www", "prod", "web")), "token", "me", 1, None)
        snapshot = independent.snapshot(tasks=tasks, locks=[lock], schedulerMetadata=None)
        data = independent.written(snapshot)
        imported = snapshot_of(zlib.compress(data, 3) if deflated else data)
        assert [change.task.task_id for change in imported.changes if isinstance(change, PutTask)] == ["t1"]
        assert [one.split(": ")[0] for one in imported.left_out] == [
            "tasks, number 2 in the file", "tasks, number 3 in the file",
        ]  # fmt: skip
        assert "77" in imported.left_out[0]
        assert len(imported.warnings) == 3, imported.warnings
        assert "no framework id" in imported.warnings[0]
        assert "Snapshot field 9 is unknown" in imported.warnings[1]
        assert "'Thermos' is not configured here; needed by www/prod/web" in imported.warnings[2]
        assert not snapshot_of(data, frozenset({"Thermos"})).warnings[2:]
        text = described(imported)
        for part in ("tasks                        1", "RUNNING", "warning: ", "left out: "):
            assert part in text


def scheduled(task: Task) -> api.ScheduledTask:
    """As the wire has it."""
    assigned = AssignedTask(task.task_id, task.agent_id, task.host, task.config.wire, dict(task.ports), task.instance)
    events = tuple(api.TaskEvent(*event) for event in task.events)
    return api.ScheduledTask(
        assigned, task.status, task.failure_count, task.times_partitioned, events, task.ancestor_id
    )


def a_snapshot(*tasks: Task) -> bytes:
    metadata = api.SchedulerMetadata("f")
    return encode_struct(
        api.SNAPSHOT,
        api.Snapshot(EPOCH_MS, tasks=tuple(scheduled(one) for one in tasks), scheduler_metadata=metadata),
    )


@settings(deadline=None, database=None)
@given(st.lists(any_task.filter(lambda one: one.task_id != ""), max_size=4))
def test_every_task_comes_back_as_it_was(tasks: list[Task]) -> None:
    tasks = [task._replace(health=None) for task in tasks]  # which Aurora knows nothing of
    imported = snapshot_of(a_snapshot(*tasks))
    assert list(imported.changes) == [PutFramework("f"), *map(PutTask, tasks)]
    assert not imported.left_out


def test_a_backup_that_ends_early_or_goes_on_is_none() -> None:
    data = a_snapshot(task("t1"))
    snapshot_of(data)
    for size in range(len(data)):
        with pytest.raises(NoSnapshot):
            snapshot_of(data[:size])
    with pytest.raises(NoSnapshot, match="1 bytes follow it"):
        snapshot_of(data + b"\x00")
    compressed = zlib.compress(data)
    for size in range(len(compressed)):
        with pytest.raises(NoSnapshot):
            snapshot_of(compressed[:size])


@settings(deadline=None, database=None)
@given(st.binary(max_size=80) | st.binary(max_size=40).map(lambda rest: a_snapshot()[:20] + rest))
def test_garbage_is_refused_by_our_own_error(data: bytes) -> None:
    try:
        snapshot_of(data)
    except NoSnapshot:
        pass


@pytest.mark.parametrize("data", [b"", b"\x00", b"SQLite format 3\x00", b"{}"])
def test_another_file_is_refused(data: bytes) -> None:
    with pytest.raises(NoSnapshot, match=r"no backup of Aurora.s scheduler"):
        snapshot_of(data)


def test_a_file_is_read_and_named(tmp_path: Path) -> None:
    path = tmp_path / "scheduler-backup-2020-01-01-00-00"
    with pytest.raises(StoreError, match=r"backup .*2020-01-01-00-00 cannot be read"):
        read_snapshot(str(path))
    path.write_bytes(a_snapshot(task("t1")))
    assert read_snapshot(str(path)).counts["tasks"] == 1
    path.write_bytes(a_snapshot(task("t1"))[:-5])
    with pytest.raises(NoSnapshot, match=r"2020-01-01-00-00: it is no backup"):
        read_snapshot(str(path))
    path.write_bytes(b"SQLite format 3\x00...")
    with pytest.raises(NoSnapshot, match="aurora-scheduler restore"):
        read_snapshot(str(path))
