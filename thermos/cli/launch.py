"""Starting a task's runner and showing what it does; what ``run`` and ``simplerun`` share."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType

from thermos.checkpoints import read_stream, read_task
from thermos.cli.progress import Progress, be_deaf_to_pipes, quiet_close, summary, verdict
from thermos.cli.show import tell
from thermos.errors import ExitCode, NotPermitted, ThermosError
from thermos.formats import paths
from thermos.formats.checkpoint import Decoder, Entry, decode
from thermos.records import RunnerHeader
from thermos.runner.spawn import RunnerCommand, Started, start
from thermos.states import TaskState

_EXIT = {
    TaskState.SUCCESS: ExitCode.OK,
    TaskState.FAILED: ExitCode.TASK_FAILED,
    TaskState.KILLED: ExitCode.TASK_KILLED,
    TaskState.LOST: ExitCode.TASK_LOST,
}


def new_task_id(name: str) -> str:
    """Aurora's automatic task id: the task's name, local time, microseconds. Blanks of the name become ``_``."""
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    safe = "".join("_" if ch.isspace() or ch == "/" or not ch.isprintable() else ch for ch in name)
    return f"{safe.lstrip('.')}-{stamp}.{int(now * 1e6) % 1_000_000:06d}"


def run_task(verb: str, command: RunnerCommand, daemon: bool, quiet: bool) -> int:
    """Start the runner and stay with it to the end; the exit code says how the task ended."""
    if daemon:
        return _start_daemon(command)
    be_deaf_to_pipes()
    pid = 0

    def ask_to_end(signum: int, frame: FrameType | None) -> None:
        if pid:
            os.kill(pid, signal.SIGUSR1)

    # A handler and not SIG_IGN, which the runner would inherit. Ctrl-C reaches the runner by itself.
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda signum, frame: None)
    signal.signal(signal.SIGTERM, ask_to_end)
    progress = Progress(quiet)
    progress.resume(_entries(paths.runner_checkpoint(command.root, command.task_id)))
    started = _start(command, daemon=False)
    pid = started.pid
    _show_reports(started, progress)
    status = _stay(started, command, progress)
    return _conclude(verb, command, progress, status, quiet)


def _start(command: RunnerCommand, daemon: bool) -> Started:
    try:
        return start(command, report=True, daemon=daemon)
    except OSError as error:
        raise NotPermitted(f"the runner could not be started: {error.strerror or error}") from None


def _start_daemon(command: RunnerCommand) -> int:
    """Start a runner that stays when we go; return when the task is recorded."""
    started = _start(command, daemon=True)
    assert started.report_fd is not None
    decoder = Decoder()
    recorded = False
    with os.fdopen(started.report_fd, "rb", 0) as reports:
        while not recorded and (data := reports.read(1 << 16)):
            recorded = any(isinstance(entry.record, RunnerHeader) for entry in decoder.feed(data))
    if not recorded:
        raise ThermosError(
            f"the runner of {command.task_id} ended before it had recorded the task; start it without --daemon "
            "to see what it says"
        )
    print(command.task_id)
    return ExitCode.OK


def _show_reports(started: Started, progress: Progress) -> None:
    """Show what the runner reports, until it ends or we were too slow for it."""
    assert started.report_fd is not None
    decoder = Decoder()
    with os.fdopen(started.report_fd, "rb", 0) as reports:
        while data := reports.read(1 << 16):
            for entry in decoder.feed(data):
                progress.add(entry.record)


def _stay(started: Started, command: RunnerCommand, progress: Progress) -> int:
    """Wait for the runner's end; if it still runs, whoever reads us was too slow: go on from its stream."""
    path = paths.runner_checkpoint(command.root, command.task_id)
    pid, status = os.waitpid(started.pid, os.WNOHANG)
    if pid:
        if status == 0:  # it ran the task to its end; one that was refused has told us nothing
            for entry in _entries(path)[progress.count :]:
                progress.add(entry.record)
        return status
    from thermos.host.inotify import CHANGES, IN_CLOSE_WRITE, Watcher

    ended = os.pidfd_open(started.pid)
    try:
        with Watcher() as watcher:
            watcher.watch(os.path.dirname(path), CHANGES | IN_CLOSE_WRITE)
            while True:
                pid, status = os.waitpid(started.pid, os.WNOHANG)
                for entry in _entries(path)[progress.count :]:
                    progress.add(entry.record)
                if pid:
                    return status
                watcher.wait(None, ended)
    finally:
        os.close(ended)


def _entries(path: str) -> list[Entry]:
    """What the stream at *path* holds now."""
    try:
        return decode(read_stream(path)[0]).entries
    except OSError:
        return []


def _conclude(verb: str, command: RunnerCommand, progress: Progress, status: int, quiet: bool) -> int:
    """The last words, and the exit code."""
    state = progress.state
    if state.task_state is None or not state.task_state.is_terminal:
        state = read_task(command.root, command.task_id).state
    code = os.waitstatus_to_exitcode(status)
    if state.task_state is not None and state.task_state.is_terminal and code == 0:
        if state.processes:
            progress.say(summary(state))
        progress.say(verdict(command.root, command.task_id, state))
        quiet_close()
        return _EXIT[state.task_state]
    quiet_close()
    if code > 0:
        return code  # the runner has said why
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else "ended"
    tell(
        verb,
        f"the runner of {command.task_id} {how} before the task did; its processes go on: start it again with "
        f"the same --task_id, or end them with `thermos kill {command.task_id}`",
    )
    return ExitCode.INTERNAL
