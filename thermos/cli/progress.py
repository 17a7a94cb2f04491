"""A task shown while it runs: a line for each transition, a table at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from detectors.roots import default_root
from thermos.cli.show import clean, coloured, duration, has_colour, table
from thermos.core.explain import ending
from thermos.core.state import History, RunnerState
from thermos.errors import IllegalMove
from thermos.formats.checkpoint import Entry
from thermos.records import Note, ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState


class Progress:
    """Folds records in and shows each. Where nobody reads any more, it goes on without a word."""

    def __init__(self, quiet: bool) -> None:
        self.state = RunnerState()
        self.count = 0
        self._quiet = quiet
        self._colour = has_colour()

    def resume(self, entries: Sequence[Entry]) -> None:
        """Take what is recorded already, in silence: the task ran before."""
        for entry in entries:
            self.count += 1
            self._fold(entry.record)

    def _fold(self, record: Record | None) -> bool:
        if record is None:
            return False
        try:
            self.state.apply(record)
        except IllegalMove:
            return False  # it does not fit what was read: the runner judges that, not we
        return True

    def add(self, record: Record | None) -> None:
        """Take one record, and show it."""
        self.count += 1
        line = self._line(record) if record is not None and self._fold(record) else None
        if line is not None:
            self.say(line)

    def say(self, text: str) -> None:
        """Print *text*, unless quiet."""
        if self._quiet:
            return
        try:
            print(text, flush=True)
        except OSError:
            self._quiet = True  # nobody reads; the task goes on

    def _line(self, record: Record) -> str | None:
        if isinstance(record, RunnerHeader):
            return None
        if isinstance(record, Note):
            who = clean(record.process) if record.process is not None else "task"
            return f"{_clock(record.timestamp_ms / 1000)}  {who}: {clean(record.text)}"
        if isinstance(record, TaskStatus):
            state = coloured(record.state.name, record.state, self._colour)
            why = f": {clean(record.reason)}" if record.reason else ""
            return f"{_clock(record.timestamp_ms / 1000)}  task {state}{why}"
        return self._process_line(record)

    def _process_line(self, record: ProcessStatus) -> str | None:
        if record.state in (ProcessState.WAITING, ProcessState.FORKED):
            return None  # they last milliseconds and say nothing
        run = self.state.processes[record.process].last
        at_s = record.start_time if record.state is ProcessState.RUNNING else record.stop_time
        state = coloured(record.state.name, record.state, self._colour)
        line = f"{_clock(at_s)}  {clean(record.process)} {state}"
        if record.state is ProcessState.RUNNING:
            again = f", run {run.number}" if run.number else ""
            return f"{line} pid {record.pid}{again}"
        how = ending(run)
        if how is None or record.state is ProcessState.SUCCESS:
            return line
        from thermos.words import how_it_ended

        return f"{line} {how_it_ended(how, record.state, clean(record.reason) if record.reason else None)}"


def _clock(at_s: float | None) -> str:
    try:
        return time.strftime("%H:%M:%S", time.localtime(at_s if at_s else time.time()))
    except (ValueError, OverflowError, OSError):
        return "--:--:--"


def _length_s(history: History) -> float | None:
    run = history.last
    if run.start_time is None:
        return None
    end_s = run.stop_time if run.stop_time is not None else time.time()
    return end_s - run.start_time


def summary(state: RunnerState) -> str:
    """The table at the end: what became of each process; of failures, why."""
    rows = []
    states: list[ProcessState] = []
    for name, history in state.processes.items():
        run = history.last
        how = ending(run)
        note = ""
        if how is not None and run.state is not ProcessState.SUCCESS:
            from thermos.words import how_it_ended, usage

            parts = [how_it_ended(how, run.state, clean(run.reason) if run.reason else None)]
            note = "; ".join(part for part in (*parts, usage(run.certificate)) if part)
        code = "-" if run.return_code is None else str(run.return_code)
        rows.append((clean(name), str(history.total), run.state.name, code, duration(_length_s(history)), note))
        states.append(run.state)
    colour = has_colour()
    return table(
        ("PROCESS", "RUNS", "STATE", "RC", "DURATION", ""),
        rows,
        lambda row, column, text: coloured(text, states[row], colour and column == 2),
    )


def verdict(root: str, task_id: str, state: RunnerState) -> str:
    """The last lines: how the task ended, and where to look."""
    last = state.statuses[-1] if state.statuses else None
    name = last.state.name if last is not None else "not recorded"
    why = f" ({clean(last.reason)})" if last is not None and last.reason else ""
    lines = [f"{clean(task_id)}: {coloured(name, last.state if last is not None else None, has_colour())}{why}"]
    if last is None or last.state is not TaskState.SUCCESS:
        where = "" if root == default_root() else f"--root {clean(root)} "
        shown = clean(task_id)
        lines.append(f"`thermos {where}why {shown}` explains, `thermos {where}tail --stderr {shown}` shows the output")
    return "\n".join(lines)


def be_deaf_to_pipes() -> None:
    """A reader that goes away must not end us from here on: the task runs, and its end is our exit code."""
    import signal

    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def quiet_close() -> None:
    """Let the last flush fail in silence too."""
    try:
        sys.stdout.flush()
    except OSError:
        import os

        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
