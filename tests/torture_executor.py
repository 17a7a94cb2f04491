"""``./dev torture-executor N``: N rounds on a real Mesos, in each of which something is killed at random moments.

A round is a random task on a Mesos of its own. Agent, executor, runner, coordinators and shells get kill -9, and the
scheduler may ask for the task's end. Then everything that must hold is checked: what the scheduler was told, what is
recorded, what has run, and that nothing is left. A round that fails prints its seed: ``./dev torture-executor 1 --seed
SEED`` repeats its task and its deaths, if not the very moments.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.chaos import Outcome
from tests.support.executor import COMMAND, ME, PROJECT
from tests.support.invariants import of_records
from tests.support.lab import RAN, Lab, process, task
from tests.support.mesos import Mesos, Scheduler, mesos, scheduler, with_marker
from tests.support.parallel import map_in_processes
from thermos.host import proc
from thermos.states import TaskState

WORKERS: Final = 2
TASK_ID: Final = "torn"
#: From the last death to the last status; a busy machine may need it.
END_S: Final = 90.0
#: From the last status until nothing is left of the task.
GONE_S: Final = 10.0
#: Mesos may lose a kill while an agent recovers; a scheduler asks again.
AGAIN_S: Final = 3.0
#: No ends; the last is what a master says that is asked to kill a task which is over, and forgotten.
_PASSING: Final = ("TASK_STAGING", "TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_UNKNOWN")
_DEEDS: Final = {"agent": 15, "executor": 12, "runner": 25, "coordinator": 18, "shell": 12, "both": 8, "kill": 20}
#: What ends well, with and without somebody left behind; nobody may outlive the run.
_GOOD: Final = (":", "sleep 0.1", "sleep 0.5", "sleep 100 & sleep 0.1", "setsid sleep 100 & sleep 0.1")
#: How Mesos' word for an end and the checkpoint's go together, where the executor says it. Killed is what it is told to
#: be, whatever it came to at that moment.
_TOGETHER: Final = {
    "TASK_FINISHED": {TaskState.SUCCESS},
    "TASK_FAILED": {TaskState.FAILED},
    "TASK_LOST": {TaskState.LOST},
    "TASK_KILLED": {TaskState.KILLED, TaskState.SUCCESS, TaskState.FAILED, TaskState.LOST},
}


class World(NamedTuple):
    """A task, and whether it ends by itself."""

    definition: dict[str, Any]
    is_endless: bool


def invent(chance: random.Random) -> World:
    """A task of up to four processes and a finalizer or two."""
    names = [f"p{number}" for number in range(chance.randint(1, 4))]
    is_endless = chance.random() < 0.5
    processes = [_process(chance, name) for name in names]
    if is_endless:
        processes[-1] = process(names[-1], chance.choice(["sleep 600", "trap '' TERM; sleep 600", "exec sleep 600"]))
    processes += [process(f"f{n}", chance.choice(_GOOD), final=True) for n in range(chance.choice([0, 1, 2]))]
    orders = [pair for pair in itertools.pairwise(names) if chance.random() < 0.4]
    # A shell that is killed is a failure: so many are allowed that the task survives it, or it is over with one.
    limit = chance.choice([1, 0])
    return World(task(processes, *orders, max_failures=limit, finalization_wait=5), is_endless)


def _process(chance: random.Random, name: str) -> dict[str, Any]:
    if chance.random() < 0.1:
        return process(name, "sleep 0.2; exit 3", max_failures=chance.choice([1, 2]))
    then = chance.choice(_GOOD)
    if chance.random() < 0.3:  # fails once, as its own file remembers
        return process(name, f"if [ ! -e {name}.n ]; then echo >{name}.n; exit 3; fi; {then}", max_failures=0)
    return process(name, then, max_failures=chance.choice([1, 3]))


# -- A round -------------------------------------------------------------------------------------------------------


class Round:
    """One task on a Mesos of its own."""

    def __init__(self, seed: int, cluster: Mesos, framework: Scheduler) -> None:
        self.chance = random.Random(seed)
        self.cluster = cluster
        self.framework = framework
        self.world = invent(self.chance)
        self.deeds: list[str] = []
        #: Executor and runner were dead at once: nobody could record the end.
        self.is_abandoned = False
        self._is_orphan = False
        self._is_coordinator_dead = False
        self.begun_s = time.monotonic()
        self._pause = threading.Event()

    def play(self) -> list[str]:
        """What was wrong; empty: nothing. Raises AssertionError."""
        self._launch()
        for _ in range(self.chance.randint(1, 4)):
            delay_s = self.chance.choice([0.05, 0.2, 0.5, 1.0, 2.0]) * self.chance.random()
            deed = self.chance.choices(list(_DEEDS), list(_DEEDS.values()))[0]
            grace_s = self.chance.choice([None, None, 0.0, 0.5, 3.0])
            self._pause.wait(delay_s)
            if self._end() is not None and self.chance.random() < 0.7:
                break
            self._do(deed, grace_s)
        self._wait_end()
        ended_s = time.monotonic()
        problems = list(self._left(ended_s))
        return problems + list(self._told()) + list(self._recorded())

    def _launch(self) -> None:
        whole = {"task": {"name": "torn", **self.world.definition}, "role": ME, "environment": "test", "name": "torn"}
        data = json.dumps(whole).encode()
        self.framework.launch(TASK_ID, COMMAND, data=data, environ={"PYTHONPATH": PROJECT})
        first = self.chance.random()
        if first < 0.1:  # as soon as there is an executor at all
            self.framework.wait(self.executor, "an executor starts")
        elif first < 0.4:
            self.framework.wait(lambda: self.framework.of(TASK_ID), "it is told to start")
        else:
            self.framework.wait(lambda: "TASK_RUNNING" in self._states() or self._end(), "it runs")

    def _states(self) -> list[str]:
        return self.framework.states(TASK_ID)

    def _end(self) -> dict[str, Any] | None:
        return next((one for one in self.framework.of(TASK_ID) if one["state"] not in _PASSING), None)

    # -- Whom to kill --

    @property
    def sandbox(self) -> Path | None:
        found = self.cluster.sandboxes()
        return found[-1] if found else None

    def mine(self) -> list[proc.Stat]:
        """Every process of the task and of its executor."""
        sandbox = self.sandbox
        found = [proc.read_stat(pid) for pid in with_marker(os.fsencode(sandbox))] if sandbox is not None else []
        return [stat for stat in found if stat is not None and stat.state not in "ZX"]

    def executor(self) -> int | None:
        """The first process of the sandbox that is ours; children that it has forked look like it, but are younger."""
        ours = [stat for stat in self.mine() if "thermos.executor.main" in _cmdline(stat.pid)]
        return min(ours, key=lambda stat: (stat.start_ticks, stat.pid)).pid if ours else None

    def victims(self, deed: str) -> list[int]:
        """The processes that *deed* is done to, as they are now."""
        mine = self.mine()
        coordinators = [stat.pid for stat in mine if _comm(stat.pid) == "thermos-coord"]
        runners = [s.pid for s in mine if "runner/boot.py" in _cmdline(s.pid) and s.pid not in coordinators]
        shells = [stat.pid for stat in mine if stat.ppid in coordinators]
        executor = self.executor()
        executors = [executor] if executor is not None else []
        if deed in ("coordinator", "shell"):
            some = coordinators if deed == "coordinator" else shells
            return [self.chance.choice(some)] if some else []
        return {"executor": executors, "runner": runners, "both": [*executors, *runners]}[deed]

    def _do(self, deed: str, grace_s: float | None) -> None:
        at = f"{time.monotonic() - self.begun_s:.2f} s"
        if deed == "kill":
            self.framework.kill(TASK_ID, grace_s)
            self.deeds.append(f"kill with grace {grace_s} (at {at})")
        elif deed == "agent":
            # Master and agent are one process here: a launch that neither has written down would be lost for good.
            self.framework.wait(lambda: self.framework.of(TASK_ID), "it is told to start")
            self._restart_agent()
            self.deeds.append(f"kill -9 of agent (at {at})")
        else:
            victims = self.victims(deed)
            if deed == "executor":
                self._is_orphan = True
            if deed == "both" or (self._is_orphan and (deed == "runner" or not self.victims("runner"))):
                self.is_abandoned = True
            self._is_coordinator_dead |= deed == "coordinator"
            for pid in victims:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self.deeds.append(f"kill -9 of {deed} ({len(victims)}, at {at})")

    def _restart_agent(self) -> None:
        before = self.framework.subscriptions
        self.cluster.kill()
        self._pause.wait(self.chance.choice([0.0, 0.0, 1.0]) * self.chance.random())
        self.cluster.start()
        self.framework.wait(lambda: self.framework.subscriptions > before, "the scheduler is subscribed again")

    def _wait_end(self) -> None:
        deadline_s = time.monotonic() + END_S
        must_ask = self.world.is_endless
        while self._end() is None:
            assert time.monotonic() < deadline_s, f"no last status within {END_S:g} s; told was {self._states()}"
            try:
                self.framework.wait(self._end, "the end", AGAIN_S)
            except AssertionError:
                if self.framework.failure is not None:
                    raise
                if must_ask:
                    self.framework.kill(TASK_ID)
                    self.deeds.append("asked to end")
                must_ask = must_ask or time.monotonic() > deadline_s - END_S / 2

    # -- What must hold --

    def _left(self, ended_s: float) -> Iterator[str]:
        """Nothing lives of the task; the executor itself has to wait for acknowledgements."""
        while (left := self.mine()) and time.monotonic() < ended_s + GONE_S:
            self._pause.wait(0.05)
        if self.is_abandoned and self._is_coordinator_dead:
            return  # what a dead coordinator watched over is the runner's to find, and no other runner came
        yield from (f"left {GONE_S:g} s after the end: {proc.describe(stat.pid)}" for stat in left)

    def _told(self) -> Iterator[str]:
        told = [one["state"] for one in self.framework.told(TASK_ID)]
        ends = {one.get("uuid"): one["state"] for one in self.framework.of(TASK_ID) if one["state"] not in _PASSING}
        if len(ends) != 1:
            yield f"{len(ends)} ends: {ends}"
        passing = [state for state in told if state in _PASSING]
        if passing != [state for state in ("TASK_STARTING", "TASK_RUNNING") if state in passing]:
            yield f"out of order, or told twice: {told}"
        if told and any(state not in _PASSING for state in told[:-1]):
            yield f"something after the end: {told}"

    def _recorded(self) -> Iterator[str]:
        end, sandbox = self._end(), self.sandbox
        if sandbox is None or end is None:
            return
        lab = _Placed(sandbox, self.world.definition)
        if not os.path.exists(lab.runner_path):
            if end["state"] == "TASK_FINISHED":
                yield "it has finished, and nothing is recorded"
            return
        yield from of_records(lab, is_abandoned=self.is_abandoned)
        header = lab.header()
        if not self.is_abandoned and header is not None and header.cgroup is not None and os.path.exists(header.cgroup):
            yield f"its control group is left: {header.cgroup}"
        if end.get("source") != "SOURCE_EXECUTOR":
            return
        if lab.task_state not in _TOGETHER.get(end["state"], set()):
            yield f"told was {end['state']} ({end.get('message')}), recorded is {lab.task_state!r}"
        if not lab.is_finished:
            yield "its task file is not among those of ended tasks"


class _Placed(Lab):
    """What the executor has left, as the checks of a runner's task see it."""

    task_id = TASK_ID

    def __init__(self, sandbox: Path, definition: dict[str, Any]) -> None:
        self.definition = definition
        self.root = str(sandbox / "checkpoints")
        self.sandbox = str(sandbox / "sandbox")


