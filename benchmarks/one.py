"""One process: from the command to its end, all that Python costs included."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.harness import Bench, Row, best, median, process, runner_argv, script, task, time_s

TARGET_S = 0.12

CONFIG = """\
export(Task(name='one', processes=[Process(name='p', cmdline='true')], resources=Resources(cpu=1, ram=1*MB, disk=1*MB)))
"""


def measure(bench: Bench) -> list[Row]:
    """``thermos_runner`` alone, and ``thermos run`` of a JSON file and of a configuration."""
    directory = bench.fresh("one")
    definition = task("one", [process("p", "true")])
    (directory / "one.json").write_text(json.dumps(definition))
    (directory / "one.thermos").write_text(CONFIG)
    count = bench.pick(20, 5)

    def run(number: int, kind: str, *words: str) -> float:
        sandbox = directory / f"{kind}-sandbox-{number}"
        common = ["run", "--quiet", f"--task_id={kind}-{number}", f"--sandbox={sandbox}", *words]
        return time_s([script("thermos"), f"--root={directory / 'root'}", *common])

    def measured(kind: str, number: int) -> float:
        if kind == "runner":
            return time_s(runner_argv(directory, definition, f"{kind}-{number}"))
        if kind == "json":
            return run(number, kind, "--json", str(directory / "one.json"))
        if kind == "config":
            return run(number, kind, str(directory / "one.thermos"))
        return time_s([sys.executable, "-c", "pass"], cwd=Path("/"))

    kinds = {"runner": "thermos_runner", "json": "thermos run, JSON", "config": "thermos run, .thermos"}
    taken: dict[str, list[float]] = {kind: [] for kind in [*kinds, "python"]}
    for number in range(-1, count):  # in turn, so that all see the same machine; the first warms caches
        for kind, values in taken.items():
            value = measured(kind, number)
            if number >= 0:
                values.append(value)
    python = median(taken["python"])
    return [
        Row(f"1 process: {name}", median(taken[kind]), "s", TARGET_S, "python3 -c pass", python, best(taken[kind]))
        for kind, name in kinds.items()
    ]
