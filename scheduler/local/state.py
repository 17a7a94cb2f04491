"""``/master/state`` and ``/slave(1)/state``: of what Mesos tells there, what people and programs look at."""

from __future__ import annotations

import json
from typing import Any

from scheduler.local.master import Master
from scheduler.local.resources import Bag
from scheduler.local.world import Agent, Framework, Reach, Task


def _resources(bag: Bag) -> dict[str, Any]:
    found: dict[str, Any] = {name: milli / 1000 for name, milli in bag.scalars_milli.items()}
    for name, spans in bag.spans.items():
        found[name] = f"[{', '.join(f'{begin}-{end}' for begin, end in spans)}]"
    return found


def _task(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "name": task.info.get("name", ""),
        "framework_id": task.framework.id,
        "executor_id": "" if task.executor is None else task.executor.key.executor_id,
        "slave_id": task.agent.spec.agent_id,
        "state": task.state.value,
        "resources": _resources(task.resources),
    }


def _framework(framework: Framework) -> dict[str, Any]:
    return {
        "id": framework.id,
        "name": framework.info.get("name", ""),
        "user": framework.user,
        "failover_timeout": framework.failover_s,
        "checkpoint": framework.checkpoint,
        "role": framework.role,
        "active": framework.stream is not None,
        "connected": framework.stream is not None,
        "tasks": [_task(task) for task in framework.tasks.values()],
    }


def _agent(agent: Agent, info: dict[str, Any]) -> dict[str, Any]:
    spec = agent.spec
    return {
        "id": spec.agent_id,
        "hostname": spec.hostname,
        "port": info["port"],
        "pid": f"{spec.path.strip('/')}@{info['address']['ip']}:{info['port']}",
        "attributes": dict(agent.attributes),
        "resources": _resources(spec.resources),
        "active": agent.reach is Reach.UP,
    }


def master_state(master: Master, info: dict[str, Any], version: str) -> str:
    """JSON."""
    world = master.world
    agents = [_agent(agent, info) for agent in world.agents.values()]
    state = {
        "version": version,
        "id": info["id"],
        "pid": info["pid"],
        "hostname": info["hostname"],
        "leader": info["pid"],
        "leader_info": {name: info[name] for name in ("id", "pid", "port", "hostname")},
        "activated_slaves": float(sum(agent["active"] for agent in agents)),
        "slaves": agents,
        "frameworks": [_framework(framework) for framework in world.frameworks.values()],
    }
    return json.dumps(state)


def agent_state(master: Master, info: dict[str, Any], version: str) -> str:
    """JSON, of the one agent."""
    (agent,) = master.world.agents.values()
    frameworks: dict[str, list[dict[str, Any]]] = {}
    for key, executor in agent.executors.items():
        frameworks.setdefault(key.framework_id, []).append(
            {
                "id": key.executor_id,
                "container": executor.container_id,
                "resources": _resources(executor.resources),
                "tasks": [_task(task) for task in executor.tasks.values()],
            }
        )
    found = [{"id": framework_id, "executors": executors} for framework_id, executors in frameworks.items()]
    return json.dumps({"version": version, **_agent(agent, info), "frameworks": found})
