"""Which jobs are taken, how they are completed, and that all that is wrong is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scheduler.core.settings import Settings
from scheduler.core.submission import (
    Invalid,
    checked_config,
    checked_job,
    instance_count_problems,
    is_good_identifier,
)
from scheduler.model import JobKey, Resources, Tier
from tests.support.scheduled import JOB, SETTINGS, job, limit_constraint, task_config, value_constraint
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import CronCollisionPolicy, JobConfiguration

OPEN = replace(
    SETTINGS,
    allowed_container_types=frozenset({"MESOS", "DOCKER"}),
    allow_docker_parameters=True,
    require_docker_use_executor=False,
    allow_gpu_resource=True,
    allow_container_volumes=True,
    enable_mesos_fetcher=True,
    sla_aware_kill_non_prod=True,
)


def problems(described: JobConfiguration, settings: Settings = SETTINGS) -> list[str]:
    try:
        checked_job(described, settings)
    except Invalid as error:
        return list(error.problems)
    return []


def the_problem(described: JobConfiguration, settings: Settings = SETTINGS) -> str:
    """The one problem that *described* has."""
    found = problems(described, settings)
    assert len(found) == 1, found
    return found[0]


def test_a_job_is_taken_as_it_is() -> None:
    found = checked_job(job(instances=3, is_service=True, ports=["http"]), SETTINGS)
    assert found.key == JobKey("www", "prod", "web")
    assert found.instances == 3
    assert found.cron_schedule is None
    assert found.config.resources == Resources(1000, 128, 256)
    assert found.config.ports == ("http",)
    assert found.config.is_service
    assert found.wire.task_config is found.config.wire


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(Invalid) as raised:
        checked_job(
            job(
                instances=0,
                job=wire.JobKey("w w", "production", "web"),
                owner=wire.Identity("a b"),
                tier="gold",
                cpus=0.0,
                executor_config=None,
                mesos_fetcher_uris=(wire.MesosFetcherURI("http://a"),),
            ),
            SETTINGS,
        )
    assert len(raised.value.problems) == 9  # the owner twice: of the job, of its task
    assert str(raised.value) == "; ".join(raised.value.problems)


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "-", "..", "x" * 255])
def test_good_identifiers(name: str) -> None:
    assert is_good_identifier(name)


@pytest.mark.parametrize("name", [None, "", "a b", "a/b", "ä", "a\n", "x" * 256, "a:b"])
def test_bad_identifiers(name: str | None) -> None:
    assert not is_good_identifier(name)


@pytest.mark.parametrize("part", ["role", "environment", "name"])
@pytest.mark.parametrize("value", [None, "", "a b", "a\n"])
def test_names_of_the_job(part: str, value: str | None) -> None:
    assert f"the job's {part}" in the_problem(job(job=JOB._replace(**{part: value})))


def test_a_job_without_a_name() -> None:
    assert "no job key" in the_problem(JobConfiguration(task_config=task_config(job=None), instance_count=1))  # type: ignore[arg-type]


@pytest.mark.parametrize("environment", ["prod", "devel", "test", "staging", "staging7"])
def test_environments(environment: str) -> None:
    assert problems(job(job=JOB._replace(environment=environment))) == []


@pytest.mark.parametrize("environment", ["production", "staging7a", "dc1", "xprod"])
def test_other_environments(environment: str) -> None:
    described = job(job=JOB._replace(environment=environment))
    assert "is none of" in the_problem(described)
    assert problems(described, replace(SETTINGS, allowed_job_environments=".*")) == []


def test_the_key_may_be_said_once() -> None:
    described = job()
    assert described.task_config is not None
    once = described._replace(task_config=described.task_config._replace(job=None))
    assert checked_job(once, SETTINGS).key == checked_job(described, SETTINGS).key
    assert checked_job(described._replace(key=None), SETTINGS).key == JobKey("www", "prod", "web")


def test_a_job_and_its_task_of_different_names() -> None:
    assert "the job is www/prod/other" in the_problem(job()._replace(key=JOB._replace(name="other")))


@pytest.mark.parametrize("owner", [None, wire.Identity(), wire.Identity("")])
def test_clients_that_send_no_user(owner: wire.Identity | None) -> None:
    assert problems(job(owner=owner)) == []


def test_a_task_without_owner_has_the_jobs() -> None:
    described = job(owner=None)._replace(owner=wire.Identity("bob"))
    assert checked_job(described, SETTINGS).config.owner == "bob"


def test_ids_that_would_be_too_long_for_file_names() -> None:
    # www-prod-…-0-<36 characters of a UUID>, at most 165 characters
    longest = 165 - len("www-prod-") - len("-0-") - 36
    assert problems(job(job=JOB._replace(name="n" * longest))) == []
    assert "would have 166 characters" in the_problem(job(job=JOB._replace(name="n" * (longest + 1))))
    assert "would have 166 characters" in the_problem(job(instances=11, job=JOB._replace(name="n" * longest)))


@pytest.mark.parametrize("count, is_good", [(-1, False), (0, False), (1, True), (4000, True), (4001, False)])
def test_instances(count: int, is_good: bool) -> None:
    assert (problems(job(instances=count)) == []) is is_good
    assert (instance_count_problems(count, SETTINGS) == []) is is_good


def test_no_number_of_instances() -> None:
    assert "1 to 4000 instances" in the_problem(job()._replace(instance_count=None))


def test_no_task() -> None:
    assert the_problem(job()._replace(task_config=None)) == "it has no task configuration"


# -- tiers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tier, production, tier_then, production_then",
    [
        (None, False, "preemptible", False),
        (None, None, "preemptible", False),
        (None, True, "preferred", True),
        ("", True, "preferred", True),
        ("preferred", False, "preferred", True),
        ("preemptible", True, "preemptible", False),
        ("revocable", True, "revocable", False),
    ],
)
def test_tier_and_production(tier: str | None, production: bool | None, tier_then: str, production_then: bool) -> None:
    found = checked_config(task_config(tier=tier, production=production), SETTINGS)
    assert (found.tier, found.is_production) == (tier_then, production_then)
    assert (found.wire.tier, found.wire.production) == (tier_then, production_then)


def test_an_unknown_tier() -> None:
    assert the_problem(job(tier="gold")) == "there is no tier 'gold'; there are: preferred, preemptible, revocable"


def test_tiers_of_an_operator() -> None:
    settings = replace(SETTINGS, tiers=(Tier("cheap", True, True), Tier("dear", True, True)), default_tier="dear")
    assert checked_config(task_config(), settings).tier == "dear"
    assert "no tier of this scheduler is for production tasks" in the_problem(job(production=True), settings)
    settings = replace(SETTINGS, tiers=(Tier("a", True, False), Tier("b", True, False)), default_tier="b")
    assert checked_config(task_config(), settings).tier == "b", "of two that fit, the default"


# -- what is completed -------------------------------------------------------------------------------------------------


def test_the_same_job_asked_for_in_two_ways_is_one_configuration() -> None:
    bare = wire.TaskConfig(
        job=JOB,
        owner=wire.Identity("ann"),
        resources=(wire.Resource(disk_mb=256), wire.Resource(ram_mb=128), wire.Resource(num_cpus=1.0)),
        executor_config=wire.ExecutorConfig("AuroraExecutor", "{}"),
    )
    full = task_config(
        tier="preemptible",
        metadata=(),
        mesos_fetcher_uris=(),
        resources=(*(task_config().resources or ()), wire.Resource(ram_mb=128)),
    )
    assert checked_config(bare, SETTINGS) == checked_config(full, SETTINGS)
    again = checked_config(checked_config(bare, SETTINGS).wire, SETTINGS)
    assert again == checked_config(bare, SETTINGS)


# -- executors and containers ------------------------------------------------------------------------------------------

DOCKER = wire.Container(docker=wire.DockerContainer("python:3"))


def of_mesos(**given: Any) -> wire.Container:
    return wire.Container(mesos=wire.MesosContainer(**given))


@pytest.mark.parametrize(
    "given, part",
    [
        ({"executor_config": None}, "no executor"),
        ({"executor_config": wire.ExecutorConfig(None, "{}")}, "no name"),
        ({"executor_config": wire.ExecutorConfig("", "{}")}, "no name"),
        ({"executor_config": wire.ExecutorConfig("Other", "{}")}, "no executor 'Other' on this scheduler"),
        ({"container": DOCKER}, "type DOCKER are not allowed"),
        ({"container": wire.Container()}, "must be of one type"),
        ({"container": of_mesos(volumes=(wire.Volume("/a", "/b", 1),))}, "allow_container_volumes"),
        ({"mesos_fetcher_uris": (wire.MesosFetcherURI("http://a"),)}, "enable_mesos_fetcher"),
    ],
)
def test_what_a_scheduler_with_defaults_does_not_take(given: dict[str, Any], part: str) -> None:
    assert part in the_problem(job(**given))


@pytest.mark.parametrize(
    "given, part",
    [
        ({"container": wire.Container(docker=wire.DockerContainer(None))}, "no image"),
        ({"container": wire.Container(wire.MesosContainer(), DOCKER.docker)}, "must be of one type"),
        ({"container": of_mesos(image=wire.Image())}, "Docker or appc"),
        ({"mesos_fetcher_uris": (wire.MesosFetcherURI(""),)}, "is empty"),
    ],
)  # fmt: skip
def test_what_no_scheduler_takes(given: dict[str, Any], part: str) -> None:
    assert part in the_problem(job(**given), OPEN)


@pytest.mark.parametrize(
    "given",
    [
        {"container": DOCKER},
        {"container": DOCKER, "executor_config": None},
        {"container": wire.Container(docker=wire.DockerContainer("a", (wire.DockerParameter("b", "c"),)))},
        {"container": of_mesos(image=wire.Image(docker=wire.DockerImage("a", "b")))},
        {"container": of_mesos(volumes=(wire.Volume("/a", "/b", 1),))},
        {"mesos_fetcher_uris": (wire.MesosFetcherURI("http://a"),)},
    ],
)
def test_what_an_operator_can_allow(given: dict[str, Any]) -> None:
    assert problems(job(**given), OPEN) == []


def test_docker_with_limits() -> None:
    settings = replace(OPEN, require_docker_use_executor=True, allow_docker_parameters=False)
    described = job(
        container=wire.Container(docker=wire.DockerContainer("a", (wire.DockerParameter("b", "c"),))),
        executor_config=None,
    )
    assert len(problems(described, settings)) == 2


# -- resources ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["num_cpus", "ram_mb", "disk_mb"])
@pytest.mark.parametrize("value", [None, 0, -1, float("nan"), float("inf")])
def test_amounts(name: str, value: float | None) -> None:
    kept = [one for one in task_config().resources or () if getattr(one, name) is None]
    more = () if value is None else (wire.Resource(**{name: value}),)  # type: ignore[arg-type]
    found = the_problem(job(resources=(*kept, *more)))
    assert ("must be more than 0" in found) is (value is not None)
    assert ("it has no" in found) is (value is None)


def test_less_cpu_than_mesos_can_count() -> None:
    assert "0.001 at least" in the_problem(job(cpus=0.0004))
    assert problems(job(cpus=0.001)) == []


def more_resources(*more: wire.Resource) -> JobConfiguration:
    return job(resources=(*(task_config().resources or ()), *more))


def test_one_of_each() -> None:
    assert the_problem(more_resources(wire.Resource(ram_mb=1))) == "its RAM is given 2 times"
    assert problems(more_resources(wire.Resource(ram_mb=128))) == [], "the same again: it is a set"


def test_ports() -> None:
    assert problems(job(ports=["http", "admin"])) == []
    assert the_problem(job(ports=[""])) == "a port has no name"


@pytest.mark.parametrize("resource", [wire.Resource(), wire.Resource(ram_mb=1, disk_mb=1)])
def test_a_resource_of_no_type(resource: wire.Resource) -> None:
    assert "must be of one type" in the_problem(more_resources(resource))


def test_gpus() -> None:
    assert "(allow_gpu_resource)" in the_problem(more_resources(wire.Resource(num_gpus=1)))
    assert problems(more_resources(wire.Resource(num_gpus=1)), OPEN) == []
    assert "its GPU must be more than 0" in the_problem(more_resources(wire.Resource(num_gpus=0)), OPEN)


# -- constraints -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["www/fast", "*/fast", "www/fast/er"])
def test_dedicated(value: str) -> None:
    assert checked_config(task_config(dedicated=value), SETTINGS).dedicated == value


@pytest.mark.parametrize(
    "constraint, part",
    [
        (value_constraint("dedicated", "ads/fast"), "are for the role 'ads' alone"),
        (value_constraint("dedicated", "fast"), "takes role/name or */name"),
        (value_constraint("dedicated", "www/"), "takes role/name or */name"),
        (value_constraint("dedicated", "/fast"), "takes role/name or */name"),
        (value_constraint("dedicated", "www/a", "www/b"), "takes one value, not 2"),
        (value_constraint("dedicated"), "takes one value, not 0"),
        (limit_constraint("dedicated", 1), "takes a value, not a limit"),
        (wire.Constraint("rack", None), "either values or a limit"),
        (wire.Constraint("rack", wire.TaskConstraint()), "either values or a limit"),
        (wire.Constraint(None, limit_constraint("a", 1).constraint), "names no attribute"),
    ],
)
def test_constraints_that_nobody_can_keep(constraint: wire.Constraint, part: str) -> None:
    assert part in the_problem(job(constraints=(constraint,)))


# -- cron --------------------------------------------------------------------------------------------------------------


def test_a_cron_job() -> None:
    found = checked_job(job(cron_schedule="* * * * *"), SETTINGS)
    assert found.cron_schedule == "* * * * *"
    assert found.cron_collision_policy is CronCollisionPolicy.KILL_EXISTING


def test_an_empty_schedule_is_none() -> None:
    assert checked_job(job(cron_schedule="", is_service=True), SETTINGS).cron_schedule is None


def test_no_service_on_a_schedule() -> None:
    assert "a service cannot have a cron schedule" in the_problem(job(cron_schedule="* * * * *", is_service=True))


def test_no_runs_beside_each_other() -> None:
    described = job(cron_schedule="* * * * *")._replace(cron_collision_policy=CronCollisionPolicy.RUN_OVERLAP)
    assert "RUN_OVERLAP is not supported" in the_problem(described)


# -- SLA policies ------------------------------------------------------------------------------------------------------


def with_sla(instances: int = 20, production: bool = True, **chosen: Any) -> JobConfiguration:
    return job(instances=instances, production=production, sla_policy=wire.SlaPolicy(**chosen))


def by_count(wanted: int, duration_secs: int = 60) -> dict[str, Any]:
    return {"count_sla_policy": wire.CountSlaPolicy(wanted, duration_secs)}


def by_percentage(percentage: float, duration_secs: int = 60) -> dict[str, Any]:
    return {"percentage_sla_policy": wire.PercentageSlaPolicy(percentage, duration_secs)}


def by_coordinator(url: str | None) -> dict[str, Any]:
    return {"coordinator_sla_policy": wire.CoordinatorSlaPolicy(url, "drain")}


@pytest.mark.parametrize(
    "described",
    [
        with_sla(**by_count(19)),
        with_sla(**by_count(0, 0)),
        with_sla(**by_percentage(95.0, 7200)),
        with_sla(instances=1, **by_coordinator("http://a")),
        with_sla(instances=1, **by_coordinator("https://a/b?c")),
    ],
)
def test_policies(described: JobConfiguration) -> None:
    assert problems(described) == []


@pytest.mark.parametrize(
    "described, part",
    [
        (with_sla(), "must be of one type"),
        (with_sla(**by_count(1), **by_percentage(1)), "must be of one type"),
        (with_sla(production=False, **by_count(1)), "for production tasks"),
        (with_sla(instances=19, **by_count(1)), "20 instances or more, not 19"),
        (with_sla(**by_count(20)), "lets none be drained"),
        (with_sla(**by_count(-1)), "lets none be drained"),
        (with_sla(**by_percentage(95.1)), "lets none be drained"),
        (with_sla(**by_percentage(100.0)), "lets none be drained"),
        (with_sla(**by_percentage(-1.0)), "lets none be drained"),
        (with_sla(**by_count(1, 7201)), "0 to 7200 seconds, not 7201"),
        (with_sla(**by_count(1, -1)), "0 to 7200 seconds, not -1"),
        (with_sla(**by_coordinator(None)), "must be an http or https URL"),
        (with_sla(**by_coordinator("file:///etc/passwd")), "must be an http or https URL"),
    ],
)
def test_policies_that_cannot_be_kept(described: JobConfiguration, part: str) -> None:
    assert part in the_problem(described)


def test_a_policy_for_all_where_an_operator_allows_it() -> None:
    assert problems(with_sla(production=False, **by_count(1)), OPEN) == []


def test_a_policy_where_the_number_of_instances_is_not_known() -> None:
    described = with_sla(**by_count(100)).task_config
    assert described is not None
    checked_config(described, SETTINGS)
    with pytest.raises(Invalid):
        checked_config(described, SETTINGS, instances=100)


def test_a_configuration_of_nothing() -> None:
    with pytest.raises(Invalid) as raised:
        checked_config(wire.TaskConfig(), SETTINGS)
    assert len(raised.value.problems) == 5  # key, executor, cpu, RAM, disk
