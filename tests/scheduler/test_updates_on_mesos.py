"""Updates on a real Mesos, with our executor, through the API: forward, back, over a kill -9, by pulses."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.states import ACTIVE
from tests.support.cluster import Cluster, cluster, job
from tests.support.cluster_updates import (
    QUICK,
    carry,
    config,
    create,
    details,
    events,
    priorities,
    start,
    states,
    until_state,
)
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import Range, ResponseCode, TaskQuery

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture
def own() -> Iterator[Cluster]:
    with cluster(flags=QUICK) as made:
        yield made


def test_a_good_one_and_a_bad_one(own: Cluster) -> None:
    key = create(own, "rolling", 2)
    update = start(own, key, 2)
    until_state(own, update, "ROLLED_FORWARD")
    assert states(own, update) == ["ROLLING_FORWARD", "ROLLED_FORWARD"]
    assert events(own, update) == [(0, "UPDATING"), (0, "UPDATED"), (1, "UPDATING"), (1, "UPDATED")]
    assert priorities(own, key) == {0: 7, 1: 7}
    assert not any(event.message for event in details(own, update).instance_events or ()), "RUNNING meant healthy"

    bad = start(own, key, 2, "test ! -e /proc", max_failed_instances=0)
    until_state(own, bad, "ROLLED_BACK")
    assert states(own, bad) == ["ROLLING_FORWARD", "ROLLING_BACK", "ROLLED_BACK"]
    assert events(own, bad) == [(0, "UPDATING"), (0, "UPDATE_FAILED"), (0, "ROLLING_BACK"), (0, "ROLLED_BACK")]
    own.wait_running(key, 2)
    result = own.api.ok("getConfigSummary", job=key).result
    assert result is not None
    assert result.config_summary_result is not None
    assert result.config_summary_result.summary is not None
    (group,) = result.config_summary_result.summary.groups or ()
    assert group.config is not None
    assert group.config.executor_config == config(key, "true", 7).executor_config, "exactly what was"
    own.api.ok("killTasks", job=key)


def test_one_that_is_paused_and_resumed_over_a_kill(own: Cluster) -> None:
    key = create(own, "paused", 2)
    update = start(own, key, 2)
    own.api.ok("pauseJobUpdate", key=update, message="hm")
    own.scheduler.kill()
    own.scheduler.start()
    assert states(own, update) == ["ROLLING_FORWARD", "ROLL_FORWARD_PAUSED"]
    refused = own.api.call("killTasks", job=key)
    assert refused.response_code is ResponseCode.JOB_UPDATING_ERROR
    own.wait("what was begun is finished", lambda: (0, "UPDATED") in events(own, update))
    assert priorities(own, key) == {0: 7, 1: 0}
    own.api.ok("resumeJobUpdate", key=update, message=None)
    own.wait("the second one begins", lambda: (1, "UPDATING") in events(own, update))
    own.scheduler.kill()
    own.scheduler.start()
    until_state(own, update, "ROLLED_FORWARD")
    assert events(own, update) == [(0, "UPDATING"), (0, "UPDATED"), (1, "UPDATING"), (1, "UPDATED")]
    own.wait_running(key, 2)
    assert priorities(own, key) == {0: 7, 1: 7}
    own.api.ok("killTasks", job=key)


def test_one_that_goes_by_pulses(own: Cluster) -> None:
    key = create(own, "pulsed", 2)
    update = start(own, key, 2, block_if_no_pulses_after_ms=2000, min_wait_in_instance_running_ms=4000)
    assert states(own, update) == ["ROLL_FORWARD_AWAITING_PULSE"]
    (wait, *_) = details(own, update).waits or ()
    assert wait.reason == "the update waits for a pulse of the service that watches it"
    own.api.ok("pulseJobUpdate", key=update)
    own.wait("it waits again", lambda: states(own, update).count("ROLL_FORWARD_AWAITING_PULSE") == 2)

    def pulsed() -> bool:
        own.api.ok("pulseJobUpdate", key=update)
        return states(own, update)[-1] == "ROLLED_FORWARD"

    own.wait("pulses carry it to its end", pulsed, 90)
    found = own.api.ok("pulseJobUpdate", key=update).result
    assert found is not None
    assert found.pulse_job_update_result is not None
    assert str(found.pulse_job_update_result.status) == "FINISHED"
    own.api.ok("killTasks", job=key)


def test_a_kill_between_every_two_events_changes_neither_the_way_nor_the_end(own: Cluster) -> None:
    key = create(own, "killed", 2)
    update = start(own, key, 2)
    assert carry(own, update, "ROLLED_FORWARD") >= 2  # of what one decision brings, once
    assert states(own, update) == ["ROLLING_FORWARD", "ROLLED_FORWARD"]
    assert events(own, update) == [(0, "UPDATING"), (0, "UPDATED"), (1, "UPDATING"), (1, "UPDATED")]
    assert priorities(own, key) == {0: 7, 1: 7}

    bad = start(own, key, 2, "test ! -e /proc", max_failed_instances=0)
    assert carry(own, bad, "ROLLED_BACK") >= 2
    assert states(own, bad) == ["ROLLING_FORWARD", "ROLLING_BACK", "ROLLED_BACK"]
    assert events(own, bad) == [(0, "UPDATING"), (0, "UPDATE_FAILED"), (0, "ROLLING_BACK"), (0, "ROLLED_BACK")]
    own.wait_running(key, 2)
    own.api.ok("killTasks", job=key)


#: The least that is an executor: it says RUNNING at once, knows nothing of health, and ends when it is told to.
PLAIN = """\
#!{python}
import base64, http.client, json, os, time, uuid

