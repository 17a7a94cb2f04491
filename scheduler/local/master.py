"""A Mesos master and its agents, as a model: events in, actions out. No clock, file, socket, thread or chance in here.

What it answers was read off a Mesos 1.11, with which it shares its tests. Behind ``scheduler.local.server`` it is the
Mesos of one machine; without it, with ``scheduler.local.simulated``, thousands of machines in no time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, assert_never

from scheduler.local import model
from scheduler.local.allocation import FILTER_OVER, ROUND, Allocator
from scheduler.local.executors import EXECUTOR_DUE, UPDATE_DUE, Executors
from scheduler.local.launching import Launching
from scheduler.local.model import Action, EndStream, Event, ExecutorKey, Settings, Tell, TellExecutor
from scheduler.local.resources import attribute_text
from scheduler.local.world import Agent, Framework, KeptKey, Reach, Task, World
from thermos.formats.mesos_v1_scheduler import (
    Accept,
    AcceptInverseOffers,
    Acknowledge,
    Decline,
    DeclineInverseOffers,
    Error,
    Failure,
    Heartbeat,
    Kill,
    Message,
    Reconcile,
    Revive,
    SchedulerCall,
    SendMessage,
    Shutdown,
    Subscribe,
    Subscribed,
    Suppress,
    Teardown,
)
from thermos.mesos import MesosTaskState, Reason
from thermos.mesos import Message as ExecutorMessage

#: Kinds of timers.
FAILOVER_OVER: Final = "failover over"
HEARTBEAT_DUE: Final = "heartbeat due"

_RECONCILED: Final = Reason.REASON_RECONCILIATION
_LATEST: Final = "Reconciliation: Latest task state"
_NANOSECONDS: Final = 1_000_000_000


class Master:
    """The model. *now_s* is wall time in seconds, which never goes back; *new_uuid* gives 16 other bytes each time.

    Of several masters on the same agents, one after the other, each needs an id of its own.
    """

    def __init__(self, master_id: str, new_uuid: Callable[[], bytes], settings: Settings | None = None) -> None:
        self.world = World(master_id, new_uuid, settings or Settings())
        self.allocator = Allocator(self.world)
        self.executors = Executors(self.world, self.allocator)
        self._launching = Launching(self.world, self.allocator, self.executors)
        #: When each framework without a connection is given up.
        self._given_up_at_s: dict[str, float] = {}

    @property
    def wake_at_s(self) -> float | None:
        """When ``Woke`` should come next."""
        return self.world.wake_at_s

    def handle(self, event: Event, now_s: float) -> list[Action]:
        """What is to be done about *event*, in this order; with timers that have run down meanwhile."""
        world = self.world
        world.now_s = max(now_s, world.now_s)
        self._take(event)
        while (timer := world.next_timer()) is not None:
            self._time(*timer)
        actions, world.actions = world.actions, []
        return actions

    def take_changes(self) -> list[KeptKey]:
        """What of it is no longer as it was kept; see ``scheduler.local.keeping``."""
        changed, self.world.changed = self.world.changed, {}
        return list(changed)

    def is_connected(self, framework_id: str) -> str | None:
        """The stream of a framework; None for one that is unknown or not connected."""
        framework = self.world.frameworks.get(framework_id)
        return framework.stream if framework is not None else None

    def _take(self, event: Event) -> None:
        match event:
            case model.Called(framework_id, call):
                framework = self.world.frameworks.get(framework_id)
                if framework is not None and framework.stream is not None:
                    self._call(framework, call)
            case model.ExecutorUpdated(key, status):
                self.executors.update(key, status)
            case model.Woke():
                pass
            case model.SubscribeWanted(stream, call):
                self._subscribe(stream, call)
            case model.StreamClosed(stream):
                self._disconnect(stream)
            case model.AgentAdded(spec):
                self.add(spec)
            case model.AgentDisconnected(agent_id):
                self._lose(agent_id, is_given_up=False)
            case model.AgentUnreachable(agent_id):
                self._lose(agent_id, is_given_up=True)
            case model.AgentBack(agent_id):
                self._come_back(agent_id)
            case model.AgentGone(agent_id):
                self._remove_agent(agent_id)
            case model.MaintenancePlanned(hostname, unavailability):
                for agent in list(self.world.agents.values()):
                    if agent.spec.hostname == hostname:
                        self.allocator.plan(agent, unavailability)
            case model.ExecutorStarted():
                self.executors.started(event)
            case model.ExecutorSubscribed():
                self.executors.subscribed(event)
            case model.ExecutorSaid(key, data):
                framework = self.world.frameworks.get(key.framework_id)
                if framework is not None:
                    self.world.tell(framework, Message(key.agent_id, key.executor_id, data))
            case model.ExecutorExited():
                self.executors.exited(event)
            case _:
                assert_never(event)

    def _time(self, kind: str, about: Any) -> None:
        world = self.world
        if kind == UPDATE_DUE:
            self.executors.retry(*about)
        elif kind == ROUND:
            self.allocator.round()
        elif kind == FILTER_OVER:
            self.allocator.look_at(about)
        elif kind == EXECUTOR_DUE:
            self.executors.due(about)
        elif kind == HEARTBEAT_DUE:
            if about in world.streams:
                world.actions.append(Tell(about, Heartbeat()))
                world.call_at(world.now_s + world.settings.heartbeat_interval_s, HEARTBEAT_DUE, about)
        elif kind == FAILOVER_OVER:
            framework = world.frameworks.get(about)
            if framework is not None and self._given_up_at_s.get(about, world.now_s + 1) <= world.now_s:
                self._remove(framework)

    # -- frameworks ----------------------------------------------------------------------------------------------------

    def _subscribe(self, stream: str, call: Subscribe) -> None:
        world = self.world
        info = dict(call.framework)
        framework_id = (info.pop("id", None) or {}).get("value")
        if framework_id in world.removed:
            world.actions += [Tell(stream, Error("Framework has been removed")), EndStream(stream)]
            return
        if not framework_id:
            framework_id = f"{world.master_id}-{world.number('framework'):04}"
        framework = world.frameworks.get(framework_id)
        if framework is None:
            framework = world.frameworks[framework_id] = Framework(framework_id, info)
        else:
            framework.set_info(info)
            if framework.stream is not None:
                old = framework.stream
                world.actions += [Tell(old, Error("Framework failed over")), EndStream(old)]
                del world.streams[old]
            self.allocator.drop_offers(framework)
        self._given_up_at_s.pop(framework_id, None)
        framework.filters.clear()
        framework.stream = stream
        framework.is_suppressed = framework.role in call.suppressed_roles
        world.streams[stream] = framework
        world.keep("framework", framework_id)
        address = world.settings.address
        where = None if address is None else f"{address[0]}:{address[1]}"
        world.tell(framework, Subscribed(framework_id, world.settings.heartbeat_interval_s, where))
        world.tell(framework, Heartbeat())
        world.call_at(world.now_s + world.settings.heartbeat_interval_s, HEARTBEAT_DUE, stream)
        for task in list(framework.tasks.values()):
            self.executors.tell_next(task)
        self.allocator.allocate_all()

    def _disconnect(self, stream: str) -> None:
        framework = self.world.streams.pop(stream, None)
        if framework is None:
            return
        framework.stream = None
        self.allocator.drop_offers(framework)
        self.await_framework(framework)

    def await_framework(self, framework: Framework) -> None:
        """It has its failover time to come back."""
        at_s = self.world.now_s + framework.failover_s
        self._given_up_at_s[framework.id] = at_s
        self.world.call_at(at_s, FAILOVER_OVER, framework.id)

    def _remove(self, framework: Framework) -> None:
        """It and all that it runs end."""
        world = self.world
        self.allocator.drop_offers(framework)
        if framework.stream is not None:
            world.actions.append(EndStream(framework.stream))
            del world.streams[framework.stream]
        self._given_up_at_s.pop(framework.id, None)
        world.removed[framework.id] = None
        for task in list(framework.tasks.values()):
            self.executors.forget(task)
        for agent in world.agents.values():
            for executor in list(agent.executors.values()):
                if executor.key.framework_id == framework.id:
                    self.executors.shut_down(executor)
        del world.frameworks[framework.id]
        world.keep("framework", framework.id)

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _call(self, framework: Framework, call: SchedulerCall) -> None:
        match call:
            case Accept():
                self._launching.accept(framework, call)
            case Acknowledge(_, task_id, uuid):
                task = framework.tasks.get(task_id)
                if task is not None:
                    self.executors.acknowledge(task, uuid)
            case Decline(offer_ids, refuse_s):
                for offer_id in offer_ids:
                    made = self.world.offers.get(offer_id)
                    if made is not None and made.framework is framework:
                        self.allocator.give_back(made.agent, self.allocator.take(made), framework, refuse_s)
            case Kill(task_id, agent_id, grace_s):
                task = framework.tasks.get(task_id)
                if task is None or task.is_unreachable:
                    self._tell_state(framework, task_id, agent_id)
                else:
                    self.executors.kill(task, grace_s)
            case Reconcile(tasks):
                for task_id, agent_id in tasks:
                    self._tell_state(framework, task_id, agent_id)
                if not tasks:
                    for task in list(framework.tasks.values()):
                        if not task.is_unreachable:
                            self._tell_latest(task)
            case Revive():
                framework.is_suppressed = False
                framework.filters.clear()
                self.allocator.allocate_all()
            case Suppress():
                framework.is_suppressed = True
            case Shutdown(executor_id, agent_id):
                agent = self.world.agents.get(agent_id)
                key = ExecutorKey(agent_id, framework.id, executor_id)
                executor = agent.executors.get(key) if agent is not None else None
                if executor is not None:
                    self.executors.shut_down(executor)
            case SendMessage(agent_id, executor_id, data):
                key = ExecutorKey(agent_id, framework.id, executor_id)
                agent = self.world.agents.get(agent_id)
                if agent is not None and agent.reach is Reach.UP and key in agent.executors:
                    self.world.actions.append(TellExecutor(key, ExecutorMessage(data)))
            case AcceptInverseOffers() | DeclineInverseOffers():
                pass  # it is the operator who would look at the answers; who leaves and who stays is seen anyway
            case Teardown():
                self._remove(framework)
            case Subscribe():
                raise ValueError("a subscription comes as SubscribeWanted")
            case _:
                assert_never(call)

    # -- reconciliation ------------------------------------------------------------------------------------------------

    def _tell_latest(self, task: Task) -> None:
        agent_id = task.agent.spec.agent_id
        self.world.tell_made_up(task.framework, task.id, task.state, _RECONCILED, _LATEST, agent_id, about=task.last)

    def _tell_state(self, framework: Framework, task_id: str, agent_id: str | None) -> None:
        """What the master answers when it is asked about one task."""
        task = framework.tasks.get(task_id)
        if task is not None and not task.is_unreachable:
            self._tell_latest(task)
            return
        agent = self.world.agents.get(agent_id or "") if task is None else task.agent
        unreachable_ns = None
        if agent is not None and (task is not None or agent.reach is Reach.UNREACHABLE):
            state, what, unreachable_ns = MesosTaskState.TASK_UNREACHABLE, "Task is unreachable", agent.unreachable_ns
            agent_id = agent.spec.agent_id
        elif agent is not None:
            state, what = MesosTaskState.TASK_GONE, "Task is unknown to the agent"
        elif agent_id in self.world.gone:
            state, what = MesosTaskState.TASK_GONE_BY_OPERATOR, "Task is gone"
        else:
            state, what = MesosTaskState.TASK_UNKNOWN, "Task is unknown"
        self.world.tell_made_up(
            framework, task_id, state if framework.is_partition_aware else MesosTaskState.TASK_LOST, _RECONCILED,
            f"Reconciliation: {what}", agent_id, unreachable_ns=unreachable_ns,
        )  # fmt: skip

    # -- agents --------------------------------------------------------------------------------------------------------

    def add(self, spec: model.AgentSpec) -> Agent:
        """A new agent, which is offered at once."""
        attributes = tuple([(one["name"], attribute_text(one)) for one in spec.attributes])
        agent = self.world.agents[spec.agent_id] = Agent(spec, attributes)
        self.world.keep("agent", spec.agent_id)
        self.allocator.allocate([agent])
        return agent

    def _lose(self, agent_id: str, *, is_given_up: bool) -> None:
        world = self.world
        agent = world.agents.get(agent_id)
        if agent is None or agent.reach is Reach.UNREACHABLE:
            return
        self.allocator.rescind(agent)
        if not is_given_up:
            agent.reach = Reach.DISCONNECTED
            return
        agent.reach = Reach.UNREACHABLE
        agent.unreachable_ns = int(world.now_s * _NANOSECONDS)
        message = f"Agent {agent.spec.hostname} is unreachable"
        self._give_up(agent, MesosTaskState.TASK_UNREACHABLE, Reason.REASON_AGENT_REMOVED, message)
        for framework in world.frameworks.values():
            world.tell(framework, Failure(agent_id, None, None))

    def _give_up(self, agent: Agent, state: MesosTaskState, reason: Reason, message: str) -> list[Task]:
        """Say so of all its tasks."""
        found = []
        for framework in self.world.frameworks.values():
            for task in framework.tasks.values():
                if task.agent is agent:
                    found.append(task)
        for task in found:
            if not task.state.is_terminal:
                self.world.tell_made_up(
                    task.framework, task.id, state if task.framework.is_partition_aware else MesosTaskState.TASK_LOST,
                    reason, message, agent.spec.agent_id, about=task.last, unreachable_ns=agent.unreachable_ns,
                )  # fmt: skip
            task.is_unreachable = True
            task.is_told = False
        return found

    def _come_back(self, agent_id: str) -> None:
        world = self.world
        agent = world.agents.get(agent_id)
        if agent is None or agent.reach is Reach.UP:
            return
        was_given_up = agent.reach is Reach.UNREACHABLE
        agent.reach, agent.unreachable_ns = Reach.UP, None
        for framework in world.frameworks.values():
            for task in list(framework.tasks.values()):
                if task.agent is not agent:
                    continue
                task.is_unreachable = False
                if was_given_up:
                    world.tell_made_up(
                        framework, task.id, task.state, Reason.REASON_AGENT_REREGISTERED,
                        "Unreachable agent re-reregistered", agent_id, about=task.last,
                    )  # fmt: skip
                self.executors.tell_next(task)
        self.allocator.allocate([agent])

    def _remove_agent(self, agent_id: str) -> None:
        world = self.world
        agent = world.agents.get(agent_id)
        if agent is None:
            return
        self.allocator.rescind(agent)
        message = f"Agent {agent.spec.hostname} has been removed by an operator"
        state, reason = MesosTaskState.TASK_GONE_BY_OPERATOR, Reason.REASON_AGENT_REMOVED_BY_OPERATOR
        for task in self._give_up(agent, state, reason, message):
            self.executors.forget(task)
        for key in list(agent.executors):
            world.actions.append(model.DestroyExecutor(key))
            world.keep("executor", *key)
        del world.agents[agent_id]
        world.gone[agent_id] = None
        world.keep("agent", agent_id)
        for framework in world.frameworks.values():
            world.tell(framework, Failure(agent_id, None, None))
