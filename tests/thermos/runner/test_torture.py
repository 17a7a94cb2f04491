"""Rounds of ``./dev torture``, as many as a test run has time for."""

from __future__ import annotations

import os
import random
import time

import pytest

from tests.torture import summary, torture

ROUNDS = int(os.environ.get("THERMOS_TEST_ROUNDS", "250"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_lost_whatever_dies() -> None:
    seed = random.SystemRandom().randrange(10**9)
    begun = time.monotonic()
    outcomes = torture(ROUNDS, seed)
    print(summary(outcomes, time.monotonic() - begun))
    bad = [str(outcome) for outcome in outcomes if outcome.problems]
    if bad:
        pytest.fail("repeat with ./dev torture 1 --seed SEED\n" + "\n".join(bad[:5]), pytrace=False)
