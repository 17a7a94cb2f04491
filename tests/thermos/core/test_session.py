"""Executor and agent: stories of events in and actions out, and an agent that fails at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thermos.core.session import MAX_MESSAGES, Phase, Session
from thermos.core.session_events import (
    Action,
    Answered,
    CallLost,
    CallRefused,
    Close,
    Deliver,
    Disconnect,
    Disconnected,
    Event,
    Failed,
    HurryKill,
    KillTask,
    LaunchTask,
    MessageWanted,
    OpenStream,
    Registered,
    Reregistered,
    Send,
    Settings,
    ShutDown,
    Started,
    StopWanted,
    StreamLost,
    SubscribeRefused,
    Told,
    UpdateAcknowledged,
    UpdateWanted,
    Woke,
)
from thermos.mesos import (
    Acknowledged,
    AgentInfo,
    Error,
    ExecutorInfo,
    FrameworkInfo,
    Heartbeat,
    Kill,
    Launch,
    LaunchGroup,
    MesosTaskState,
    Message,
    SendMessage,
    Shutdown,
    Subscribe,
    Subscribed,
    TaskInfo,
    TaskStatus,
    Unknown,
    Update,
)

SUBSCRIBED = Subscribed(
    ExecutorInfo("e", "F", None, None, None, None, {}),
    FrameworkInfo("F", "f", "u", True, frozenset(), {}),
    AgentInfo("S", "host", 5051, {}),
    None,
)
STARTING, RUNNING = MesosTaskState.TASK_STARTING, MesosTaskState.TASK_RUNNING
FINISHED, KILLED = MesosTaskState.TASK_FINISHED, MesosTaskState.TASK_KILLED


def task(task_id: str = "t", kill_grace_s: float | None = None) -> TaskInfo:
    return TaskInfo(task_id, "", "S", None, kill_grace_s, (), {})


def status(number: int, state: MesosTaskState = RUNNING, task_id: str = "t") -> TaskStatus:
    return TaskStatus(task_id, state, number.to_bytes(16, "big"), 0.0)


def ack(number: int, task_id: str = "t") -> Acknowledged:
    return Acknowledged(task_id, number.to_bytes(16, "big"))


def kinds(actions: Sequence[Action]) -> list[tuple[str, Action]]:
    """*actions* with their names: two tuples of different kinds, but with the same fields, are equal."""
    return [(type(action).__name__, action) for action in actions]


class Story:
    """A session with a clock that stands still unless told otherwise."""

    def __init__(self, *, checkpoint: bool = True, chance: float = 0.5, **more: Any) -> None:
        self.session = Session(Settings("e", "F", checkpoint, recovery_timeout_s=100.0, backoff_max_s=2.0, **more))
        self.now_s = 1000.0
        self.chance = chance

    def does(self, event: Event, *expected: Action) -> None:
        assert kinds(self.session.decide(event, self.now_s, self.chance)) == kinds(expected)

    def after(self, event: Event) -> list[Action]:
        return self.session.decide(event, self.now_s, self.chance)

    def wakes_in(self, seconds: float, *expected: Action) -> None:
        """Not a moment before, the session wants to be woken, and then does what is expected."""
        assert self.session.wake_at_s is not None
        assert self.session.wake_at_s - self.now_s == pytest.approx(seconds)
        self.now_s = self.session.wake_at_s
        self.does(Woke(), *expected)

    def subscribe(self) -> Story:
        self.does(Started(), OpenStream(Subscribe((), ())))
        self.does(SUBSCRIBED, Registered(SUBSCRIBED))
        return self

    def launch(self, *task_ids: str) -> Story:
        for task_id in task_ids or ("t",):
            self.does(Launch(task(task_id)), LaunchTask(task(task_id)))
        return self


# -- the course of things --------------------------------------------------------------------------------------------


def test_a_task_from_launch_to_end() -> None:
    story = Story().subscribe()
    assert story.session.wake_at_s is None
    story.does(Launch(task()), LaunchTask(task()))
    story.does(UpdateWanted(status(1, STARTING)), Send(Update(status(1, STARTING))))
    story.does(UpdateWanted(status(2)))  # one call at a time
    story.does(Answered(), Send(Update(status(2))))
    story.does(ack(1), UpdateAcknowledged(status(1, STARTING)))
    story.does(Answered())
    story.does(ack(2), UpdateAcknowledged(status(2)))
    story.does(UpdateWanted(status(3, FINISHED)), Send(Update(status(3, FINISHED))))
    story.does(StopWanted(5.0))
    story.does(Answered())
    story.does(ack(3), UpdateAcknowledged(status(3, FINISHED)), Close("the executor is done", ()))
    story.does(Launch(task("u")))
    assert story.session.wake_at_s is None


def test_a_group_is_launched_together() -> None:
    story = Story().subscribe()
    story.does(LaunchGroup((task("a"), task("b"))), LaunchTask(task("a")), LaunchTask(task("b")))


def test_messages_go_both_ways() -> None:
    story = Story().subscribe()
    story.does(Message(b"hello"), Deliver(b"hello"))
    story.does(MessageWanted(b"hi"), Send(SendMessage(b"hi")))
    story.does(MessageWanted(b"ho"))
    story.does(Answered(), Send(SendMessage(b"ho")))


def test_an_unknown_event_is_told_and_nothing_else() -> None:
    Story().subscribe().does(Unknown("X"), Told("an event of the unknown type 'X' is ignored"))


# -- reconnecting ----------------------------------------------------------------------------------------------------


def test_after_a_reconnect_all_that_is_unacknowledged_is_sent_again_in_order() -> None:
    story = Story().subscribe().launch("t", "u")
    story.does(UpdateWanted(status(1, STARTING)), Send(Update(status(1, STARTING))))
    story.does(Answered())
    story.does(ack(1), UpdateAcknowledged(status(1, STARTING)))
    story.does(UpdateWanted(status(2)), Send(Update(status(2))))
    story.does(UpdateWanted(status(3, STARTING, "u")))
    story.does(StreamLost("EOF"), Disconnect(), Disconnected("EOF"))
    story.does(UpdateWanted(status(4, FINISHED)))
    story.wakes_in(0.6, OpenStream(Subscribe((task("u"),), (status(2), status(3, STARTING, "u"), status(4, FINISHED)))))
    story.does(UpdateWanted(status(5, RUNNING, "u")))  # too late for this SUBSCRIBE
    story.does(SUBSCRIBED, Reregistered(SUBSCRIBED), Send(Update(status(5, RUNNING, "u"))))
    story.does(ack(2), UpdateAcknowledged(status(2)))
    story.does(ack(2))
    story.does(ack(4), UpdateAcknowledged(status(4, FINISHED)))
    story.does(Answered())
    assert story.session.unacknowledged_updates == (status(3, STARTING, "u"), status(5, RUNNING, "u"))
    assert story.session.unacknowledged_tasks == (task("u"),)


@pytest.mark.parametrize("chance, seconds", [(0.0, 0.2), (0.999999, 1.0)])
def test_two_attempts_fit_into_the_time_that_a_restarted_agent_waits(chance: float, seconds: float) -> None:
    story = Story(chance=chance).subscribe()
    story.does(StreamLost("EOF"), Disconnect(), Disconnected("EOF"))
    for _ in range(5):
        story.wakes_in(seconds, OpenStream(Subscribe((), ())))
        story.after(StreamLost("connection refused"))


@pytest.mark.parametrize("status_code", [404, 503])
def test_an_agent_that_recovers_is_ordinary(status_code: int) -> None:
    story = Story().subscribe()
    story.after(StreamLost("EOF"))
    for attempt in range(3):
        story.wakes_in(0.6, OpenStream(Subscribe((), ())))
        actions = story.after(SubscribeRefused(status_code, "recovering"))
        assert actions[0] == Disconnect()
        assert [type(action) for action in actions[1:]] == ([Told] if attempt == 0 else [])
    story.wakes_in(0.6, OpenStream(Subscribe((), ())))
    story.does(SUBSCRIBED, Reregistered(SUBSCRIBED))
    assert story.session.wake_at_s is None


def test_an_agent_that_refuses_for_another_reason_is_an_error_told_once() -> None:
    story = Story().subscribe()
    story.after(StreamLost("EOF"))
    story.after(Woke())
    story.now_s += 1
    story.after(Woke())
    told = "the agent answers 401 to SUBSCRIBE: no token"
    why = "cannot subscribe: the agent answers 401 to SUBSCRIBE: no token; trying again until it works"
    story.does(SubscribeRefused(401, "no token"), Failed(told), Disconnect(), Told(why))
    story.now_s += 1
    story.does(Woke(), OpenStream(Subscribe((), ())))
    story.does(SubscribeRefused(401, "no token"), Disconnect())


def test_what_keeps_us_from_subscribing_is_told_when_it_changes() -> None:
    story = Story().subscribe()
    story.after(StreamLost("EOF"))
    told = []
    for event in (
        StreamLost("connection refused"),
        StreamLost("connection refused"),
        SubscribeRefused(503, "recovering"),
        SubscribeRefused(503, "recovering"),
        SubscribeRefused(403, "no"),
        SubscribeRefused(403, "no"),
        StreamLost("connection refused"),
    ):
        story.wakes_in(0.6, OpenStream(Subscribe((), ())))
        told.append([type(action).__name__ for action in story.after(event)])
    quiet, said = ["Disconnect"], ["Disconnect", "Told"]
    assert told == [said, quiet, said, quiet, ["Failed", *said], quiet, said]


def test_an_agent_gone_too_long_means_shutdown_and_it_may_still_come_back_for_the_updates() -> None:
    story = Story().subscribe().launch()
    story.after(StreamLost("EOF"))
    gave_up_at_s = story.now_s + 100
    actions: list[Action] = []
    while not any(isinstance(action, ShutDown) for action in actions):
        assert story.session.wake_at_s is not None and story.session.wake_at_s <= gave_up_at_s
        story.now_s = story.session.wake_at_s
        actions = story.after(Woke())
        if OpenStream(Subscribe((task(),), ())) in actions:
            story.after(StreamLost("connection refused"))
    assert story.now_s == gave_up_at_s
    assert kinds(actions) == kinds([ShutDown("the agent did not come back within 100 s")])
    story.does(UpdateWanted(status(1, KILLED)))
    story.does(StopWanted(5.0))
    assert story.session.wake_at_s is not None
    story.now_s = story.session.wake_at_s
    story.does(Woke(), OpenStream(Subscribe((task(),), (status(1, KILLED),))))
    story.does(SUBSCRIBED, Reregistered(SUBSCRIBED))
    story.does(ack(1), UpdateAcknowledged(status(1, KILLED)), Close("the executor is done", ()))


def test_an_agent_that_never_comes_back_holds_nobody_up_for_ever() -> None:
    story = Story().subscribe().launch()
    story.after(StreamLost("EOF"))
    story.now_s += 100
    story.does(Woke(), ShutDown("the agent did not come back within 100 s"))
    story.after(UpdateWanted(status(1, KILLED)))
    story.after(StopWanted(5.0))
    story.now_s += 5
    story.does(Woke(), Close("updates were not acknowledged in time", (status(1, KILLED),)))


def test_the_time_an_agent_has_counts_anew_after_each_subscription() -> None:
    story = Story().subscribe()
    for _ in range(3):
        story.after(StreamLost("EOF"))
        story.now_s += 99
        story.does(Woke(), OpenStream(Subscribe((), ())))
        story.does(SUBSCRIBED, Reregistered(SUBSCRIBED))


def test_without_checkpointing_a_lost_agent_means_shutdown_at_once() -> None:
    story = Story(checkpoint=False).subscribe().launch()
    reason = "the agent is gone (EOF), and the framework does not checkpoint"
    story.does(StreamLost("EOF"), Disconnect(), Disconnected("EOF"), ShutDown(reason))
    assert story.session.wake_at_s is None
    story.does(UpdateWanted(status(1, KILLED)))
    story.does(StopWanted(5.0), Close("there is no agent", (status(1, KILLED),)))


def test_an_agent_that_never_answered_is_waited_for_as_long_as_it_would_wait_for_us() -> None:
    story = Story(checkpoint=False)
    story.does(Started(), OpenStream(Subscribe((), ())))
    told = "cannot subscribe: connection refused; trying again until it works"
    story.does(StreamLost("connection refused"), Disconnect(), Told(told))
    story.wakes_in(0.6, OpenStream(Subscribe((), ())))
    story.does(StreamLost("connection refused"), Disconnect())
    story.now_s = 1060.0
    story.does(Woke(), ShutDown("the agent did not answer within 60 s"))
    story.does(StopWanted(5.0), Close("the executor is done", ()))


def test_silence_after_subscribe_is_bounded() -> None:
    story = Story()
    story.does(Started(), OpenStream(Subscribe((), ())))
    told = "cannot subscribe: the agent did not answer SUBSCRIBE within 30 s; trying again until it works"
    story.wakes_in(30, Disconnect(), Told(told))
    story.wakes_in(0.6, OpenStream(Subscribe((), ())))


def test_silence_where_there_were_heartbeats_is_bounded() -> None:
    story = Story(heartbeat_s=90.0).subscribe()
    assert story.session.wake_at_s is None  # an agent before 1.10 sends none
    story.does(Heartbeat())
    story.now_s += 60
    story.does(Message(b""), Deliver(b""))  # anything shows that it lives
    why = "nothing was heard from the agent for 90 s"
    story.wakes_in(90, Disconnect(), Disconnected(why))


def test_an_event_before_subscribed_is_none() -> None:
    story = Story()
    story.does(Started(), OpenStream(Subscribe((), ())))
    told = "cannot subscribe: the agent sent Launch before SUBSCRIBED; trying again until it works"
    story.does(Launch(task()), Disconnect(), Told(told))


# -- calls that fail -------------------------------------------------------------------------------------------------


def test_an_idle_connection_that_was_closed_costs_nothing() -> None:
    story = Story().subscribe().launch()
    story.does(UpdateWanted(status(1)), Send(Update(status(1))))
    story.does(UpdateWanted(status(2, FINISHED)))
    story.does(CallLost("EOF"), Send(Update(status(1))))
    story.does(Answered(), Send(Update(status(2, FINISHED))))


def test_a_call_that_is_lost_again_means_subscribing_again() -> None:
    story = Story().subscribe().launch()
    story.does(UpdateWanted(status(1)), Send(Update(status(1))))
    story.does(CallLost("EOF"), Send(Update(status(1))))
    why = "the update TASK_RUNNING of task t does not get through: EOF"
    story.does(CallLost("EOF"), Disconnect(), Disconnected(why))
    story.wakes_in(0.6, OpenStream(Subscribe((task(),), (status(1),))))
    story.does(SUBSCRIBED, Reregistered(SUBSCRIBED))


def test_a_call_that_is_not_answered_in_time_means_subscribing_again() -> None:
    story = Story().subscribe().launch()
    story.does(UpdateWanted(status(1)), Send(Update(status(1))))
    why = "the agent did not answer the update TASK_RUNNING of task t within 30 s"
    story.wakes_in(30, Disconnect(), Disconnected(why))


@pytest.mark.parametrize("code", [403, 404, 500, 503])
def test_a_call_that_the_agent_cannot_take_now_is_made_again(code: int) -> None:
    story = Story().subscribe().launch()
    story.after(UpdateWanted(status(1)))
    actions = story.after(CallRefused(code, "why"))
    told = f"the agent answers {code} to the update TASK_RUNNING of task t: why"
    assert kinds(actions)[-2:] == kinds([Disconnect(), Disconnected(told)])
    assert ("Failed" in [name for name, _ in kinds(actions)]) == (code not in (404, 503))
    story.wakes_in(0.6, OpenStream(Subscribe((task(),), (status(1),))))


def test_an_update_that_the_agent_will_never_take_does_not_stop_the_others() -> None:
    story = Story().subscribe().launch()
    story.after(UpdateWanted(status(1)))
    story.after(UpdateWanted(status(2, FINISHED)))
    told = "the agent answers 400 to the update TASK_RUNNING of task t: no uuid; it is dropped"
    story.does(CallRefused(400, "no uuid"), Failed(told), Send(Update(status(2, FINISHED))))
    assert story.session.unacknowledged_updates == (status(2, FINISHED),)


def test_an_error_of_the_agent_is_told_and_means_subscribing_again() -> None:
    story = Story().subscribe()
    told = Failed("the agent reports an error: oh")
    story.does(Error("oh"), told, Disconnect(), Disconnected("the agent reported an error"))
    story.wakes_in(0.6, OpenStream(Subscribe((), ())))
    without = Story(checkpoint=False).subscribe()
    without.does(Error("oh"), told)  # its task would die of it


def test_messages_do_not_pile_up() -> None:
    story = Story().subscribe()
    story.after(StreamLost("EOF"))
    for _ in range(MAX_MESSAGES):
        story.does(MessageWanted(b""))
    story.does(MessageWanted(b"12"), Told(f"a message of 2 bytes is dropped: {MAX_MESSAGES} are waiting already"))


# -- once, and not after the end -------------------------------------------------------------------------------------


def test_a_task_is_launched_once() -> None:
    story = Story().subscribe().launch()
    story.does(Launch(task()), Told("task t was launched before; ignored"))


def test_a_task_is_killed_once_and_may_be_hurried() -> None:
    story = Story().subscribe()
    story.does(Launch(task("t", 10.0)), LaunchTask(task("t", 10.0)))
    story.does(Kill("t", None), KillTask("t", 10.0))
    story.does(Kill("t", None))
    story.does(Kill("t", 10.0))
    story.does(Kill("t", 60.0))
    story.does(Kill("t", 2.0), HurryKill("t", 2.0))
    story.does(Kill("t", 3.0))


def test_a_kill_of_no_task_or_one_that_is_over_is_ignored() -> None:
    story = Story().subscribe().launch()
    story.does(Kill("x", None), Told("kill of task x is ignored: it is unknown here"))
    story.after(UpdateWanted(status(1, FINISHED)))
    story.does(Kill("t", None), Told("kill of task t is ignored: it is over"))


def test_nothing_follows_a_terminal_update() -> None:
    story = Story().subscribe().launch()
    story.after(UpdateWanted(status(1, FINISHED)))
    story.does(UpdateWanted(status(1, FINISHED)))
    told = "TASK_RUNNING of task t comes after its terminal update; dropped"
    story.does(UpdateWanted(status(2)), Told(told))
    assert story.session.unacknowledged_updates == (status(1, FINISHED),)


def test_an_update_that_was_asked_for_twice_is_sent_once() -> None:
    story = Story().subscribe().launch()
    story.does(UpdateWanted(status(1)), Send(Update(status(1))))
    story.does(UpdateWanted(status(1)))
    story.does(Answered())
    story.does(ack(1), UpdateAcknowledged(status(1)))
    story.does(UpdateWanted(status(1)))


def test_an_update_acknowledged_before_its_second_try_is_not_sent_again() -> None:
    story = Story().subscribe().launch()
    story.does(UpdateWanted(status(1)), Send(Update(status(1))))
    story.does(UpdateWanted(status(2)))
    story.does(UpdateWanted(status(3)))
    story.does(ack(3), UpdateAcknowledged(status(3)))  # out of turn, as a SUBSCRIBE before made it known
    story.does(Answered(), Send(Update(status(2))))
    story.does(Answered())


def test_shutdown_comes_once_and_nothing_after_it() -> None:
    story = Story().subscribe().launch()
    story.does(Shutdown(), ShutDown("the agent asked for it"))
    story.does(Shutdown())
    story.does(Kill("t", None), Told("kill of task t is ignored: it is being shut down"))
    story.does(Launch(task("u")), Told("task u comes after the end; ignored"))
    story.does(Message(b"x"))
    story.does(UpdateWanted(status(1, KILLED)), Send(Update(status(1, KILLED))))
    story.does(StreamLost("EOF"), Disconnect(), Disconnected("EOF"))
    story.wakes_in(0.6, OpenStream(Subscribe((task(),), (status(1, KILLED),))))


def test_shutdown_may_be_all_that_an_agent_answers() -> None:
    story = Story()
    story.after(Started())
    story.does(Shutdown(), ShutDown("the agent asked for it"))


def test_shutdown_of_an_executor_that_is_leaving_is_no_news() -> None:
    story = Story().subscribe().launch()
    story.after(UpdateWanted(status(1, FINISHED)))
    story.does(StopWanted(5.0))
    story.does(Shutdown())


# -- leaving ---------------------------------------------------------------------------------------------------------


def test_leaving_waits_for_the_last_acknowledgement_but_not_for_ever() -> None:
    story = Story().subscribe().launch()
    story.after(UpdateWanted(status(1, FINISHED)))
    story.after(Answered())
    story.does(StopWanted(5.0))
    story.wakes_in(5.0, Close("updates were not acknowledged in time", (status(1, FINISHED),)))


def test_leaving_waits_for_an_agent_that_is_frozen_as_for_one_that_restarts() -> None:
    story = Story().subscribe().launch()
    story.after(UpdateWanted(status(1, FINISHED)))
    story.does(StopWanted(5.0))
    why = "the agent did not answer the update TASK_FINISHED of task t within 30 s"
    story.wakes_in(30.0, Disconnect(), Disconnected(why))
    story.now_s += 90
    story.does(Woke(), OpenStream(Subscribe((task(),), (status(1, FINISHED),))))
    story.does(SUBSCRIBED, Reregistered(SUBSCRIBED))
    story.does(ack(1), UpdateAcknowledged(status(1, FINISHED)), Close("the executor is done", ()))


def test_the_time_for_acknowledgements_runs_from_the_last_answer_on() -> None:
    story = Story().subscribe().launch()
    story.after(UpdateWanted(status(1, RUNNING)))
    story.after(UpdateWanted(status(2, FINISHED)))
    story.does(StopWanted(5.0))
    story.now_s += 20
    story.does(Answered(), Send(Update(status(2, FINISHED))))
    story.now_s += 20
    story.does(Answered())
    story.wakes_in(5.0, Close("updates were not acknowledged in time", (status(1, RUNNING), status(2, FINISHED))))


def test_leaving_waits_for_an_agent_that_restarts() -> None:
    story = Story().subscribe().launch()
    story.after(UpdateWanted(status(1, FINISHED)))
    story.after(StopWanted(5.0))
    story.now_s += 4
    story.after(StreamLost("EOF"))
    story.now_s += 90
    story.does(Woke(), OpenStream(Subscribe((task(),), (status(1, FINISHED),))))
    story.does(SUBSCRIBED, Reregistered(SUBSCRIBED))
    story.wakes_in(5.0, Close("updates were not acknowledged in time", (status(1, FINISHED),)))


def test_leaving_while_the_agent_is_gone_ends_with_its_time() -> None:
    story = Story().subscribe().launch()
    story.after(StreamLost("EOF"))
    story.after(UpdateWanted(status(1, FINISHED)))
    story.does(StopWanted(5.0))
    story.now_s += 100
    why = "the agent did not come back within 100 s"
    story.does(Woke(), Close(why, (status(1, FINISHED),)))


def test_leaving_with_nothing_to_say_is_done_at_once() -> None:
    Story().does(StopWanted(5.0), Close("the executor is done", ()))
    Story().subscribe().does(StopWanted(5.0), Close("the executor is done", ()))


# -- any order of failures -------------------------------------------------------------------------------------------


class FlakyAgent:
    """What an agent does with calls: each update counts once, by its uuid, whenever it arrives."""

    def __init__(self) -> None:
        self.has: list[TaskStatus] = []

    def take(self, statuses: Sequence[TaskStatus]) -> None:
        for one in statuses:
            if one not in self.has:
                self.has.append(one)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_breaks_every_update_arrives_once_and_in_order(data: st.DataObject) -> None:
    session, agent = Session(Settings("e", "F", True, recovery_timeout_s=1e9)), FlakyAgent()
    now_s, under_way, is_open = 0.0, None, False
    wanted: list[TaskStatus] = []
    subscribe = Subscribe((), ())
    states = [STARTING, RUNNING, RUNNING, FINISHED]
    launched: list[str] = []

    def do(event: Event) -> None:
        nonlocal under_way, is_open, subscribe
        if isinstance(event, Answered | CallLost):
            under_way = None
        for action in session.decide(event, now_s, 0.5):
            match action:
                case OpenStream():
                    is_open, under_way, subscribe = True, None, action.call
                    if data.draw(st.booleans()):  # it arrives, whatever becomes of the answer
                        agent.take(action.call.updates)
                case Send():
                    assert under_way is None and isinstance(action.call, Update)
                    under_way = action.call
                case Disconnect():
                    is_open, under_way = False, None
                case LaunchTask():
                    launched.append(action.task.task_id)

    do(Started())
    for step in range(data.draw(st.integers(1, 40))):
        choice = data.draw(
            st.sampled_from(["update", "subscribed", "launch", "lost", "arrive", "call lost", "ack", "wake"])
        )
        if choice == "update" and launched:
            task_id = data.draw(st.sampled_from(launched))
            number = sum(one.task_id == task_id for one in wanted)
            if number < len(states):
                wanted.append(status(step, states[number], task_id))
                do(UpdateWanted(wanted[-1]))
        elif choice == "subscribed" and session.phase is Phase.SUBSCRIBING:
            agent.take(subscribe.updates)
            do(SUBSCRIBED)
        elif choice == "launch" and session.phase is Phase.SUBSCRIBED:
            do(Launch(task(data.draw(st.sampled_from("abc")))))
        elif choice == "lost" and is_open:
            do(StreamLost("EOF"))
        elif choice in ("arrive", "call lost") and under_way is not None:
            if choice == "arrive" or data.draw(st.booleans()):
                agent.take([under_way.status])
            do(Answered() if choice == "arrive" else CallLost("EOF"))
        elif choice == "ack" and agent.has and session.phase is Phase.SUBSCRIBED:
            one = data.draw(st.sampled_from(agent.has))
            do(Acknowledged(one.task_id, one.uuid))
        elif choice == "wake" and session.wake_at_s is not None:
            now_s = session.wake_at_s
            do(Woke())

    # From here on nothing breaks any more: everything arrives.
    for _ in range(200):
        if under_way is not None:
            agent.take([under_way.status])
            do(Answered())
        elif session.phase is Phase.SUBSCRIBING:
            agent.take(subscribe.updates)
            do(SUBSCRIBED)
        elif session.phase is Phase.WAITING:
            assert session.wake_at_s is not None
            now_s = session.wake_at_s
            do(Woke())
    assert agent.has == wanted
    for one in agent.has:
        do(Acknowledged(one.task_id, one.uuid))
    assert session.unacknowledged_updates == ()
    assert sorted(launched) == sorted(set(launched))
