"""The session with the master: stories of events in and actions out."""

from __future__ import annotations

from itertools import product

import pytest

from scheduler.core.events import Disconnected, MasterError
from scheduler.mesos.session import (
    MAX_REDIRECTS,
    Action,
    Address,
    CloseStream,
    FindMaster,
    Heard,
    MasterChanged,
    MasterFound,
    NoMaster,
    OpenStream,
    Phase,
    Say,
    Session,
    SessionEvent,
    SessionSettings,
    Started,
    StreamLost,
    StreamOpened,
    StreamRefused,
    Tell,
    Woke,
)
from thermos.formats.mesos_v1_scheduler import Error, Heartbeat, Offers, Rescind, Subscribed, Unknown

A, B = Address("a", 5050), Address("b", 5050)
SUBSCRIBED = Subscribed("f", 15.0, "a:5050")


class Story:
    """A session, its clock, and what it wants; what it says apart."""

    def __init__(self, settings: SessionSettings | None = None) -> None:
        self.session = Session(settings)
        self.now_s = 100.0
        self.said: list[str] = []

    def does(self, *events: SessionEvent, chance: float = 0.0) -> list[Action]:
        actions = []
        for event in events:
            actions += self.session.decide(event, self.now_s, chance)
        self.said += [one.text for one in actions if isinstance(one, Say)]
        return [one for one in actions if not isinstance(one, Say)]

    def subscribe(self) -> Story:
        self.does(Started(), MasterFound(A), StreamOpened(), Heard((SUBSCRIBED,)))
        assert self.session.phase is Phase.SUBSCRIBED
        return self

    def waits_s(self) -> float:
        assert self.session.wake_at_s is not None
        return self.session.wake_at_s - self.now_s

    def sleeps(self, seconds: float | None = None) -> Story:
        self.now_s += self.waits_s() if seconds is None else seconds
        return self


def test_from_the_start_to_events() -> None:
    story = Story()
    assert story.does(Started()) == [FindMaster(False)]
    assert story.does(MasterFound(A)) == [OpenStream(A)]
    assert story.does(StreamOpened()) == []
    assert story.does(Heard((SUBSCRIBED, Heartbeat(), Offers(())))) == [Tell(SUBSCRIBED), Tell(Offers(()))]
    assert story.does(Heard((Rescind("o"), Unknown("NEWS")))) == [Tell(Rescind("o"))]
    assert story.session.framework_id == "f"
    assert "NEWS" in story.said[-1]


def test_a_loss_is_told_once_and_the_next_attempt_comes_at_once() -> None:
    story = Story().subscribe().sleeps(20.0)
    assert story.does(StreamLost("reset")) == [CloseStream(), Tell(Disconnected("reset")), FindMaster(True)]
    assert story.does(StreamLost("reset"), Heard((Offers(()),)), StreamOpened()) == []
    assert story.does(MasterFound(A)) == [OpenStream(A)]


def test_the_wait_doubles_up_to_a_limit_with_chance_in_it() -> None:
    for chance, factor in ((0.0, 0.5), (0.999999, 1.0)):
        story = Story(SessionSettings(first_backoff_s=1.0, max_backoff_s=5.0))
        story.does(Started(), MasterFound(A))
        assert story.does(StreamLost("refused")) == [CloseStream(), FindMaster(True)]
        waits = []
        for _ in range(5):
            story.does(MasterFound(A))
            assert story.does(StreamLost("refused"), chance=chance) == [CloseStream()]
            waits.append(story.waits_s())
            assert story.sleeps().does(Woke()) == [FindMaster(True)]
        assert waits == pytest.approx([factor * wait for wait in (1.0, 2.0, 4.0, 5.0, 5.0)], rel=1e-4)
        assert len(story.said) == 1  # the same reason is said once


def test_after_ten_thousand_failures_it_still_tries() -> None:
    story = Story()
    story.does(Started())
    for _ in range(10_000):
        story.does(NoMaster("none"))
        if story.session.phase is Phase.WAITING:
            story.sleeps().does(Woke())
    assert story.session.phase is Phase.FINDING


def test_a_subscription_that_ends_at_once_is_not_tried_without_end() -> None:
    story = Story()
    story.does(Started())
    story.does(NoMaster("none"))
    for _ in range(4):
        if story.session.phase is Phase.WAITING:
            story.sleeps().does(Woke())
        story.does(MasterFound(A), StreamOpened(), Heard((SUBSCRIBED,)), StreamLost("reset"))
    assert story.waits_s() >= 1.0
    assert story.sleeps().does(Woke()) == [FindMaster(True)]
    story.does(MasterFound(A), StreamOpened(), Heard((SUBSCRIBED,)))
    story.sleeps(10.0)  # this one held
    assert story.does(StreamLost("reset"))[-1] == FindMaster(True)


def test_heartbeats_that_stay_away() -> None:
    story = Story().subscribe()
    assert story.waits_s() == 75.0
    story.sleeps(60.0)
    assert story.does(Woke()) == []
    assert story.does(Heard()) == []  # bytes of an event that is not complete are a sign of life, too
    assert story.waits_s() == 75.0
    actions = story.sleeps().does(Woke())
    assert actions[1] == Tell(Disconnected("nothing heard for 75 s, where a heartbeat comes every 15 s"))
    assert actions[2] == FindMaster(True)


