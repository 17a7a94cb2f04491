"""Whoever is killed after whichever system call: started again, the task ends as if nobody had been.

The life of a task of two processes in order, with a finalizer, is gone through once for each system call that
its runner makes from the first that names the checkpoint root on; there it gets SIGKILL, and a runner is started
again. Left out are only the calls that no other process could notice (``tests.support.ptrace.UNSEEN``).

All of it is tried each time, but for pairs of kills: of those a sample, which ``THERMOS_TEST_SEED`` changes and
``THERMOS_TEST_PAIRS`` enlarges.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

import pytest

from tests.support.killing import Round, Story, count, play
from tests.support.lab import process, task
from tests.support.parallel import map_in_processes
from tests.support.ptrace import Tracee, TraceRefused
from thermos.states import TaskState

#: More than two cores: a round waits for disks and for Python to start as well.
WORKERS = 3
SEED = int(os.environ.get("THERMOS_TEST_SEED", "20150121"))
PAIRS = int(os.environ.get("THERMOS_TEST_PAIRS", "200"))

TWO = task([process("a"), process("b"), process("f", final=True)], ["a", "b"])
ENDLESS = task([process("a", "exec sleep 1000"), process("b"), process("f", final=True)], ["a", "b"])
ROTATING = task(
    [
        process("a", "echo out; echo err >&2", logger={"destination": "file", "mode": "rotate"}),
        process("b"),
        process("f", final=True),
    ],
    ["a", "b"],
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", autouse=True)
def may_trace() -> None:
    """Containers without CAP_SYS_PTRACE and a restrictive Yama forbid even to trace one's own children."""
    try:
        Tracee.start(["/bin/true"], os.devnull).kill()
    except TraceRefused as error:
        pytest.skip(str(error))


def sweep(story: Story, points: Sequence[tuple[int, ...]]) -> None:
    rounds: list[Round] = map_in_processes(lambda at: play(story, at), points, WORKERS)
    bad = [done for done in rounds if done.problems]
    killed = sum(bool(done.calls) for done in rounds)
    print(f"{len(rounds)} rounds, killed in {killed}, {len(bad)} bad")
    if bad:
        pytest.fail(f"{len(bad)} of {len(rounds)} rounds:\n" + "\n".join(map(str, bad[:10])), pytrace=False)


def every(story: Story) -> list[tuple[int, ...]]:
    """Each point of an unkilled life, and a few behind it, as lives differ."""
    return [(at,) for at in range(1, len(count(story)) + 6)]


def test_a_runner_killed_after_each_system_call() -> None:
    story = Story(TWO)
    sweep(story, every(story))


def test_without_control_groups() -> None:
    story = Story(TWO, flags=("--no_cgroup",))
    sweep(story, every(story))


def test_while_it_kills_the_task() -> None:
    story = Story(ENDLESS, TaskState.KILLED, asked_to_kill=True)
    sweep(story, every(story))


def test_killed_twice() -> None:
    """The runner that takes over is killed too, at any moment of that."""
    story = Story(TWO)
    length = len(count(story))
    chance = random.Random(SEED)
    points = [(chance.randint(1, length), chance.randint(1, length)) for _ in range(PAIRS)]
    sweep(story, points)


def test_a_coordinator_killed_after_each_system_call() -> None:
    story = Story(TWO, victim="coordinator")
    sweep(story, every(story))


def test_a_coordinator_that_copies_output() -> None:
    story = Story(ROTATING, victim="coordinator")
    sweep(story, every(story))


def test_what_becomes_the_command_killed_after_each_system_call() -> None:
    """First it is a child of the coordinator that records and prepares, then it is the shell."""
    story = Story(TWO, victim="command")
    sweep(story, every(story))
