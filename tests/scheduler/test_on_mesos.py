"""The scheduler as its own process on a real Mesos, seen through its API: jobs, kills, failovers, drift."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, cluster, job
from tests.support.mesos import ROOT
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import ResponseCode, ScheduledTask, ScheduleStatus, TaskQuery
from thermos.host import proc

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


@pytest.fixture
def own() -> Iterator[Cluster]:
    """One whose scheduler or Mesos the test may kill. Nothing flaps: successors need not wait."""
    with cluster(flags=("-flapping_task_threshold", "0s")) as made:
        yield made


def id_of(task: ScheduledTask) -> str:
    assert task.assigned_task is not None
    return task.assigned_task.task_id


def history(task: ScheduledTask) -> list[str]:
    return [str(event.status) for event in task.task_events or ()]


def runs(marker: str) -> list[int]:
    """Processes of this host with that word in their command line."""
    return [stat.pid for stat in proc.snapshot() if marker in proc.describe(stat.pid) and stat.state not in ("Z", "X")]


def tool(*words: str) -> subprocess.CompletedProcess[str]:
    """``aurora-scheduler`` with a command, on a store that no scheduler uses."""
    command = [sys.executable, "-m", "scheduler.main", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_job_goes_through_its_states_and_is_killed(shared: Cluster) -> None:
    key = shared.create("plain")
    (task,) = shared.wait_running(key)
    assert history(task) == ["PENDING", "ASSIGNED", "STARTING", "RUNNING"]
    response = shared.api.ok("killTasks", job=key)
    assert response.details == ()  # a word would mean "nothing was killed" to clients
    shared.wait("it is killed", lambda: shared.states(key) == ["KILLED"])


def test_a_batch_job_finishes(shared: Cluster) -> None:
    key = shared.create("batch", code="true", is_service=False)
    shared.wait("it is finished", lambda: shared.states(key) == ["FINISHED"])


def test_a_task_that_fails_says_why(shared: Cluster) -> None:
    key = shared.create("failing", code="echo broken >&2; exit 3", is_service=False)
    shared.wait("it has failed", lambda: shared.states(key) == ["FAILED"])
    (task,) = shared.api.tasks(job_keys=(key,))
    assert "exit" in ((task.task_events or ())[-1].message or "")


def test_a_job_that_is_there_is_refused(shared: Cluster) -> None:
    key = shared.create("twice")
    response = shared.api.call("createJob", description=job(key))
    assert response.response_code is ResponseCode.INVALID_REQUEST
    shared.api.ok("killTasks", job=key)


def test_a_job_that_nothing_can_take_says_why(shared: Cluster) -> None:
    huge = (wire.Resource(num_cpus=1000.0), wire.Resource(ram_mb=16), wire.Resource(disk_mb=16))
    key = shared.create("huge", resources=huge)

    def why() -> str:
        response = shared.api.ok("getPendingReason", query=TaskQuery(job_keys=(key,)))
        assert response.result is not None
        assert response.result.get_pending_reason_result is not None
        return " ".join(one.reason or "" for one in response.result.get_pending_reason_result.reasons or ())

    shared.wait("there is a reason", lambda: "Insufficient" in why())
    shared.api.ok("killTasks", job=key)
    assert shared.states(key) == []


def test_a_restart_gives_a_new_task_to_the_same_instance(shared: Cluster) -> None:
    key = shared.create("restarted")
    (before,) = shared.wait_running(key)
    shared.api.ok("restartShards", job=key, shard_ids=(0,))
    shared.wait("another one runs", lambda: id_of(shared.wait_running(key)[0]) != id_of(before))
    (after,) = shared.active(key)
    assert after.ancestor_id == id_of(before)
    shared.api.ok("killTasks", job=key)


# -- failovers ---------------------------------------------------------------------------------------------------------


def test_a_task_survives_the_schedulers_death(own: Cluster) -> None:
    key = own.create("lasting")
    (before,) = own.wait_running(key)
    own.scheduler.kill()
    own.scheduler.start()
    (after,) = own.wait_running(key)
    assert id_of(after) == id_of(before)
    assert history(after) == ["PENDING", "ASSIGNED", "STARTING", "RUNNING"]


def test_a_task_survives_the_death_of_mesos_and_then_of_both(own: Cluster) -> None:
    key = own.create("lasting")
    (before,) = own.wait_running(key)
    own.mesos.restart()
    second = own.create("after")
    own.wait_running(second)
    own.scheduler.kill()
    own.mesos.restart()
    own.scheduler.start()
    third = own.create("after-both")
    own.wait_running(third)
    assert id_of(own.wait_running(key)[0]) == id_of(before)
    assert len(own.states(key)) == 1


def test_what_was_answered_is_done_after_the_schedulers_death(own: Cluster) -> None:
    """Killed the moment it has answered, over and over: each job runs, with each instance once."""
    keys = []
    for number in range(5):
        keys.append(own.create(f"job-{number}", instances=3))
        own.scheduler.kill()
        own.scheduler.start()
    for key in keys:
        tasks = own.wait_running(key, instances=3)
        instances = [task.assigned_task.instance_id for task in tasks if task.assigned_task is not None]
        assert sorted(one for one in instances if one is not None) == [0, 1, 2]


# -- drift: every kind that reconciliation can mend --------------------------------------------------------------------


def test_drift_alive_at_mesos_and_over_here(own: Cluster) -> None:
    key = own.create("zombie", code="exec sleep 86471", is_service=False)
    (task,) = own.wait_running(key)
    own.wait("its process is there", lambda: runs("sleep 86471"))
    own.api.ok("forceTaskState", task_id=id_of(task), status=ScheduleStatus.FINISHED)
    assert runs("sleep 86471")
    own.api.ok("triggerImplicitTaskReconciliation")
    own.wait("the zombie is gone", lambda: not runs("sleep 86471"))
    assert own.states(key) == ["FINISHED"]


def test_drift_alive_at_mesos_and_unknown_here(own: Cluster) -> None:
    key = own.create("stranger", code="exec sleep 86472", is_service=False)
    (task,) = own.wait_running(key)
    own.wait("its process is there", lambda: runs("sleep 86472"))
    own.api.ok("forceTaskState", task_id=id_of(task), status=ScheduleStatus.FINISHED)
    own.api.ok("pruneTasks", query=TaskQuery(task_ids=(id_of(task),)))
    assert own.states(key) == []
    assert runs("sleep 86472")
    own.api.ok("triggerImplicitTaskReconciliation")
    own.wait("the stranger is gone", lambda: not runs("sleep 86472"))


def test_an_end_that_nobody_acknowledged_is_told_again(own: Cluster, tmp_path: Path) -> None:
    """No drift that lasts: the agent says it over and over, without being asked."""
    key = own.create("ending", code=f"until test -e {tmp_path}/go; do sleep 0.1; done", is_service=False)
    own.wait_running(key)
    own.scheduler.kill()
    (tmp_path / "go").touch()
    own.wait("its processes are over", lambda: not runs(f"{tmp_path}/go"))
    own.scheduler.start()
    own.wait("it is over here, too", lambda: own.states(key) == ["FINISHED"])


def copy_of_store(own: Cluster, to: Path) -> Path:
    """A backup of what is kept now; the scheduler ends for it and begins again."""
    own.scheduler.stop()
    to.write_bytes(Path(f"{own.scheduler.directory}/scheduler.db").read_bytes())
    own.scheduler.start()
    return to


def put_back(own: Cluster, backup: Path) -> None:
    """The scheduler begins again with what was kept then."""
    own.scheduler.stop()
    said = tool("restore", str(backup), "--store", f"{own.scheduler.directory}/scheduler.db")
    assert said.returncode == 0, said.stderr
    own.scheduler.start()


def test_drift_over_at_mesos_and_alive_here(own: Cluster, tmp_path: Path) -> None:
    """Its end was acknowledged, so that nobody says it again: only who asks finds out."""
    key = own.create("ending", code=f"until test -e {tmp_path}/go; do sleep 0.1; done", is_service=False)
    (before,) = own.wait_running(key)
    backup = copy_of_store(own, tmp_path / "older.db")
    (tmp_path / "go").touch()
    own.wait("it is over", lambda: own.states(key) == ["FINISHED"])

    def is_acknowledged() -> bool:
        (framework,) = own.mesos.state()["frameworks"]
        return not framework["tasks"] and id_of(before) in [task["id"] for task in framework["completed_tasks"]]

    own.wait("Mesos heard that we know", is_acknowledged)
    put_back(own, backup)
    own.wait("it is over here, and run again, as its end is not known", lambda: own.states(key) == ["LOST", "FINISHED"])
    (lost, again) = own.api.tasks(job_keys=(key,))
    assert id_of(lost) == id_of(before)
    assert again.ancestor_id == id_of(before)


def test_drift_unknown_at_mesos_and_alive_here(own: Cluster, tmp_path: Path) -> None:
    """As a backup has it that is older than the task's end: Mesos, begun again, has forgotten it by then."""
    key = own.create("forgotten")
    (before,) = own.wait_running(key)
    backup = copy_of_store(own, tmp_path / "older.db")
    own.api.ok("killTasks", job=key)
    own.wait("it is killed", lambda: own.states(key) == ["KILLED"])
    own.mesos.restart()
    put_back(own, backup)
    own.wait("another one takes its place", lambda: own.states(key)[0] == "LOST")
    (after,) = own.wait_running(key)
    assert after.ancestor_id == id_of(before)


def test_a_framework_that_was_torn_down_begins_anew(own: Cluster) -> None:
    key = own.create("removed")
    (before,) = own.wait_running(key)
    (framework,) = own.mesos.state()["frameworks"]
    connection = http.client.HTTPConnection("127.0.0.1", own.mesos.port, timeout=30)
    connection.request("POST", "/master/teardown", f"frameworkId={framework['id']}")
    assert connection.getresponse().status == 200
    connection.close()
    own.wait("it says so", lambda: "Mesos refuses this framework" in own.scheduler.log)
    own.scheduler.stop()
    said = tool("forget-framework", "--store", f"{own.scheduler.directory}/scheduler.db")
    assert said.returncode == 0, said.stderr
    own.scheduler.start()
    own.wait("another one takes its place", lambda: "LOST" in own.states(key))
    (after,) = own.wait_running(key)
    assert after.ancestor_id == id_of(before)
