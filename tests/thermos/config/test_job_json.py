"""Jobs as JSON, and what an executor makes of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from thermos.config import job_json
from thermos.config.job_schema import (
    Announcer,
    AppcImage,
    Container,
    CoordinatorSlaPolicy,
    CountSlaPolicy,
    Docker,
    DockerImage,
    ExecutorConfig,
    Job,
    LifecycleConfig,
    Mesos,
    Metadata,
    PartitionPolicy,
    PercentageSlaPolicy,
    QueueUpdateStrategy,
    UpdateConfig,
    VariableBatchUpdateStrategy,
    Volume,
)
from thermos.errors import TaskInvalid
from thermos.schema import Process, Resources, Task

JOB = Job(
    "n", "r", "c", "e",
    Task(
        "t",
        (Process("p", "{{mesos.instance}} {{mesos.hostname}} {{thermos.ports[x]}} {{&y}}"),),
        resources=Resources(1.0, 1, 1),
    ),
    announce=Announcer(zk_path="/x/{{mesos.instance}}"),
    update_config=UpdateConfig(watch_secs=45),
)  # fmt: skip

VARIANTS = [
    JOB,
    replace(JOB, update_config=UpdateConfig(watch_secs=0, update_strategy=QueueUpdateStrategy(3))),
    replace(JOB, update_config=UpdateConfig(watch_secs=7, update_strategy=VariableBatchUpdateStrategy((1, 2), True))),
    replace(JOB, sla_policy=CountSlaPolicy(1, 2)),
    replace(JOB, sla_policy=PercentageSlaPolicy(99.0, 2)),
    replace(JOB, sla_policy=CoordinatorSlaPolicy("http://x")),
    replace(JOB, container=Docker("image")),
    replace(JOB, container=Container(Docker("image"))),
    replace(JOB, container=Mesos(AppcImage("a", "sha512-0"))),
    replace(JOB, container=Mesos(DockerImage("a", "1"), (Volume("/c", "/h", "RO"),))),
    replace(JOB, lifecycle=LifecycleConfig(), partition_policy=PartitionPolicy(False, 3)),
    replace(JOB, constraints={"rack": "limit:1"}, metadata=(Metadata("k", "v"),), task_links={"a": "b"}),
]


@pytest.mark.parametrize("job", VARIANTS)
def test_there_and_back(job: Job) -> None:
    text = job_json.encode(job)
    assert job_json.decode(text, "x") == job
    assert job_json.encode(job_json.decode(text, "x")) == text


def test_a_preset_that_others_read() -> None:
    """The original's programs find the time that they would have filled in themselves."""
    written = json.loads(job_json.encode(replace(JOB, update_config=UpdateConfig())))
    assert written["update_config"]["watch_secs"] == 45


def test_an_instance() -> None:
    made = job_json.task_instance(JOB, 7, "agent")
    assert (made.instance, made.role, made.environment) == (7, "r", "e")
    assert made.task.processes[0].cmdline == "7 agent {{thermos.ports[x]}} {{&y}}"
    assert made.announce is not None
    assert made.announce.zk_path == "/x/7"
    assert job_json.runner_task(JOB, 7, "agent") == made.task


def test_a_hostname_that_refers_to_itself_is_no_endless_loop() -> None:
    with pytest.raises(TaskInvalid, match=r"job c/r/e/n: task.processes\[0\].cmdline: its references go in a circle"):
        job_json.task_instance(JOB, 0, "{{mesos.hostname}}")


def test_another_executor_gets_its_own_data() -> None:
    assert job_json.executor_payload(replace(JOB, executor_config=ExecutorConfig("loom", "<data/>"))) == "<data/>"
    assert json.loads(job_json.executor_payload(JOB))["executor_config"] == {"name": "AuroraExecutor", "data": ""}


@pytest.mark.parametrize("text, said", [("{", "is not JSON"), ("[]", "a Job, not a list"), ("{}", "5 problems")])
def test_no_job(text: str, said: str) -> None:
    with pytest.raises(TaskInvalid, match=said):
        job_json.decode(text, "x")
