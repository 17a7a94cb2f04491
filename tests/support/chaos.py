"""Random tasks, and random deaths of what runs them."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.invariants import violations
from tests.support.lab import Lab, process, task
from tests.support.nursery import PATIENCE_S, Nursery, children, nursery, time_limit
from thermos.host import proc
from thermos.states import TaskState

#: A round is over in a second or two.
ROUND_S = 3 * PATIENCE_S


class World(NamedTuple):
    """A task, how it ends if nobody asks for another end, and whether it ends at all by itself."""

    definition: dict[str, Any]
    flags: tuple[str, ...]
    end: TaskState
    is_endless: bool


class Outcome(NamedTuple):
    """What came of one round."""

    seed: int
    problems: tuple[str, ...]
    #: What was done, in order.
    deeds: tuple[str, ...]

    def __str__(self) -> str:
        return f"seed {self.seed}: {', '.join(self.deeds) or 'nothing done'}\n    " + "\n    ".join(self.problems)


# -- a task ------------------------------------------------------------------------------------------------------

#: What a command does after it has said that it runs. No child of it may outlive its run.
_GOOD = (
    ":",
    "sleep 0.03",
    "sleep 0.2",
    "sleep 100 & sleep 0.02",
    "setsid sleep 100 & sleep 0.02",
    "(trap '' TERM; sleep 100) & sleep 0.02",
    "seq 2000; seq 2000 >&2",
)
#: Only a control group finds what has a session of its own and no environment, once its coordinator is dead.
_HIDING = "setsid env -i sleep 100 & sleep 0.02"


def invent(chance: random.Random) -> World:
    """A task of up to six processes."""
    flags = chance.choice([(), ("--no_cgroup",)])
    names = [f"p{number}" for number in range(chance.randint(1, 6))]
    hopeless = {name for name in names if chance.random() < 0.1}
    daemon = chance.random() < 0.2
    processes = [_process(chance, name, name in hopeless, not flags) for name in names]
    ephemeral = {name["name"] for name in processes if name.get("ephemeral")}
    if daemon:
        is_endless = chance.random() < 0.3
        processes.append(process("d", "sleep 0.05", daemon=True, ephemeral=not is_endless, max_failures=0))
    else:
        is_endless = False
    processes += [process(f"f{n}", chance.choice(_GOOD), final=True) for n in range(chance.choice([0, 1, 1, 2]))]
    orders = [
        [first, second]
        for number, first in enumerate(names)
        for second in names[number + 1 :]
        if chance.random() < 0.25 and (first not in ephemeral or second in ephemeral)
    ]
    # While a daemon runs, a task that can get no further is not stuck: nor does it end, as in Aurora.
    max_failures = 1 if daemon else chance.choice([0, 1, 1, 2])
    definition = task(
        processes, *orders, max_failures=max_failures, max_concurrency=chance.choice([0, 0, 1, 2]) or len(processes)
    )
    end = _natural_end(names, orders, hopeless, ephemeral, max_failures)
    return World(definition, flags, end, is_endless and end is TaskState.SUCCESS)


def _process(chance: random.Random, name: str, is_hopeless: bool, may_hide: bool) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if chance.random() < 0.15:
        more["ephemeral"] = True
    if chance.random() < 0.1:
        more["min_duration"] = 1
    if chance.random() < 0.2:
        more["logger"] = {"destination": "file", "mode": "rotate", "rotate": {"log_size": 4096, "backups": 2}}
    if is_hopeless:
        return process(name, "exit 1", max_failures=chance.randint(1, 3), **more)
    then = chance.choice([*_GOOD, *([_HIDING] if may_hide else [])])
    if chance.random() < 0.3:  # fails the first times, as its own file remembers
        count = f"$(cat {name}.n 2>/dev/null | wc -l)"
        then = f"if [ {count} -lt {chance.randint(1, 2)} ]; then echo >>{name}.n; exit 3; fi; {then}"
        more["max_failures"] = 0
    return process(name, then, **more)


def _natural_end(
    names: list[str], orders: list[list[str]], hopeless: set[str], ephemeral: set[str], max_failures: int
) -> TaskState:
    before: Mapping[str, list[str]] = {name: [a for a, b in orders if b == name] for name in names}
    finished: set[str] = set()
    failed: set[str] = set()
    for name in names:  # an order is one of rising numbers
        if all(earlier in finished for earlier in before[name]):
            (failed if name in hopeless - ephemeral else finished).add(name)
    is_stuck = any(name not in finished | failed | ephemeral for name in names)
    if is_stuck or (max_failures and len(failed) >= max_failures):
        return TaskState.FAILED
    return TaskState.SUCCESS


# -- deaths ------------------------------------------------------------------------------------------------------


def play(seed: int) -> Outcome:
    """One round: a task is run to its end, whatever dies on the way."""
    chance = random.Random(seed)
    world = invent(chance)
    directory = tempfile.mkdtemp(prefix="thermos-torture-")
    deeds: list[str] = []
    try:
        with nursery() as place, time_limit(ROUND_S, "a round"):
            lab = Lab(Path(directory), world.definition, *world.flags)
            try:
                problems = _play(chance, world, lab, place, deeds)
            except AssertionError as error:
                problems = [str(error)]
            if problems:
                told = [f"told: {record}" for record in lab.told_by_coordinators()]
                problems += [f"it said: {lab.words}", str(world), *map(str, lab.records()), *told]
            return Outcome(seed, tuple(problems), tuple(deeds))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _play(chance: random.Random, world: World, lab: Lab, place: Nursery, deeds: list[str]) -> list[str]:
    bystanders = [place.start(["/bin/sleep", "6543"], os.devnull, session=True)]
    runner = lab.start(place)
    bystanders.append(place.start(["/bin/sleep", "6543"], os.devnull, session=True))
    for _ in range(chance.randint(1, 6)):
        _let_pass(place, chance.choice([0.0, 0.02, 0.05, 0.1, 0.2, 0.4]) * chance.random() + 0.05, runner)
        deed = chance.choices(
            ["runner", "coordinator", "command", "all", "SIGUSR1", "SIGUSR2"], [30, 20, 15, 20, 4, 2]
        )[0]
        _do(chance, deed, place, runner, bystanders, deeds)
        if deed in ("runner", "all"):
            place.wait_end(runner, "a killed runner")
            _let_pass(place, chance.choice([0.0, 0.0, 0.1]), None)
            runner = lab.start(place)
        elif runner in place.ended:
            if os.waitstatus_to_exitcode(place.ended[runner]) >= 0:
                break  # over
            runner = lab.start(place)  # a signal found it before it was ready for it
    if world.is_endless:
        runner = _ask_to_end(lab, place, runner, deeds)
    if place.wait_end(runner, "the runner") in (-signal.SIGUSR1, -signal.SIGUSR2):
        runner = lab.start(place)  # it was not ready for that signal yet
    lab.wait_over(place, runner)
    end = TaskState.KILLED if world.is_endless else world.end
    return violations(lab, place, end, bystanders=tuple(bystanders))


def _let_pass(place: Nursery, seconds: float, runner: int | None) -> None:
    """Some time, or less if the runner ends."""
    until = time.monotonic() + seconds
    place.wait_for(lambda: time.monotonic() >= until or runner in place.ended, "time to pass")


def _do(chance: random.Random, deed: str, place: Nursery, runner: int, bystanders: list[int], deeds: list[str]) -> None:
    if deed.startswith("SIG"):
        victims, signum = [runner], signal.Signals[deed]
    else:
        signum = signal.SIGKILL
        below = [pid for pid in place.below() if pid not in bystanders]
        coordinators = [pid for pid in below if pid != runner and _is_coordinator(pid)]
        # Shells, not what they wait for: a shell whose child was killed exits 137, which is a failure of its own.
        commands = [pid for coordinator in coordinators for pid in children(coordinator)]
        victims = {"runner": [runner], "all": below, "coordinator": coordinators, "command": commands}[deed]
        if deed in ("coordinator", "command"):
            victims = [chance.choice(victims)] if victims else []
    for pid in victims:
        try:
            os.kill(pid, signum)
        except ProcessLookupError:
            continue
    deeds.append(f"{signum.name} to {deed if not deed.startswith('SIG') else 'runner'} ({len(victims)})")


def _is_coordinator(pid: int) -> bool:
    stat = proc.read_stat(pid)
    try:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return False
    return stat is not None and stat.session == pid and name == "thermos-coord"


def _ask_to_end(lab: Lab, place: Nursery, runner: int, deeds: list[str]) -> int:
    """SIGUSR1, and again where the runner dies of it before it listens; the runner that ends the task."""
    deeds.append("SIGUSR1 at last")
    while True:
        place.wait_for(partial(_listens_or_ended, place, runner), "a runner that listens")
        if runner not in place.ended:
            os.kill(runner, signal.SIGUSR1)
            return runner
        if os.waitstatus_to_exitcode(place.ended[runner]) >= 0:
            return runner  # it was asked before
        runner = lab.start(place)


def _listens_or_ended(place: Nursery, runner: int) -> bool:
    return runner in place.ended or listens(runner)


def listens(runner: int) -> bool:
    """Its signals no longer kill it: they are blocked, and come by descriptor."""
    try:
        status = Path(f"/proc/{runner}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    blocked = int(status.partition("SigBlk:")[2].split()[0], 16)
    return bool(blocked >> (signal.SIGUSR1 - 1) & 1)
