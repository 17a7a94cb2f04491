"""How fast processes that stay are started, beside other supervisors in the same run."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import Bench, Row, Skipped, peer, runner_argv, running, s6, sleepers, supervisord, wait_commands

COUNT = 200


def of_peer(bench: Bench, make: Callable[[Path, int, str], list[str]], seconds: str, stop: signal.Signals) -> float:
    """Processes started in a second. Raises Skipped."""
    directory = bench.fresh("peer")
    argv = make(directory, COUNT, seconds)
    start = time.perf_counter()
    with peer(argv, directory, stop):
        return COUNT / (wait_commands(f"sleep {seconds}", COUNT) - start)


def of_ours(bench: Bench, seconds: str) -> float:
    """Processes started in a second, from the start of the runner, seen from outside as the peers' are."""
    directory = bench.fresh("ours")
    with running(runner_argv(directory, sleepers(COUNT, seconds)), directory) as runner:
        return COUNT / (wait_commands(f"sleep {seconds}", COUNT) - runner.started_s)


def measure(bench: Bench) -> list[Row]:
    """Best of several, in turn; who looks every 20 ms takes time too, from all alike."""
    best: dict[str, float] = {}
    rounds = bench.pick(3, 1)
    for number in range(rounds):
        measured: dict[str, Callable[[], float]] = {
            "ours": lambda n=number: of_ours(bench, f"100001{n}"),  # type: ignore[misc]
            "supervisord": lambda n=number: of_peer(bench, supervisord, f"100002{n}", signal.SIGTERM),  # type: ignore[misc]
            "s6": lambda n=number: of_peer(bench, s6, f"100003{n}", signal.SIGTERM),  # type: ignore[misc]
        }
        for name, of in measured.items():
            try:
                best[name] = max(best.get(name, 0.0), of())
            except Skipped as reason:
                bench.log(f"{name}: {reason}")
    return [
        Row(f"{COUNT} processes that stay: start rate", best["ours"], "/s", None, name, best.get(name), is_rate=True)
        for name in ("supervisord", "s6")
    ]
