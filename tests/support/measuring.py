"""What the tests of usage share: measuring one task, and states made by hand."""

from __future__ import annotations

from tests.support.box import Box
from thermos.core.state import RunnerState
from thermos.host import proc
from thermos.host.trees import Host
from thermos.host.usage import Sampler, TaskUsage
from thermos.records import ProcessStatus, TaskStatus
from thermos.states import ProcessState, TaskState


def measured(sampler: Sampler[str], state: RunnerState) -> TaskUsage:
    return sampler.sample({"key": state})["key"]


def ungrouped(a_box: Box) -> RunnerState:
    """The task's state without its control group: all that is known of it is what its runs say."""
    state = a_box.state
    assert state.header is not None
    state.header = state.header._replace(cgroup=None)
    return state


def tree(state: RunnerState, name: str) -> set[int]:
    host = Host()
    return host.tree(host.roots(state.processes[name].last))


def by_hand(coordinator: int | None, shell: int) -> RunnerState:
    """A state whose one process has these pids, recorded now and here."""
    status = TaskStatus(TaskState.ACTIVE, 0, 1, 0, proc.boot_id(), proc.pid_namespace())
    state = RunnerState()
    state.apply(status)
    state.apply(ProcessStatus(0, "work", ProcessState.WAITING))
    state.apply(ProcessStatus(1, "work", ProcessState.FORKED))
    state.apply(ProcessStatus(2, "work", ProcessState.RUNNING, pid=shell, pid_start_ticks=proc.start_ticks(shell)))
    run = state.processes["work"].last
    run.coordinator_pid = coordinator
    run.coordinator_start_ticks = proc.start_ticks(coordinator) if coordinator is not None else None
    return state
