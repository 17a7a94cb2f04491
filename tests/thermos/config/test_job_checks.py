"""What client and scheduler of the original refuse in a job is found; what is legal is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from thermos.config.job_checks import job_problems, job_warnings
from thermos.config.job_schema import (
    Announcer,
    BatchUpdateStrategy,
    Container,
    Docker,
    ExecutorConfig,
    HealthCheckConfig,
    HealthCheckerConfig,
    HttpHealthChecker,
    Job,
    Metadata,
    QueueUpdateStrategy,
    ShellHealthChecker,
    UpdateConfig,
    VariableBatchUpdateStrategy,
)
from thermos.schema import MB, Constraint, Process, Resources, Task

TASK = Task("t", (Process("p", "x {{thermos.ports[http]}} {{mesos.instance}}"),), resources=Resources(0.1, MB, MB))
JOB = Job("n", "r", "c", "e", TASK)


def with_update(**fields: Any) -> dict[str, Any]:
    return {"update_config": UpdateConfig(**fields), "instances": 100}


GOOD: dict[str, dict[str, Any]] = {
    "the least": {},
    "odd names": {"name": "a-b.c_d9", "role": "www-data", "environment": "staging2"},
    "constraints": {"constraints": {"rack": "limit:2", "host": "!a,b", "zone": "a,b", "dedicated": "x/y"}},
    "cron": {"cron_schedule": "* * * * *", "cron_collision_policy": "cancel_new"},
    "a strategy": with_update(update_strategy=QueueUpdateStrategy(3)),
    "variable batches": with_update(update_strategy=VariableBatchUpdateStrategy((1, 2, 3))),
    "the most failures": {"update_config": UpdateConfig(max_total_failures=1), "instances": 2},
    "enough failures where dedicated": {
        **with_update(max_total_failures=2), "constraints": {"dedicated": "x"},
    },
    "a deadline": with_update(watch_secs=0, progress_deadline_secs=1),
    "canaries that go on": with_update(canary_count=1, canary_promote_after_secs=1),
    "a pulse": with_update(pulse_interval_secs=60),
    "fixed ports where dedicated": {"announce": Announcer("web", {"web": "80"}), "constraints": {"dedicated": "x"}},
    "the same label twice": {"metadata": (Metadata("k", "1"), Metadata("k", "2"))},
    "another executor's task": {
        "executor_config": ExecutorConfig("loom", "data"), "task": Task("t", resources=Resources(1.0, MB, MB)),
    },
    "failures without end": {"max_task_failures": -1},
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_nothing_is_wrong_with(name: str) -> None:
    assert list(job_problems(replace(JOB, **GOOD[name]))) == []


NO_DISK = Resources(1.0, MB, 1000)
BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "a role with a slash": ({"role": "a/b"}, "role", "is 'a/b'"),
    "a name with a line break": ({"name": "a\n"}, "name", "is 'a\n'"),
    "no environment": ({"environment": ""}, "environment", "is ''"),
    "no cluster": ({"cluster": ""}, "cluster", "is empty"),
    "a task that cannot run": (
        {"task": replace(TASK, constraints=(Constraint(("q",)),))}, "task.constraints[0].order[0]", "no process 'q'",
    ),
    "no resources": ({"task": replace(TASK, resources=None)}, "task.resources", "is required in a job"),
    "no cpu": ({"task": replace(TASK, resources=Resources(0.0, MB, MB))}, "task.resources.cpu", "is 0.0 cores"),
    "less than a megabyte": ({"task": replace(TASK, resources=NO_DISK)}, "task.resources.disk", "is 1000 bytes"),
    "a port of the instance's own": (
        {"task": replace(TASK, processes=(Process("p", "{{thermos.ports[p{{mesos.instance}}]}}"),))},
        "task", "the port name 'p31337' is made with",
    ),
    "a limit of some": ({"constraints": {"rack": "limit:x"}}, "constraints[rack]", "is 'limit:x'"),
    "a limit of none": ({"constraints": {"rack": "limit:0"}}, "constraints[rack]", "is 'limit:0'"),
    "a value that is empty": ({"constraints": {"rack": "!a,"}}, "constraints[rack]", "is '!a,'"),
    "no such policy": ({"cron_collision_policy": "RUN_OVERLAP"}, "cron_collision_policy", "is 'RUN_OVERLAP'"),
    "a service by the clock": ({"cron_schedule": "* * * * *", "service": True}, "service", "in a cron job"),
    "no instances": ({"instances": 0}, "instances", "is 0 instances"),
    "two ways to wait": (
        with_update(update_strategy=BatchUpdateStrategy(2), wait_for_batch_completion=True),
        "update_config.wait_for_batch_completion", "contradicts update_strategy",
    ),
    "two sizes": (
        with_update(update_strategy=BatchUpdateStrategy(2), batch_size=2),
        "update_config.batch_size", "contradicts update_strategy",
    ),
    "a batch of none": (with_update(batch_size=0), "update_config.batch_size", "is 0 instances"),
    "a batch of none among others": (
        with_update(update_strategy=VariableBatchUpdateStrategy((1, 0))),
        "update_config.update_strategy.batch_sizes[1]", "is 0 instances",
    ),
    "no batches": (
        with_update(update_strategy=VariableBatchUpdateStrategy(())),
        "update_config.update_strategy.batch_sizes", "is empty",
    ),
    "a deadline that is over before the watch is": (
        with_update(watch_secs=60, progress_deadline_secs=60),
        "update_config.progress_deadline_secs", "is 60 seconds, and watch_secs is 60",
    ),
    "a deadline within the watch that is the default": (
        with_update(progress_deadline_secs=45),
        "update_config.progress_deadline_secs", "is 45 seconds, and watch_secs is 45 by default",
    ),
    "canaries without a number": (
        with_update(canary_promote_after_secs=60),
        "update_config.canary_promote_after_secs", "is set, and canary_count is not",
    ),
    "a hasty pulse": (with_update(pulse_interval_secs=59), "update_config.pulse_interval_secs", "is 59 seconds"),
    "watching the past": (with_update(watch_secs=-1), "update_config.watch_secs", "is -1 seconds"),
    "as many failures as instances": (
        {"update_config": UpdateConfig(max_total_failures=2), "instances": 2},
        "update_config.max_total_failures", "is 2, with 2 instances",
    ),
    "too few failures where dedicated": (
        {**with_update(max_total_failures=1), "constraints": {"dedicated": "x"}},
        "update_config.max_total_failures", "is 1, in a dedicated job",
    ),
    "a negative interval": (
        {"health_check_config": HealthCheckConfig(interval_secs=-1.0)}, "health_check_config.interval_secs", "is -1.0",
    ),
    "a circle of ports": (
        {"announce": Announcer(portmap={"a": "b", "b": "a"})}, "announce.portmap", "a -> b -> a",
    ),
    "fixed ports": (
        {"announce": Announcer(portmap={"aurora": "80"})}, "announce.portmap", "gives a fixed number to 'aurora'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_found(name: str) -> None:
    fields, path, message = BAD[name]
    [problem] = job_problems(replace(JOB, **fields))
    assert problem.path == path
    assert message in problem.message


def checked(**how: Any) -> dict[str, Any]:
    return {"health_check_config": HealthCheckConfig(HealthCheckerConfig(**how))}


WARNED: dict[str, tuple[dict[str, Any], str]] = {
    "production": ({"production": True}, "production"),
    "a check that is never made": (
        checked(http=HttpHealthChecker("/alive")), "health_check_config.health_checker.http",
    ),
    "a check on a port that is not there": (
        checked(shell=ShellHealthChecker("ping {{thermos.ports[admin]}}")),
        "health_check_config.health_checker.shell.shell_command",
    ),
    "announcing a port that is not there": ({"announce": Announcer("web")}, "announce.primary_port"),
    "a container of old": ({"container": Container(Docker("image"))}, "container"),
    "minding a policy that is not there": (with_update(sla_aware=True), "update_config.sla_aware"),
}  # fmt: skip


@pytest.mark.parametrize("name", WARNED)
def test_warned(name: str) -> None:
    fields, path = WARNED[name]
    job = replace(JOB, **fields)
    assert [warning.path for warning in job_warnings(job)] == [path]
    assert list(job_problems(job)) == []


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"production": True, "tier": "preferred"},
        checked(shell=ShellHealthChecker("ping {{thermos.ports[http]}}")),
        {"announce": Announcer("web", {"web": "http"})},
        {"announce": Announcer("http")},
    ],
)
def test_not_warned(fields: dict[str, Any]) -> None:
    assert list(job_warnings(replace(JOB, **fields))) == []
