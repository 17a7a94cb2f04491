"""Jobs of configuration files become what the original client sent for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scheduler.client.conversion import job_configuration, update_settings, with_tier
from scheduler.client.errors import InvalidConfiguration
from scheduler.wire.plain_json import plain
from thermos.config import load
from thermos.config.job_schema import (
    Announcer,
    AppcImage,
    BatchUpdateStrategy,
    Container,
    CoordinatorSlaPolicy,
    CountSlaPolicy,
    Docker,
    DockerImage,
    ExecutorConfig,
    HealthCheckConfig,
    HealthCheckerConfig,
    Job,
    Mesos,
    Metadata,
    Parameter,
    PartitionPolicy,
    PercentageSlaPolicy,
    QueueUpdateStrategy,
    ShellHealthChecker,
    UpdateConfig,
    VariableBatchUpdateStrategy,
    Volume,
)
from thermos.config.probe_schema import Probe, TcpProbe
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import Metadata as ThriftMetadata
from thermos.schema import MB, Process, Resources, Task

SHELL_CHECK = HealthCheckConfig(health_checker=HealthCheckerConfig(shell=ShellHealthChecker("true")))
ROOT = Path(__file__).resolve().parents[3]
JOBS = ROOT.parent / "shared" / "golden" / "jobs"
golden_only = pytest.mark.skipif(not JOBS.is_dir(), reason="the original's jobs (../shared/golden) are not here")

#: Aurora's stock tiers.json.
TIERS = api.GetTierConfigResult(
    "preemptible",
    (
        api.TierConfig("revocable", {"preemptible": "true", "revocable": "true"}),
        api.TierConfig("preferred", {"preemptible": "false", "revocable": "false"}),
        api.TierConfig("preemptible", {"preemptible": "true", "revocable": "false"}),
    ),
)


def directories() -> Iterator[tuple[Path, Path]]:
    for facts in sorted(JOBS.glob("**/facts.json")):
        yield facts.parent if (facts.parent / "config.aurora").is_file() else facts.parent.parent, facts.parent


ALL = list(directories())


def loaded(directory: Path, of_job: Path) -> Job:
    bind = directory / "bind.json"
    config = load(str(directory / "config.aurora"), json.loads(bind.read_text()) if bind.is_file() else [])
    return config.job(json.loads((of_job / "facts.json").read_text())["job_key"])


def as_sets(value: Any) -> Any:
    """Lists in a stable order, since they are sets; the executor's data parsed."""
    if isinstance(value, dict):
        return {
            key: json.loads(item) if key == "data" else as_sets(item)
            for key, item in value.items()
            if key != "data_parsed"
        }
    if isinstance(value, list):
        return sorted((as_sets(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


@golden_only
@pytest.mark.parametrize("directory, of_job", ALL, ids=lambda path: "/".join(path.relative_to(JOBS).parts))
def test_what_is_sent(directory: Path, of_job: Path) -> None:
    job = with_tier(loaded(directory, of_job), TIERS)
    sent = plain(api.JOB_CONFIGURATION, job_configuration(job, "golduser"))
    assert as_sets(sent) == as_sets(read(of_job / "job.sent.readable.json"))


@golden_only
@pytest.mark.parametrize("directory, of_job", ALL, ids=lambda path: "/".join(path.relative_to(JOBS).parts))
def test_update_settings(directory: Path, of_job: Path) -> None:
    settings = plain(
        api.JOB_UPDATE_REQUEST,
        api.JobUpdateRequest(settings=update_settings(loaded(directory, of_job), None)),
    )["settings"]
    whole = of_job / "update_settings.readable.json"
    if whole.is_file():
        assert settings == read(whole)
    else:
        assert settings["updateStrategy"] == read(of_job / "update_strategy.readable.json")


def test_all_seven_configurations_are_looked_at() -> None:
    if not JOBS.is_dir():
        pytest.skip("the original's jobs (../shared/golden) are not here")
    assert len({directory for directory, _ in ALL}) == 7


def job(**fields: Any) -> Job:
    task = Task(
        name="t", processes=(Process(name="p", cmdline="true"),), resources=Resources(cpu=1, ram=5 * MB, disk=9 * MB)
    )
    return Job(**{"name": "n", "role": "r", "cluster": "c", "environment": "devel", "task": task, **fields})


def config(**fields: Any) -> Any:
    sent = job_configuration(job(**fields), "me").task_config
    assert sent is not None
    return sent


def test_constraints() -> None:
    sent = plain(
        api.JOB_CONFIGURATION,
        job_configuration(job(constraints={"rack": "limit:2", "zone": "!a,b", "kind": "x,y,x"}), "me"),
    )
    assert sent["taskConfig"]["constraints"] == [
        {"name": "rack", "constraint": {"limit": {"limit": 2}}},
        {"name": "zone", "constraint": {"value": {"negated": True, "values": ["a", "b"]}}},
        {"name": "kind", "constraint": {"value": {"negated": False, "values": ["x", "y"]}}},
    ]


def test_metadata_is_a_set_of_pairs() -> None:
    labels = (Metadata("a", "1"), Metadata("a", "2"), Metadata("a", "1"))
    assert config(metadata=labels).metadata == (ThriftMetadata("a", "1"), ThriftMetadata("a", "2"))


@pytest.mark.parametrize(
    "container, sent",
    [
        (None, {"mesos": {}}),
        (Mesos(), {"mesos": {"volumes": []}}),
        (
            Mesos(AppcImage("i", "sha512-1"), (Volume("/in", "/out", "RO"), Volume("/w", "/x", "RW"))),
            {
                "mesos": {
                    "image": {"appc": {"name": "i", "imageId": "sha512-1"}},
                    "volumes": [
                        {"containerPath": "/in", "hostPath": "/out", "mode": "RO"},
                        {"containerPath": "/w", "hostPath": "/x", "mode": "RW"},
                    ],
                }
            },
        ),
        (
            Mesos(DockerImage("i", "1")),
            {"mesos": {"image": {"docker": {"name": "i", "tag": "1"}}, "volumes": []}},
        ),
        (
            Container(Docker("i:1", (Parameter("env", "A=1"),))),
            {"docker": {"image": "i:1", "parameters": [{"name": "env", "value": "A=1"}]}},
        ),
    ],
)
def test_containers(container: Any, sent: object) -> None:
    written = plain(api.JOB_CONFIGURATION, job_configuration(job(container=container), "me"))
    assert written["taskConfig"]["container"] == sent


@pytest.mark.parametrize(
    "policy, sent",
    [
        (CountSlaPolicy(3, 60), {"countSlaPolicy": {"count": 3, "durationSecs": 60}}),
        (PercentageSlaPolicy(95.5, 60), {"percentageSlaPolicy": {"percentage": 95.5, "durationSecs": 60}}),
        (
            CoordinatorSlaPolicy("http://x/"),
            {"coordinatorSlaPolicy": {"coordinatorUrl": "http://x/", "statusKey": "drain"}},
        ),
    ],
)
def test_sla_policies(policy: Any, sent: object) -> None:
    written = plain(api.JOB_CONFIGURATION, job_configuration(job(sla_policy=policy), "me"))
    assert written["taskConfig"]["slaPolicy"] == sent


def test_partition_policy_gpu_and_another_executor() -> None:
    task = Task(name="t", processes=(), resources=Resources(cpu=1, ram=5 * MB, disk=9 * MB, gpu=2))
    sent = config(task=task, partition_policy=PartitionPolicy(False, 7), executor_config=ExecutorConfig("other", "x y"))
    assert sent.partition_policy == (False, 7)
    assert sent.executor_config == ("other", "x y")
    assert [each.num_gpus for each in sent.resources if each.num_gpus is not None] == [2]


def test_strategies_that_the_original_client_dies_of() -> None:
    batch = update_settings(job(update_config=UpdateConfig(update_strategy=BatchUpdateStrategy(3, True))), (0, 1, 5))
    assert (batch.update_group_size, batch.wait_for_batch_completion) == (3, True)
    assert batch.update_strategy == api.JobUpdateStrategy(batch_strategy=api.BatchJobUpdateStrategy(3, True))
    assert batch.update_only_these_instances == (api.Range(0, 1), api.Range(5, 5))
    queue = update_settings(job(update_config=UpdateConfig(update_strategy=QueueUpdateStrategy(3))), None)
    assert (queue.update_group_size, queue.wait_for_batch_completion) == (3, False)
    assert queue.update_strategy == api.JobUpdateStrategy(queue_strategy=api.QueueJobUpdateStrategy(3))
    canaries = UpdateConfig(canary_count=2, canary_promote_after_secs=60, progress_deadline_secs=300)
    settings = update_settings(job(update_config=canaries), None)
    assert (settings.canary_count, settings.canary_promote_after_ms) == (2, 60_000)
    assert settings.progress_deadline_ms == 300_000
    assert update_settings(job(), None).canary_count is None
    several = update_settings(
        job(update_config=UpdateConfig(update_strategy=VariableBatchUpdateStrategy((1, 4)))), None
    )
    assert (several.update_group_size, several.wait_for_batch_completion) == (1, False)


def test_tiers() -> None:
    assert with_tier(job(), TIERS).tier == "preemptible"
    assert with_tier(job(production=True), TIERS).tier == "preferred"
    assert with_tier(job(tier="preferred"), TIERS).production is True
    assert with_tier(job(tier="revocable", production=True), TIERS).production is False
    only_revocable = api.GetTierConfigResult("revocable", TIERS.tiers[:1] if TIERS.tiers else ())
    assert with_tier(job(), only_revocable).tier == "revocable"


def test_a_tier_that_is_none() -> None:
    with pytest.raises(InvalidConfiguration, match="no tier 'prefered'; did you mean 'preferred'"):
        with_tier(job(tier="prefered"), TIERS)


@pytest.mark.parametrize(
    "fields, expected_ms",
    [
        ({}, 45_000),
        ({"update_config": UpdateConfig(watch_secs=30)}, 30_000),
        ({"health_check_config": SHELL_CHECK}, 0),
        ({"health_check_config": SHELL_CHECK, "update_config": UpdateConfig(watch_secs=45)}, 45_000),
        ({"announce": Announcer(portmap={"health": "http"})}, 0),
        ({"x_probes": (Probe("p", "liveness", tcp=TcpProbe("http")),)}, 0),
        ({"x_probes": (Probe("p", "readiness", tcp=TcpProbe("http")),)}, 45_000),
    ],
)
def test_how_long_an_instance_is_watched(fields: dict[str, Any], expected_ms: int) -> None:
    """Where health is checked and nobody said how long, RUNNING is enough: it means healthy."""
    assert update_settings(job(**fields), None).min_wait_in_instance_running_ms == expected_ms


@pytest.mark.parametrize("cmdline, expected_ms", [("run {{thermos.ports[health]}}", 0), ("run", 45_000)])
def test_a_health_port_is_a_health_check(cmdline: str, expected_ms: int) -> None:
    made = job(task=replace(job().task, processes=(Process(name="p", cmdline=cmdline),)))
    assert update_settings(made, None).min_wait_in_instance_running_ms == expected_ms
