"""Jobs, configurations and tasks as the scheduler knows them, for tests that tell what matters and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any, Final

from hypothesis import strategies as st

from scheduler.core.changes import PutTask
from scheduler.core.settings import ExecutorSettings, Settings
from scheduler.core.state import State
from scheduler.model import Config, JobKey, Resources, Task, TaskEvent, config_of
from scheduler.states import ScheduleStatus
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import JobConfiguration

EXECUTOR: Final = "AuroraExecutor"
SETTINGS: Final = Settings(
    executors=MappingProxyType({EXECUTOR: ExecutorSettings(EXECUTOR, Resources(250, 128), {})}),
)
JOB: Final = wire.JobKey("www", "prod", "web")


def task_config(
    job: wire.JobKey = JOB,
    cpus: float = 1.0,
    ram_mb: int = 128,
    disk_mb: int = 256,
    ports: Iterable[str] = (),
    dedicated: str | None = None,
    **more: Any,
) -> wire.TaskConfig:
    """A configuration as a client sends it, that nothing is wrong with."""
    config = wire.TaskConfig(
        job=job,
        owner=wire.Identity("ann"),
        is_service=False,
        priority=0,
        max_task_failures=1,
        production=False,
        resources=(
            wire.Resource(num_cpus=cpus),
            wire.Resource(ram_mb=ram_mb),
            wire.Resource(disk_mb=disk_mb),
            *(wire.Resource(named_port=port) for port in ports),
        ),
        constraints=() if dedicated is None else (value_constraint("dedicated", dedicated),),
        executor_config=wire.ExecutorConfig(EXECUTOR, "{}"),
        container=wire.Container(mesos=wire.MesosContainer()),
    )
    return config._replace(**more)


def value_constraint(name: str, *values: str, negated: bool = False) -> wire.Constraint:
    return wire.Constraint(name, wire.TaskConstraint(value=wire.ValueConstraint(negated, values)))


def limit_constraint(name: str, limit: int) -> wire.Constraint:
    return wire.Constraint(name, wire.TaskConstraint(limit=wire.LimitConstraint(limit)))


def config(**given: Any) -> Config:
    return config_of(task_config(**given))


def job(instances: int = 1, cron_schedule: str | None = None, **given: Any) -> JobConfiguration:
    """A job as a client sends it."""
    described = task_config(**given)
    return JobConfiguration(
        key=described.job,
        owner=described.owner,
        cron_schedule=cron_schedule,
        task_config=described,
        instance_count=instances,
    )


def task(
    *states: ScheduleStatus,
    task_id: str = "t",
    instance: int = 0,
    of: Config | None = None,
    at_ms: int = 0,
    each_ms: int = 1000,
    **more: Any,
) -> Task:
    """A task that went through *states*, *each_ms* apart, the first at *at_ms*."""
    events = tuple(TaskEvent(at_ms + number * each_ms, status) for number, status in enumerate(states))
    return Task(task_id, instance, of or config(), states[-1], events, **more)


def state_of(tasks: Iterable[Task]) -> State:
    state = State()
    for one in tasks:
        state.apply(PutTask(one))
    return state


# -- hypothesis --------------------------------------------------------------------------------------------------------

KEYS: Final = tuple(
    JobKey(role, environment, name)
    for role in ("www", "ads")
    for environment in ("prod", "test")
    for name in ("a", "b")
)
CONFIGS: Final = tuple(
    config(job=wire.JobKey(*key), production=production, dedicated=dedicated, cpus=cpus)
    for key in KEYS
    for production in (False, True)
    for dedicated in (None, "*/gpu")
    for cpus in (0.5, 2.0)
)
AGENTS: Final = (("agent-1", "host-1"), ("agent-2", "host-2"), ("agent-3", "host-1"))


@st.composite
def tasks(draw: st.DrawFn, ids: st.SearchStrategy[str] | None = None) -> Task:
    """A task of one of a few jobs, in any state; nothing about it need be likely."""
    status = draw(st.sampled_from([one for one in ScheduleStatus if one is not ScheduleStatus.INIT]))
    agent_id, host = draw(st.sampled_from([(None, None), *AGENTS]))
    first_ms = draw(st.integers(0, 5))
    return Task(
        task_id=draw(ids or st.sampled_from([f"task-{number}" for number in range(12)])),
        instance=draw(st.integers(0, 3)),
        config=draw(st.sampled_from(CONFIGS)),
        status=status,
        events=(TaskEvent(first_ms, ScheduleStatus.PENDING), TaskEvent(first_ms + draw(st.integers(0, 5)), status)),
        agent_id=agent_id,
        host=host,
        ancestor_id=draw(st.sampled_from([None, "task-0"])),
    )
