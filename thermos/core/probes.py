"""What all checks of a task say together: when each begins, whether the task is healthy, whether it is ready. Pure.

Startup probes come first; all others, Aurora's own check included, begin when each of them has succeeded. The task is
healthy once each liveness check has been, and from then on while each of them is. It is ready while each readiness
check says so. A startup probe or a liveness check can end it, a readiness check cannot.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, TypeAlias

from thermos.core.health import HEALTHY, Verdict
from thermos.core.lifetime_events import HealthTold, ReadinessTold


class Purpose(Enum):
    """What a check decides. Values are those of configurations."""

    STARTUP = "startup"
    READINESS = "readiness"
    LIVENESS = "liveness"


class Check(NamedTuple):
    """One of a task's checks. Aurora's own is a liveness check that has no name."""

    name: str | None = None
    purpose: Purpose = Purpose.LIVENESS

    def __str__(self) -> str:
        return "the health check" if self.name is None else f"{self.purpose.value} probe '{self.name}'"

    def says(self, message: str) -> str:
        """*message* with the name of who says it; Aurora's own check needs none."""
        return message if self.name is None else f"{self}: {message}"


class Begin(NamedTuple):
    """Ask this check from now on; they are numbered from 0."""

    number: int


class Finish(NamedTuple):
    """Ask it no more."""

    number: int


Action: TypeAlias = Begin | Finish | HealthTold | ReadinessTold


class Together(NamedTuple):
    """What the checks have said so far."""

    checks: tuple[Check, ...]
    #: The last of each; None: it has not decided.
    verdicts: tuple[Verdict | None, ...]
    #: Those that have been healthy at some time.
    proven: frozenset[int] = frozenset()
    #: All startup probes have succeeded.
    is_up: bool = False
    #: What was told last.
    health: HealthTold | None = None
    is_ready: bool = False

    def of(self, purpose: Purpose) -> tuple[int, ...]:
        """Which of them have this purpose."""
        return tuple(index for index, check in enumerate(self.checks) if check.purpose is purpose)


class Words(NamedTuple):
    """All of it for people. *is_healthy* None: not decided, or nothing decides it."""

    is_healthy: bool | None
    text: str


Decision: TypeAlias = tuple[Together, tuple[Action, ...]]


def begin(checks: tuple[Check, ...]) -> Decision:
    """Before anything has been asked: who is asked first."""
    state = Together(checks, (None,) * len(checks))
    startup = state.of(Purpose.STARTUP)
    return (state, tuple(map(Begin, startup))) if startup else _up(state)


def heard(state: Together, index: int, verdict: Verdict) -> Decision:
    """After check number *index* has said something new."""
    if state.health is not None and state.health.is_fatal:
        return state, ()
    check = state.checks[index]
    verdicts = (*state.verdicts[:index], verdict, *state.verdicts[index + 1 :])
    proven = state.proven | {index} if verdict.is_healthy else state.proven
    state = state._replace(verdicts=verdicts, proven=proven)
    if check.purpose is Purpose.READINESS:
        return _readiness(state)
    if verdict.is_fatal:
        told = HealthTold(False, check.says(verdict.message), True)
        return state._replace(health=told), (told,)
    if check.purpose is Purpose.LIVENESS:
        return _liveness(state)
    finish: tuple[Action, ...] = (Finish(index),) if verdict.is_healthy else ()
    if state.is_up or not proven.issuperset(state.of(Purpose.STARTUP)):
        return state, finish
    state, actions = _up(state)
    return state, (*finish, *actions)


def words(state: Together) -> Words | None:
    """What is known, and what is waited for; None: nothing is asked."""
    said = []
    if state.health is not None:
        said.append(state.health.message)
    else:
        first = state.of(Purpose.LIVENESS) if state.is_up else state.of(Purpose.STARTUP)
        waits = [str(state.checks[index]) for index in first if index not in state.proven]
        said += [f"Waits for {' and '.join(waits)}."] if waits else []
    for index in state.of(Purpose.READINESS) if state.is_up else ():
        verdict = state.verdicts[index]
        if not _is_well(verdict):
            check = state.checks[index]
            said.append(f"Not ready: {check.says(verdict.message) if verdict is not None else f'waits for {check}.'}")
    if state.is_ready:
        said.append("Ready.")
    return Words(state.health.is_healthy if state.health is not None else None, " ".join(said)) if said else None


def _up(state: Together) -> Decision:
    """The startup probes are done with."""
    state = state._replace(is_up=True)
    liveness = state.of(Purpose.LIVENESS)
    begun: tuple[Action, ...] = tuple(map(Begin, (*liveness, *state.of(Purpose.READINESS))))
    if liveness or not state.of(Purpose.STARTUP):
        return state, begun
    told = HealthTold(True, HEALTHY)  # to have started is all that was asked of its health
    return state._replace(health=told), (*begun, told)


def _liveness(state: Together) -> Decision:
    liveness = state.of(Purpose.LIVENESS)
    if not state.proven.issuperset(liveness):
        return state, ()
    news: list[Action] = []
    ill = next((index for index in liveness if not _is_well(state.verdicts[index])), None)
    if state.health is None and ill is not None:
        news.append(HealthTold(True, HEALTHY))  # each has been healthy once: that is when a task is RUNNING
    if ill is None:
        now = HealthTold(True, HEALTHY)
    else:
        verdict = state.verdicts[ill]
        now = HealthTold(False, state.checks[ill].says(verdict.message if verdict is not None else ""))
    if now != state.health:
        news.append(now)
    return state._replace(health=now), tuple(news)


def _is_well(verdict: Verdict | None) -> bool:
    return verdict is not None and verdict.is_healthy


def _readiness(state: Together) -> Decision:
    is_ready = all(_is_well(state.verdicts[index]) for index in state.of(Purpose.READINESS))
    if is_ready is state.is_ready:
        return state, ()
    return state._replace(is_ready=is_ready), (ReadinessTold(is_ready),)
