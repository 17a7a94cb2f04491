"""An executor's life as stories, events in and actions out; and what holds for every order of events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thermos.core.lifetime import (
    FORCE_S,
    IDLE_S,
    MAX_RESTARTS,
    SANDBOX_S,
    START_S,
    WITHDRAW_S,
    Life,
    Phase,
    decide,
)
from thermos.core.lifetime_events import (
    FAILED,
    FINISHED,
    KILLED,
    LOST,
    RUNNING,
    STARTING,
    TERMINAL,
    AbandonSandbox,
    Action,
    Announce,
    AnnounceFailed,
    Close,
    Due,
    Event,
    FarewellSaid,
    ForceKill,
    HealthTold,
    KillAsked,
    KillTask,
    Launched,
    LaunchRefused,
    Leave,
    Left,
    LimitExceeded,
    MakeSandbox,
    Opened,
    Plan,
    ProcessesRun,
    ReadinessTold,
    RunnerEnded,
    RunnerReady,
    SandboxFailed,
    SandboxMade,
    SayFarewell,
    ShutdownAsked,
    StartChecks,
    StartRunner,
    Status,
    StopChecks,
    Tell,
    Wake,
    Withdraw,
    Withdrawn,
)

PLAIN: Final = Plan("t")
SERVICE: Final = Plan("t", is_checked=True, is_announced=True, farewells=(("/quit", 5.0), ("/abort", 3.0)))
DONE: Final = Status(FINISHED, "Task finished.")
BROKEN: Final = Status(LOST, "The runner died.")
NEW: Final = Life()
STOP_S: Final = PLAIN.stop_timeout_s


def ended(status: Status | None = DONE, now_s: float = 0.0) -> RunnerEnded:
    return RunnerEnded(status, BROKEN, now_s)


def after(events: Iterable[Event], life: Life = NEW) -> tuple[Life, list[Action]]:
    """The life after *events*, and what the last of them brought about."""
    actions: tuple[Action, ...] = ()
    for event in events:
        life, actions = decide(life, event)
    return life, list(actions)


def up(plan: Plan) -> list[Event]:
    return [Opened(), Launched(plan), SandboxMade(), RunnerReady(), ProcessesRun()]


HEALTHY: Final = HealthTold(True, "Task is healthy.")


def test_a_plain_task_from_launch_to_end() -> None:
    life, actions = after([Opened()])
    assert actions == [Wake("idle", IDLE_S)]
    life, actions = after([Launched(PLAIN)], life)
    assert actions == [Tell("t", Status(STARTING, "Initializing sandbox.")), MakeSandbox(), Wake("sandbox", SANDBOX_S)]
    life, actions = after([SandboxMade()], life)
    assert actions == [StartRunner(), Wake("start", START_S)]
    life, actions = after([RunnerReady()], life)
    assert actions == [StartChecks()]
    life, actions = after([ProcessesRun()], life)
    assert actions == [Tell("t", Status(RUNNING, "No health-check defined, task is assumed healthy."))]
    life, actions = after([ended()], life)
    assert actions == [StopChecks(), Wake("stop", STOP_S), Tell("t", DONE), Leave()]
    life, actions = after([Left()], life)
    assert actions == [Close()]


def test_running_is_told_once_and_only_when_healthy() -> None:
    life, actions = after([*up(SERVICE)])
    assert actions == []
    life, actions = after([HEALTHY], life)
    assert actions == [Tell("t", Status(RUNNING, "Task is healthy.", None, True)), Announce()]
    assert after([HEALTHY], life)[1] == []
    assert after([HealthTold(False, "slow"), HEALTHY], life)[1] == []


def test_healthy_before_its_processes_are_known_to_run_is_not_running() -> None:
    life, actions = after([Opened(), Launched(SERVICE), SandboxMade(), RunnerReady(), HEALTHY])
    assert actions == []
    assert after([ProcessesRun()], life)[1][0] == Tell("t", Status(RUNNING, "Task is healthy.", None, True))


def test_the_order_of_an_end() -> None:
    life, actions = after([*up(SERVICE), HEALTHY, KillAsked("t")])
    assert actions == [StopChecks(), Wake("stop", STOP_S), Withdraw(), Wake("withdraw", WITHDRAW_S)]
    life, actions = after([Withdrawn()], life)
    assert actions == [SayFarewell("/quit"), Wake("farewell", 5.0)]
    assert after([FarewellSaid("/quit", True)], life) == (life, [])
    life, actions = after([Due("farewell")], life)
    assert actions == [SayFarewell("/abort"), Wake("farewell", 3.0)]
    life, actions = after([FarewellSaid("/abort", False)], life)
    assert actions == [KillTask(60.0)]
    life, actions = after([Due("stop")], life)
    assert actions == [ForceKill(), Wake("force", FORCE_S)]
    life, actions = after([ended(Status(KILLED, "killed"))], life)
    assert actions == [Tell("t", Status(KILLED, "Instructed to kill task.")), Leave()]
    assert after([Left()], life)[1] == [Close()]


def test_one_that_ends_when_it_is_asked_is_asked_no_more() -> None:
    _, actions = after([*up(SERVICE), HEALTHY, KillAsked("t"), Withdrawn(), FarewellSaid("/quit", True), ended()])
    assert actions == [Tell("t", Status(KILLED, "Instructed to kill task.")), Leave()]


def test_an_ensemble_that_does_not_answer_holds_nobody_up() -> None:
    assert after([*up(SERVICE), HEALTHY, KillAsked("t"), Due("withdraw")])[1][0] == SayFarewell("/quit")


@pytest.mark.parametrize("asked", [KillAsked("t"), ShutdownAsked("Told to shut down executor.")])
def test_a_kill_while_the_sandbox_is_made_ends_it_once(asked: Event) -> None:
    life, actions = after([Opened(), Launched(PLAIN), asked])
    assert actions[0] == AbandonSandbox()
    tell = actions[1]
    assert isinstance(tell, Tell)
    assert tell.status.state == KILLED
    assert tell.status.reason == "REASON_TASK_KILLED_DURING_LAUNCH"
    for late in (SandboxMade(), asked, SandboxFailed("x"), RunnerReady()):
        assert after([late], life) == (life, [])


def test_a_kill_of_another_task_is_not_ours() -> None:
    life, _ = after(up(PLAIN))
    assert after([KillAsked("other")], life) == (life, [])


def test_a_shorter_grace_hurries_a_kill_that_is_under_way() -> None:
    life, _ = after([*up(PLAIN), KillAsked("t")])
    life, actions = after([KillAsked("t", 2.0)], life)
    assert actions == [KillTask(2.0), Wake("stop", 2.0 + FORCE_S)]
    assert after([KillAsked("t", 30.0)], life) == (life, [])


def test_the_kill_policy_s_grace_bounds_the_whole_end() -> None:
    _, actions = after([*up(PLAIN), KillAsked("t", 1.5)])
    assert actions == [StopChecks(), Wake("stop", 1.5 + FORCE_S), KillTask(1.5)]


def test_an_unhealthy_task_fails_with_the_check_s_reason() -> None:
    life, actions = after([*up(SERVICE), HealthTold(False, "500", is_fatal=True)])
    assert actions[:2] == [StopChecks(), Wake("stop", STOP_S)]
    life, actions = after([Due("farewell"), Due("farewell"), ended(Status(KILLED))], life)
    assert actions[0] == Tell("t", Status(FAILED, "Failed health check! 500", None, False))


def test_a_runner_that_died_alone_is_started_again_three_times_a_minute() -> None:
    life, _ = after(up(PLAIN))
    for time_s in range(MAX_RESTARTS):
        life, actions = after([ended(None, time_s)], life)
        assert actions == [StartRunner(), Wake("start", START_S)]
        life, actions = after([RunnerReady()], life)
        assert actions == []  # checks go on, RUNNING was told
    life, actions = after([ended(None, 4.0)], life)
    assert actions == [StopChecks(), Wake("stop", STOP_S), KillTask(60.0, as_lost=True)]
    assert after([ended(Status(LOST, "killed"))], life)[1][0] == Tell("t", BROKEN)


def test_a_runner_that_died_before_it_was_ready_costs_no_checks() -> None:
    life, _ = after([Opened(), Launched(SERVICE), SandboxMade()])
    life, actions = after([ended(None)], life)
    assert actions == [StartRunner(), Wake("start", START_S)]
    assert after([RunnerReady()], life)[1] == [StartChecks()]


#: The end of a runner that cannot go on with a task whose processes may live.
HELPLESS: Final = RunnerEnded(BROKEN, BROKEN, 1.0, is_over=False)


def test_what_no_runner_can_go_on_with_is_ended_before_it_is_told() -> None:
    life, actions = after([*up(PLAIN), HELPLESS])
    assert actions == [StopChecks(), Wake("stop", STOP_S), KillTask(60.0, as_lost=True)]
    life, actions = after([HELPLESS], life)
    assert actions == [ForceKill(), Wake("force", FORCE_S)]
    assert after([ended(BROKEN)], life)[1] == [Tell("t", BROKEN), Leave()]
    (told, *_) = after([Due("force")], life)[1]
    assert told == Tell("t", BROKEN._replace(message="The runner died. Not everything of it could be ended."))


def test_it_leaves_zookeeper_and_is_asked_first_as_at_every_end() -> None:
    life, actions = after([*up(SERVICE), HEALTHY, HELPLESS])
    assert actions == [StopChecks(), Wake("stop", STOP_S), Withdraw(), Wake("withdraw", WITHDRAW_S)]
    assert after([Withdrawn()], life)[1][0] == SayFarewell("/quit")


def test_a_killer_that_cannot_is_not_the_end_of_the_task() -> None:
    life, actions = after([*up(PLAIN), KillAsked("t"), HELPLESS])
    assert actions == [ForceKill(), Wake("force", FORCE_S)]
    assert after([ended(Status(KILLED))], life)[1][0] == Tell("t", Status(KILLED, "Instructed to kill task."))


@pytest.mark.parametrize("when", [[], [HEALTHY]])
def test_a_runner_that_dies_while_its_task_is_killed_leaves_nobody_behind(when: list[Event]) -> None:
    life, _ = after([*up(PLAIN), *when, KillAsked("t")])
    life, actions = after([ended(None, 1.0)], life)
    assert actions == [KillTask(60.0)]
    life, _ = after([ended(None, 2.0), ended(None, 3.0)], life)
    life, actions = after([ended(None, 4.0)], life)
    assert actions == [ForceKill(), Wake("force", FORCE_S)]
    assert after([ended(Status(KILLED))], life)[1][0] == Tell("t", Status(KILLED, "Instructed to kill task."))


def test_one_that_dies_while_the_task_is_asked_to_stop_is_dealt_with_in_its_turn() -> None:
    life, _ = after([*up(SERVICE), HEALTHY, KillAsked("t"), ended(None), Withdrawn(), Due("farewell")])
    assert after([Due("farewell")], life)[1] == [KillTask(60.0)]


def test_little_time_is_shared_out() -> None:
    life, _ = after([*up(SERVICE), HEALTHY, ShutdownAsked("leave", 4.0)])
    life, actions = after([Withdrawn()], life)
    assert actions == [SayFarewell("/quit"), Wake("farewell", 1.0)]
    life, actions = after([Due("farewell")], life)
    assert actions == [SayFarewell("/abort"), Wake("farewell", 1.0)]
    assert after([Due("farewell")], life)[1] == [KillTask(2.0)]


def test_a_minute_later_it_may_die_again() -> None:
    life, _ = after(up(PLAIN))
    for time_s in (0.0, 61.0, 122.0, 183.0, 244.0):
        life, actions = after([ended(None, time_s)], life)
        assert actions[0] == StartRunner()
        life, _ = after([RunnerReady()], life)


@pytest.mark.parametrize(
    "events, state",
    [
        ([LaunchRefused("t", "no such task")], FAILED),
        ([Launched(PLAIN), SandboxFailed("no user")], FAILED),
        ([Launched(PLAIN), Due("sandbox")], FAILED),
        ([Launched(PLAIN), SandboxMade(), ended(Status(FAILED, "exit 102"))], FAILED),
    ],
)
def test_what_keeps_a_task_from_starting(events: list[Event], state: str) -> None:
    _, actions = after([Opened(), *events])
    told = [action for action in actions if isinstance(action, Tell)]
    assert [tell.status.state for tell in told] == [state]


def test_a_runner_that_never_gets_ready_is_lost() -> None:
    life, actions = after([Opened(), Launched(PLAIN), SandboxMade(), Due("start")])
    assert KillTask(60.0, as_lost=True) in actions
    assert isinstance(tell := after([ended(Status(KILLED))], life)[1][0], Tell)
    assert tell.status.state == LOST


@pytest.mark.parametrize(
    "event, state",
    [(LimitExceeded(Status(FAILED, "disk")), FAILED), (AnnounceFailed("no ensemble"), FAILED)],
)
def test_other_ends(event: Event, state: str) -> None:
    life, _ = after([*up(PLAIN), event])
    assert isinstance(tell := after([ended(Status(KILLED))], life)[1][0], Tell)
    assert tell.status.state == state


def test_a_second_task_is_refused_and_the_first_goes_on() -> None:
    life, _ = after(up(PLAIN))
    same, actions = after([Launched(Plan("u"))], life)
    assert same == life
    assert isinstance(tell := actions[0], Tell)
    assert (tell.task_id, tell.status.state) == ("u", LOST)
    assert after([Launched(PLAIN)], life) == (life, [])


def test_an_executor_without_a_task_ends() -> None:
    assert after([Opened(), Due("idle")])[1] == [Close()]
    assert after([Opened(), ShutdownAsked("x")])[1] == [Close()]


def test_readiness_takes_it_out_of_zookeeper_and_back() -> None:
    life, _ = after([*up(SERVICE), HEALTHY])
    life, actions = after([ReadinessTold(False)], life)
    assert actions == [Withdraw()]
    assert after([Withdrawn(), ReadinessTold(False)], life)[1] == []
    life, actions = after([ReadinessTold(True)], life)
    assert actions == [Announce()]


READY: Final = SERVICE._replace(has_readiness=True)


def test_with_readiness_it_is_announced_when_it_runs_and_is_ready() -> None:
    life, actions = after([*up(READY), HEALTHY])
    assert actions == [Tell("t", Status(RUNNING, "Task is healthy.", None, True))]
    assert after([ReadinessTold(True)], life)[1] == [Announce()]
    life, actions = after([*up(READY), ReadinessTold(True)])
    assert actions == []
    assert after([HEALTHY], life)[1][1:] == [Announce()]


def test_readiness_tells_mesos_nothing_and_ends_nothing() -> None:
    life, _ = after([*up(READY), HEALTHY])
    for is_ready in (True, False, True, False):
        life, actions = after([ReadinessTold(is_ready)], life)
        assert actions == [Announce() if is_ready else Withdraw()]
    assert life.phase is Phase.UP


def test_not_ready_while_its_runner_is_started_again_it_leaves_at_once_and_comes_back_later() -> None:
    life, _ = after([*up(READY), HEALTHY, ReadinessTold(True), ended(None, 1.0)])
    life, actions = after([ReadinessTold(False)], life)
    assert actions == [Withdraw()]
    life, actions = after([ReadinessTold(True)], life)
    assert actions == []
    assert after([RunnerReady()], life)[1] == [Announce()]


def test_a_kill_waits_until_it_has_left_zookeeper_also_if_it_was_leaving_already() -> None:
    life, _ = after([*up(READY), HEALTHY, ReadinessTold(True), ReadinessTold(False)])
    gone, _ = after([Withdrawn()], life)
    assert SayFarewell("/quit") in after([KillAsked("t")], gone)[1]
    life, actions = after([KillAsked("t")], life)
    assert actions == [StopChecks(), Wake("stop", STOP_S), Wake("withdraw", WITHDRAW_S)]
    assert after([Withdrawn()], life)[1][0] == SayFarewell("/quit")


def test_with_the_early_join_readiness_still_counts() -> None:
    plan = READY._replace(announces_early=True)
    life, actions = after([Opened(), Launched(plan), SandboxMade(), RunnerReady()])
    assert actions == [StartChecks()]
    assert after([ReadinessTold(True)], life)[1] == [Announce()]


def test_the_original_s_early_join() -> None:
    plan = SERVICE._replace(announces_early=True)
    assert after([Opened(), Launched(plan), SandboxMade(), RunnerReady()])[1] == [StartChecks(), Announce()]


# -- Every order ------------------------------------------------------------------------------------------------------

EVENTS: Final[list[Event]] = [
    Opened(), Launched(PLAIN), Launched(SERVICE), Launched(READY), Launched(Plan("u")), LaunchRefused("t", "bad"),
    SandboxMade(), SandboxFailed("full"), RunnerReady(), ProcessesRun(), ended(), ended(None), HELPLESS,
    ended(None, 70.0), HEALTHY,
    HealthTold(False, "bad"), HealthTold(False, "bad", True), ReadinessTold(True), ReadinessTold(False),
    LimitExceeded(Status(FAILED, "disk")), AnnounceFailed("zk"), KillAsked("t"), KillAsked("t", 1.0), KillAsked("u"),
    ShutdownAsked("agent"), FarewellSaid("/quit", True), FarewellSaid("/quit", False), FarewellSaid("/abort", False),
    Withdrawn(), Left(),
    *(Due(key) for key in ("idle", "sandbox", "start", "withdraw", "farewell", "stop", "force", "x")),
]  # fmt: skip


@settings(max_examples=1500)
@given(st.lists(st.sampled_from(EVENTS), max_size=40))
def test_whatever_happens_in_whatever_order(events: list[Event]) -> None:
    life = Life()
    told: list[str] = []
    announced = closed = checks = 0
    for event in events:
        life, actions = decide(life, event)
        assert not (closed and actions and not all(isinstance(action, Tell) for action in actions))
        for action in actions:
            if isinstance(action, Tell) and life.plan is not None and action.task_id == life.plan.task_id:
                told.append(action.status.state)
            announced += isinstance(action, Announce)
            announced -= isinstance(action, Withdraw)
            assert announced in (0, 1)
            closed += isinstance(action, Close)
            checks += isinstance(action, StartChecks)
            if isinstance(action, Tell) and action.status.state in TERMINAL and life.phase is Phase.REPORTING:
                assert not announced, "the last status is told after the task has left ZooKeeper"
                assert event is not HELPLESS, "the last status is told while something of the task may live"
        assert checks == life.has_checks and (checks or life.phase is not Phase.UP)
    assert closed <= 1
    assert told.count(STARTING) <= 1
    assert told.count(RUNNING) <= 1
    ends = [state for state in told if state in TERMINAL]
    assert len(ends) <= 1
    if ends:
        assert told[-1] == ends[0], "nothing follows the last status"


@given(st.lists(st.sampled_from(EVENTS), max_size=30))
def test_from_everywhere_a_kill_and_its_time_lead_to_the_end(events: list[Event]) -> None:
    life, _ = after([Opened(), Launched(SERVICE), *events])
    bell = [Due(key) for key in ("withdraw", "farewell", "farewell", "stop", "force")]
    life, _ = after([ShutdownAsked("end"), *bell, Left()], life)
    assert life.phase is Phase.CLOSED
