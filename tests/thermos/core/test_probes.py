"""All checks of a task together: who is asked when, and what follows, as stories and for every order."""

from __future__ import annotations

from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from thermos.core.health import (
    HEALTHY,
    HealthPolicy,
    HealthState,
    Verdict,
    after_probe,
    after_readiness,
    before_attempt,
    readiness_verdict,
    wants_probe,
)
from thermos.core.lifetime_events import HealthTold, ReadinessTold
from thermos.core.probes import Action, Begin, Check, Finish, Purpose, Together, Words, begin, heard, words

OWN: Final = Check()
UP: Final = Check("up", Purpose.STARTUP)
DISK: Final = Check("disk", Purpose.STARTUP)
DB: Final = Check("db")
READY: Final = Check("ready", Purpose.READINESS)
CACHE: Final = Check("cache", Purpose.READINESS)

WELL: Final = Verdict(True, HEALTHY)
ILL: Final = Verdict(False, "503")
DEAD: Final = Verdict(False, "503", True)
HEALTH: Final = HealthTold(True, HEALTHY)


def after(checks: tuple[Check, ...], *said: tuple[int, Verdict]) -> tuple[Together, tuple[Action, ...]]:
    """The state after what was *said*, and what the last of it brought about."""
    state, actions = begin(checks)
    for index, verdict in said:
        state, actions = heard(state, index, verdict)
    return state, actions


def test_aurora_s_own_check_alone_is_passed_on_as_it_is() -> None:
    assert after((OWN,))[1] == (Begin(0),)
    assert after((OWN,), (0, WELL))[1] == (HEALTH,)
    assert after((OWN,), (0, WELL), (0, ILL))[1] == (HealthTold(False, "503"),)
    assert after((OWN,), (0, WELL), (0, ILL), (0, WELL))[1] == (HEALTH,)
    assert after((OWN,), (0, DEAD))[1] == (HealthTold(False, "503", True),)


def test_others_begin_when_every_startup_probe_has_succeeded() -> None:
    checks = (UP, OWN, DISK, READY)
    assert after(checks)[1] == (Begin(0), Begin(2))
    assert after(checks, (0, WELL))[1] == (Finish(0),)
    assert after(checks, (0, WELL), (2, WELL))[1] == (Finish(2), Begin(1), Begin(3))


def test_to_have_started_is_health_enough_where_nothing_else_is_asked() -> None:
    assert after((UP,), (0, WELL))[1] == (Finish(0), HEALTH)
    assert after((UP, READY), (0, WELL))[1] == (Finish(0), Begin(1), HEALTH)


def test_a_startup_probe_that_does_not_succeed_ends_the_task() -> None:
    state, actions = after((UP, OWN), (0, DEAD))
    assert actions == (HealthTold(False, "startup probe 'up': 503", True),)
    assert heard(state, 0, WELL) == (state, ())


def test_each_must_have_been_healthy_once() -> None:
    assert after((OWN, DB), (0, WELL))[1] == ()
    assert after((OWN, DB), (0, WELL), (1, WELL))[1] == (HEALTH,)
    ill = HealthTold(False, "503")
    assert after((OWN, DB), (0, WELL), (0, ILL), (1, WELL))[1] == (HEALTH, ill)


def test_who_is_ill_is_named_and_the_last_to_recover_decides() -> None:
    state, _ = after((OWN, DB), (0, WELL), (1, WELL))
    state, actions = heard(state, 1, ILL)
    assert actions == (HealthTold(False, "liveness probe 'db': 503"),)
    state, actions = heard(state, 0, ILL)
    assert actions == (HealthTold(False, "503"),)
    state, actions = heard(state, 1, WELL)
    assert actions == ()
    assert heard(state, 0, WELL)[1] == (HEALTH,)


def test_each_liveness_check_can_end_the_task_even_before_the_others_were_healthy() -> None:
    assert after((OWN, DB), (1, DEAD))[1] == (HealthTold(False, "liveness probe 'db': 503", True),)


def test_ready_when_all_are_and_not_when_one_is_not() -> None:
    state, _ = after((READY, CACHE), (0, WELL))
    assert not state.is_ready
    state, actions = heard(state, 1, WELL)
    assert actions == (ReadinessTold(True),)
    state, actions = heard(state, 0, ILL)
    assert actions == (ReadinessTold(False),)
    assert heard(state, 1, ILL)[1] == ()
    assert heard(state, 0, WELL)[1] == (ReadinessTold(True),)


def test_words() -> None:
    checks = (UP, OWN, READY)
    assert words(after(())[0]) is None
    assert words(after(checks)[0]) == Words(None, "Waits for startup probe 'up'.")
    started = (0, WELL)
    assert words(after(checks, started)[0]) == Words(
        None, "Waits for the health check. Not ready: waits for readiness probe 'ready'."
    )
    healthy = (started, (1, WELL))
    assert words(after(checks, *healthy, (2, ILL))[0]) == Words(
        True, f"{HEALTHY} Not ready: readiness probe 'ready': 503"
    )
    assert words(after(checks, *healthy, (2, WELL))[0]) == Words(True, f"{HEALTHY} Ready.")
    assert words(after(checks, *healthy, (1, DEAD))[0]) == Words(
        False, "503 Not ready: waits for readiness probe 'ready'."
    )
    assert words(after((READY,), (0, WELL))[0]) == Words(None, "Ready.")
    assert words(after((OWN,), (0, WELL))[0]) == Words(True, HEALTHY)


