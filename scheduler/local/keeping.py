"""What of master and agents outlives a restart, as rows of JSON: frameworks, agents, executors, tasks."""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Iterable
from typing import Any

from scheduler.local import resources
from scheduler.local.master import Master
from scheduler.local.model import AgentSpec, ExecutorKey
from scheduler.local.world import Executor, Framework, KeptKey, Phase, Task
from thermos.formats.mesos_v1 import dump, write_data
from thermos.formats.mesos_v1_scheduler import Status, Update, decode_event

#: Its key, and what was kept under it.
Row = tuple[KeptKey, dict[str, Any]]


def row_of(master: Master, key: KeptKey) -> dict[str, Any] | None:
    """What is to be kept of it now; None: nothing."""
    world = master.world
    match key:
        case ("framework", framework_id):
            framework = world.frameworks.get(framework_id)
            if framework is not None:
                return {"info": dict(framework.info)}
            return {"is_removed": True} if framework_id in world.removed else None
        case ("agent", agent_id):
            agent = world.agents.get(agent_id)
            return None if agent is None else _write_agent(agent.spec)
        case ("executor", agent_id, framework_id, executor_id):
            agent = world.agents.get(agent_id)
            executor = agent and agent.executors.get(ExecutorKey(agent_id, framework_id, executor_id))
            return _write_executor(executor) if isinstance(executor, Executor) else None
        case ("task", framework_id, task_id):
            framework = world.frameworks.get(framework_id)
            task = framework and framework.tasks.get(task_id)
            return _write_task(task) if isinstance(task, Task) else None
    raise ValueError(f"nothing of this kind is kept: {key}")


def _write_agent(spec: AgentSpec) -> dict[str, Any]:
    return {
        "id": spec.agent_id,
        "hostname": spec.hostname,
        "resources": resources.write(spec.resources),
        "attributes": list(spec.attributes),
    }


def _write_executor(executor: Executor) -> dict[str, Any]:
    return {
        "key": list(executor.key),
        "info": dict(executor.info),
        "container_id": executor.container_id,
        "is_ending": executor.phase is Phase.TERMINATING,
        "pid": executor.pid,
        "start_ticks": executor.start_ticks,
    }


def _write_task(task: Task) -> dict[str, Any]:
    executor = task.executor
    return {
        "id": task.id,
        "framework_id": task.framework.id,
        "agent_id": task.agent.spec.agent_id,
        "executor_id": None if executor is None else executor.key.executor_id,
        "is_waiting": executor is not None and task.id in executor.waiting,
        "info": dict(task.info),
        "last": None if task.last is None else task.last.raw,
        "pending": [status.raw for status in task.pending],
        "seen": [write_data(uuid) for uuid in task.seen],
    }


def _status(raw: dict[str, Any]) -> Status:
    event = decode_event(dump({"type": "UPDATE", "update": {"status": raw}}))
    assert isinstance(event, Update)
    return event.status


def load(master: Master, rows: Iterable[Row], now_s: float) -> None:
    """Put into a new master what was kept of an old one. Frameworks and executors have to come back in time."""
    world = master.world
    world.now_s = now_s
    by_kind: dict[str, list[dict[str, Any]]] = {"framework": [], "agent": [], "executor": [], "task": []}
    for key, content in rows:
        by_kind[key[0]].append({**content, "name": key[1]})
    for row in by_kind["framework"]:
        if row.get("is_removed"):
            world.removed[row["name"]] = None
        else:
            framework = world.frameworks[row["name"]] = Framework(row["name"], row["info"])
            master.await_framework(framework)
    for row in by_kind["agent"]:
        master.add(AgentSpec(row["id"], row["hostname"], resources.read(row["resources"]), tuple(row["attributes"])))
    for row in by_kind["executor"]:
        executor_key = ExecutorKey(*row["key"])
        bag = resources.read(row["info"].get("resources") or ())
        executor = Executor(executor_key, row["info"], bag, row["container_id"])
        executor.pid, executor.start_ticks = row["pid"], row["start_ticks"]
        executor.phase = Phase.TERMINATING if row["is_ending"] else Phase.REGISTERING
        agent = world.agents[executor_key.agent_id]
        agent.executors[executor_key] = executor
        agent.free = agent.free.minus(bag)
        master.executors.await_again(executor)
    for row in by_kind["task"]:
        _load_task(master, row)


def _load_task(master: Master, row: dict[str, Any]) -> None:
    framework = master.world.frameworks.get(row["framework_id"])
    if framework is None:
        return
    agent = master.world.agents[row["agent_id"]]
    bag = resources.read(row["info"].get("resources") or ())
    task = framework.tasks[row["id"]] = Task(row["id"], framework, agent, None, row["info"], bag)
    task.last = None if row["last"] is None else _status(row["last"])
    task.pending.extend(map(_status, row["pending"]))
    task.seen.update(map(a2b_base64, row["seen"]))
    if row["executor_id"] is not None:
        executor = agent.executors[ExecutorKey(agent.spec.agent_id, framework.id, row["executor_id"])]
        task.executor = executor
        executor.tasks[task.id] = task
        if row["is_waiting"]:
            executor.waiting[task.id] = task
    if task.is_over:
        task.is_freed = True
    else:
        agent.free = agent.free.minus(bag)
