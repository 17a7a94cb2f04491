"""``thermos read``: what does this checkpoint file hold?"""

from __future__ import annotations

import argparse
import os

from thermos.checkpoints import Finding, fold, read_stream
from thermos.cli.show import clean, ctime, print_json, tell
from thermos.cli.status import process_line
from thermos.cli.verb import Verb
from thermos.core.state import RunnerState
from thermos.errors import ExitCode, TaskNotFound
from thermos.formats import checkpoint
from thermos.records import DeathCertificate, Note, ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState

#: The order in which the original shows fields: that of Python 2's hash table.
_TASK_STATUS = ("state", "runner_uid", "runner_pid", "timestamp_ms")
_HEADER = ("launch_time_ms", "uid", "task_id", "hostname", "sandbox", "log_dir", "ports", "user")
_PROCESS_STATUS = (
    "seq", "process", "start_time", "coordinator_pid", "pid", "return_code", "state", "stop_time",
    "fork_time",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint_file", help="a runner's or a coordinator's stream")
    parser.add_argument("--simple", action="store_true", help="print the records one by one, as they lie in the file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _show_value(value: object) -> str:
    if isinstance(value, DeathCertificate):
        return _show(value, (), "DeathCertificate")
    return ascii(int(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def _show(record: Record | DeathCertificate, order: tuple[str, ...], name: str) -> str:
    """A record as the original's Python shows it: its own fields always, ours where they are set."""
    extra = [field for field in record._fields if field not in order and getattr(record, field) is not None]
    fields = ", ".join(f"{field}={_show_value(getattr(record, field))}" for field in (*order, *extra))
    return f"{name}({fields})"


def simple_line(record: Record | None) -> str:
    """One line for one record, with the prefix that scripts look for."""
    task = process = header = "None"
    more = ""
    if isinstance(record, TaskStatus):
        task = _show(record, _TASK_STATUS, "TaskStatus")
    elif isinstance(record, ProcessStatus):
        process = _show(record, _PROCESS_STATUS, "ProcessStatus")
    elif isinstance(record, RunnerHeader):
        header = _show(record, _HEADER, "RunnerHeader")
    elif isinstance(record, Note):
        more = ", note=" + _show(record, (), "Note")
    return f"CKPT: RunnerCkpt(task_status={task}, process_status={process}, runner_header={header}{more})"


def _with_waiting(stream: checkpoint.Stream) -> checkpoint.Stream:
    """A coordinator's stream with the WAITING that only the runner records, so that it can be folded."""
    entries: list[checkpoint.Entry] = []
    if any(isinstance(record, RunnerHeader | TaskStatus) for record in stream.records):
        return stream
    for entry in stream.entries:
        record = entry.record
        if isinstance(record, ProcessStatus) and record.state is ProcessState.FORKED:
            waiting = ProcessStatus(record.seq - 1, record.process, ProcessState.WAITING)
            entries.append(checkpoint.Entry(entry.offset, waiting))
        entries.append(entry)
    return stream._replace(entries=entries)


def _print_state(state: RunnerState) -> None:
    header = state.header
    if header is not None:
        print("Recovered Task Header:")
        print(f"  id:      {clean(header.task_id)}")
        print(f"  user:    {clean(header.user)}")
        print(f"  host:    {clean(header.hostname)}")
        print(f"  sandbox: {clean(header.sandbox)}")
        if header.ports:
            print("  ports:   " + " ".join(f"{clean(name)}->{port}" for name, port in header.ports.items()))
    if state.statuses:
        print("Recovered Task States:")
        for status in state.statuses:
            print(f"  {ctime(status.timestamp_ms / 1000)} [pid: {status.runner_pid}] => {status.state.name}")
    if state.processes:
        print("Recovered Processes:")
        for process, history in state.processes.items():
            print(f"  {clean(process)}   runs: {history.total}")
            for run in reversed(history.runs):
                print(f"    {run.number:>2}: {process_line(run)}")


def _print_json(path: str, state: RunnerState, findings: list[Finding]) -> None:
    from thermos.cli.answers import HistoryAnswer, ReadAnswer, finding_answers, run_answer

    print_json(
        ReadAnswer(
            path,
            state.header,
            state.statuses,
            [
                HistoryAnswer(name, [run_answer(run) for run in history.runs])
                for name, history in state.processes.items()
            ],
            state.notes,
            finding_answers(findings),
        )
    )


def _print_simple_json(path: str, stream: checkpoint.Stream, findings: list[Finding]) -> None:
    from thermos.cli.answers import ReadSimpleAnswer, RecordAnswer, finding_answers

    kinds = {
        RunnerHeader: "runner_header",
        ProcessStatus: "process_status",
        TaskStatus: "task_status",
        Note: "note",
    }
    records = []
    for offset, record in stream.entries:
        fields = {} if record is None else {k: v for k, v in record._asdict().items() if v is not None}
        records.append(RecordAnswer(offset, "unknown" if record is None else kinds[type(record)], fields))
    print_json(ReadSimpleAnswer(path, records, finding_answers(findings)))


def execute(args: argparse.Namespace) -> int:
    """Print what can be read of the file, then what cannot."""
    path = args.checkpoint_file
    try:
        data, _ = read_stream(os.path.realpath(path))
    except (OSError, ValueError) as error:
        detail = getattr(error, "strerror", None) or str(error)
        raise TaskNotFound(f"cannot read {path}: {detail}; streams lie under ROOT/checkpoints/TASK_ID/") from None
    stream = checkpoint.decode(data)
    findings: list[Finding] = []
    state = RunnerState()
    if args.simple:
        if stream.damage is not None:
            findings.append(Finding(path, stream.damage.offset, stream.damage.detail))
    else:
        fold(_with_waiting(stream), path, state, findings)
    if not data:
        findings.append(Finding(path, None, "the file is empty: no record was written yet, or all were lost"))
    if args.json:
        if args.simple:
            _print_simple_json(path, stream, findings)
        else:
            _print_json(path, state, findings)
    elif args.simple:
        for record in (entry.record for entry in stream.entries):
            print(simple_line(record))
    else:
        _print_state(state)
    for finding in findings:
        tell("read", clean(finding))
    return ExitCode.DAMAGED if findings else ExitCode.OK


VERB = Verb(
    "read",
    "show what a checkpoint file holds",
    "Show what a checkpoint file holds: the task as its records add up to it, or with --simple each "
    "record, as Python's repr() of it. Of a damaged file everything before the damage is shown.",
    "thermos read /var/run/thermos/checkpoints/TASK_ID/runner\n"
    "thermos read --simple /var/run/thermos/checkpoints/TASK_ID/coordinator.web",
    (ExitCode.OK, ExitCode.NOT_FOUND, ExitCode.USAGE, ExitCode.DAMAGED),
    configure,
    execute,
)
