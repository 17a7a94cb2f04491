"""Many short processes at once, from the command to the task's end."""

from __future__ import annotations

from benchmarks.harness import Bench, Row, best, median, process, runner_argv, task, time_s

TARGETS_S = {100: 0.5, 1000: 2.5}


def measure(bench: Bench) -> list[Row]:
    """Beside a shell that starts the same commands in its background and remembers nothing."""
    rows = []
    for count, target_s in TARGETS_S.items():
        directory = bench.fresh("parallel")
        definition = task("parallel", [process(f"p{n}", "true") for n in range(count)])
        ours, floor = [], []
        for number in range(bench.pick(5, 2)):
            ours.append(time_s(runner_argv(directory, definition, f"t{number}")))
            floor.append(time_s(["bash", "-c", f"for ((i = 0; i < {count}; i++)); do bash -c true & done; wait"]))
        name = f"{count} processes at once: thermos_runner"
        rows.append(Row(name, median(ours), "s", target_s, "bash, in background", median(floor), best(ours)))
    return rows
