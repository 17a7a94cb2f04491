"""When is a task healthy? A fold over the results of its checks, counted in attempts and not in time. Pure.

The rules are those of Aurora's ``aurora/executor/common/health_checker.py``: attempts come every ``interval_s``,
the first at once. The first ``forgiving`` of them may fail. After ``max_to_running`` attempts the task must be
running, that is, have had enough successes in a row; from then on too many failures in a row are its end.

Beyond Aurora, probes may run between two attempts until the first success (:func:`after_probe`): they are no
attempts, their failures say nothing, and the one success counts as one. And a check may decide readiness instead of
health (:func:`after_readiness`): then it comes and goes, and never is anything's end.
"""

from __future__ import annotations

from math import ceil
from typing import Final, NamedTuple

HEALTHY: Final = "Task is healthy."
#: First waits are as long as this many intervals where the configuration does not say.
_INTERVALS_AT_FIRST: Final = 2


class HealthPolicy(NamedTuple):
    """What is asked of the checks; fields of Aurora's HealthCheckConfig."""

    initial_interval_s: float | None = 15.0
    interval_s: float = 10.0
    max_consecutive_failures: int = 0
    min_consecutive_successes: int = 1

    @property
    def forgiving(self) -> int:
        """How many attempts at the beginning may fail."""
        if self.interval_s <= 0:
            return 0
        initial_s = self.initial_interval_s
        if initial_s is None:
            initial_s = _INTERVALS_AT_FIRST * self.interval_s
        return ceil(initial_s / self.interval_s)

    @property
    def max_to_running(self) -> int:
        """How many attempts a task has to become healthy."""
        return self.forgiving + self.max_consecutive_failures + self.min_consecutive_successes


class HealthState(NamedTuple):
    """What the checks have said so far."""

    #: Attempts that were made, counted no further than one beyond ``max_to_running``.
    attempts: int = 0
    consecutive_successes: int = 0
    consecutive_failures: int = 0
    #: Whether the task has been healthy at some time: then it is RUNNING, and stays so.
    is_running: bool = False
    #: Why it must end; None: it need not. Stays.
    unhealthy: str | None = None
    #: Of a readiness check: whether it is ready now.
    is_ready: bool = False


class Verdict(NamedTuple):
    """What a check says now."""

    is_healthy: bool
    message: str
    #: The task must be ended.
    is_fatal: bool = False


def before_attempt(policy: HealthPolicy, state: HealthState) -> HealthState:
    """*state* as it is when the next attempt is due: too late to become healthy, perhaps."""
    if state.unhealthy is None and not state.is_running and state.attempts > policy.max_to_running:
        return state._replace(unhealthy="Not enough successful health checks in time.")
    return state


def after_attempt(policy: HealthPolicy, state: HealthState, failure: str | None) -> HealthState:
    """*state* after one more attempt; *failure*: why it failed, None for a success."""
    attempts = state.attempts + (state.attempts <= policy.max_to_running)
    state = state._replace(attempts=attempts)
    if failure is None:
        return _succeeded(policy, state)
    state = state._replace(consecutive_successes=0)
    if attempts <= policy.forgiving:
        return state
    failures = state.consecutive_failures + 1
    left = policy.max_to_running - attempts
    # With one attempt left or none, the failures alone decide, as they do there.
    is_hopeless = not state.is_running and left > 1 and policy.min_consecutive_successes > left
    if is_hopeless or failures > policy.max_consecutive_failures:
        return state._replace(consecutive_failures=failures, unhealthy=state.unhealthy or failure)
    return state._replace(consecutive_failures=failures)


def wants_probe(state: HealthState) -> bool:
    """Whether a probe between two attempts could tell anything: nothing has succeeded yet."""
    return not state.is_running and state.unhealthy is None and state.consecutive_successes == 0


def after_probe(policy: HealthPolicy, state: HealthState, failure: str | None) -> HealthState:
    """*state* after a probe between two attempts: a success counts as one of an attempt, a failure not at all."""
    if failure is not None or not wants_probe(state):
        return state
    return _succeeded(policy, state)


def after_readiness(policy: HealthPolicy, state: HealthState, failure: str | None) -> HealthState:
    """*state* of a readiness check after one more attempt: there is no time in which it must get ready."""
    if failure is None:
        return _succeeded(policy, state)
    failures = state.consecutive_failures + 1
    is_ready = state.is_ready and failures <= policy.max_consecutive_failures
    return state._replace(consecutive_successes=0, consecutive_failures=failures, is_ready=is_ready)


def health_verdict(state: HealthState, last_failure: str | None) -> Verdict | None:
    """What follows from *state*, *last_failure* being the last attempt's; None: it is not decided."""
    if state.unhealthy is not None:
        return Verdict(False, state.unhealthy, True)
    if not state.is_running:
        return None
    return Verdict(True, HEALTHY) if state.consecutive_failures == 0 else Verdict(False, last_failure or "")


def readiness_verdict(state: HealthState, last_failure: str | None) -> Verdict | None:
    """The same of a readiness check; *is_healthy* is whether it is ready. None: nothing has been asked yet."""
    if state.is_ready:
        return Verdict(True, "Task is ready.")
    if not state.consecutive_successes and not state.consecutive_failures:
        return None
    return Verdict(False, last_failure or "It has not succeeded often enough in a row.")


def _succeeded(policy: HealthPolicy, state: HealthState) -> HealthState:
    successes = state.consecutive_successes + 1
    return state._replace(
        consecutive_successes=successes,
        consecutive_failures=0,
        is_running=state.is_running or successes >= policy.min_consecutive_successes,
        is_ready=state.is_ready or successes >= policy.min_consecutive_successes,
    )
