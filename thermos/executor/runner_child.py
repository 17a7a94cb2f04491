"""The runner as the executor's child: started, listened to, told to kill, and known to be gone.

What it records comes over a pipe as it is written, so that nothing is polled; what its end means is read from the
checkpoint, which survives it. It holds a leash: when we are gone, it ends the task.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from thermos.checkpoints import read_task
from thermos.core.lifetime_events import Event, ProcessesRun, RunnerEnded, RunnerReady, Status
from thermos.errors import IllegalMove
from thermos.executor.outcome import outcome
from thermos.formats.checkpoint import Decoder
from thermos.host import proc
from thermos.host.loop import Loop
from thermos.records import ProcessStatus, TaskStatus
from thermos.runner import spawn
from thermos.schema import Task
from thermos.states import ProcessState

#: States of a process that has not run yet; one that came and went between two looks has.
_NOT_YET: Final = frozenset({ProcessState.WAITING, ProcessState.FORKED})
_FORKED_STATES: Final = frozenset({ProcessState.FORKED, ProcessState.RUNNING})
_READ_BYTES: Final = 64 << 10
#: Of what the runner complains about, so much is told.
_SAID_BYTES: Final = 2000


@dataclass(frozen=True, kw_only=True)
class RunnerOrder:
    """What the runner is started with; ``thermos_runner --help`` explains each."""

    root: str
    task_id: str
    sandbox: str
    task: Task
    task_json: str
    container_sandbox: str | None = None
    hostname: str | None = None
    user: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    mesos_containerizer_path: str | None = None
    preserve_env: bool = False
    kill_budget_s: float = 60.0
    logger: Mapping[str, str | int] = field(default_factory=dict)

    def words(self, leash_fd: int) -> list[str]:
        """Its command line, without the task."""
        words = [
            f"--checkpoint_root={self.root}",
            f"--task_id={self.task_id}",
            f"--sandbox={self.sandbox}",
            f"--container_sandbox={self.container_sandbox or self.sandbox}",
            f"--leash_fd={leash_fd}",
            f"--preemption_wait={self.kill_budget_s:g}",
            *(f"--port={name}:{number}" for name, number in sorted(self.ports.items())),
            *(f"--{name}={value}" for name, value in self.logger.items()),
        ]
        if self.hostname is not None:
            words.append(f"--hostname={self.hostname}")
        if self.user is not None:
            words.append(f"--setuid={self.user}")
        if self.mesos_containerizer_path is not None:
            words.append(f"--mesos_containerizer_path={self.mesos_containerizer_path}")
        if self.preserve_env:
            words.append("--preserve_env")
        return words


class RunnerChild:
    """One task's runner, or one after the other. *tell* hears RunnerReady, ProcessesRun, RunnerEnded; *changed*

    is called whenever something was recorded. Everything comes from the loop.
    """

    def __init__(
        self,
        loop: Loop,
        order: RunnerOrder,
        tell: Callable[[Event], object],
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self._loop = loop
        self._order = order
        self._tell = tell
        self._changed = changed
        self._leash = self._hold = -1
        self._pid = 0
        self._pidfd = -1
        self._report = -1
        self._complaints = -1
        self._why_not = ""
        self._is_ready = False
        self._is_recorded = False
        self._has_run = False
        self._decoder = Decoder()
        self._kill_words: list[str] | None = None
        self._is_forced = False
        #: Of the coordinators that were let go and still live.
        self._awaited: set[int] = set()
        #: By the process's name: pid and start time of the coordinator of the run that there is.
        self._coordinators: dict[str, tuple[int, int]] = {}

    @property
    def pids(self) -> tuple[int, tuple[tuple[int, int], ...]]:
        """The runner, 0 if there is none, and its coordinators with their start times: all that is ours of the task."""
        return self._pid, tuple(self._coordinators.values())

    # -- Starting --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a runner: the first, or one that goes on where the last one died."""
        self._begin(lambda: self._order.words(self._leash))

    def _begin(self, words: Callable[[], list[str]]) -> None:
        """Start a runner with *words*, which may name the leash."""
        self._is_ready = False
        self._decoder = Decoder()
        try:
            if self._leash < 0:
                self._leash, self._hold = os.pipe2(os.O_CLOEXEC)
            self._complaints = os.memfd_create("runner's stderr", os.MFD_CLOEXEC)
            started = spawn.launch(words(), self._order.task_json, (self._leash,), self._complaints)
            self._pidfd = _pidfd_of(started)
        except OSError as error:
            self._why_not = f"it could not be started: {error.strerror}"
            self._loop.call_later(self, 0.0, lambda: self._gone(127 << 8))
            return
        assert started.report_fd is not None
        self._why_not = ""
        self._pid = started.pid
        self._report = started.report_fd
        os.set_blocking(self._report, False)
        self._loop.watch(self._report, self._reported)
        self._loop.watch(self._pidfd, self._ended)

    # -- Listening -------------------------------------------------------------------------------------------------

    def _reported(self) -> None:
        if not self._read_report():
            self._loop.unwatch(self._report)

    def _read_report(self) -> bool:
        """Take in what has come; False: there will be no more."""
        try:
            data = os.read(self._report, _READ_BYTES)
        except BlockingIOError:
            return True
        if not data:
            return False
        for entry in self._decoder.feed(data):
            record = entry.record
            self._is_recorded = True
            if isinstance(record, TaskStatus) and not self._is_ready:
                self._is_ready = True
                self._tell(RunnerReady())
            if isinstance(record, ProcessStatus):
                self._follow(record)
            if isinstance(record, ProcessStatus) and not self._has_run and record.state not in _NOT_YET:
                self._has_run = True
                self._tell(ProcessesRun())
        self._changed()
        return True

    def _follow(self, record: ProcessStatus) -> None:
        if record.state not in _FORKED_STATES:
            self._coordinators.pop(record.process, None)
        elif record.coordinator_pid is not None and record.coordinator_start_ticks is not None:
            self._coordinators[record.process] = (record.coordinator_pid, record.coordinator_start_ticks)

    def _ended(self) -> None:
        self._loop.unwatch(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        _, wait_status = os.waitpid(self._pid, 0)
        while self._report >= 0 and self._has_more():
            pass
        self._gone(wait_status)

    def _has_more(self) -> bool:
        """Read what is left in the pipe; coordinators do not hold it, so it ends with the runner."""
        before = self._decoder.fed_to
        if self._read_report() and self._decoder.fed_to > before:
            return True
        self._loop.unwatch(self._report)
        os.close(self._report)
        self._report = -1
        return False

    def _gone(self, wait_status: int) -> None:
        said = self._why_not
        if self._complaints >= 0:
            said += os.pread(self._complaints, _SAID_BYTES, 0).decode("utf-8", "replace")
            os.close(self._complaints)
            self._complaints = -1
        self._pid = 0
        if self._kill_words is not None:
            words, self._kill_words = self._kill_words, None
            self._begin_kill(words)
            return
        checkpoint = read_task(self._order.root, self._order.task_id)
        try:
            died_alone, status = outcome(
                wait_status, checkpoint.state if checkpoint.exists else None, self._order.task, said
            )
            reached = checkpoint.state.task_state
            is_over = not self._is_recorded or (reached is not None and reached.is_terminal)
        except IllegalMove as error:  # a checkpoint that somebody else wrote into
            died_alone, status = outcome(wait_status, None, None, f"{said} {error}")
            is_over = not self._is_recorded
        self._changed()
        if self._is_forced and not is_over:
            self._let_go(status)
        else:
            self._tell(RunnerEnded(None if died_alone else status, status, self._loop.now_s(), is_over))

    # -- Ending ----------------------------------------------------------------------------------------------------

    def kill(self, budget_s: float, as_lost: bool = False) -> None:
        """Have the task ended within *budget_s*, finalizers included; RunnerEnded tells that it is."""
        if budget_s < self._order.kill_budget_s:
            end = "LOST" if as_lost else "KILLED"
            self._replace([f"--kill={end}", "--kill_reason=asked for by Mesos", f"--kill_budget={budget_s:g}"])
        elif self._pid:
            self._signal(signal.SIGUSR2 if as_lost else signal.SIGUSR1)
        else:
            self._replace([f"--kill={'LOST' if as_lost else 'KILLED'}", "--kill_reason=asked for by Mesos"])

    def force(self) -> None:
        """Have everything ended now: no finalizers, no grace; by a runner, or without one if it cannot."""
        self._is_forced = True
        self._replace(["--kill=KILLED", "--kill_reason=it took too long to end", "--kill_budget=0"])

    def _replace(self, words: list[str]) -> None:
        """Put a runner that kills in the place of the one there is; a runner can be killed at any moment."""
        if self._pid:
            self._kill_words = words
            self._signal(signal.SIGKILL)
        else:
            self._begin_kill(words)

    def _begin_kill(self, words: list[str]) -> None:
        order = self._order
        if self._is_recorded:
            line = [f"--checkpoint_root={order.root}", f"--task_id={order.task_id}", "--takeover", *words]
            self._begin(lambda: [*line, f"--leash_fd={self._leash}"])
        else:  # nothing tells what the task is: so that it is recorded before its end, it is begun
            self._begin(lambda: [*order.words(self._leash), *words])

    def _let_go(self, status: Status) -> None:
        """Have the coordinators end what is theirs, as no runner can; RunnerEnded tells when all of them have."""
        os.close(self._hold)  # the leash's other end: with no runner left, it is theirs to answer
        self._hold = -1
        living: set[int] = set()

        def gone(fd: int) -> None:
            self._loop.unwatch(fd)
            os.close(fd)
            living.discard(fd)
            if not living:
                self._tell(RunnerEnded(status, status, self._loop.now_s()))

        for pid, start_ticks in self._coordinators.values():
            with contextlib.suppress(ProcessLookupError):
                fd = os.pidfd_open(pid)
                stat = proc.read_stat(pid)
                if stat is None or stat.start_ticks != start_ticks:
                    os.close(fd)
                    continue
                living.add(fd)
                self._loop.watch(fd, partial(gone, fd))
        self._awaited = living
        if not living:
            self._loop.call_later(self, 0.0, lambda: self._tell(RunnerEnded(status, status, self._loop.now_s())))

    def _signal(self, number: int) -> None:
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:
            pass  # it has ended, and the loop is about to hear of it

    def close(self) -> None:
        """Let go of the leash: a runner that lives ends its task as LOST.

        One that was to end it at once has had its time: it hangs, and coordinators do what is left only without it.
        """
        self._loop.cancel(self)
        if self._is_forced and self._pidfd >= 0:
            self._signal(signal.SIGKILL)
        for fd in (self._report, self._pidfd, *self._awaited):
            if fd >= 0:
                self._loop.unwatch(fd)
        for fd in (self._report, self._pidfd, self._complaints, self._leash, self._hold, *self._awaited):
            if fd >= 0:
                os.close(fd)
        self._report = self._pidfd = self._complaints = self._leash = self._hold = -1
        self._awaited.clear()


def _pidfd_of(started: spawn.Started) -> int:
    """A descriptor of the runner that was just started. Raises OSError; then there is no runner any more."""
    try:
        return os.pidfd_open(started.pid)
    except OSError:
        os.kill(started.pid, signal.SIGKILL)  # ours, and not reaped yet
        os.waitpid(started.pid, 0)
        if started.report_fd is not None:
            os.close(started.report_fd)
        raise
