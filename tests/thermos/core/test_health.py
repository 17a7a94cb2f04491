"""Health by attempts: an independent model of Aurora's loop, stories with its defaults, and extra probes."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermos.core.health import HealthPolicy, HealthState, after_attempt, after_probe, before_attempt, wants_probe


def run(policy: HealthPolicy, results: str) -> HealthState:
    """The state after attempts that went as *results* say: ``+`` or ``-``; ``p`` and ``q`` are good and bad probes."""
    state = HealthState()
    for index, result in enumerate(results):
        if result in "pq":
            state = after_probe(policy, state, None if result == "p" else f"probe {index}")
            continue
        state = before_attempt(policy, state)
        state = after_attempt(policy, state, None if result == "+" else f"bad {index}")
    return before_attempt(policy, state)


class Model:
    """The loop of the behaviour inventory, 5.4, written down anew line by line, with a mutable object."""

    def __init__(self, policy: HealthPolicy) -> None:
        self.policy = policy
        self.attempts = self.successes = self.failures = 0
        self.running = self.unhealthy = False

    def step(self, good: bool) -> None:
        forgiving, maximum = self.policy.forgiving, self.policy.max_to_running
        if not self.running and self.attempts > maximum:
            self.unhealthy = True
        if self.attempts <= maximum:
            self.attempts += 1
        if good:
            self.successes, self.failures = self.successes + 1, 0
            if self.successes >= self.policy.min_consecutive_successes:
                self.running = True
            return
        self.successes = 0
        if self.attempts <= forgiving:
            return
        remaining = maximum - self.attempts
        if not self.running and remaining > 1 and self.policy.min_consecutive_successes > remaining:
            self.unhealthy = True
        self.failures += 1
        if self.failures > self.policy.max_consecutive_failures:
            self.unhealthy = True


POLICIES = [
    HealthPolicy(initial, 10.0, failures, successes)
    for initial, failures, successes in product((0.0, 5.0, 15.0, 20.0, None), (0, 1, 3), (1, 2, 4))
]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_every_sequence_of_results_is_judged_as_the_original_does(policy: HealthPolicy) -> None:
    for length in range(9):
        for results in product((True, False), repeat=length):
            model, state = Model(policy), HealthState()
            for good in results:
                model.step(good)
                state = after_attempt(policy, before_attempt(policy, state), None if good else "bad")
            assert (state.attempts, state.consecutive_successes) == (model.attempts, model.successes)
            assert (state.consecutive_failures, state.is_running) == (model.failures, model.running)
            assert (state.unhealthy is not None) == model.unhealthy


def test_with_aurora_s_defaults_two_failures_are_forgiven_and_the_third_ends_it() -> None:
    policy = HealthPolicy()
    assert policy.forgiving == 2
    assert run(policy, "--").unhealthy is None
    assert run(policy, "---").unhealthy == "bad 2"


@pytest.mark.parametrize(
    "policy, forgiving, max_to_running",
    [
        (HealthPolicy(15.0, 10.0, 0, 1), 2, 3),
        (HealthPolicy(None, 10.0, 0, 1), 2, 3),
        (HealthPolicy(0.0, 10.0, 2, 3), 0, 5),
        (HealthPolicy(1.0, 0.3, 1, 2), 4, 7),
        (HealthPolicy(15.0, 0.0, 0, 1), 0, 1),
    ],
)
def test_attempts_that_a_task_has(policy: HealthPolicy, forgiving: int, max_to_running: int) -> None:
    assert (policy.forgiving, policy.max_to_running) == (forgiving, max_to_running)


def test_a_task_that_was_healthy_stays_running_and_still_ends_unhealthy() -> None:
    state = run(HealthPolicy(0.0, 10.0, 1, 1), "+--")
    assert state.is_running
    assert state.unhealthy == "bad 2"


def test_too_late_is_found_when_the_next_attempt_is_due() -> None:
    policy = HealthPolicy(10.0, 10.0, 5, 2)
    state = run(policy, "-+-+-+-+-")
    assert not state.is_running
    assert state.unhealthy == "Not enough successful health checks in time."


def test_the_first_reason_stays() -> None:
    assert run(HealthPolicy(0.0, 10.0, 0, 1), "---").unhealthy == "bad 0"


def test_a_good_probe_between_attempts_makes_a_task_healthy_at_once() -> None:
    state = run(HealthPolicy(), "-p")
    assert state.is_running
    assert state.attempts == 1


def test_the_success_of_a_probe_counts_once() -> None:
    policy = HealthPolicy(min_consecutive_successes=3)
    state = run(policy, "-ppp")
    assert state.consecutive_successes == 1
    assert not wants_probe(state)
    assert run(policy, "-ppp++").is_running


@given(
    st.builds(
        HealthPolicy,
        st.none() | st.floats(0, 60),
        st.floats(0.1, 30),
        st.integers(0, 4),
        st.integers(1, 4),
    ),
    st.text("+-q", max_size=40),
)
def test_a_bad_probe_never_counts(policy: HealthPolicy, results: str) -> None:
    plain = run(policy, results.replace("q", ""))
    probed = run(policy, results)
    assert (probed.attempts, probed.consecutive_successes, probed.consecutive_failures, probed.is_running) == (
        plain.attempts,
        plain.consecutive_successes,
        plain.consecutive_failures,
        plain.is_running,
    )
    assert (probed.unhealthy is None) == (plain.unhealthy is None)
