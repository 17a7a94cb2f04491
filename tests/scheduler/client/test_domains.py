"""What jobs would bear: numbers that Aurora's own tests of its client pin down, and what is ours."""

from __future__ import annotations

import pytest

from scheduler.client import uptime
from scheduler.client.domains import Domain, Limit, grouped
from scheduler.client.keys import JobRef
from thermos.formats.assigned_task import AssignedTask, JobKey, TaskConfig
from thermos.formats.aurora_api import ScheduledTask, ScheduleStatus, TaskEvent

NOW_S = 1_700_000_000.0


def task(up_s: float, host: str, name: str = "job", production: bool | None = True) -> ScheduledTask:
    config = TaskConfig(job=JobKey("role", "test", name), production=production)
    events = (
        TaskEvent(int((NOW_S - up_s - 5) * 1000), ScheduleStatus.PENDING),
        TaskEvent(int((NOW_S - up_s) * 1000), ScheduleStatus.RUNNING),
    )
    return ScheduledTask(AssignedTask("t", None, host, config, None, 0), ScheduleStatus.RUNNING, 0, 0, events)


def domain(*tasks: ScheduledTask, min_instances: int = 1) -> Domain:
    return Domain("cl", tasks, NOW_S, min_instances)


def by_host(host: str) -> str:
    return host


def by_rack(host: str) -> str:
    return host.split("-")[0]


def safe(found: Domain, percentage: float, duration_s: int, of_job: dict[JobRef, Limit] | None = None) -> list[str]:
    groups = found.probe(found.hosts, Limit(percentage, duration_s), by_host, of_job)
    return [group[0].host for group in groups if all(each.is_safe for each in group)]


UP = [100, 200, 300, 400]


@pytest.mark.parametrize("percentile, expected", [(10, 400), (50, 200), (99, 100)])
def test_uptime_at_a_percentile(percentile: float, expected: int) -> None:
    assert uptime.at_percentile(UP, percentile) == expected


def test_uptime_of_nothing() -> None:
    assert uptime.at_percentile([], 50) == 0
    assert uptime.share_up([], 0) == 0


@pytest.mark.parametrize("seconds, expected", [(300, 50.0), (50, 100.0), (401, 0.0)])
def test_share(seconds: int, expected: float) -> None:
    assert uptime.share_up(UP, seconds) == expected


@pytest.mark.parametrize(
    "uptimes, percentage, seconds, total, expected",
    [
        ([], 50, 200, 0, None),
        (UP, 75, 200, 4, 0),
        (UP, 95, 200, 5, None),
        (UP, 25, 450, 4, 50),
        ([*UP, 500], 50, 350, 5, 50),
        ([*UP, 500], 90, 150, 5, 50),
        (UP, 80, 250, 5, 150),
    ],
)
def test_how_long_until_enough_are_up(
    uptimes: list[int], percentage: float, seconds: int, total: int, expected: float | None
) -> None:
    assert uptime.wait_s(uptimes, percentage, seconds, total) == expected


def test_a_task_counts_from_when_it_first_ran() -> None:
    again = TaskEvent(int(NOW_S * 1000), ScheduleStatus.RUNNING)
    one = task(70, "h1")
    back = one._replace(task_events=(*(one.task_events or ()), again))
    never = one._replace(task_events=(one.task_events or ())[:1])
    assert uptime.uptimes_s([back, never], NOW_S) == [70]


def test_safe_hosts() -> None:
    assert safe(domain(), 50, 400) == []
    two = (task(100, "h1", "j1"), task(200, "h2", "j1"))
    assert safe(domain(*two), 50, 400) == []
    assert safe(domain(*two, task(100, "h2", "j2")), 50, 200) == ["h1"]


def test_a_limit_of_one_job() -> None:
    found = domain(task(100, "h1"), task(200, "h2"), task(100, "h2", "j2"))
    assert safe(found, 50, 400) == []
    assert safe(found, 50, 400, {JobRef("cl", "role", "test", "job"): Limit(50, 100)}) == ["h1"]


def test_jobs_that_do_not_count() -> None:
    """Those with too few instances, and those that are not production; a task on no host is not there."""
    four = (task(100, "h1", "j1"), task(400, "h2", "j1"), task(400, "h3", "j1"), task(100, "h2", "j2"))
    assert safe(domain(*four, min_instances=4), 10, 200) == []
    assert safe(domain(*four, min_instances=3), 10, 200) == ["h1", "h2", "h3"]
    assert domain(task(500, "h1", production=False), task(500, "h1", production=None)).hosts == set()
    assert domain(task(500, "")).hosts == set()


def test_probing() -> None:
    found = domain(*(task(up_s, f"h{number}") for number, up_s in enumerate(UP, 1)))
    limit = Limit(75, 300)
    [[first], *_] = found.probe(["h1", "h2"], limit, by_host)
    assert (first.host, first.percentage, first.is_safe, first.safe_in_s) == ("h1", 50.0, False, 100)
    [[never]] = found.probe(["h1"], Limit(80, 300), by_host)
    assert (never.is_safe, never.safe_in_s) == (False, None)
    [[fine]] = found.probe(["h1"], Limit(20, 100), by_host)
    assert (fine.percentage, fine.is_safe, fine.safe_in_s) == (75.0, True, 0)
    assert found.probe(["h7"], limit, by_host) == []


def test_the_hosts_of_a_group_go_down_together() -> None:
    found = domain(task(100, "r1-h1"), task(200, "r1-h2"), task(100, "r2-h3"), task(200, "r2-h4"))
    groups = found.probe(found.hosts, Limit(50, 200), by_rack)
    assert [[(each.host, each.percentage, each.safe_in_s) for each in group] for group in groups] == [
        [("r1-h1", 25.0, 100), ("r1-h2", 25.0, 100)],
        [("r2-h3", 25.0, 100), ("r2-h4", 25.0, 100)],
    ]
    assert grouped(["r2-b", "r1-b", "r1-a"], by_rack) == [("r1-a", "r1-b"), ("r2-b",)]
