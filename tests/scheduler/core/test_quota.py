"""What roles use, and whether they may use more."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.core.changes import PutCronJob, PutQuota, PutUpdate
from scheduler.core.quota import (
    Consumption,
    aggregate_of,
    check,
    check_cron,
    check_set_quota,
    check_update,
    consumption,
    needs_quota,
    quota_of,
)
from scheduler.core.state import State
from scheduler.core.submission import Invalid, Job, checked_job
from scheduler.model import Config, JobKey, Resources, Task
from scheduler.states import TERMINAL, ScheduleStatus
from tests.support.scheduled import (
    JOB,
    SETTINGS,
    config,
    job,
    limit_constraint,
    state_of,
    task,
    tasks,
    value_constraint,
)
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    InstanceTaskConfig,
    JobConfiguration,
    JobUpdate,
    JobUpdateDetails,
    JobUpdateInstructions,
    JobUpdateState,
    JobUpdateStatus,
    JobUpdateSummary,
    Range,
    ResourceAggregate,
)

S = ScheduleStatus
KEY = JobKey(*map(str, JOB))
PROD = config(production=True)
DEDICATED = config(production=True, dedicated="*/gpu")
NON_PROD = config(production=False)
NON_PROD_DEDICATED = config(production=False, dedicated="*/gpu")
ONE = Resources(1000, 128, 256)


def times(number: int) -> Resources:
    return Resources().plus(ONE, number)


def running(of: Config, *instances: int, status: ScheduleStatus = S.RUNNING) -> list[Task]:
    return [
        task(S.PENDING, status, task_id=f"{of.digest[:5]}-{status}-{instance}", instance=instance, of=of)
        for instance in instances
    ]


def update(
    initial: Sequence[tuple[Config, int, int]],
    desired: tuple[Config, int, int] | None,
    status: JobUpdateStatus = JobUpdateStatus.ROLLING_FORWARD,
) -> JobUpdate:
    """From and to configurations, each with its first and last instance."""

    def side(of: Config, first: int, last: int) -> InstanceTaskConfig:
        return InstanceTaskConfig(of.wire, (Range(first, last),))

    return JobUpdate(
        JobUpdateSummary(state=JobUpdateState(status)),
        JobUpdateInstructions(tuple(side(*one) for one in initial), None if desired is None else side(*desired)),
    )


def with_update(state: State, one: JobUpdate, key: JobKey = KEY) -> State:
    state.apply(PutUpdate(key, "u", JobUpdateDetails(one)))
    return state


def cron(instances: int, **more: object) -> Job:
    return checked_job(job(instances=instances, cron_schedule="* * * * *", **more), SETTINGS)


def with_cron(state: State, one: Job) -> State:
    state.apply(PutCronJob(one.key, one.wire))
    return state


def with_quota(state: State, quota: Resources) -> State:
    state.apply(PutQuota("www", quota))
    return state


# -- counting ----------------------------------------------------------------------------------------------------------


def test_nothing() -> None:
    assert consumption(State(), "www") == Consumption()


def test_four_pools() -> None:
    state = state_of([
        *running(PROD, 0),
        *running(DEDICATED, 1, 2),
        *running(NON_PROD, 3, 4, 5),
        *running(NON_PROD_DEDICATED, 6, 7, 8, 9),
    ])  # fmt: skip
    assert consumption(state, "www") == Consumption(times(1), times(2), times(3), times(4))
    assert consumption(state, "ads") == Consumption()


def test_only_who_is_not_over_counts() -> None:
    state = state_of([one for status in ScheduleStatus for one in running(PROD, 0, status=status)])
    over = {*TERMINAL, S.INIT}
    assert consumption(state, "www").prod_shared == times(len(ScheduleStatus) - len(over))


def test_an_update_takes_the_larger_of_before_and_after() -> None:
    small, large = config(production=True, cpus=1.0, ram_mb=100), config(production=True, cpus=3.0, ram_mb=10)
    state = with_update(state_of(running(small, 0, 1, 7)), update([(small, 0, 1)], (large, 0, 2)))
    # 0 and 1 are in the update: 2 cpus, 200 MB before, 9 cpus and 30 MB after; 7 is none of its business
    assert consumption(state, "www").prod_shared == Resources(9000 + 1000, 200 + 100, 3 * 256 + 256)


def test_an_update_that_is_over_takes_nothing() -> None:
    state = with_update(
        state_of(running(PROD, 0)), update([(PROD, 0, 0)], (PROD, 0, 9), JobUpdateStatus.ROLLED_FORWARD)
    )
    assert consumption(state, "www").prod_shared == times(1)


def test_an_update_that_ends_the_job() -> None:
    state = with_update(state_of(running(PROD, 0, 1)), update([(PROD, 0, 1)], None))
    assert consumption(state, "www").prod_shared == times(2)


def test_an_update_to_production() -> None:
    state = with_update(state_of(running(NON_PROD, 0)), update([(NON_PROD, 0, 0)], (PROD, 0, 0)))
    assert consumption(state, "www") == Consumption(prod_shared=times(1), non_prod_shared=times(1))


def test_a_cron_job_takes_the_larger_of_template_and_what_runs() -> None:
    state = with_cron(State(), cron(3, production=True))
    assert consumption(state, "www").prod_shared == times(3)
    more = with_cron(state_of(running(PROD, 0, 1, 2, 3)), cron(3, production=True))
    assert consumption(more, "www").prod_shared == times(4)


def test_a_cron_job_that_was_not_production_when_it_started() -> None:
    state = with_cron(state_of(running(NON_PROD, 0, 1)), cron(1, production=True))
    assert consumption(state, "www") == Consumption(prod_shared=times(1), non_prod_shared=times(2))


@pytest.mark.parametrize("production", [True, False])
@pytest.mark.parametrize(
    "constraints, is_dedicated",
    [
        (None, False),
        ((), False),
        ((value_constraint("rack", "r1"),), False),
        ((limit_constraint("host", 1),), False),
        ((limit_constraint("dedicated", 1),), False),
        ((wire.Constraint("dedicated"),), False),
        ((limit_constraint("host", 1), value_constraint("dedicated", "*/gpu")), True),
    ],
)
def test_templates_and_updates_are_in_the_pools_of_their_tasks(
    production: bool, constraints: tuple[wire.Constraint, ...] | None, is_dedicated: bool
) -> None:
    of = config(production=production, constraints=constraints)
    pool = f"{'prod' if production else 'non_prod'}_{'dedicated' if is_dedicated else 'shared'}"
    expected = Consumption(**{pool: times(2)})
    assert consumption(state_of(running(of, 0, 1)), "www") == expected
    assert consumption(with_update(State(), update([], (of, 0, 1))), "www") == expected
    state = State()
    state.apply(PutCronJob(KEY, JobConfiguration(JOB, task_config=of.wire, instance_count=2)))
    assert consumption(state, "www") == expected


@given(st.lists(tasks(), max_size=12, unique_by=lambda one: one.task_id))
def test_the_pools_are_all_of_it(some: list[Task]) -> None:
    state = state_of(some)
    total = Resources()
    for role in ("www", "ads"):
        for pool in consumption(state, role):
            total = total.plus(pool)
    expected = Resources()
    for one in some:
        if one.status not in TERMINAL:
            expected = expected.plus(one.config.resources)
    assert total == expected


@given(
    st.lists(st.integers(0, 9), max_size=8, unique=True),
    st.lists(st.tuples(st.sampled_from([PROD, NON_PROD]), st.integers(0, 5), st.integers(0, 5)), max_size=2),
    st.tuples(st.sampled_from([PROD, NON_PROD]), st.integers(0, 5), st.integers(0, 5)),
)
def test_an_update_never_makes_less_of_it(
    instances: list[int], initial: list[tuple[Config, int, int]], desired: tuple[Config, int, int]
) -> None:
    """Whatever an update says of what was, what it is to become is counted, once, and what it leaves alone too."""
    one = update(initial, desired)
    state = state_of(running(PROD, *instances))
    found = consumption(state, "www", update=(KEY, one)).prod_shared
    ranges = [*initial, desired]
    untouched = [i for i in instances if not any(first <= i <= last for _, first, last in ranges)]
    before = sum(max(0, last - first + 1) for of, first, last in initial if of is PROD)
    after = max(0, desired[2] - desired[1] + 1) if desired[0] is PROD else 0
    assert found == times(len(untouched) + max(before, after))


# -- judging -----------------------------------------------------------------------------------------------------------


def test_a_role_without_quota_has_none() -> None:
    assert check(State(), "www", PROD, 1) == (
        "Quota of role www exceeded: 1 cpu wanted, 0 allowed (1 too much), 128 MB RAM wanted, 0 allowed (128 too much),"
        " 256 MB disk wanted, 0 allowed (256 too much)"
    )


def test_up_to_the_quota() -> None:
    state = with_quota(state_of(running(PROD, 0, 1)), times(5))
    assert check(state, "www", PROD, 3) is None
    assert "6 cpu wanted, 5 allowed (1 too much)" in str(check(state, "www", PROD, 4))


def test_only_what_is_too_much_is_named() -> None:
    state = with_quota(State(), Resources(10_000, 100, 10_000))
    assert check(state, "www", PROD, 1) == "Quota of role www exceeded: 128 MB RAM wanted, 100 allowed (28 too much)"


def test_cpus_are_counted_exactly() -> None:
    tenth = config(production=True, cpus=0.1, ram_mb=1, disk_mb=1)
    state = with_quota(State(), Resources(300, 100, 100))
    assert check(state, "www", tenth, 3) is None
    assert check(state, "www", tenth, 4) == "Quota of role www exceeded: 0.4 cpu wanted, 0.3 allowed (0.1 too much)"


@pytest.mark.parametrize("free", [DEDICATED, NON_PROD, NON_PROD_DEDICATED])
def test_what_needs_no_quota(free: Config) -> None:
    assert not needs_quota(free)
    assert check(State(), "www", free, 1000) is None


def test_gpus_need_no_quota() -> None:
    with_gpu = config(production=True, resources=(wire.Resource(num_gpus=4),))
    assert check(State(), "www", with_gpu, 1) is None


def test_a_cron_job_is_judged_by_what_it_adds() -> None:
    state = with_quota(with_cron(state_of(running(PROD, 0)), cron(3, production=True)), times(5))
    assert check_cron(state, cron(5, production=True)) is None
    assert "6 cpu wanted, 5 allowed" in str(check_cron(state, cron(6, production=True)))
    other = cron(2, production=True, job=JOB._replace(name="other"))
    assert check_cron(state, other) is None
    other = cron(3, production=True, job=JOB._replace(name="other"))
    assert "6 cpu wanted, 5 allowed" in str(check_cron(state, other))


def test_a_dedicated_cron_job_needs_no_quota() -> None:
    """Aurora asks for it, though nothing else that is dedicated needs any."""
    assert check_cron(State(), cron(5, production=True, dedicated="*/gpu")) is None
    assert check_cron(State(), cron(5, production=False)) is None
    assert check_cron(State(), cron(5, production=True)) is not None


def test_an_update_is_judged_with_all_that_is_there() -> None:
    state = with_quota(state_of(running(PROD, 0, 1, 7)), times(5))
    assert check_update(state, KEY, update([(PROD, 0, 1)], (PROD, 0, 3))) is None
    assert "6 cpu wanted, 5 allowed" in str(check_update(state, KEY, update([(PROD, 0, 1)], (PROD, 0, 4))))


def test_an_update_to_what_needs_no_quota() -> None:
    state = state_of(running(PROD, 0))
    assert check_update(state, KEY, update([(PROD, 0, 0)], (NON_PROD, 0, 99))) is None
    assert check_update(state, KEY, update([(PROD, 0, 0)], None)) is None


def test_a_quota_cannot_be_below_what_is_used() -> None:
    state = state_of(running(PROD, 0, 1))
    assert check_set_quota(state, "www", times(2)) is None
    assert check_set_quota(state, "www", Resources(1500, 256, 512)) == (
        "Production tasks of role www use more than this quota already: 2 cpu wanted, 1.5 allowed (0.5 too much)"
    )


def test_a_quota_cannot_be_negative() -> None:
    assert check_set_quota(State(), "www", Resources(-1000, 1, -1)) == "A quota cannot be negative: cpu -1, MB disk -1"
    assert check_set_quota(State(), "www", Resources()) is None


# -- on the wire -------------------------------------------------------------------------------------------------------


def test_quota_there_and_back() -> None:
    assert quota_of(aggregate_of(Resources(1500, 2, 3))) == Resources(1500, 2, 3)
    assert wire.Resource(num_gpus=4) in (aggregate_of(Resources(gpus=4)).resources or ())


@pytest.mark.parametrize(
    "resources, count",
    [
        (None, 3),
        ((wire.Resource(num_cpus=1.0),), 2),
        ((*(aggregate_of(ONE).resources or ()), wire.Resource(ram_mb=4)), 1),
        ((*(aggregate_of(ONE).resources or ()), wire.Resource(named_port="a")), 1),
        ((wire.Resource(num_cpus=float("nan")), wire.Resource(ram_mb=1), wire.Resource(disk_mb=1)), 1),
    ],
)
def test_quotas_that_are_none(resources: tuple[wire.Resource, ...] | None, count: int) -> None:
    with pytest.raises(Invalid) as raised:
        quota_of(ResourceAggregate(resources))
    assert len(raised.value.problems) == count
