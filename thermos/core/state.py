"""What a task's records add up to. Folding records is all that replay does, so replay cannot act."""

from __future__ import annotations

from collections.abc import Iterable

from thermos.errors import IllegalMove
from thermos.records import DeathCertificate, Note, ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import PROCESS_MOVES, TASK_MOVES, ProcessState, TaskState


class Run:
    """One run of a process, as far as it has come. Attributes are those of ProcessStatus; None: not known (yet)."""

    __slots__ = (
        "boot",
        "certificate",
        "coordinator_pid",
        "coordinator_start_ticks",
        "fork_time",
        "number",
        "pid",
        "pid_start_ticks",
        "reason",
        "return_code",
        "seq",
        "start_time",
        "state",
        "stop_time",
    )

    def __init__(self, number: int, seq: int, boot: TaskStatus | None) -> None:
        self.number = number
        self.seq = seq
        self.state = ProcessState.WAITING
        #: The runner's status under which it was forked: its boot and pid namespace are the pids'.
        self.boot = boot
        self.fork_time: float | None = None
        self.coordinator_pid: int | None = None
        self.coordinator_start_ticks: int | None = None
        self.start_time: float | None = None
        self.pid: int | None = None
        self.pid_start_ticks: int | None = None
        self.stop_time: float | None = None
        self.return_code: int | None = None
        self.certificate: DeathCertificate | None = None
        self.reason: str | None = None


class History:
    """All runs of one process: counts of how they ended, and the last ``keep_runs`` of them in full."""

    __slots__ = ("failures", "kills", "losses", "runs", "successes", "total")

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.total = 0
        self.successes = 0
        self.failures = 0
        self.kills = 0
        self.losses = 0

    @property
    def last(self) -> Run:
        """The newest run."""
        return self.runs[-1]


class RunnerState:
    """A task as its checkpoint tells it. ``apply`` is the only way to change it.

    *keep_runs*: how many runs of each process to keep in full; None keeps all. A runner keeps two, so that a
    daemon that restarts for a year does not grow it.
    """

    __slots__ = ("_keep_runs", "header", "notes", "processes", "statuses")

    def __init__(self, keep_runs: int | None = None) -> None:
        self._keep_runs = keep_runs
        self.header: RunnerHeader | None = None
        self.statuses: list[TaskStatus] = []
        self.processes: dict[str, History] = {}
        self.notes: list[Note] = []

    @property
    def task_state(self) -> TaskState | None:
        """The task's last state; None before the first record."""
        return self.statuses[-1].state if self.statuses else None

    def apply(self, record: Record) -> None:
        """Fold one record in. Raises IllegalMove, leaving the state as it was."""
        if isinstance(record, ProcessStatus):
            self._apply_process(record)
        elif isinstance(record, TaskStatus):
            before = self.task_state
            if record.state not in TASK_MOVES[before]:
                raise IllegalMove(f"task: {before.name if before is not None else 'nothing'} → {record.state.name}")
            self.statuses.append(record)
        elif isinstance(record, RunnerHeader):
            if self.header is not None:
                raise IllegalMove(
                    f"a second header, of task {record.task_id!r}, in the stream of {self.header.task_id!r}"
                )
            self.header = record
        else:
            self.notes.append(record)

    def _apply_process(self, record: ProcessStatus) -> None:
        history = self.processes.get(record.process)
        last = history.last if history is not None else None
        if last is not None and record.seq != last.seq + 1:
            raise IllegalMove(f"process {record.process!r}: record {record.seq} follows record {last.seq}")
        before = last.state if last is not None else None
        state = record.state
        if state not in PROCESS_MOVES[before]:
            name = before.name if before is not None else "nothing"
            raise IllegalMove(f"process {record.process!r}: {name} → {state.name} (record {record.seq})")
        if last is None or history is None or state is ProcessState.WAITING:
            if history is None:
                history = self.processes[record.process] = History()
            history.runs.append(Run(history.total, record.seq, self.statuses[-1] if self.statuses else None))
            history.total += 1
            if self._keep_runs is not None and len(history.runs) > self._keep_runs:
                del history.runs[0]
            return
        last.seq = record.seq
        last.state = state
        if record.reason is not None:
            last.reason = record.reason
        if state is ProcessState.FORKED:
            last.boot = self.statuses[-1] if self.statuses else None
            last.fork_time = record.fork_time
            last.coordinator_pid = record.coordinator_pid
            last.coordinator_start_ticks = record.coordinator_start_ticks
        elif state is ProcessState.RUNNING:
            last.start_time = record.start_time
            last.pid = record.pid
            last.pid_start_ticks = record.pid_start_ticks
        else:
            # The original drops stop_time and return_code of FAILED runs on replay: a defect we do not copy.
            last.stop_time = record.stop_time
            last.return_code = record.return_code
            last.certificate = record.certificate
            if state is ProcessState.SUCCESS:
                history.successes += 1
            elif state is ProcessState.FAILED:
                history.failures += 1
            elif state is ProcessState.KILLED:
                history.kills += 1
            else:
                history.losses += 1


def is_repeat(state: RunnerState, record: Record) -> bool:
    """True for a process record that an earlier one already told, as a copy of the stream may hold."""
    if not isinstance(record, ProcessStatus):
        return False
    history = state.processes.get(record.process)
    return history is not None and record.seq <= history.last.seq


def replay(records: Iterable[Record], keep_runs: int | None = None) -> RunnerState:
    """The state that *records* add up to. Raises IllegalMove."""
    state = RunnerState(keep_runs)
    for record in records:
        state.apply(record)
    return state
