"""The agents' part: executors from their first task to their end, and statuses until they are acknowledged."""

from __future__ import annotations

from typing import Any, Final

from scheduler.local import resources
from scheduler.local.allocation import Allocator
from scheduler.local.model import (
    DestroyExecutor,
    ExecutorExited,
    ExecutorKey,
    ExecutorStarted,
    ExecutorSubscribed,
    StartExecutor,
    TellExecutor,
)
from scheduler.local.world import Executor, Phase, Reach, Task, World, make_status
from thermos.formats.mesos_v1 import Object, read_executor, read_task
from thermos.formats.mesos_v1_scheduler import Failure, Status, Update
from thermos.mesos import (
    Acknowledged,
    Kill,
    Launch,
    MesosTaskState,
    Raw,
    Reason,
    Shutdown,
    Source,
    Subscribed,
    TaskStatus,
)

#: Kinds of timers.
EXECUTOR_DUE: Final = "executor due"
UPDATE_DUE: Final = "update due"

#: What an agent says of an executor whose end it could not wait for.
_NO_STATUS: Final = -1


class Executors:
    """All of all agents."""

    def __init__(self, world: World, allocator: Allocator) -> None:
        self._world = world
        self._allocator = allocator

    # -- tasks ---------------------------------------------------------------------------------------------------------

    def launch(self, task: Task, key: ExecutorKey, info: Raw) -> None:
        """Give the task to its executor, which is started if it is not there."""
        world, agent = self._world, task.agent
        executor = agent.executors.get(key)
        if executor is None:
            bag = resources.read(info.get("resources") or ())
            executor = agent.executors[key] = Executor(key, info, bag, world.new_container_id())
            framework = task.framework
            world.actions.append(StartExecutor(key, executor.container_id, info, framework.user, framework.checkpoint))
            self._set_deadline(executor, world.settings.executor_registration_timeout_s)
            world.keep("executor", *key)
        task.executor = executor
        executor.tasks[task.id] = task
        world.keep("task", task.framework.id, task.id)
        if executor.phase is Phase.TERMINATING:
            self._say_for(task, MesosTaskState.TASK_LOST, Reason.REASON_EXECUTOR_TERMINATED, "Executor terminating")
        elif executor.phase is Phase.REGISTERING:
            executor.waiting[task.id] = task
        else:
            world.actions.append(TellExecutor(key, _launch(task)))

    def kill(self, task: Task, grace_s: float | None) -> None:
        """Ask the executor for the task's end; one that was not told of it yet never hears of it."""
        executor = task.executor
        if executor is None or task.is_over or task.agent.reach is not Reach.UP:
            return
        if task.id in executor.waiting:
            del executor.waiting[task.id]
            message = "Killed before delivery to the executor"
            self._say_for(task, MesosTaskState.TASK_KILLED, Reason.REASON_TASK_KILLED_DURING_LAUNCH, message)
        elif executor.phase is Phase.RUNNING:
            self._world.actions.append(TellExecutor(executor.key, Kill(task.id, grace_s)))
        elif executor.phase is Phase.REGISTERING:
            task.kill = (grace_s,)

    # -- statuses ------------------------------------------------------------------------------------------------------

    def update(self, key: ExecutorKey, said: TaskStatus) -> None:
        """Take a status of an executor, once; it is acknowledged to it as often as it says it."""
        world = self._world
        agent = world.agents.get(key.agent_id)
        executor = agent.executors.get(key) if agent is not None else None
        if executor is None:
            return
        task = executor.tasks.get(said.task_id)
        if task is not None and said.uuid not in task.seen and not task.is_over:
            executor.waiting.pop(task.id, None)
            self._take(task, self._status_of(executor, said))
        world.actions.append(TellExecutor(key, Acknowledged(said.task_id, said.uuid)))

    def _status_of(self, executor: Executor, said: TaskStatus) -> Status:
        """What an executor said, with what its agent adds."""
        container: dict[str, Any] = dict(said.container_status or {})
        address = self._world.settings.address
        if address is not None:
            where = {"protocol": "IPv4", "ip_address": address[0]}
            container.setdefault("network_infos", [{"ip_addresses": [where]}])
        container.setdefault("container_id", {"value": executor.container_id})
        if executor.pid is not None:
            container.setdefault("executor_pid", executor.pid)
        labels = tuple([(label.key, label.value) for label in said.labels])
        return make_status(
            said.task_id, said.state, said.source, said.reason, said.message, executor.key.agent_id,
            executor.key.executor_id, said.timestamp_s, uuid=said.uuid, healthy=said.healthy, labels=labels,
            container_status=container, data=said.data,
        )  # fmt: skip

    def _say_for(self, task: Task, state: MesosTaskState, reason: Reason, message: str) -> None:
        """A status by the agent."""
        executor = task.executor
        status = make_status(
            task.id, state, Source.SOURCE_AGENT, reason, message, task.agent.spec.agent_id,
            executor.key.executor_id if executor is not None else None, self._world.now_s,
            uuid=self._world.new_uuid(),
        )  # fmt: skip
        self._take(task, status)

    def _take(self, task: Task, status: Status) -> None:
        task.pending.append(status)
        assert status.uuid is not None
        task.seen.add(status.uuid)
        self._world.keep("task", task.framework.id, task.id)
        if not task.is_told:
            self.tell_next(task)

    def tell_next(self, task: Task) -> None:
        """Tell the framework the oldest status that is not acknowledged."""
        if not task.pending or task.agent.reach is not Reach.UP:
            return
        world = self._world
        task.is_told = True
        task.last = task.pending[0]
        task.retry_s = world.settings.update_retry_min_s
        self._tell_again(task)
        if task.is_over:
            self.free(task)

    def _tell_again(self, task: Task) -> None:
        world = self._world
        world.tell(task.framework, Update(task.pending[0]))
        task.retry_at_s = world.now_s + task.retry_s
        world.call_at(task.retry_at_s, UPDATE_DUE, (task.framework.id, task.id))
        task.retry_s = min(task.retry_s * 2, world.settings.update_retry_max_s)

    def retry(self, framework_id: str, task_id: str) -> None:
        """A status's time has come: tell it again if it is still not acknowledged."""
        framework = self._world.frameworks.get(framework_id)
        task = framework.tasks.get(task_id) if framework is not None else None
        if task is None or task.agent.reach is not Reach.UP:
            return
        if task.is_told and task.retry_at_s <= self._world.now_s:
            self._tell_again(task)

    def acknowledge(self, task: Task, uuid: bytes) -> None:
        """The framework has this status; the next one may go."""
        if not task.is_told or task.pending[0].uuid != uuid:
            return
        done = task.pending.popleft()
        task.is_told = False
        self._world.keep("task", task.framework.id, task.id)
        if done.state.is_terminal:
            self.forget(task)
        else:
            self.tell_next(task)

    def free(self, task: Task) -> None:
        """What the task used is free."""
        if not task.is_freed:
            task.is_freed = True
            self._allocator.give_back(task.agent, task.resources)

    def forget(self, task: Task) -> None:
        """Nothing is left to say about the task."""
        self.free(task)
        task.framework.tasks.pop(task.id, None)
        if task.executor is not None:
            task.executor.tasks.pop(task.id, None)
            task.executor.waiting.pop(task.id, None)
        self._world.keep("task", task.framework.id, task.id)

    # -- executors -----------------------------------------------------------------------------------------------------

    def started(self, event: ExecutorStarted) -> None:
        """Its process is known."""
        executor = self._find(event.key)
        if executor is not None:
            executor.pid, executor.start_ticks = event.pid, event.start_ticks
            self._world.keep("executor", *event.key)

    def subscribed(self, event: ExecutorSubscribed) -> None:
        """It is there, for the first time or again."""
        world = self._world
        executor = self._find(event.key)
        if executor is None:
            return
        agent = world.agents[event.key.agent_id]
        framework = world.frameworks.get(event.key.framework_id)
        if executor.phase is Phase.TERMINATING or framework is None:
            world.actions.append(TellExecutor(event.key, Shutdown()))
            return
        is_first = executor.phase is Phase.REGISTERING and not executor.is_recovered
        executor.phase, executor.is_recovered, executor.deadline_s = Phase.RUNNING, False, None
        world.keep("executor", *event.key)
        told = Subscribed(
            read_executor(Object(executor.info, "")),
            framework.told,
            agent.told,
            executor.container_id,
        )
        world.actions.append(TellExecutor(event.key, told))
        for status in event.updates:
            self.update(event.key, status)
        has = {task.task_id for task in event.tasks}
        for task in list(executor.tasks.values()):
            if task.id not in has and task.id not in executor.waiting and not task.seen:
                self._say_lost(task, Reason.REASON_AGENT_RESTARTED, "Task launched during agent restart")
        for task in executor.waiting.values():
            world.actions.append(TellExecutor(event.key, _launch(task)))
        executor.waiting.clear()
        for task in list(executor.tasks.values()):
            if task.kill is not None:
                (grace_s,), task.kill = task.kill, None
                self.kill(task, grace_s)
        if not event.tasks and all(one.is_over for one in executor.tasks.values()) and is_first:
            self.shut_down(executor)  # all that it was started for has been killed meanwhile

    def _say_lost(self, task: Task, reason: Reason, message: str) -> None:
        """It never ran."""
        is_aware = task.framework.is_partition_aware
        state = MesosTaskState.TASK_DROPPED if is_aware else MesosTaskState.TASK_LOST
        self._say_for(task, state, reason, message)

    def shut_down(self, executor: Executor) -> None:
        """Ask it to end, and end it when it has had its time."""
        if executor.phase is Phase.TERMINATING:
            return
        if executor.phase is Phase.RUNNING:
            self._world.actions.append(TellExecutor(executor.key, Shutdown()))
        executor.phase = Phase.TERMINATING
        self._set_deadline(executor, shutdown_grace_s(executor.info, self._world.settings.executor_shutdown_grace_s))
        self._world.keep("executor", *executor.key)

    def _set_deadline(self, executor: Executor, in_s: float) -> None:
        executor.deadline_s = self._world.now_s + in_s
        self._world.call_at(executor.deadline_s, EXECUTOR_DUE, executor.key)

    def await_again(self, executor: Executor) -> None:
        """We were restarted: it has to come back."""
        executor.is_recovered = True
        if executor.phase is Phase.TERMINATING:
            self._set_deadline(executor, 0.0)
        else:
            executor.phase = Phase.REGISTERING
            self._set_deadline(executor, self._world.settings.executor_reregistration_timeout_s)

    def due(self, key: ExecutorKey) -> None:
        """It was to subscribe, or to end, by now."""
        executor = self._find(key)
        if executor is None or executor.deadline_s is None or executor.deadline_s > self._world.now_s:
            return
        executor.deadline_s = None
        if executor.phase is Phase.REGISTERING:
            settings = self._world.settings
            if executor.is_recovered:
                within_s = settings.executor_reregistration_timeout_s
                reason = Reason.REASON_EXECUTOR_REREGISTRATION_TIMEOUT
                executor.ended_for = reason, f"Executor did not reregister within {within_s:g}secs"
            else:
                within_s = settings.executor_registration_timeout_s
                reason = Reason.REASON_EXECUTOR_REGISTRATION_TIMEOUT
                executor.ended_for = reason, f"Executor did not register within {within_s:g}secs"
        executor.phase = Phase.TERMINATING
        self._world.actions.append(DestroyExecutor(key))

    def exited(self, event: ExecutorExited) -> None:
        """It is gone; so are its tasks."""
        executor = self._find(event.key)
        if executor is None:
            return
        world = self._world
        agent = world.agents[event.key.agent_id]
        framework = world.frameworks.get(event.key.framework_id)
        if framework is not None and agent.reach is Reach.UP:
            status = _NO_STATUS if event.status is None else event.status
            world.tell(framework, Failure(event.key.agent_id, event.key.executor_id, status))
        reason, message = executor.ended_for or (event.reason, event.message)
        for task in list(executor.tasks.values()):
            if not task.is_over:
                self._say_for(task, MesosTaskState.TASK_FAILED, reason, message)
            task.executor = None
            world.keep("task", task.framework.id, task.id)
        del agent.executors[event.key]
        world.keep("executor", *event.key)
        self._allocator.give_back(agent, executor.resources)

    def _find(self, key: ExecutorKey) -> Executor | None:
        agent = self._world.agents.get(key.agent_id)
        return agent.executors.get(key) if agent is not None else None


def _launch(task: Task) -> Launch:
    parsed, task.parsed = task.parsed or read_task(Object(task.info, "")), None
    return Launch(parsed)


def shutdown_grace_s(info: Raw, default_s: float) -> float:
    """How long an executor has after a SHUTDOWN."""
    asked_s = Object(info, "").maybe_duration_s("shutdown_grace_period")
    return default_s if asked_s is None else asked_s
