"""``python -m tests.golden.scheduler_store.make`` writes the golden file of today's schema anew.

It is the SQL of a store in which everything is kept once. A schema that was released never changes: a later one gets a
directory of its own, and stores of both must be read.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from scheduler.core.changes import (
    Change,
    CronRun,
    PutCronJob,
    PutCronRun,
    PutFramework,
    PutHost,
    PutMaintenance,
    PutQuota,
    PutTask,
    PutUpdate,
)
from scheduler.model import Config, Health, Host, JobKey, Mode, Resources, Task, TaskEvent, config_of
from scheduler.states import ScheduleStatus
from scheduler.store.sqlite import SqliteStore
from thermos.formats import assigned_task as wire
from thermos.formats import aurora_api as api

HERE: Final = Path(__file__).parent
JOB: Final = JobKey("www", "prod", "web")


def config() -> Config:
    """Of the job that all of it is about."""
    return config_of(
        wire.TaskConfig(
            job=wire.JobKey(*JOB),
            owner=wire.Identity("mchucarroll"),
            is_service=True,
            priority=7,
            max_task_failures=3,
            production=True,
            tier="preferred",
            resources=(wire.Resource(num_cpus=1.5), wire.Resource(ram_mb=128), wire.Resource(named_port="http")),
            constraints=(
                wire.Constraint("rack", wire.TaskConstraint(limit=wire.LimitConstraint(2))),
                wire.Constraint("zone", wire.TaskConstraint(value=wire.ValueConstraint(True, ("a",)))),
            ),
            task_links={"http": "http://%host%"},
            executor_config=wire.ExecutorConfig("AuroraExecutor", '{"name": "wéb"}'),
            metadata=(wire.Metadata("k", "v"),),
        )
    )


def changes() -> list[Change]:
    """All that can be kept, with every field set once."""
    events = (
        TaskEvent(1_700_000_000_000, ScheduleStatus.PENDING, None, "s1.example.com"),
        TaskEvent(1_700_000_001_000, ScheduleStatus.RUNNING, "möglich", "s2.example.com"),
    )
    key = api.JobUpdateKey(wire.JobKey(*JOB), "6e3a")
    update = api.JobUpdateDetails(
        api.JobUpdate(
            api.JobUpdateSummary(key, "me", api.JobUpdateState(api.JobUpdateStatus.ROLLING_FORWARD, 3, 4)),
            api.JobUpdateInstructions(
                desired_state=api.InstanceTaskConfig(config().wire, (api.Range(0, 2),)),
                settings=api.JobUpdateSettings(update_group_size=1),
            ),
        ),
        (api.JobUpdateEvent(api.JobUpdateStatus.ROLLING_FORWARD, 3, "me", "go"),),
        (api.JobInstanceUpdateEvent(0, 4, api.JobUpdateAction.INSTANCE_UPDATING, None),),
    )
    cron_job = api.JobConfiguration(
        wire.JobKey(*JOB), None, "0 3 * * *", api.CronCollisionPolicy.CANCEL_NEW, config().wire, 2
    )
    return [
        PutFramework("2c8e-0001"),
        PutTask(
            Task("www-prod-web-0-1", 0, config(), ScheduleStatus.RUNNING, events, "agent-1", "h1.example.com",
                 (("http", 31000), ("https", 31001)), 1, 2, "www-prod-web-0-0", Health.CHECKED)
        ),
        PutTask(Task("a task with a strange näme", 1, config(), ScheduleStatus.PENDING, events[:1])),
        PutCronJob(JOB, cron_job),
        PutCronRun(JOB, CronRun(1_700_000_000_000, True, 3, 1_699_999_940_000)),
        PutQuota("www", Resources(1500, 2048, 4096, 1)),
        PutHost(Host("h1.example.com", "agent-1", (("rack", frozenset({"r1", "r2"})),), Mode.DRAINING)),
        PutUpdate(JOB, "6e3a", update),
        PutMaintenance(api.HostMaintenanceRequest("h1.example.com", None, 600, 5)),
    ]  # fmt: skip


def written() -> str:
    """The SQL of a store that holds all of it."""
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/store"
        store = SqliteStore(path)
        try:
            store.lead()
            store.commit(changes())
        finally:
            store.close()
        with closing(sqlite3.connect(path)) as connection:
            return "\n".join(connection.iterdump()) + "\n"


if __name__ == "__main__":
    Path(HERE, "v1", "store.sql").write_text(written(), "utf-8")
    sys.stdout.write(f"wrote {HERE}/v1/store.sql\n")
