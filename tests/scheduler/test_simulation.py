"""Thousands of made-up clusters in which everything goes wrong; each promise is looked at after every step."""

from __future__ import annotations

import multiprocessing
import os

import pytest

from tests.support.simulated_cluster import Broken, SimulatedCluster

#: ``SIMULATION_SEEDS=100000``: as many as one likes; ``SIMULATION_FIRST``: where to begin, such as at one that failed.
SEEDS = int(os.environ.get("SIMULATION_SEEDS", "2000"))
FIRST = int(os.environ.get("SIMULATION_FIRST", "0"))
#: Seeds that one process tries before the next begins.
CHUNK = 50


def tried(seed: int) -> str | None:
    """What went wrong with it, or None."""
    cluster = SimulatedCluster(seed)
    try:
        cluster.run()
    except Exception as error:  # noqa: BLE001  # whatever it is, with its seed
        story = "\n".join(cluster.log[-60:])
        kind = "a promise is broken" if isinstance(error, Broken) else "a fault"
        again = f"SIMULATION_FIRST={seed} SIMULATION_SEEDS=1 repeats it"
        return f"seed {seed}: {kind}: {error!r}; {again}\n{story}"
    return None


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_promises_hold() -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(os.cpu_count() or 1) as pool:
        for wrong in pool.imap_unordered(tried, range(FIRST, FIRST + SEEDS), CHUNK):
            assert wrong is None, wrong


def test_a_seed_gives_the_same_run_every_time() -> None:
    one, two = SimulatedCluster(3), SimulatedCluster(3)
    one.run()
    two.run()
    assert one.log == two.log
    assert one.deaths == two.deaths
    assert one.log