def test_the_interval_is_the_master_s_or_the_default() -> None:
    for interval, waits_s in ((2.0, 10.0), (None, 75.0), (0.0, 75.0)):
        story = Story()
        story.does(Started(), MasterFound(A), StreamOpened(), Heard((Subscribed("f", interval, None),)))
        assert story.waits_s() == waits_s


def test_a_master_that_takes_the_subscription_and_says_nothing() -> None:
    story = Story()
    story.does(Started(), MasterFound(A), StreamOpened())
    assert story.waits_s() == 30.0
    assert story.sleeps().does(Woke()) == [CloseStream(), FindMaster(True)]


def test_redirects_are_followed_but_not_in_a_ring() -> None:
    story = Story()
    story.does(Started(), MasterFound(A))
    for _ in range(MAX_REDIRECTS):
        assert story.does(StreamRefused(307, "", B)) == [CloseStream(), OpenStream(B)]
    assert story.does(StreamRefused(307, "", B)) == [CloseStream(), FindMaster(True)]
    assert story.does(MasterFound(A), StreamRefused(307, "", B))[-1] == OpenStream(B)


def test_a_redirect_to_nowhere() -> None:
    story = Story()
    story.does(Started(), MasterFound(A))
    assert story.does(StreamRefused(307, "?", None)) == [CloseStream(), FindMaster(True)]


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_credential_is_said_and_tried_again_slowly(status: int) -> None:
    story = Story()
    story.does(Started(), MasterFound(A))
    assert story.does(StreamRefused(status, "no")) == [CloseStream()]
    assert story.waits_s() == 30.0
    assert f"answers {status}: no" in story.said[0]
    assert "framework_authentication_file" in story.said[0]
    assert story.sleeps().does(Woke()) == [FindMaster(True)]


def test_a_master_that_does_not_lead_is_tried_again() -> None:
    story = Story()
    story.does(Started(), MasterFound(A))
    assert story.does(StreamRefused(503, "no leader")) == [CloseStream(), FindMaster(True)]


def test_what_the_master_does_not_like_is_for_the_operator_and_the_end() -> None:
    for event in (StreamRefused(400, "Framework has been removed"),):
        story = Story()
        story.does(Started(), MasterFound(A))
        message = "the master at a:5050 answers 400: Framework has been removed"
        assert story.does(event) == [CloseStream(), Tell(MasterError(message))]
        assert story.session.wake_at_s is None
        assert story.does(Woke(), MasterFound(A), MasterChanged(B), Started()) == []
    story = Story().subscribe()
    actions = story.does(Heard((Offers(()), Error("Framework failed over"), Offers(()))))
    assert actions == [Tell(Offers(())), CloseStream(), Tell(MasterError("Framework failed over"))]
    assert story.does(StreamLost("closed"), Woke(), MasterChanged(B)) == []


def test_another_master_leads() -> None:
    story = Story().subscribe().sleeps(20.0)
    assert story.does(MasterChanged(A)) == []
    actions = story.does(MasterChanged(B))
    assert actions == [CloseStream(), Tell(Disconnected("the master at b:5050 leads now")), FindMaster(True)]
    story.does(MasterFound(B), StreamLost("x"), NoMaster("none"))
    assert story.session.phase is Phase.WAITING
    assert story.does(MasterChanged(B)) == [FindMaster(True)]  # no need to wait any longer


def test_another_master_leads_while_the_first_is_asked() -> None:
    story = Story()
    story.does(Started(), MasterFound(A))
    assert story.does(MasterChanged(A)) == []
    assert story.does(MasterChanged(B)) == [CloseStream(), FindMaster(True)]
    assert story.does(StreamOpened(), StreamLost("closed")) == []  # of the first, which was given up
    assert story.does(MasterFound(B)) == [OpenStream(B)]


EVENTS: tuple[SessionEvent, ...] = (
    Started(), MasterFound(A), NoMaster("none"), MasterChanged(B), StreamOpened(), StreamRefused(503, ""),
    StreamRefused(307, "", B), StreamRefused(400, ""), StreamLost("x"), Heard(), Heard((SUBSCRIBED,)),
    Heard((Error("x"),)), Woke(),
)  # fmt: skip


@pytest.mark.parametrize("first", EVENTS)
def test_in_any_order_it_never_stops_without_a_reason(first: SessionEvent) -> None:
    """Whatever comes: it waits for an answer of its owner's, for the time, or was ended by the master; no stream is
    opened over another; Disconnected comes only after Subscribed."""
    for rest in product(EVENTS, repeat=3):
        story = Story()
        is_open = is_subscribed = False
        for event in (Started(), first, *rest):
            for action in story.does(event):
                if isinstance(action, OpenStream):
                    assert not is_open
                    is_open = True
                elif isinstance(action, CloseStream):
                    is_open = False
                elif action == Tell(SUBSCRIBED):
                    is_subscribed = True
                elif isinstance(action, Tell) and isinstance(action.event, Disconnected):
                    assert is_subscribed
                    is_subscribed = False
            phase = story.session.phase
            assert phase is not Phase.IDLE
            if phase in (Phase.WAITING, Phase.SUBSCRIBED):
                assert story.session.wake_at_s is not None
            assert is_open == (phase in (Phase.OPENING, Phase.SUBSCRIBING, Phase.SUBSCRIBED)), phase
