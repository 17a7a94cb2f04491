"""A chain of 20 processes, each after the one before it: what a step costs."""

from __future__ import annotations

from benchmarks.harness import Bench, Row, best, median, process, runner_argv, task, time_s

TARGET_S = 0.5
LENGTH = 20


def measure(bench: Bench) -> list[Row]:
    """The whole chain, beside a shell that starts the same commands one after the other and remembers nothing."""
    directory = bench.fresh("chain")
    names = [f"p{n}" for n in range(LENGTH)]
    definition = task("chain", [process(name, "true") for name in names], [names])
    ours, floor = [], []
    for number in range(bench.pick(10, 3)):
        ours.append(time_s(runner_argv(directory, definition, f"t{number}")))
        floor.append(time_s(["bash", "-c", "bash -c true;" * LENGTH]))
    name = f"chain of {LENGTH}: thermos_runner"
    return [Row(name, median(ours), "s", TARGET_S, "bash, one by one", median(floor), best(ours))]
