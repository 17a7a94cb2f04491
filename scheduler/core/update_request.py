"""Which updates are taken, and what is made of them (``SchedulerThriftInterface.startJobUpdate``, ``JobDiff.java``).

Everything that is wrong is said at once. What is taken says all by itself: what is there before, what is to be, and how
to get there; an update needs nothing else to go forward, and back to exactly what was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from scheduler.core import queries, quota
from scheduler.core.ranges import instances_of, ranges_of
from scheduler.core.settings import Settings
from scheduler.core.state import State
from scheduler.core.submission import Invalid, checked_config, instance_count_problems
from scheduler.core.update_record import abort_of
from scheduler.core.updates import back_filled, strategy_of, work_order
from scheduler.model import Config, JobKey
from scheduler.states import ScheduleStatus
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    InstanceTaskConfig,
    JobUpdate,
    JobUpdateInstructions,
    JobUpdateRequest,
    JobUpdateSettings,
    JobUpdateStrategy,
    JobUpdateSummary,
)

#: Words for an update that would change nothing (Aurora's, which clients show).
UNCHANGED: Final = "Job is unchanged by proposed update."


class Request(NamedTuple):
    """An update that may be taken, as far as it can be judged without looking at its job."""

    config: Config
    instances: int
    settings: JobUpdateSettings
    metadata: tuple[wire.Metadata, ...] | None


def checked_request(request: JobUpdateRequest | None, settings: Settings) -> Request:
    """The update that *request* asks for. Raises Invalid with all that is wrong with it."""
    if request is None or request.task_config is None:
        raise Invalid(("the update has no task configuration",))
    problems: list[str] = []
    count = request.instance_count or 0
    counting = instance_count_problems(count, settings)
    config: Config | None = None
    try:
        config = checked_config(request.task_config, settings, None if counting else count)
    except Invalid as error:
        problems += error.problems
    problems += counting
    asked = request.settings
    if asked is None:
        problems.append("the update has no settings")
    else:
        problems += settings_problems(asked, count, settings.max_update_instance_failures)
        if asked.sla_aware and not any(request.task_config.sla_policy or ()):
            problems.append("slaAware needs an SLA policy, and the task has none")
    if not request.task_config.is_service:
        problems.append("only services can be updated: instances of this job end by themselves")
    if problems or config is None or asked is None:
        raise Invalid(tuple(problems))
    return Request(config, count, back_filled(asked), request.metadata or None)


def settings_problems(settings: JobUpdateSettings, instances: int, max_failures: int) -> Iterator[str]:
    """All that is wrong with how the update is to go. *max_failures*: how often tasks may fail in it, all in all."""
    yield from _strategy_problems(settings)
    for name, value in (
        ("maxPerInstanceFailures", settings.max_per_instance_failures),
        ("maxFailedInstances", settings.max_failed_instances),
        ("minWaitInInstanceRunningMs", settings.min_wait_in_instance_running_ms),
        ("canaryPromoteAfterMs", settings.canary_promote_after_ms),
    ):
        if value is not None and value < 0:
            yield f"{name} must be 0 or more, not {value}"
    for name, value in (
        ("blockIfNoPulsesAfterMs", settings.block_if_no_pulses_after_ms),
        ("progressDeadlineMs", settings.progress_deadline_ms),
        ("canaryCount", settings.canary_count),
    ):
        if value is not None and value < 1:
            yield f"{name} must be 1 or more, or not be set, not {value}"
    if settings.canary_promote_after_ms is not None and settings.canary_count is None:
        yield "canaryPromoteAfterMs is set, and canaryCount is not: how many canaries?"
    failures = (settings.max_per_instance_failures or 0) * instances
    if failures > max_failures:
        yield f"maxPerInstanceFailures allows {failures} failures in all, and {max_failures} are the most that may be"
    deadline_ms = settings.progress_deadline_ms or 0
    wait_ms = settings.min_wait_in_instance_running_ms or 0
    if 0 < deadline_ms <= wait_ms:
        yield f"progressDeadlineMs ({deadline_ms}) must be more than minWaitInInstanceRunningMs ({wait_ms})"
    for one in settings.update_only_these_instances or ():
        if one.first is None or one.last is None or not 0 <= one.first <= one.last:
            yield f"updateOnlyTheseInstances has a range from {one.first} to {one.last}: no instances are in it"
        elif one.last >= _MAX_INSTANCE:
            yield f"updateOnlyTheseInstances has the instance {one.last}: no job has so many"


#: More than any job may have: ranges are written out.
_MAX_INSTANCE: Final = 1_000_000


def _strategy_problems(settings: JobUpdateSettings) -> Iterator[str]:
    strategy = settings.update_strategy
    if strategy is None:
        if (settings.update_group_size or 0) < 1:
            yield f"updateGroupSize must be 1 or more, not {settings.update_group_size}"
        return
    chosen = [one for one in strategy if one is not None]
    if len(chosen) != 1:
        yield f"updateStrategy must be one of queue, batch and varBatch, not {len(chosen)} of them"
        return
    variable = JobUpdateStrategy(*strategy).var_batch_strategy
    if variable is not None:
        sizes = variable.group_sizes or ()
        if not sizes:
            yield "groupSizes of the varBatchStrategy is empty: name one at least"
        wrong = [str(size) for size in sizes if size < 1]
        if wrong:
            yield f"groupSizes of the varBatchStrategy must each be 1 or more, not {', '.join(wrong)}"
        return
    single = strategy.batch_strategy or strategy.queue_strategy
    assert single is not None
    if (single.group_size or 0) < 1:
        name = "batchStrategy" if strategy.batch_strategy is not None else "queueStrategy"
        yield f"groupSize of the {name} must be 1 or more, not {single.group_size}"


# -- what it comes to for its job --------------------------------------------------------------------------------------


def difference(state: State, request: Request) -> queries.JobDiff:
    """What the update changes of its job. Raises Invalid where it names instances that are none of it."""
    scope = request.settings.update_only_these_instances
    found = queries.compare(state, request.config, request.instances, scope)
    known = {*range(request.instances), *found.remove, *found.update, *found.unchanged}
    unknown = sorted(instances_of(scope) - known)
    if unknown:
        words = ", ".join(map(str, unknown[:10])) + (" …" if len(unknown) > 10 else "")
        raise Invalid((f"updateOnlyTheseInstances has instances that the job neither has nor will have: {words}",))
    return found


def instructions_of(request: Request, found: queries.JobDiff) -> JobUpdateInstructions | None:
    """What to do; None: nothing is to be changed."""
    before: Mapping[int, Config] = {**found.remove, **found.update}
    after = {*found.add, *found.update}
    if not before and not after:
        return None
    groups: dict[Config, list[int]] = {}
    for instance in sorted(before):
        groups.setdefault(before[instance], []).append(instance)
    return JobUpdateInstructions(
        tuple(InstanceTaskConfig(config.wire, ranges_of(instances)) for config, instances in groups.items()),
        InstanceTaskConfig(request.config.wire, ranges_of(after)) if after else None,
        request.settings,
    )


class Prepared(NamedTuple):
    """An update that may begin: what it changes, and how."""

    request: Request
    #: What is to be added, changed, removed, or left alone.
    found: queries.JobDiff
    #: None: nothing is to be changed.
    instructions: JobUpdateInstructions | None
    #: Whether it takes the place of one that is being aborted, with all instances that that one waits for.
    replaces: bool = False


class InProgress(Invalid):
    """The job is being updated already. *summary*: of that update."""

    def __init__(self, job: JobKey, summary: JobUpdateSummary) -> None:
        update_id = summary.key.id if summary.key is not None else None
        status = summary.state.status if summary.state is not None else None
        super().__init__(
            (
                f"{job} is being updated already, by {summary.user} (update {update_id}, {status}): "
                "abort that, or wait for its end",
            )
        )
        self.summary = summary


def prepared(state: State, request: JobUpdateRequest | None, settings: Settings) -> Prepared:
    """The update that *request* asks for, as it would begin now; nothing is changed. Raises Invalid with what is wrong,
    InProgress where another one is under way."""
    checked = checked_request(request, settings)
    job = checked.config.job
    if job in state.cron_jobs:
        raise Invalid((f"{job} is a cron job: schedule its new configuration instead of updating it",))
    active = state.updates.get((job, state.active_updates.get(job, "")))
    found = None
    if active is not None:
        summary = (active.update.summary if active.update is not None else None) or JobUpdateSummary()
        if abort_of(active) is None:
            raise InProgress(job, summary)
        found = difference(state, checked)
        if not being_killed(state, job) <= found.update.keys() | found.remove.keys():
            raise InProgress(job, summary)
    found = found or difference(state, checked)
    instructions = instructions_of(checked, found)
    if instructions is not None:
        total = len(found.add) + len(found.update) + len(found.unchanged)
        allowed = settings.max_tasks_per_job
        if total > allowed:
            raise Invalid((f"{job} would have {total} instances; at most {allowed} are allowed",))
        too_much = quota.check_update(state, job, JobUpdate(instructions=instructions))
        if too_much is not None:
            raise Invalid((too_much,))
    return Prepared(checked, found, instructions, active is not None)


def being_killed(state: State, job: JobKey) -> set[int]:
    """The job's instances whose tasks are being killed."""
    return {task.instance for task in state.active_of(job) if task.status is ScheduleStatus.KILLING}


def plan(state: State, request: JobUpdateRequest, settings: Settings) -> tuple[tuple[int, ...], ...]:
    """The instances that the update would change, in the groups and the order in which it would; nothing is changed.
    Raises Invalid where ``startJobUpdate`` would refuse it, with the same words."""
    asked, found, *_ = prepared(state, request, settings)
    order = work_order({*found.remove, *found.update}, {*found.add, *found.update})
    return tuple(strategy_of(asked.settings).groups(order))