path, _, address = os.environ["MESOS_SLAVE_PID"].partition("@")
IDS = {{
    "executor_id": {{"value": os.environ["MESOS_EXECUTOR_ID"]}},
    "framework_id": {{"value": os.environ["MESOS_FRAMEWORK_ID"]}},
}}


def post(call):
    connection = http.client.HTTPConnection(address, timeout=600)
    headers = {{"Content-Type": "application/json", "Accept": "application/json"}}
    connection.request("POST", f"/{{path}}/api/v1/executor", json.dumps({{**IDS, **call}}), headers)
    return connection.getresponse()


def tell(task_id, state):
    status = {{
        "task_id": task_id, "executor_id": IDS["executor_id"], "state": state, "source": "SOURCE_EXECUTOR",
        "uuid": base64.b64encode(uuid.uuid4().bytes).decode(), "timestamp": time.time(),
    }}
    post({{"type": "UPDATE", "update": {{"status": status}}}}).read()


stream = post({{"type": "SUBSCRIBE", "subscribe": {{}}}})
is_over = False
while True:
    event = json.loads(stream.read(int(stream.readline())))
    if event["type"] == "LAUNCH":
        tell(event["launch"]["task"]["task_id"], "TASK_RUNNING")
    elif event["type"] == "KILL":
        tell(event["kill"]["task_id"], "TASK_KILLED")
        is_over = True
    elif event["type"] == "SHUTDOWN" or (event["type"] == "ACKNOWLEDGED" and is_over):
        break
"""


def test_a_mixed_set_of_executors(tmp_path: Path) -> None:
    """One instance has an executor that says nothing of health, the other one ours, which does. One update changes
    both, fails, and puts both back: ours is back at RUNNING, which proves nothing of the plain one."""
    program = tmp_path / "plain_executor"
    program.write_text(PLAIN.format(python=sys.executable))
    program.chmod(0o755)
    tmp_path.chmod(0o755)
    described = tmp_path / "executors.json"
    amounts = [
        {"name": name, "type": "SCALAR", "scalar": {"value": value}} for name, value in (("cpus", 0.01), ("mem", 32))
    ]
    executor = {"name": "plain", "command": {"value": str(program), "shell": "true"}, "resources": amounts}
    described.write_text(json.dumps([{"executor": executor, "task_prefix": "plain-"}]))
    with cluster(flags=(*QUICK, "-custom_executor_config", str(described))) as own:
        key = wire.JobKey("root", "test", "mixed")
        plain = config(key)._replace(executor_config=wire.ExecutorConfig("plain", "{}"))
        own.api.ok("createJob", description=job(key, 2)._replace(task_config=plain))
        own.wait_running(key, 2)

        some = start(own, key, 2, update_only_these_instances=(Range(0, 0),))
        until_state(own, some, "ROLLED_FORWARD")
        assert events(own, some) == [(0, "UPDATING"), (0, "UPDATED")]
        assert executors(own, key) == {0: "AuroraExecutor", 1: "plain"}
        assert not any(event.message for event in details(own, some).instance_events or ()), "RUNNING meant healthy"

        both = start(own, key, 2, "test ! -e /proc", update_group_size=2, max_failed_instances=0)
        own.wait("ours is back", lambda: (0, "ROLLED_BACK") in events(own, both))

        def is_explained() -> bool:
            waits = [(wait.instance_id, wait.reason or "") for wait in details(own, both).waits or ()]
            return [one for one, why in waits if "does not say that RUNNING means healthy" in why] == [1]

        own.wait("why only the other one waits", is_explained)
        assert states(own, both)[-1] == "ROLLING_BACK"
        until_state(own, both, "ROLLED_BACK")
        assert events(own, both)[-2:] == [(0, "ROLLED_BACK"), (1, "ROLLED_BACK")]
        told = {event.instance_id: event.message for event in details(own, both).instance_events or ()}
        assert told[0] is None
        assert told[1] is not None
        assert told[1].startswith("ran for 45 s, since ")
        assert executors(own, key) == {0: "AuroraExecutor", 1: "plain"}
        own.api.ok("killTasks", job=key)
        own.wait("all are over", lambda: not own.active(key))


def executors(own: Cluster, key: wire.JobKey) -> dict[int | None, str | None]:
    """Of each instance that is under way."""
    found = own.api.ok("getTasksStatus", query=TaskQuery(job_keys=(key,), statuses=tuple(sorted(ACTIVE)))).result
    assert found is not None
    assert found.schedule_status_result is not None
    names: dict[int | None, str | None] = {}
    for task in found.schedule_status_result.tasks or ():
        assert task.assigned_task is not None
        assert task.assigned_task.task is not None
        assert task.assigned_task.task.executor_config is not None
        names[task.assigned_task.instance_id] = task.assigned_task.task.executor_config.name
    return names