def _cmdline(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def _comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def play(seed: int) -> Outcome:
    """One round."""
    with mesos() as cluster, scheduler(cluster) as framework:
        one = Round(seed, cluster, framework)
        try:
            problems = one.play()
        except AssertionError as error:
            problems = [str(error)]
        if problems:
            problems += list(_evidence(one))
        return Outcome(seed, tuple(problems), tuple(one.deeds))


def _evidence(one: Round) -> Iterator[str]:
    for status in one.framework.of(TASK_ID):
        words = ("state", "source", "reason", "message", "uuid")
        yield "told: " + ", ".join(str(status[word]) for word in words if word in status)
    if one.sandbox is not None:
        for name in ("thermos_executor.log", "stderr", f"sandbox/{RAN}"):
            path = one.sandbox / name
            if path.exists():
                yield f"{name}: {path.read_text('utf-8', 'replace')[-4000:]}"
        lab = _Placed(one.sandbox, one.world.definition)
        yield from (f"record: {record}" for record in lab.records())
    yield str(one.world)


def main(arguments: list[str]) -> int:
    """The exit code: 1 if a round was bad."""
    parser = argparse.ArgumentParser(prog="./dev torture-executor", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rounds", metavar="N", type=int, help="how many rounds")
    parser.add_argument("--seed", type=int, help="seed of the first; the others count on from it (default: random)")
    parser.add_argument("--workers", type=int, default=WORKERS, help=f"rounds at the same time ({WORKERS})")
    parser.add_argument("--verbose", action="store_true", help="print all that is known of a round that was bad")
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**9)
    print(f"seeds {seed} to {seed + options.rounds - 1}", flush=True)
    begun_s = time.monotonic()
    seeds = range(seed, seed + options.rounds)
    outcomes = map_in_processes(play, seeds, min(options.workers, options.rounds))
    for outcome in outcomes:
        if outcome.problems:
            print(outcome if options.verbose else str(outcome)[:1500])
    deeds = Counter(deed.rpartition(" (")[0] or deed for outcome in outcomes for deed in outcome.deeds)
    bad = sum(bool(outcome.problems) for outcome in outcomes)
    told = ", ".join(f"{count} × {deed}" for deed, count in sorted(deeds.items()))
    print(f"{len(outcomes)} rounds in {time.monotonic() - begun_s:.0f} s, {bad} bad; {told}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
