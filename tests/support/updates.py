"""Stories of updates: requests, clients' commands in few words, and what came of it."""

from __future__ import annotations

from typing import Any, Final

from scheduler.core.commands import (
    AbortJobUpdate,
    Answer,
    PauseJobUpdate,
    PulseJobUpdate,
    ResumeJobUpdate,
    RollbackJobUpdate,
    SetQuota,
    StartJobUpdate,
)
from scheduler.core.events import Kill
from scheduler.core.state import State
from scheduler.core.update_queries import waits
from scheduler.model import Health, JobKey, Resources, Task
from scheduler.store.backups import changes_of
from tests.support.world import JOB, World, offer, task_config
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    BatchJobUpdateStrategy,
    JobUpdateDetails,
    JobUpdateKey,
    JobUpdateRequest,
    JobUpdateSettings,
    JobUpdateStrategy,
    Range,
    ResponseCode,
    VariableBatchJobUpdateStrategy,
)
from thermos.mesos import HEALTH_LABEL

#: What an executor says whose RUNNING means healthy.
HEALTHY: Final = ((HEALTH_LABEL, Health.CHECKED),)
_COMMANDS: Final[dict[str, Any]] = {
    "pause": PauseJobUpdate, "resume": ResumeJobUpdate, "abort": AbortJobUpdate, "rollback": RollbackJobUpdate,
}  # fmt: skip


def settings(**more: Any) -> JobUpdateSettings:
    """One at a time, done when RUNNING, rolled back at the first failure."""
    fields: dict[str, Any] = {
        "update_group_size": 1, "max_per_instance_failures": 0, "max_failed_instances": 0,
        "min_wait_in_instance_running_ms": 0, "rollback_on_failure": True, "wait_for_batch_completion": False,
        "update_only_these_instances": (),
    }  # fmt: skip
    return JobUpdateSettings(**{**fields, **more})


def batch(size: int, is_autopaused: bool = False) -> JobUpdateStrategy:
    return JobUpdateStrategy(batch_strategy=BatchJobUpdateStrategy(size, is_autopaused))


def batches(*sizes: int, is_autopaused: bool = False) -> JobUpdateStrategy:
    return JobUpdateStrategy(var_batch_strategy=VariableBatchJobUpdateStrategy(sizes, is_autopaused))


def only(*instances: int) -> tuple[Range, ...]:
    return tuple(Range(one, one) for one in instances)


def request(instances: int = 1, job: JobKey = JOB, config: dict[str, Any] | None = None, **more: Any) -> Any:
    """To priority 7 (or *config*), with *more* settings."""
    wanted = task_config(job, **{"priority": 7, **(config or {})})
    return JobUpdateRequest(wanted, instances, settings(**more), (wire.Metadata("id", "client-1"),))


class Updated(World):
    """A world in which executors say whether RUNNING means healthy, and updates are told of in few words."""

    def start(self, instances: int = 1, job: JobKey = JOB, config: dict[str, Any] | None = None, **more: Any) -> str:
        """Begin an update; gives its id."""
        answer = self.command(StartJobUpdate(request(instances, job, config, **more), "go", "ann"))
        assert answer.code is ResponseCode.OK, answer
        assert answer.result is not None, answer
        result = answer.result.start_job_update_result
        assert result is not None
        assert result.key is not None
        return result.key.id or ""

    def client(self, verb: str, update_id: str, message: str | None = None) -> Answer:
        """pause, resume, abort, rollback."""
        return self.command(_COMMANDS[verb](JobUpdateKey(wire.JobKey(*JOB), update_id), message, "bob"))

    def pulse(self, update_id: str) -> str:
        answer = self.command(PulseJobUpdate(JobUpdateKey(wire.JobKey(*JOB), update_id), "watcher"))
        assert answer.code is ResponseCode.OK
        assert answer.result is not None
        assert answer.result.pulse_job_update_result is not None
        return str(answer.result.pulse_job_update_result.status)

    def details(self, update_id: str, job: JobKey = JOB) -> JobUpdateDetails:
        return self.engine.state.updates[(job, update_id)]

    def states(self, update_id: str) -> list[str]:
        """All that it went through."""
        return [str(event.status) for event in self.details(update_id).update_events or ()]

    def state(self, update_id: str) -> str:
        return self.states(update_id)[-1]

    def events(self, update_id: str) -> list[tuple[int | None, str]]:
        """(instance, what happened) without the common beginning of its name."""
        return [
            (event.instance_id, str(event.action).removeprefix("INSTANCE_"))
            for event in self.details(update_id).instance_events or ()
        ]

    def waits(self, update_id: str) -> list[tuple[int, str]]:
        return waits(
            self.engine.state, (JOB, update_id), self.now.wall_ms, self.engine.pending_reasons(), self.settings
        )

    def configs(self, job: JobKey = JOB) -> dict[int, int]:
        """Instance → priority of its task, which says whether it is old (0) or new (7)."""
        return {task.instance: task.config.priority for task in self.tasks(job)}

    def task_of(self, instance: int, among: list[Task] | None = None) -> Task:
        """The instance's task that is not over."""
        return next(task for task in (self.tasks() if among is None else among) if task.instance == instance)

    def failover(self) -> Updated:
        """Another scheduler, with all that was kept."""
        state = State()
        for change in changes_of(self.engine.state):
            state.apply(change)
        return Updated(self.settings, state, self.now)

    def end_killed(self) -> list[int]:
        """Mesos does as it was told since the last look; gives the instances."""
        killed = []
        for kill in self.taken(Kill):
            task = self.engine.state.tasks.get(kill.task_id)
            if task is not None:
                killed.append(task.instance)
                self.status(task, "KILLED")
        return killed

    def place(self, *numbers: int) -> list[Task]:
        """Offers of these hosts, or of enough of them, are used; gives what runs now that did not."""
        self.offers(*(offer(number) for number in numbers or range(1, 20)))
        self.pass_s(0.1)
        return [task for task in self.tasks() if task.status.name == "ASSIGNED"]

    def healthy(self, *tasks: Task) -> None:
        """These run, and are healthy."""
        for task in tasks:
            self.status(task, "RUNNING", labels=HEALTHY)

    def fail(self) -> None:
        """The one task that is placed fails."""
        (task,) = self.place()
        self.status(task, "FAILED")

    def roll(self, update_id: str, steps: int = 50) -> list[list[int]]:
        """Kills are obeyed, and what is placed is healthy, until nothing more happens; gives what was killed in each
        step."""
        found = []
        for _ in range(steps):
            killed = self.end_killed()
            placed = self.place()
            self.healthy(*placed)
            if not killed and not placed:
                break
            found.append(killed)
        return found


def promising(count: int, duration_s: int = 0) -> dict[str, Any]:
    """A job of which so many have to run."""
    return {"tier": "preferred", "sla_policy": wire.SlaPolicy(count_sla_policy=wire.CountSlaPolicy(count, duration_s))}


def running(config: dict[str, Any], instances: int = 20, run_for_s: float = 60, **more: Any) -> Updated:
    """A world in which it runs for so long."""
    world = Updated(min_required_instances_for_sla_check=2, **more)
    world.engine.command(SetQuota("www", Resources(10**6, 10**6, 10**6), "root"), world.now)
    world.run(instances=instances, **config)
    world.pass_s(run_for_s)
    return world
