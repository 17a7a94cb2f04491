"""A scheduler accepts offers: what of its launches is wrong, and what is taken from the agent for the rest.

Checks and their words are a master's (``mesos/src/master/validation.cpp``), as far as they matter to a scheduler.
"""

from __future__ import annotations

from typing import Any, Final

from scheduler.local import resources
from scheduler.local.allocation import Allocator
from scheduler.local.executors import Executors
from scheduler.local.model import ExecutorKey
from scheduler.local.resources import Bag
from scheduler.local.world import Agent, Framework, OfferMade, Task, World
from thermos.formats.mesos_v1 import Object, WireError, read_executor, read_task
from thermos.formats.mesos_v1_scheduler import Accept
from thermos.mesos import MesosTaskState, Raw, Reason, TaskInfo

_ERROR: Final = MesosTaskState.TASK_ERROR


class Launching:
    """Accepts offers for the master."""

    def __init__(self, world: World, allocator: Allocator, executors: Executors) -> None:
        self._world = world
        self._allocator = allocator
        self._executors = executors

    def accept(self, framework: Framework, call: Accept) -> None:
        """Launch what can be launched; for every other task the framework is told why not."""
        offers = [self._world.offers.get(offer_id) for offer_id in call.offer_ids]
        known = [made for made in offers if made is not None and made.framework is framework and made.bag is not None]
        problem = _problem_with(call.offer_ids, offers, known)
        parts = [(made.agent, self._allocator.take(made)) for made in dict.fromkeys(known)]  # each once
        if problem is not None:
            for agent, bag in parts:
                self._allocator.give_back(agent, bag)
            self._drop(framework, call, Reason.REASON_INVALID_OFFERS, f"Task launched with invalid offers: {problem}")
            return
        agent = known[0].agent
        room = resources.EMPTY
        for _, bag in parts:
            room = room.plus(bag)
        for raw in call.tasks:
            room = self._launch(framework, agent, raw, room)
        self._allocator.give_back(agent, room, framework, call.refuse_s)
        self._allocator.ask_to_leave(framework, agent)

    def _drop(self, framework: Framework, call: Accept, reason: Reason, message: str) -> None:
        """No task of the call is launched."""
        state = MesosTaskState.TASK_DROPPED if framework.is_partition_aware else MesosTaskState.TASK_LOST
        for raw in call.tasks:
            task_id, agent_id = _id_of(raw, "task_id"), _id_of(raw, "agent_id")
            self._world.tell_made_up(framework, task_id, state, reason, message, agent_id)

    def _launch(self, framework: Framework, agent: Agent, raw: Any, room: Bag) -> Bag:
        """Launch a task; gives what is left then."""
        agent_id = agent.spec.agent_id
        try:
            parsed, key, info, own, whole = self._checked(framework, agent, raw, room)
        except ValueError as problem:
            self._world.tell_made_up(
                framework, _id_of(raw, "task_id"), _ERROR, Reason.REASON_TASK_INVALID, str(problem),
                _id_of(raw, "agent_id") or agent_id,
            )  # fmt: skip
            return room
        task = framework.tasks[parsed.task_id] = Task(parsed.task_id, framework, agent, None, raw, own)
        task.parsed = parsed
        self._executors.launch(task, key, info)
        return room.minus(whole)

    def _checked(
        self, framework: Framework, agent: Agent, raw: Raw, room: Bag
    ) -> tuple[TaskInfo, ExecutorKey, Raw, Bag, Bag]:
        """A task, its executor and resources: its own, and with those of an executor that it starts.

        Raises ValueError: what is wrong.
        """
        agent_id = agent.spec.agent_id
        try:
            task = read_task(Object(raw, "task"))
            if raw.get("executor") is None:
                raise ValueError("Task has no executor: this Mesos runs tasks by executors of their framework alone")
            executor = read_executor(Object(raw["executor"], "task.executor"))
        except WireError as error:
            raise ValueError(f"Task is malformed: {error}") from None
        if task.task_id in framework.tasks:
            raise ValueError(f"Task has duplicate ID: {task.task_id}")
        if "/" in task.task_id or not task.task_id or task.task_id in (".", ".."):
            raise ValueError(f"TaskID {task.task_id!r} cannot be the name of a directory")
        if "/" in executor.executor_id or not executor.executor_id or executor.executor_id in (".", ".."):
            raise ValueError(f"ExecutorID {executor.executor_id!r} cannot be the name of a directory")
        if task.agent_id != agent_id:
            raise ValueError(f"Task uses invalid agent {task.agent_id} while agent {agent_id} is expected")
        if executor.framework_id not in (None, framework.id):
            raise ValueError(
                f"ExecutorInfo has an invalid FrameworkID (Actual: {executor.framework_id} vs Expected: {framework.id})"
            )
        if not self._world.settings.has_images and any(map(_wants_image, (raw, executor.raw))):
            raise ValueError(
                "Task wants an image, which this Mesos cannot give: it is for one machine and has no containers; "
                "run the job on a cluster, or without its container"
            )
        key = ExecutorKey(agent_id, framework.id, executor.executor_id)
        info = {**executor.raw, "framework_id": {"value": framework.id}}
        there = agent.executors.get(key)
        if there is not None and there.info != info:
            raise ValueError("ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.")
        own = resources.read(raw.get("resources") or ())
        if not own:
            raise ValueError("Task uses no resources")
        whole = own if there is not None else own.plus(resources.read(info.get("resources") or ()))
        if not whole.fits(room):
            raise ValueError(f"Total resources {whole} required by task and its executor is more than available {room}")
        return task, key, info, own, whole


def _problem_with(offer_ids: tuple[str, ...], offers: list[OfferMade | None], known: list[OfferMade]) -> str | None:
    """Why these offers cannot be accepted, in a master's words; None if they can."""
    if not offer_ids:
        return "No offers specified"
    for offer_id, made in zip(offer_ids, offers, strict=True):
        if made is None or made.bag is None:
            return f"Offer {offer_id} is no longer valid"
        if made not in known:
            return f"Offer {offer_id} is of another framework"
    if len(set(offer_ids)) < len(offer_ids):
        return "Duplicate offers"
    if len({made.agent.spec.agent_id for made in known}) > 1:
        return "Aggregated offers must belong to one single agent"
    return None


def _wants_image(owner: Raw) -> bool:
    container = owner.get("container") or {}
    return container.get("type") == "DOCKER" or "image" in (container.get("mesos") or {})


def _id_of(raw: Any, key: str) -> str:
    """An id in what may be no task at all."""
    found = raw.get(key) if isinstance(raw, dict) else None
    return str(found.get("value", "")) if isinstance(found, dict) else ""
