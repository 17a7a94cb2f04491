"""Far more processes than descriptors."""

from __future__ import annotations

import resource
import signal
import time

import pytest

from tests.support.box import Box, until, with_words
from thermos.states import ProcessState, TaskState

COUNT = 1500
LIMIT = 1024


@pytest.mark.slow
def test_fifteen_hundred_processes_with_a_thousand_descriptors(box: Box) -> None:
    """Soft and hard limit: what a user who is not root cannot raise. A child of ours needs no descriptor of us."""

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))

    processes = [{"name": f"p{number}", "cmdline": "exec sleep 1500.25"} for number in range(COUNT)]
    runner = box.start({"processes": processes, "finalization_wait": 20}, prepare=prepare)

    def running() -> int:
        histories = box.state.processes.values()
        return sum(history.last.state is ProcessState.RUNNING for history in histories)

    until(lambda: len(with_words("sleep\0" + "1500.25")) == COUNT, "all of them live", 60)
    until(lambda: running() == COUNT, lambda: f"all of them RUNNING: {running()}")
    assert {len(history.runs) for history in box.state.processes.values()} == {1}
    assert box.notes == []
    begun = time.monotonic()
    runner.send_signal(signal.SIGUSR1)
    assert box.wait(runner, 40) == 0
    assert time.monotonic() - begun < 20 + 10
    assert box.task_state is TaskState.KILLED
    assert {history.last.state for history in box.state.processes.values()} == {ProcessState.KILLED}
    assert {history.last.return_code for history in box.state.processes.values()} == {-signal.SIGTERM}
    assert with_words("sleep\0" + "1500.25") == []
