"""A backup put back while the scheduler runs, on a real Mesos."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.box import SOON_S
from tests.support.cluster import Cluster, cluster
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import ResponseCode, TaskQuery
from thermos.host import proc

pytestmark = [pytest.mark.process, pytest.mark.slow]


def runs(marker: str) -> list[int]:
    """Processes of this host with that word in their command line."""
    return [stat.pid for stat in proc.snapshot() if marker in proc.describe(stat.pid) and stat.state not in ("Z", "X")]


def ids(made: Cluster, key: wire.JobKey) -> list[str]:
    return [
        task.assigned_task.task_id for task in made.api.tasks(job_keys=(key,)) if task.assigned_task is not None
    ]  # fmt: skip


def test_a_backup_is_put_back(tmp_path: Path) -> None:
    with cluster(flags=("-backup_dir", f"{tmp_path}/backups", "-flapping_task_threshold", "0s")) as made:
        kept, killed = made.create("kept"), made.create("killed")
        dropped = made.create("dropped", code="exec sleep 86483")
        for key in (kept, killed, dropped):
            made.wait_running(key)
        (kept_id,), (killed_id,), (dropped_id,) = (ids(made, key) for key in (kept, killed, dropped))
        made.api.ok("performBackup")
        made.api.ok("killTasks", job=killed)
        made.wait("it is killed", lambda: made.states(killed) == ["KILLED"])
        later = made.create("later", code="exec sleep 86482")
        made.wait_running(later)

        early = made.api.call("commitRecovery")
        assert early.response_code is ResponseCode.INVALID_REQUEST
        result = made.api.ok("listBackups").result
        assert result is not None
        assert result.list_backups_result is not None
        (backup,) = result.list_backups_result.backups or ()
        made.api.ok("stageRecovery", backup_id=backup)
        result = made.api.ok("queryRecovery", query=TaskQuery()).result
        assert result is not None
        assert result.query_recovery_result is not None
        staged = {one.assigned_task.task_id for one in result.query_recovery_result.tasks or () if one.assigned_task}
        assert staged == {kept_id, killed_id, dropped_id}
        made.api.ok("deleteRecoveryTasks", query=TaskQuery(task_ids=(dropped_id,)))
        assert made.states(dropped) == ["RUNNING"]  # what is staged is not what is
        made.api.ok("commitRecovery")
        process = made.scheduler._process
        assert process is not None
        assert process.wait(SOON_S) == 0  # as a unit with Restart=always has it
        made.scheduler._process = None

        made.scheduler.start()
        assert ids(made, dropped) == []
        assert ids(made, later) == []
        assert [task.assigned_task and task.assigned_task.task_id for task in made.wait_running(kept)] == [kept_id]
        # Mesos knows nothing of the one that was killed: it is found LOST, and replaced.
        made.wait("it is found", lambda: made.states(killed)[:1] == ["LOST"])
        made.wait_running(killed)
        made.api.ok("triggerImplicitTaskReconciliation")
        made.wait("what the backup does not know is killed", lambda: not runs("sleep 86482") + runs("sleep 86483"))
