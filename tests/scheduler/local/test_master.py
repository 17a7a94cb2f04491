"""Master and agents as a model: events in, events and actions out, in virtual time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.local import keeping, model, resources, wire
from scheduler.local.master import Master
from scheduler.local.model import AgentBack, AgentDisconnected, AgentGone, AgentUnreachable, ExecutorKey, Settings
from scheduler.local.simulated import Life, Simulation, agents
from scheduler.local.world import World
from tests.support.launches import INFO, scalars, task_info
from thermos.formats import mesos_v1_scheduler as values
from thermos.formats.mesos_v1_scheduler import (
    Accept,
    Acknowledge,
    Decline,
    Failure,
    Heartbeat,
    Kill,
    Offer,
    Offers,
    Reconcile,
    Rescind,
    Revive,
    Status,
    Subscribe,
    Subscribed,
    Suppress,
    Teardown,
    Update,
)
from thermos.mesos import MesosTaskState, Shutdown, TaskInfo, TaskStatus

UNAWARE: Final = {**INFO, "capabilities": [{"type": "MULTI_ROLE"}]}
SMALL: Final = "cpus:4;mem:4096;ports:[31000-31009]"


class Cluster(Simulation):
    """A simulation whose scheduler keeps what it is told."""

    def __init__(
        self,
        count: int = 1,
        life: Life | Callable[[ExecutorKey, TaskInfo], Life] = Life(),  # noqa: B008 - it is a value
        info: Mapping[str, Any] = INFO,
        **more: Any,
    ) -> None:
        super().__init__(agents(count, SMALL), life if callable(life) else lambda key, task: life, **more)
        self.told: list[Any] = []
        self.acknowledges = True
        self.call(Subscribe(info))
        self.listen()

    def listen(self) -> list[Any]:
        """What is new; statuses are acknowledged."""
        new = []
        while events := self.take_events():
            new += events
            for event in events:
                status = event.status if isinstance(event, Update) else None
                if status is not None and status.uuid is not None and self.acknowledges:
                    assert status.agent_id is not None
                    self.call(Acknowledge(status.agent_id, status.task_id, status.uuid))
        self.told += new
        return new

    def wait(self, for_s: float) -> list[Any]:
        """What comes in that time."""
        end_s = self.now_s + for_s
        new = []
        while (at_s := self.next_s) is not None and at_s <= end_s:
            self.advance(at_s)
            new += self.listen()
        self.advance(end_s)
        return new + self.listen()

    def asked(self, call: values.SchedulerCall) -> list[Any]:
        self.call(call)
        return self.listen()

    def offers(self) -> list[Offer]:
        """Those that are outstanding, as told."""
        there = self.master.world.offers
        return [
            one for event in self.told if isinstance(event, Offers) for one in event.offers if one.offer_id in there
        ]

    def launch(self, task_id: str, **more: Any) -> str:
        """Launch it on the largest offer; gives the agent."""
        offer = max(self.offers(), key=lambda one: sum(amount.value for amount in one.amounts))
        self.call(Accept((offer.offer_id,), (task_info(task_id, offer.agent_id, **more),), 0.0))
        self.listen()
        return offer.agent_id

    def run(self, task_id: str = "t") -> str:
        """Launch it, and wait until it runs."""
        agent_id = self.launch(task_id)
        self.wait(5.0)
        assert self.statuses(task_id)[-1].state is MesosTaskState.TASK_RUNNING
        return agent_id

    def statuses(self, task_id: str = "t") -> list[Status]:
        return statuses(self.told, task_id)


def statuses(events: list[Any], task_id: str = "t") -> list[Status]:
    return [event.status for event in events if isinstance(event, Update) and event.status.task_id == task_id]


def short(events: list[Any]) -> list[Any]:
    """Statuses as (state, reason), other events by their type; no heartbeats."""
    found: list[Any] = []
    for event in events:
        if isinstance(event, Update):
            found.append((str(event.status.state), event.status.reason and str(event.status.reason)))
        elif not isinstance(event, Heartbeat):
            found.append(type(event).__name__)
    return found


def balance(world: World) -> None:
    """What every agent has is free, offered or used."""
    for agent in world.agents.values():
        found = agent.free
        for made in agent.offers.values():
            assert made.bag is not None
            found = found.plus(made.bag)
        for executor in agent.executors.values():
            found = found.plus(executor.resources)
        for framework in world.frameworks.values():
            for task in framework.tasks.values():
                if task.agent is agent and not task.is_freed:
                    found = found.plus(task.resources)
        assert found == agent.spec.resources
        assert set(agent.offers) == {key for key, made in world.offers.items() if made.agent is agent}


def test_a_task_lives_and_all_is_free_again() -> None:
    cluster = Cluster(life=Life(run_s=10.0))
    cluster.launch("t")
    cluster.wait(30.0)
    assert [str(one.state) for one in cluster.statuses()] == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
    assert [event for event in cluster.told if isinstance(event, Failure)] == [Failure("agent-0", "thermos-t", 0)]
    world = cluster.master.world
    assert not world.frameworks["sim-0000"].tasks and not world.agents["agent-0"].executors
    balance(world)


def test_offers_name_what_there_is() -> None:
    cluster = Cluster(3)
    assert [one.hostname for one in cluster.offers()] == ["host-0", "host-1", "host-2"]
    first = cluster.offers()[0]
    assert [(one.name, one.value) for one in first.amounts] == [("cpus", 4.0), ("mem", 4096.0)]
    assert first.ports[0].ranges == ((31000, 31009),)
    assert first.attributes == (("host", "host-0"), ("rack", "rack-0"))


def test_values_and_bytes_agree() -> None:
    """What a scheduler gets as values is what another reads from the bytes."""
    cluster = Cluster(2, Life(run_s=3.0, healthy=True, message="done"))
    cluster.launch("t", labels={"labels": [{"key": "a", "value": "b"}]})
    cluster.wait(20.0)
    cluster.asked(Reconcile((("t", None), ("x", "agent-0"))))
    unavailability = values.Unavailability(10**18, 10**9)
    cluster.launch("u")
    cluster.happen(model.MaintenancePlanned("host-0", unavailability))
    cluster.happen(model.MaintenancePlanned("host-1", unavailability))
    cluster.listen()
    kinds = {type(event) for event in cluster.told}
    assert kinds >= {Subscribed, Offers, Update, Failure, Rescind, values.InverseOffers, Heartbeat}
    for event in cluster.told:
        read = values.decode_event(wire.encode_scheduler_event(event, {}))
        assert read == (event._replace(master=None) if isinstance(event, Subscribed) else event)


def test_a_status_is_told_again_ever_more_seldom() -> None:
    cluster = Cluster()
    cluster.acknowledges = False
    cluster.launch("t")
    times: list[float] = []
    begin_s = cluster.now_s
    while len(times) < 9:
        assert cluster.next_s is not None
        cluster.advance(cluster.next_s)
        times += [cluster.now_s - begin_s for event in cluster.take_events() if isinstance(event, Update)]
    waits = [round(later - earlier) for earlier, later in pairwise(times)]
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600]


def test_a_status_that_is_not_acknowledged_is_told_at_once_to_who_subscribes_again() -> None:
    cluster = Cluster()
    cluster.acknowledges = False
    cluster.launch("t")
    cluster.wait(1.0)
    cluster.disconnect()
    assert cluster.wait(50.0) == []
    cluster.acknowledges = True
    new = cluster.asked(Subscribe({**INFO, "id": {"value": "sim-0000"}}))
    assert new[0] == Subscribed("sim-0000", 15.0, None)
    assert [str(one.state) for one in statuses(new)] == ["TASK_STARTING", "TASK_RUNNING"]


def test_a_task_that_is_over_is_free_before_that_is_acknowledged() -> None:
    cluster = Cluster(life=Life(start_s=0.0, run_s=1.0))
    cluster.launch("t")
    cluster.wait(0.5)
    cluster.acknowledges = False
    cluster.wait(1.0)
    assert cluster.statuses()[-1].state is MesosTaskState.TASK_FINISHED
    cluster.wait(2.0)
    assert sum(amount.value for one in cluster.offers() for amount in one.amounts if amount.name == "cpus") == 4.0
    balance(cluster.master.world)


def test_nothing_comes_after_the_end() -> None:
    cluster = Cluster()
    agent_id = cluster.run()
    cluster.acknowledges = False
    key = ExecutorKey(agent_id, "sim-0000", "thermos-t")
    for n, state in enumerate([MesosTaskState.TASK_FAILED, MesosTaskState.TASK_RUNNING]):
        cluster.happen(model.ExecutorUpdated(key, TaskStatus("t", state, bytes([n]) * 16, cluster.now_s)))
    (failed,) = statuses(cluster.listen())
    assert len(cluster.master.world.frameworks["sim-0000"].tasks["t"].pending) == 1
    cluster.call(Acknowledge(agent_id, "t", failed.uuid or b""))
    assert short(cluster.wait(60.0)) == ["Offers"]


def test_a_task_that_is_killed_before_its_executor_is_there_never_runs() -> None:
    cluster = Cluster(executor_start_s=5.0)
    cluster.acknowledges = False
    cluster.launch("t")
    told = cluster.asked(Kill("t"))
    assert short(told) == [("TASK_KILLED", "REASON_TASK_KILLED_DURING_LAUNCH")]
    cluster.wait(9.0)
    assert cluster.launches == 0
    assert not cluster.master.world.agents["agent-0"].executors


def test_heartbeats() -> None:
    cluster = Cluster()
    assert sum(isinstance(event, Heartbeat) for event in cluster.told) == 1
    assert cluster.wait(60.0) == [Heartbeat()] * 4


def test_what_is_declined_comes_again_when_its_time_is_over() -> None:
    cluster = Cluster(2)
    cluster.call(Decline(tuple(one.offer_id for one in cluster.offers()), 60.0))
    assert short(cluster.wait(59.0)) == []
    assert short(cluster.wait(2.0)) == ["Offers"]
    assert len(cluster.offers()) == 2


def test_more_than_was_declined_is_offered() -> None:
    cluster = Cluster(life=Life(run_s=5.0))
    cluster.launch("t")
    cluster.wait(1.5)
    (rest,) = cluster.offers()
    cluster.call(Decline((rest.offer_id,), 600.0))
    assert cluster.offers() == []
    cluster.wait(10.0)
    (whole,) = cluster.offers()
    assert whole.amounts[0].value == 4.0


def test_suppressed_until_revived() -> None:
    cluster = Cluster()
    cluster.call(Suppress())
    cluster.call(Decline((cluster.offers()[0].offer_id,), 0.0))
    assert short(cluster.wait(10.0)) == []
    assert short(cluster.asked(Revive())) == ["Offers"]


@pytest.mark.parametrize("info, unreachable", [(INFO, "TASK_UNREACHABLE"), (UNAWARE, "TASK_LOST")])
def test_an_agent_is_lost_and_comes_back(info: dict[str, Any], unreachable: str) -> None:
    cluster = Cluster(life=Life(run_s=100.0), info=info)
    agent_id = cluster.run()
    cluster.happen(AgentDisconnected(agent_id))
    assert short(cluster.listen()) == ["Rescind"]
    cluster.happen(AgentUnreachable(agent_id))
    assert short(cluster.listen()) == [(unreachable, "REASON_AGENT_REMOVED"), "Failure"]
    lost_ns = cluster.statuses()[-1].unreachable_time_ns
    assert lost_ns == int(cluster.now_s * 1e9)
    # It goes on where nobody sees it.
    assert short(cluster.wait(120.0)) == []
    for call in (Kill("t"), Reconcile((("t", None),)), Reconcile((("t", agent_id),))):
        assert short(cluster.asked(call)) == [(unreachable, "REASON_RECONCILIATION")]
        assert cluster.statuses()[-1].unreachable_time_ns == lost_ns
    assert short(cluster.asked(Reconcile((("other", agent_id),)))) == [(unreachable, "REASON_RECONCILIATION")]
    assert cluster.asked(Reconcile(())) == []
    cluster.happen(AgentBack(agent_id))
    new = cluster.listen()
    assert short(new) == [("TASK_RUNNING", "REASON_AGENT_REREGISTERED"), ("TASK_FINISHED", None), "Offers"]
    cluster.wait(2.0)
    balance(cluster.master.world)


def test_an_agent_that_is_away_for_a_moment_tells_what_it_has_kept() -> None:
    cluster = Cluster(life=Life(run_s=10.0))
    agent_id = cluster.run()
    cluster.happen(AgentDisconnected(agent_id))
    cluster.call(Kill("t"))  # nobody hears it
    assert short(cluster.wait(20.0)) == ["Rescind"]
    assert short(cluster.asked(Reconcile(()))) == [("TASK_RUNNING", "REASON_RECONCILIATION")]
    cluster.happen(AgentBack(agent_id))
    assert short(cluster.listen()) == [("TASK_FINISHED", None), "Offers"]


def test_a_machine_dies_with_its_tasks() -> None:
    cluster = Cluster(2)
    agent_id = cluster.run()
    cluster.crash(agent_id)
    assert short(cluster.listen())[-2:] == [("TASK_UNREACHABLE", "REASON_AGENT_REMOVED"), "Failure"]
    cluster.happen(AgentBack(agent_id))
    assert ("TASK_FAILED", "REASON_EXECUTOR_TERMINATED") in short(cluster.listen())
    cluster.wait(2.0)
    balance(cluster.master.world)


def test_an_operator_gives_an_agent_up() -> None:
    cluster = Cluster(2)
    agent_id = cluster.run()
    cluster.happen(AgentGone(agent_id))
    reason = "REASON_AGENT_REMOVED_BY_OPERATOR"
    assert short(cluster.listen())[-2:] == [("TASK_GONE_BY_OPERATOR", reason), "Failure"]
    told = cluster.asked(Reconcile((("t", agent_id),)))
    assert short(told) == [("TASK_GONE_BY_OPERATOR", "REASON_RECONCILIATION")]
    assert {one.agent_id for one in cluster.offers()} == {"agent-0", "agent-1"} - {agent_id}


def test_a_framework_that_stays_away_loses_all() -> None:
    cluster = Cluster()
    cluster.run()
    cluster.disconnect()
    cluster.wait(99.0)
    assert cluster.master.world.agents["agent-0"].executors
    cluster.wait(10.0)
    assert not cluster.master.world.agents["agent-0"].executors
    balance(cluster.master.world)
    new = cluster.asked(Subscribe({**INFO, "id": {"value": "sim-0000"}}))
    assert new == [values.Error("Framework has been removed")]


def test_a_framework_that_comes_back_in_time_keeps_all() -> None:
    cluster = Cluster()
    cluster.run()
    for _ in range(3):
        cluster.disconnect()
        cluster.wait(60.0)
        cluster.call(Subscribe({**INFO, "id": {"value": "sim-0000"}}))
        cluster.wait(60.0)
    assert short(cluster.asked(Reconcile(()))) == [("TASK_RUNNING", "REASON_RECONCILIATION")]


def test_a_teardown_ends_executors_that_do_not_listen() -> None:
    cluster = Cluster(life=Life(kill_s=None))
    cluster.run()
    cluster.call(Teardown())
    cluster.wait(4.0)
    assert cluster.master.world.agents["agent-0"].executors
    cluster.wait(2.0)
    assert not cluster.master.world.agents["agent-0"].executors


def test_an_image_is_refused_where_there_are_none() -> None:
    cluster = Cluster(settings=Settings(has_images=False))
    cluster.launch("t", container={"type": "DOCKER", "docker": {"image": "x"}})
    (status,) = cluster.statuses()
    assert status.state is MesosTaskState.TASK_ERROR and "for one machine" in (status.message or "")
    cluster = Cluster()
    cluster.launch("t", container={"type": "DOCKER", "docker": {"image": "x"}})
    assert cluster.statuses() == []


def test_offers_of_two_agents_or_twice_the_same_are_no_offer() -> None:
    cluster = Cluster(2)
    one, other = cluster.offers()
    task = task_info("t", one.agent_id)
    told = cluster.asked(Accept((one.offer_id, other.offer_id), (task,)))
    assert "one single agent" in (statuses(told)[0].message or "")
    cluster.wait(2.0)
    one = cluster.offers()[0]
    told = cluster.asked(Accept((one.offer_id, one.offer_id), (task,)))
    assert "Duplicate offers" in (statuses(told)[0].message or "")
    told = cluster.asked(Accept((), (task,)))
    assert "No offers" in (statuses(told)[0].message or "")
    balance(cluster.master.world)


def test_two_offers_of_one_agent_can_be_used_together() -> None:
    cluster = Cluster(life=Life(run_s=3.0))
    cluster.launch("t")
    cluster.wait(10.0)
    parts = cluster.offers()
    assert len(parts) > 1 and len({one.agent_id for one in parts}) == 1
    task = task_info("u", parts[0].agent_id)
    task["resources"] = scalars(cpus=3.75, mem=3000.0)
    cluster.call(Accept(tuple(one.offer_id for one in parts), (task,)))
    cluster.wait(2.0)
    assert cluster.statuses("u")[-1].state is MesosTaskState.TASK_RUNNING


# -- kept --------------------------------------------------------------------------------------------------------------


def kept(master: Master) -> list[keeping.Row]:
    rows = []
    for key in master.take_changes():
        content = keeping.row_of(master, key)
        if content is not None:
            rows.append((key, json.loads(json.dumps(content))))
    return sorted(rows)


def restarted(cluster: Cluster) -> Master:
    """Another master that has what was kept, and nothing else."""
    serial = iter(range(10**6, 10**7))
    master = Master("again", lambda: next(serial).to_bytes(16, "big"), Settings(is_kept=True))
    keeping.load(master, kept(cluster.master), cluster.now_s)
    return master


def events_of(actions: list[model.Action]) -> list[Any]:
    return [action.event for action in actions if isinstance(action, model.Tell)]


def test_what_is_kept_is_what_there_was() -> None:
    cluster = Cluster(2, settings=Settings(is_kept=True))
    cluster.run("a")
    cluster.acknowledges = False
    cluster.launch("b")
    cluster.wait(5.0)
    cluster.launch("c")
    master = restarted(cluster)
    balance(master.world)
    old, new = cluster.master.world, master.world
    tasks = new.frameworks["sim-0000"].tasks
    assert {name: task.state for name, task in tasks.items()} == {
        name: task.state for name, task in old.frameworks["sim-0000"].tasks.items()
    }
    assert [status.uuid for status in tasks["b"].pending] == [
        status.uuid for status in old.frameworks["sim-0000"].tasks["b"].pending
    ]
    # The scheduler comes back with the id that it had, and is told what it has not acknowledged.
    info = {**INFO, "id": {"value": "sim-0000"}}
    told = events_of(master.handle(model.SubscribeWanted("s", Subscribe(info)), cluster.now_s))
    assert [one.task_id for one in statuses(told, "b")] == ["b"]
    # The executor of a comes back with its task, and goes on; what c's was never told, it is told now.
    (a,) = [key for agent in new.agents.values() for key in agent.executors if key.executor_id == "thermos-a"]
    (c,) = [key for agent in new.agents.values() for key in agent.executors if key.executor_id == "thermos-c"]
    actions = master.handle(model.ExecutorSubscribed(a), cluster.now_s)
    assert [type(one.event).__name__ for one in actions if isinstance(one, model.TellExecutor)] == ["Subscribed"]
    actions = master.handle(model.ExecutorSubscribed(c), cluster.now_s)
    assert [type(one.event).__name__ for one in actions if isinstance(one, model.TellExecutor)] == [
        "Subscribed", "Launch",
    ]  # fmt: skip
    # b's does not.
    at_s = cluster.now_s + Settings().executor_reregistration_timeout_s
    actions = master.handle(model.Woke(), at_s)
    (destroy,) = [one for one in actions if isinstance(one, model.DestroyExecutor)]
    assert destroy.key.executor_id == "thermos-b"
    master.handle(model.ExecutorExited(destroy.key, 9), at_s)
    last = new.frameworks["sim-0000"].tasks["b"].pending[-1]
    assert (str(last.state), str(last.reason)) == ("TASK_FAILED", "REASON_EXECUTOR_REREGISTRATION_TIMEOUT")


def test_a_launch_that_was_lost_with_us_is_dropped() -> None:
    cluster = Cluster(settings=Settings(is_kept=True))
    agent_id = cluster.run("first")
    master = restarted(cluster)
    key = ExecutorKey(agent_id, "sim-0000", "thermos-first")
    now_s = cluster.now_s
    master.handle(model.ExecutorSubscribed(key), now_s)
    told = events_of(master.handle(model.SubscribeWanted("s", Subscribe({**INFO, "id": {"value": "sim-0000"}})), now_s))
    (offer,) = [one for event in told if isinstance(event, Offers) for one in event.offers]
    second = task_info("second", agent_id)
    second["executor"] = task_info("first", agent_id)["executor"]
    master.handle(model.Called("sim-0000", Accept((offer.offer_id,), (second,))), now_s)
    # Its stream broke before it heard of it: it comes again, and does not know the task.
    told = events_of(master.handle(model.ExecutorSubscribed(key), now_s))
    (status,) = statuses(told, "second")
    assert (str(status.state), str(status.reason)) == ("TASK_DROPPED", "REASON_AGENT_RESTARTED")


def test_a_framework_that_ended_is_not_forgotten() -> None:
    cluster = Cluster(settings=Settings(is_kept=True))
    cluster.call(Teardown())
    master = restarted(cluster)
    info = {**INFO, "id": {"value": "sim-0000"}}
    told = events_of(master.handle(model.SubscribeWanted("s", Subscribe(info)), cluster.now_s))
    assert told == [values.Error("Framework has been removed")]


def test_an_executor_that_is_to_end_hears_it_whenever_it_comes() -> None:
    cluster = Cluster()
    agent_id = cluster.run()
    key = ExecutorKey(agent_id, "sim-0000", "thermos-t")
    cluster.master.handle(model.Called("sim-0000", values.Shutdown("thermos-t", agent_id)), cluster.now_s)
    actions = cluster.master.handle(model.ExecutorSubscribed(key), cluster.now_s)
    assert actions == [model.TellExecutor(key, Shutdown())]


# -- whatever happens --------------------------------------------------------------------------------------------------

STEPS: Final = st.one_of(
    st.tuples(st.just("launch"), st.integers(0, 5)),
    st.tuples(st.just("decline"), st.sampled_from([0.0, 3.0])),
    st.tuples(st.just("kill"), st.integers(0, 30)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.5, 2.0, 12.0])),
    st.tuples(st.sampled_from(["disconnect", "lose", "back", "crash", "executor"]), st.integers(0, 2)),
    st.tuples(st.just("plan"), st.integers(0, 2)),
    st.tuples(st.sampled_from(["revive", "suppress", "resubscribe"]), st.just(0)),
)
LIVES: Final = [
    Life(), Life(run_s=3.0), Life(run_s=1.0, is_crash=True), Life(start_s=None, run_s=2.0), Life(kill_s=None),
    Life(start_s=0.0, run_s=0.0, outcome=MesosTaskState.TASK_FAILED),
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_nothing_is_lost_whatever_happens(steps: list[tuple[str, Any]]) -> None:
    lives: dict[str, Life] = {}
    cluster = Cluster(3, lambda key, task: lives[task.task_id])
    launched = 0
    for what, how in steps:
        agent_id = f"agent-{how}"
        if what == "launch" and cluster.offers():
            offer = cluster.offers()[how % len(cluster.offers())]
            task_id = f"t{launched}"
            launched += 1
            lives[task_id] = LIVES[how]
            cluster.call(Accept((offer.offer_id,), (task_info(task_id, offer.agent_id),), float(how)))
        elif what == "decline" and cluster.offers():
            cluster.call(Decline((cluster.offers()[0].offer_id,), how))
        elif what == "kill":
            cluster.call(Kill(f"t{how}"))
        elif what == "wait":
            cluster.wait(how)
        elif what == "disconnect":
            cluster.happen(AgentDisconnected(agent_id))
        elif what == "lose":
            cluster.happen(AgentUnreachable(agent_id))
        elif what == "back":
            cluster.happen(AgentBack(agent_id))
        elif what == "crash":
            cluster.crash(agent_id)
        elif what == "executor":
            keys = list(cluster.master.world.agents[agent_id].executors)
            if keys:
                cluster.kill_executor(keys[0])
        elif what == "plan":
            cluster.happen(model.MaintenancePlanned(f"host-{how}", values.Unavailability(10**18, None)))
        elif what == "revive":
            cluster.call(Revive())
        elif what == "suppress":
            cluster.call(Suppress())
        elif what == "resubscribe":
            cluster.disconnect()
            cluster.call(Subscribe({**INFO, "id": {"value": "sim-0000"}}))
        cluster.listen()
        balance(cluster.master.world)
    # All comes back, and each task has its end, or runs: the scheduler knows which.
    for n in range(3):
        cluster.happen(AgentBack(f"agent-{n}"))
    cluster.call(Revive())
    cluster.wait(100.0)
    balance(cluster.master.world)
    running = cluster.master.world.frameworks["sim-0000"].tasks
    for task_id in lives:
        states = [one.state for one in cluster.statuses(task_id) if one.uuid is not None]
        last = states[-1] if states else None
        if task_id in running:
            assert last in (MesosTaskState.TASK_RUNNING, MesosTaskState.TASK_STARTING)
        elif last is None:
            assert cluster.statuses(task_id), "launched on an offer that was gone"
        else:
            assert last.is_terminal
        ends = {one.uuid for one in cluster.statuses(task_id) if one.uuid is not None and one.state.is_terminal}
        assert len(ends) <= 1


def test_every_number_of_an_offer_is_the_agents() -> None:
    bag = resources.parse("cpus:0.3;mem:100;ports:[1-2]")
    assert resources.read(resources.write(bag, "*")) == bag
