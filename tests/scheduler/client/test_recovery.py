"""``aurora_admin scheduler_stage_recovery`` and the like."""

from __future__ import annotations

import pytest

from scheduler.states import ACTIVE
from tests.support.aurora_client import Client, by_method, refused, server
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import AssignedTask, JobKey, TaskConfig
from thermos.formats.aurora_api import ResponseCode, ScheduleStatus

pytestmark = pytest.mark.process

TASK = api.ScheduledTask(
    AssignedTask("t-1", None, "h1", TaskConfig(job=JobKey("www", "prod", "hello")), None, 3), ScheduleStatus.RUNNING
)
FOUND = api.Result(query_recovery_result=api.QueryRecoveryResult((TASK,)))
METHODS = ("stageRecovery", "queryRecovery", "deleteRecoveryTasks", "commitRecovery", "unloadRecovery")


def test_a_backup_is_put_back(client: Client) -> None:
    with server(by_method({**dict.fromkeys(METHODS), "queryRecovery": FOUND})) as made:
        client.cluster(scheduler_uri=made.url)
        assert client.admin("scheduler_stage_recovery", "west", "backup-1").code == 0
        done = client.admin("scheduler_print_recovery_tasks", "west")
        assert done.out == "Role\tJob\tShard\tStatus\tTask ID\nwww\thello\t3\tRUNNING\tt-1\n"
        assert client.admin("scheduler_delete_recovery_tasks", "west", "t-1, t-2").code == 0
        assert client.admin("scheduler_commit_recovery", "west").code == 0
        assert client.admin("scheduler_unload_recovery", "west").code == 0
        assert made.methods == list(METHODS)
        arguments = [sent.arguments for sent in made.sent]
        assert arguments[0] == {"backup_id": "backup-1"}
        assert set(arguments[1]["query"].statuses) == set(ACTIVE)
        assert arguments[2] == {"query": api.TaskQuery(task_ids=("t-1", "t-2"))}


def test_no_ids_are_not_all_tasks(client: Client) -> None:
    with server(by_method({})) as made:
        client.cluster(scheduler_uri=made.url)
        done = client.admin("scheduler_delete_recovery_tasks", "west", " , ")
        assert (done.code, made.sent) == (6, [])


def test_the_scheduler_refuses(client: Client) -> None:
    answers = dict.fromkeys(METHODS, refused(ResponseCode.ERROR, "use aurora-scheduler restore"))
    with server(by_method(answers)) as made:
        client.cluster(scheduler_uri=made.url)
        done = client.admin("scheduler_commit_recovery", "west")
        assert done.code == 10
        assert "use aurora-scheduler restore" in done.err
