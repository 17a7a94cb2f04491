"""Nothing that a process started survives it: every way to escape that we know, each way a run can end.

What can escape nonetheless is said in the test that shows it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import escape
from tests.support.box import IS_ROOT, NOBODY, Box, process, until, with_words
from thermos.host import cgroup, proc
from thermos.states import ProcessState, TaskState

P = ProcessState

_numbers = itertools.count(1)

#: How each runs ``$SLEEP``, which must not live on. Each ends a line in the file ``$OUT`` when it is out.
ESCAPE = f"{sys.executable} -S -E {Path(escape.__file__)}"
TRICKS = {
    "background": "$SLEEP & echo out >$OUT",
    "nohup and disown": "nohup $SLEEP >/dev/null 2>&1 & disown; echo out >$OUT",
    "own session": "setsid $SLEEP & echo out >$OUT",
    "daemon": "(setsid sh -c '($SLEEP &) ; echo out >$OUT' &) & wait",
    "no environment": "setsid env -i $SLEEP & echo out >$OUT",
    "ignores TERM": "(trap '' TERM HUP INT; echo out >$OUT; $SLEEP; $SLEEP) &",
    "closes all and leaves": f"{ESCAPE} closes $OUT $MARK &",
    "own group": f"{ESCAPE} group $OUT $MARK &",
    "sub-reaper": f"{ESCAPE} reaper $OUT $MARK &",
    "bomb": f"{ESCAPE} bomb $OUT $MARK &",
    "chain without environment": (
        "setsid env -i bash -c 'setsid bash -c \"setsid $SLEEP & wait\" & wait' & echo out >$OUT"
    ),
    "stopped": "$SLEEP & kill -STOP $!; echo out >$OUT",
}
if IS_ROOT:
    TRICKS["other user"] = f"setsid setpriv --reuid={NOBODY} --clear-groups $SLEEP & echo out >$OUT"

#: The words of a shell that waits to be ended after its trick, or until the file ``go`` is there.
STAYS = "while [ ! -e go ]; do sleep 0.1; done"


@pytest.fixture(name="mark")
def _mark() -> Iterator[str]:
    """A word that all that must die has in its command line, and a number of seconds to sleep."""
    mark = f"31536{os.getpid()}.{next(_numbers)}1"
    yield mark
    while pids := with_words(mark):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def words(trick: str, mark: str, out: str) -> str:
    return trick.replace("$SLEEP", f"sleep {mark}").replace("$OUT", f"{out}.out").replace("$MARK", mark)


def tricks(mark: str, **fields: object) -> list[dict[str, Any]]:
    """One process for each trick; its command lines all hold *mark*, the shell's only in its own."""
    found = []
    for name, trick in TRICKS.items():
        out = name.replace(" ", "-")
        found.append(process(out, f"{words(trick, mark, out)}\n{STAYS}", **fields))
    return found


def until_out(made: Box) -> None:
    """Return when all are out and their runs are told of."""
    names = [name.replace(" ", "-") for name in TRICKS]
    made.until_running(*names)
    for name in names:
        made.until_file(f"{name}.out")


def ordinary_end(made: Box) -> None:
    Path(made.sandbox, "go").touch()


def kill(made: Box) -> None:
    made.runners[-1].send_signal(signal.SIGUSR1)


def kill_coordinators(made: Box) -> None:
    """SIGKILL all coordinators at once. Their processes are run anew, find the file, and leave at once."""
    pids = [made.last(name).coordinator_pid or 0 for name in made.state.processes]
    Path(made.sandbox, "again").touch()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("flag", ["cgroup", "--no_cgroup"])
@pytest.mark.parametrize("end", [ordinary_end, kill, kill_coordinators])
def test_nothing_survives(box: Box, mark: str, end: Callable[[Box], None], flag: str) -> None:
    flags = ("--no_cgroup",) if flag == "--no_cgroup" else ()
    if not flags and cgroup.find_base() is None:
        pytest.skip("this host offers no control groups")
    again = "[ ! -e again ] || exit 0\n"
    task = [{**each, "cmdline": again + str(each["cmdline"])} for each in tricks(mark, max_failures=0)]
    runner = box.start({"processes": task, "finalization_wait": 3, "max_failures": 0}, *flags)
    until_out(box)
    assert len(with_words(f"sleep\0{mark}")) >= 10
    assert len(with_words(mark)) > 130  # the bomb's 128
    end(box)
    assert box.wait(runner) == 0
    left = [proc.describe(pid) for pid in with_words(mark)]
    assert left == [], box.story()
    assert not [note for note in box.notes if note.startswith("survivors")]
    expected = TaskState.KILLED if end is kill else TaskState.SUCCESS
    assert box.task_state is expected, box.story()
    if end is kill_coordinators:
        assert {tuple(box.states(name)) for name in box.state.processes} == {(P.LOST, P.SUCCESS)}
    header = box.state.header
    assert header is not None
    assert header.cgroup is None or not os.path.exists(header.cgroup)


def test_what_outlived_its_run_is_gone_before_the_next_run_starts(box: Box, mark: str) -> None:
    """Also what left its session and its environment, when the coordinator is killed: mid-task, not at its end."""
    look = f"pgrep -f '^sleep {mark}' >seen"
    cmdline = f"{look}; [ -e out ] && exec sleep 900; setsid env -i sleep {mark} & echo >out; wait"
    runner = box.start([process("p", cmdline, max_failures=0)], "--no_cgroup")
    box.until_file("out")
    until(lambda: with_words(f"sleep\0{mark}"), "it is out")
    box.until_running("p")
    os.kill(box.last("p").coordinator_pid or 0, signal.SIGKILL)
    until(lambda: box.states("p") == [P.LOST, P.RUNNING], "its second run")
    until(lambda: not with_words(f"sleep\0{mark}"), lambda: f"gone; {box.story()}")
    assert Path(box.sandbox, "seen").read_text() == ""
    runner.send_signal(signal.SIGUSR2)
    assert box.wait(runner) == 0


#: What only a control group finds once runner and coordinator are both dead: it left its session, its
#: environment and, being an orphan, its parents.
LEFT_ALL = {"no environment", "chain without environment"}


@pytest.mark.parametrize("flag", ["cgroup", "--no_cgroup"])
def test_nothing_survives_a_takeover_after_runner_and_coordinators_died(box: Box, mark: str, flag: str) -> None:
    flags = ("--no_cgroup",) if flag == "--no_cgroup" else ()
    if not flags and cgroup.find_base() is None:
        pytest.skip("this host offers no control groups")
    task = [each for each in tricks(mark) if flags == () or each["name"].replace("-", " ") not in LEFT_ALL]
    runner = box.start({"processes": task, "finalization_wait": 3}, *flags)
    box.until_running(*(str(each["name"]) for each in task))
    for each in task:
        box.until_file(f"{each['name']}.out")
    coordinators = [box.last(str(each["name"])).coordinator_pid or 0 for each in task]
    for pid in (runner.pid, *coordinators):
        os.kill(pid, signal.SIGKILL)
    runner.wait()
    assert len(with_words(mark)) > 130
    again = box.start([], "--takeover", "--kill=KILLED", "--kill_budget=0")
    assert box.wait(again) == 0
    left = [proc.describe(pid) for pid in with_words(mark)]
    assert left == [], box.story()
    assert box.task_state is TaskState.KILLED
