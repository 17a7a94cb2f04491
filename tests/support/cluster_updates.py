"""Updates of real jobs on a cluster of a test: begun, carried on over kills of the scheduler, and looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.support.box import until
from tests.support.cluster import Cluster, job
from tests.support.updates import settings
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import JobUpdateDetails, JobUpdateKey, JobUpdateQuery, JobUpdateRequest

#: Shell checks, so that RUNNING means healthy and nobody waits for a time to pass.
CHECKED = (
    '"health_check_config": {"initial_interval_secs": 0, "interval_secs": 0.2, "timeout_secs": 5, '
    '"health_checker": {"shell": {"shell_command": "%s"}}}'
)
#: Nothing flaps: successors need not wait.
QUICK: Final = ("-flapping_task_threshold", "0s", "-initial_task_kill_retry_interval", "2s")


def config(key: wire.JobKey, check: str = "true", priority: int = 0, **fields: Any) -> wire.TaskConfig:
    """Of a task whose health the command *check* tells."""
    found = job(key, priority=priority, **fields).task_config
    assert found is not None
    assert found.executor_config is not None
    data = (found.executor_config.data or "").replace('"health_check_config": {}', CHECKED % check)
    assert check in data
    return found._replace(executor_config=found.executor_config._replace(data=data))


def create(own: Cluster, name: str, instances: int, check: str = "true", **fields: Any) -> wire.JobKey:
    """A job of priority 0, all of which runs."""
    key = wire.JobKey("root", "test", name)
    own.api.ok("createJob", description=job(key, instances)._replace(task_config=config(key, check, **fields)))
    own.wait_running(key, instances)
    return key


def start(own: Cluster, key: wire.JobKey, instances: int, check: str = "true", **more: Any) -> JobUpdateKey:
    """Begin an update to priority 7. *more*: settings, and what *config* takes."""
    fields = {name: more.pop(name) for name in ("priority", "tier", "sla_policy") if name in more}
    asked = JobUpdateRequest(config(key, check, **{"priority": 7, **fields}), instances, settings(**more), ())
    response = own.api.ok("startJobUpdate", request=asked, message="go")
    assert response.result is not None
    assert response.result.start_job_update_result is not None
    update = response.result.start_job_update_result.key
    assert update is not None
    return update


def details(own: Cluster, update: JobUpdateKey) -> JobUpdateDetails:
    response = own.api.ok("getJobUpdateDetails", key=None, query=JobUpdateQuery(key=update))
    assert response.result is not None
    assert response.result.get_job_update_details_result is not None
    (found,) = response.result.get_job_update_details_result.details_list or ()
    return found


def states(own: Cluster, update: JobUpdateKey) -> list[str]:
    return [str(event.status) for event in details(own, update).update_events or ()]


def events(own: Cluster, update: JobUpdateKey) -> list[tuple[int | None, str]]:
    found = details(own, update).instance_events or ()
    return [(event.instance_id, str(event.action).removeprefix("INSTANCE_")) for event in found]


def until_state(own: Cluster, update: JobUpdateKey, state: str) -> None:
    own.wait(f"the update is {state}", lambda: states(own, update)[-1] == state, 90)


def priorities(own: Cluster, key: wire.JobKey) -> dict[int | None, int | None]:
    return {
        task.assigned_task.instance_id: task.assigned_task.task.priority
        for task in own.active(key)
        if task.assigned_task is not None and task.assigned_task.task is not None
    }


def carry(own: Cluster, update: JobUpdateKey, end: str, then: Callable[[], object] = lambda: None) -> int:
    """kill -9 of the scheduler whenever another event is known, until *end*; how often that was.

    After each, what waits for somebody goes on: the update is pulsed where it waits for that and resumed where it has
    paused; and *then* is called.
    """
    kills, known = 0, 0

    def look() -> tuple[str, int]:
        """The update's state and how many events there are, at one moment: the last must not come between the two."""
        found = details(own, update)
        happened = found.update_events or ()
        return str(happened[-1].status), len(happened) + len(found.instance_events or ())

    def is_news() -> bool:
        return look()[1] > known

    while True:
        until(is_news, lambda: f"another event; {details(own, update)}; it said: {own.scheduler.log[-3000:]}", 90)
        state, known = look()
        if state == end:
            return kills
        own.scheduler.kill()
        own.scheduler.start()
        kills += 1
        if state.endswith("_PAUSED"):
            own.api.ok("resumeJobUpdate", key=update, message=None)
        elif state.endswith("_AWAITING_PULSE"):
            own.api.ok("pulseJobUpdate", key=update)
        then()
