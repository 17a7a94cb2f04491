"""Asks a probe in time and tells what follows: healthy, not yet, or to be ended.

Attempts follow Aurora's schedule: the first at once, the next ``interval_s`` after the one before has answered.
Between them, until the first success, the probe is asked more often: from 0.1 s on, each time twice as long after;
so a task that is well after a second is RUNNING after a second and not after ten. Those do not count as attempts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, NamedTuple

from thermos.core.health import (
    HealthPolicy,
    HealthState,
    Verdict,
    after_attempt,
    after_probe,
    after_readiness,
    before_attempt,
    health_verdict,
    readiness_verdict,
    wants_probe,
)
from thermos.health.probes import Cancel, Probe, Result
from thermos.host.loop import Loop

#: In the sandbox; while it is there every check succeeds (``health_checker.py``: HEALTH_CHECK_SNOOZE_FILE).
SNOOZE_NAME: Final = ".healthchecksnooze"
#: The first wait between two probes that are no attempts.
FIRST_WAIT_S: Final = 0.1


class Counts(NamedTuple):
    """Metrics of a checker; names as the original exports them."""

    consecutive_failures: int
    snoozed: int
    total_latency_secs: float
    checks: int


class Checker:
    """One probe and what it has said. *tell* hears of every change of the verdict, and of each fatal one once."""

    def __init__(
        self,
        loop: Loop,
        policy: HealthPolicy,
        probe: Probe,
        tell: Callable[[Verdict], object],
        snooze_file: str | None = None,
        is_readiness: bool = False,
    ) -> None:
        self._loop = loop
        self._policy = policy
        self._probe = probe
        self._tell = tell
        self._snooze_file = snooze_file
        self._after_attempt = after_readiness if is_readiness else after_attempt
        self._verdict = readiness_verdict if is_readiness else health_verdict
        self._state = HealthState()
        self._told: Verdict | None = None
        self._cancel: Cancel | None = None
        self._wait_s = FIRST_WAIT_S
        self._is_on = False
        self._is_snoozed = False
        self._total_latency_s = 0.0
        self._checks = 0
        self._last_failure: str | None = None

    # -- Questions -------------------------------------------------------------------------------------------------

    @property
    def counts(self) -> Counts:
        """Metrics so far."""
        return Counts(self._state.consecutive_failures, int(self._is_snoozed), self._total_latency_s, self._checks)

    # -- Orders ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Make the first attempt."""
        self._is_on = True
        self._attempt()

    def stop(self) -> None:
        """Ask no more; nothing is told any more."""
        self._is_on = False
        self._loop.cancel((self, "attempt"))
        self._loop.cancel((self, "probe"))
        if self._cancel is not None:
            self._cancel()
            self._cancel = None

    # -- Attempts --------------------------------------------------------------------------------------------------

    def _attempt(self) -> None:
        self._loop.cancel((self, "probe"))
        if self._cancel is not None:  # a probe between is under way: the attempt is made instead of it
            self._cancel()
            self._cancel = None
        self._judge(before_attempt(self._policy, self._state))
        if not self._is_on:
            return
        self._is_snoozed = self._snooze_file is not None and os.path.lexists(self._snooze_file)
        if self._is_snoozed:
            self._attempted(Result(None, 0.0))
        else:
            self._cancel = self._probe.start(self._loop, self._attempted)

    def _attempted(self, result: Result) -> None:
        self._cancel = None
        self._count(result)
        self._loop.call_later((self, "attempt"), self._policy.interval_s, self._attempt)
        self._judge(self._after_attempt(self._policy, self._state, result.failure))
        self._wait_s = FIRST_WAIT_S
        self._plan_probe()

    # -- Probes between --------------------------------------------------------------------------------------------

    def _plan_probe(self) -> None:
        if self._is_on and wants_probe(self._state) and self._wait_s < self._policy.interval_s:
            self._loop.call_later((self, "probe"), self._wait_s, self._ask)

    def _ask(self) -> None:
        self._cancel = self._probe.start(self._loop, self._answered)

    def _answered(self, result: Result) -> None:
        self._cancel = None
        self._wait_s *= 2
        self._judge(after_probe(self._policy, self._state, result.failure))
        self._plan_probe()

    # -- Verdicts --------------------------------------------------------------------------------------------------

    def _count(self, result: Result) -> None:
        self._checks += 1
        self._total_latency_s += result.latency_s
        self._last_failure = result.failure

    def _judge(self, state: HealthState) -> None:
        self._state = state
        if not self._is_on:
            return
        verdict = self._verdict(state, self._last_failure)
        if verdict is None:
            return
        before, self._told = self._told, verdict
        if before is None or (before.is_healthy, before.is_fatal) != (verdict.is_healthy, verdict.is_fatal):
            self._tell(verdict)