# -- Every order ------------------------------------------------------------------------------------------------------


@settings(deadline=None)  # what else the machine does is not the question
@given(st.data())
def test_whatever_they_say_in_whatever_order(data: st.DataObject) -> None:
    purposes = data.draw(st.lists(st.sampled_from(Purpose), max_size=5))
    checks = tuple(Check(f"p{index}", purpose) for index, purpose in enumerate(purposes))
    state, actions = begin(checks)
    asked: set[int] = set()
    been_well: set[int] = set()
    told: list[HealthTold] = []
    ready: list[bool] = [False]
    for _ in range(30):
        for action in actions:
            if isinstance(action, Begin):
                assert action.number not in asked
                asked.add(action.number)
            elif isinstance(action, Finish):
                asked.remove(action.number)
            elif isinstance(action, HealthTold):
                assert not (told and told[-1].is_fatal), "nothing follows the end"
                told.append(action)
            else:
                assert action.is_ready is not ready[-1]
                ready.append(action.is_ready)
        startup = {index for index, check in enumerate(checks) if check.purpose is Purpose.STARTUP}
        liveness = {index for index, check in enumerate(checks) if check.purpose is Purpose.LIVENESS}
        others = set(range(len(checks))) - startup
        assert bool(asked & others) <= (startup <= been_well), "startup first"
        if any(each.is_healthy for each in told):
            assert startup | liveness <= been_well
        if not asked:
            break
        index = data.draw(st.sampled_from(sorted(asked)))
        may = [WELL, ILL] if checks[index].purpose is Purpose.READINESS else [WELL, ILL, DEAD]
        verdict = data.draw(st.sampled_from(may))
        if verdict is WELL:
            been_well.add(index)
        state, actions = heard(state, index, verdict)
        assert (words(state) is None) <= (not checks)


# -- One readiness check ----------------------------------------------------------------------------------------------


def ready_after(policy: HealthPolicy, results: str) -> HealthState:
    state = HealthState()
    for index, result in enumerate(results):
        if result == "p":
            state = after_probe(policy, state, None)
        else:
            state = before_attempt(policy, state)
            state = after_readiness(policy, state, None if result == "+" else f"bad {index}")
    return state


def test_readiness_comes_and_goes_by_its_numbers() -> None:
    policy = HealthPolicy(max_consecutive_failures=1, min_consecutive_successes=2)
    for results, is_ready in {"": False, "+": False, "++": True, "++-": True, "++--": False, "++--+": False}.items():
        assert ready_after(policy, results).is_ready is is_ready, results
    assert ready_after(policy, "++--++").is_ready
    assert ready_after(policy, "++-+-").is_ready


def test_it_never_is_the_end_and_has_all_the_time() -> None:
    state = ready_after(HealthPolicy(0.0, 10.0, 0, 1), "-" * 100)
    assert state.unhealthy is None
    assert not state.is_ready
    assert ready_after(HealthPolicy(0.0, 10.0, 0, 1), "-" * 100 + "+").is_ready


def test_it_is_asked_between_attempts_until_it_is_ready_for_the_first_time() -> None:
    policy = HealthPolicy()
    assert wants_probe(ready_after(policy, "--"))
    assert ready_after(policy, "-p").is_ready
    assert not wants_probe(ready_after(policy, "-p"))
    assert not wants_probe(ready_after(policy, "-p-"))


def test_what_it_says() -> None:
    policy = HealthPolicy(min_consecutive_successes=2)
    assert readiness_verdict(ready_after(policy, ""), None) is None
    assert readiness_verdict(ready_after(policy, "-"), "503") == Verdict(False, "503")
    verdict = readiness_verdict(ready_after(policy, "-+"), None)
    assert verdict is not None
    assert not verdict.is_healthy
    assert "often enough" in verdict.message
    verdict = readiness_verdict(ready_after(policy, "++"), None)
    assert verdict is not None
    assert verdict.is_healthy


@settings(deadline=None)  # what else the machine does is not the question
@given(st.integers(0, 3), st.integers(1, 3), st.text("+-", max_size=40))
def test_ready_is_as_an_independent_model_says(failures: int, successes: int, results: str) -> None:
    """Ready: at some place there were *successes* good ones in a row, and no *failures* + 1 bad ones since."""
    expected = False
    for end in range(1, len(results) + 1):
        past = results[:end]
        if past.endswith("+" * successes):
            expected = True
        elif past.endswith("-" * (failures + 1)):
            expected = False
    assert ready_after(HealthPolicy(15.0, 10.0, failures, successes), results).is_ready is expected
