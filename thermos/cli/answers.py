"""What the reading verbs print with ``--json``. ``docs/reference/json.md`` is generated from this module.

Times are seconds (``_s``) or milliseconds (``_ms``) since the epoch; null means unknown, never zero.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from thermos.checkpoints import Finding
from thermos.core.explain import Explanation
from thermos.core.state import History, Run, RunnerState
from thermos.records import DeathCertificate, Note, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState


class FindingAnswer(NamedTuple):
    """Something wrong in a file."""

    path: str
    offset: Annotated[int | None, "byte at which it is; null: the file as a whole"]
    detail: str


class RunAnswer(NamedTuple):
    """One run of a process."""

    run: Annotated[int, "number of the run, from 0; its logs lie in `LOG_DIR/PROCESS/RUN`"]
    state: ProcessState
    pid: Annotated[int | None, "of the shell"]
    coordinator_pid: int | None
    fork_time_s: float | None
    start_time_s: float | None
    stop_time_s: float | None
    return_code: Annotated[int | None, "exit status; negative: the number of the signal that ended it"]
    reason: Annotated[str | None, "why, where the state alone does not say"]
    certificate: Annotated[DeathCertificate | None, "how it ended, where our coordinator saw it"]


class ProcessAnswer(NamedTuple):
    """A process of a task."""

    name: str
    state: Annotated[ProcessState, "of its last run"]
    runs: Annotated[int, "how often it was started or is about to be"]
    successes: int
    failures: int
    kills: int
    losses: int
    last: Annotated[RunAnswer, "its last run"]


class TaskAnswer(NamedTuple):
    """One task in `thermos status`."""

    root: Annotated[str, "the checkpoint root it was found under"]
    task_id: str
    is_active: Annotated[bool, "whether its task file lies under `tasks/active`"]
    state: Annotated[TaskState | None, "last recorded state; null: nothing readable"]
    runner_lives: Annotated[bool | None, "whether a runner owns the task now; null: cannot be told"]
    owner: Annotated[str | None, "user who owns the checkpoint file"]
    user: Annotated[str | None, "user whom the processes run as"]
    hostname: str | None
    launch_time_ms: int | None
    end_time_ms: Annotated[int | None, "when the task ended; null: it has not"]
    ports: dict[str, int]
    sandbox: str | None
    log_dir: str | None
    processes: list[ProcessAnswer]
    notes: Annotated[list[Note], "a full disk, a survivor: what is no transition but worth telling"]
    findings: Annotated[list[FindingAnswer], "what could not be read"]


class StatusAnswer(NamedTuple):
    """`thermos status --json`."""

    tasks: Annotated[list[TaskAnswer], "active ones first, by id"]


class HistoryAnswer(NamedTuple):
    """A process with all its runs."""

    name: str
    runs: Annotated[list[RunAnswer], "oldest first"]


class ReadAnswer(NamedTuple):
    """`thermos read --json`."""

    path: str
    header: RunnerHeader | None
    statuses: Annotated[list[TaskStatus], "the task's history, oldest first"]
    processes: list[HistoryAnswer]
    notes: list[Note]
    findings: list[FindingAnswer]


class WhyAnswer(NamedTuple):
    """`thermos why --json`."""

    task_id: str
    root: str
    is_active: bool
    runner_lives: Annotated[bool | None, "whether a runner owns the task now; null: cannot be told"]
    runner_pid: Annotated[int | None, "of the last runner that recorded something"]
    explanation: Explanation
    endings: Annotated[dict[str, str], "process → how its last run ended, in words; they may change"]
    definition_trouble: Annotated[str | None, "why the task's definition could not be read; null: it was"]
    findings: list[FindingAnswer]


class TailLine(NamedTuple):
    """`thermos tail --json`, once for each line."""

    task_id: str
    process: str
    run: int
    stream: Annotated[str, "`stdout` or `stderr`"]
    line: Annotated[str, "without control characters"]


class PageAnswer(NamedTuple):
    """`thermos page --json`."""

    root: Annotated[str, "the checkpoint root the task was found under"]
    task_id: str
    page: Annotated[str, "absolute path of the task's own page"]
    pages: Annotated[list[str], "every page, as a path below the directory of that one"]
    written: Annotated[int, "how many of them were written; the others were as they should be"]
    unchanged: int
    removed: Annotated[int, "pages of an earlier time that are no more"]


class InspectAnswer(NamedTuple):
    """`thermos inspect --output json`."""

    task: Annotated[dict[str, object], "as in task files, see [configuration](configuration.md)"]


class GcTaskAnswer(NamedTuple):
    """One task in `thermos gc`."""

    root: str
    task_id: str
    age_s: Annotated[float, "since it ended"]
    limit: Annotated[str | None, "the limit it is beyond: `age`, `tasks` or `space`; null: a pattern named it"]
    data_bytes: int
    log_bytes: int
    metadata_bytes: int
    is_deleted: bool
    kept: Annotated[list[str], "why something of it is kept"]


class GcAnswer(NamedTuple):
    """`thermos gc --json`."""

    dry_run: bool
    freed_bytes: Annotated[int, "or would be freed"]
    tasks: list[GcTaskAnswer]


class RecordAnswer(NamedTuple):
    """One record of a stream."""

    offset: Annotated[int, "byte at which its frame starts"]
    kind: Annotated[str, "`runner_header`, `process_status`, `task_status`, `note` or `unknown`"]
    record: Annotated[dict[str, object], "its fields, those that are set"]


class ReadSimpleAnswer(NamedTuple):
    """`thermos read --simple --json`."""

    path: str
    records: list[RecordAnswer]
    findings: list[FindingAnswer]


def run_answer(run: Run) -> RunAnswer:
    """*run* for JSON."""
    return RunAnswer(
        run.number, run.state, run.pid, run.coordinator_pid, run.fork_time, run.start_time, run.stop_time,
        run.return_code, run.reason, run.certificate,
    )  # fmt: skip


def process_answer(name: str, history: History) -> ProcessAnswer:
    """A process and its last run, for JSON."""
    return ProcessAnswer(
        name, history.last.state, history.total, history.successes, history.failures, history.kills,
        history.losses, run_answer(history.last),
    )  # fmt: skip


def finding_answers(findings: list[Finding]) -> list[FindingAnswer]:
    """*findings* for JSON."""
    return [FindingAnswer(finding.path, finding.offset, finding.detail) for finding in findings]


def end_time_ms(state: RunnerState) -> int | None:
    """When the task ended; None: it has not."""
    if state.statuses and state.statuses[-1].state.is_terminal:
        return state.statuses[-1].timestamp_ms
    return None
