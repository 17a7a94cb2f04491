"""Moving in from Aurora's scheduler on a real Mesos: its backup is imported, and what runs is taken over."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from scheduler.wire.thrift import Protocol
from tests.support.cluster import Cluster, Scheduler, cluster
from tests.support.independent import MISSING, compiled
from tests.support.mesos import ROOT
from thermos.formats.aurora_api import TaskQuery

pytestmark = [pytest.mark.process, pytest.mark.slow]


def bring_in(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scheduler.main", "import", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(MISSING is not None, reason=MISSING or "")
def test_running_tasks_are_taken_over_and_not_restarted(tmp_path: Path) -> None:
    """The backup is written by code that knows nothing of ours, of what the API answered to it."""
    with (
        cluster() as old, tempfile.TemporaryDirectory(prefix="thermos-moved-") as directory,
        compiled(tmp_path) as independent,
    ):  # fmt: skip
        key = old.create("moved", instances=2)
        before = old.wait_running(key, 2)
        answer = old.api.raw("getTasksStatus", 1, query=TaskQuery(job_keys=(key,)))
        _, result = independent.read("getTasksStatus_result", answer, Protocol.BINARY)
        frameworks = old.mesos.state()["frameworks"]
        old.scheduler.kill()
        backup = tmp_path / "scheduler-backup-2026-01-31-12-00"
        snapshot = independent.storage.Snapshot(
            timestamp=1_700_000_000_000,
            tasks=result.success.result.scheduleStatusResult.tasks,
            schedulerMetadata=independent.storage.SchedulerMetadata(frameworks[0]["id"], {}),
        )
        backup.write_bytes(independent.struct(snapshot))

        store = f"{directory}/new.db"
        dry = bring_in(str(backup), "--dry-run", "--store", store)
        assert dry.returncode == 0, dry.stderr
        assert "RUNNING" in dry.stdout
        assert not Path(store).exists()
        done = bring_in(str(backup), "--store", store)
        assert done.returncode == 0, done.stderr
        again = bring_in(str(backup), "--store", store)
        assert again.returncode == 103
        assert "holds something already" in again.stderr

        moved = Scheduler(directory, old.mesos.port, "-store", store)
        try:
            moved.start()
            new = Cluster(old.mesos, moved)
            after = new.wait_running(key, 2)
            ids = [{task.assigned_task.task_id for task in tasks if task.assigned_task} for tasks in (before, after)]
            assert ids[0] == ids[1]
            assert old.mesos.state()["frameworks"][0]["id"] == frameworks[0]["id"]
            new.api.ok("killTasks", job=key)
            new.wait("they are killed", lambda: set(new.states(key)) == {"KILLED"})
        finally:
            moved.kill()


def test_what_is_no_backup_is_said(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"certainly no Thrift")
    said = bring_in(str(wrong), "--store", str(tmp_path / "new.db"))
    assert said.returncode not in (0, 1)
    assert str(wrong) in said.stderr
    assert "Traceback" not in said.stderr
    assert not (tmp_path / "new.db").exists()
