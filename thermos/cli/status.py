"""``thermos status``: which tasks are there, and how are they?"""

from __future__ import annotations

import argparse
import os
from functools import cache
from typing import TYPE_CHECKING

from thermos.checkpoints import TaskCheckpoint, is_owned, read_task
from thermos.cli.find import Found, Patterns, Search, places
from thermos.cli.show import (
    JSON_SCHEMA,
    clean,
    coloured,
    ctime,
    duration,
    has_colour,
    is_terminal,
    plain,
    print_json,
    table,
    tell,
)
from thermos.cli.verb import Verb
from thermos.core.state import Run
from thermos.errors import ExitCode
from thermos.formats import paths

if TYPE_CHECKING:
    from thermos.cli.answers import TaskAnswer


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "patterns",
        metavar="regexp",
        nargs="*",
        help="show only tasks whose id matches, from its first character on; default: all",
    )
    parser.add_argument(
        "--verbosity",
        "-v",
        type=int,
        default=0,
        metavar="N",
        help="0: ids; 1: states as well; 2: users, ports and sandboxes; 3: processes",
    )
    parser.add_argument("--only", choices=("active", "finished"), help="show only these tasks")
    parser.add_argument("--exact", action="store_true", help="take the arguments as whole task ids")
    parser.add_argument("--json", action="store_true", help="print one JSON object with everything")


@cache
def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid:{uid}"


def _owner(task: Found) -> str | None:
    """Who owns the runner's stream, else the checkpoint directory; None: neither is there."""
    for path in (
        paths.runner_checkpoint(task.root, task.task_id),
        paths.checkpoint_dir(task.root, task.task_id),
    ):
        try:
            return _user_name(os.lstat(path).st_uid)
        except (OSError, ValueError):
            continue
    return None


def _is_gone(task: Found) -> bool:
    """Whether the task was removed, or moved to ``finished``, since it was listed."""
    where = paths.ACTIVE if task.is_active else paths.FINISHED
    return not os.path.lexists(paths.task_path(task.root, task.task_id, where))


def read(task: Found, keep_runs: int | None = None) -> TaskCheckpoint:
    """The task's state; read twice if its runner was just writing, so that no half record is reported."""
    checkpoint = read_task(task.root, task.task_id, keep_runs)
    if checkpoint.findings and task.is_active and _lives(task):
        checkpoint = read_task(task.root, task.task_id, keep_runs)
    return checkpoint


def _lives(task: Found) -> bool | None:
    return is_owned(paths.runner_checkpoint(task.root, task.task_id))


def process_line(run: Run) -> str:
    """What a run came to, in the form that scripts expect."""
    code = "" if run.return_code is None else run.return_code
    return f"pid={run.pid}, rc={code}, finish:{ctime(run.stop_time)}, state:{run.state.name}"


def _print_task(task: Found, verbosity: int, people: bool, colour: bool) -> bool:
    """Print one task; True if its checkpoint is whole."""
    owner = _owner(task)
    if owner is None and _is_gone(task):
        return True
    line = f"  {clean(task.task_id):<20} [owner: {owner or 'unknown':>8}]"
    if verbosity <= 0:
        print(line)
        return True
    checkpoint = read(task, keep_runs=1)
    state, header = checkpoint.state, checkpoint.state.header
    if header is None or state.task_state is None:
        if not checkpoint.exists and _is_gone(task):
            return True
        print(f"{line} - checkpoint CORRUPT or outdated format")
        for finding in checkpoint.findings:
            tell("status", clean(finding))
        return False
    name = coloured(f"{state.task_state.name:>8}", state.task_state, colour)
    line += f"  state: {name} start: {ctime(header.launch_time_ms / 1000):>25}"
    if people and task.is_active:
        line += f" runner: {_RUNNER[_lives(task)]}"
    print(line)
    if verbosity > 1:
        ports = " ".join(f"{clean(name)} -> {port}" for name, port in (header.ports or {}).items())
        print(f"    user: {clean(header.user)} ports: {ports or None}")
        print(f"    sandbox: {clean(header.sandbox)}")
    if verbosity > 2:
        print("    process table:")
        for process, history in state.processes.items():
            print(f"      - {clean(process)} runs: {history.total} last: {process_line(history.last)}")
        print()
    for finding in checkpoint.findings:
        tell("status", clean(finding))
    return not checkpoint.findings


_RUNNER = {True: "alive", False: "dead", None: "unknown"}


def _print_table(tasks: list[Found]) -> bool:
    """A table for people, where they asked for no more; True if every checkpoint is whole."""
    import time

    colour = has_colour()
    now_s = time.time()
    rows, states, findings = [], [], []
    for task in tasks:
        checkpoint = read(task, keep_runs=1)
        state = checkpoint.state
        if not checkpoint.exists and _is_gone(task):
            continue
        findings += checkpoint.findings
        last = state.statuses[-1] if state.statuses else None
        counts: dict[str, int] = {}
        for history in state.processes.values():
            name = history.last.state.name.lower()
            counts[name] = counts.get(name, 0) + 1
        age = (
            duration(now_s - state.header.launch_time_ms / 1000)
            if state.header is not None and task.is_active
            else duration((now_s - last.timestamp_ms / 1000) if last is not None else None) + " ago"
        )
        rows.append((
            clean(task.task_id),
            last.state.name if last is not None else "unreadable",
            _RUNNER[_lives(task)] if task.is_active else "-",
            age,
            ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "-",
        ))  # fmt: skip
        states.append(last.state if last is not None else None)
    print(
        table(
            ("TASK", "STATE", "RUNNER", "AGE", "PROCESSES"),
            rows,
            lambda row, column, text: coloured(text, states[row], colour and column == 1),
        )
    )
    for finding in findings:
        tell("status", clean(finding))
    return not findings


def _print_json(tasks: list[Found]) -> bool:
    """Print all tasks as one object, each as soon as it is read: there may be a hundred thousand."""
    from thermos.cli.answers import StatusAnswer

    answers = (answer for answer in map(_answer, tasks) if answer is not None)
    whole = True
    if is_terminal():
        shown = list(answers)
        print_json(StatusAnswer(shown))
        return not any(answer.findings for answer in shown)
    import json

    print(f'{{"schema": {JSON_SCHEMA}, "tasks": [', end="")
    between = ""
    for answer in answers:
        print(between + json.dumps(plain(answer)), end="")
        between = ", "
        whole = whole and not answer.findings
    print("]}")
    return whole


def _answer(task: Found) -> TaskAnswer | None:
    """*task* for JSON; None: it is gone."""
    from thermos.cli.answers import TaskAnswer, end_time_ms, finding_answers, process_answer

    checkpoint = read(task, keep_runs=1)
    if not checkpoint.exists and _is_gone(task):
        return None
    state, header = checkpoint.state, checkpoint.state.header
    return TaskAnswer(
        root=task.root,
        task_id=task.task_id,
        is_active=task.is_active,
        state=state.task_state,
        runner_lives=_lives(task),
        owner=_owner(task),
        user=header.user if header is not None else None,
        hostname=header.hostname if header is not None else None,
        launch_time_ms=header.launch_time_ms if header is not None else None,
        end_time_ms=end_time_ms(state),
        ports=(header.ports or {}) if header is not None else {},
        sandbox=header.sandbox if header is not None else None,
        log_dir=header.log_dir if header is not None else None,
        processes=[process_answer(name, history) for name, history in state.processes.items()],
        notes=state.notes,
        findings=finding_answers(checkpoint.findings),
    )


def execute(args: argparse.Namespace) -> int:
    """Print the tasks that are meant."""
    search = Search(args)
    tasks = search.tasks(Patterns(args.patterns, args.exact))
    if args.only is not None:
        tasks = [task for task in tasks if task.is_active == (args.only == "active")]
    if not tasks:
        if args.json:
            print_json({"tasks": []})
        which = f"no {args.only} task" if args.only else "no task"
        meant = " that matches" if args.patterns else ""
        tell("status", f"{which}{meant} under {places(args)}")
        return ExitCode.NOT_FOUND
    if closed := search.closed:
        tell("status", f"{clean(closed)}: there may be more tasks")
    if args.json:
        whole = _print_json(tasks)
    elif is_terminal() and args.verbosity <= 0:
        whole = _print_table(tasks)
    else:
        whole = _print_sections(tasks, args.verbosity)
    return ExitCode.OK if whole else ExitCode.DAMAGED


def _print_sections(tasks: list[Found], verbosity: int) -> bool:
    people, colour = is_terminal(), has_colour()
    whole = True
    for is_active, title in ((True, "Active tasks:"), (False, "Finished tasks:")):
        section = [task for task in tasks if task.is_active == is_active]
        if not section:
            continue
        print(title)
        for task in section:
            whole = _print_task(task, verbosity, people, colour) and whole
        print()
    return whole


VERB = Verb(
    "status",
    "show the tasks on this host",
    "Show the tasks that run or ran on this host. Away from a terminal the output is that of Aurora's "
    "thermos, which scripts parse; on one it is a table, unless --verbosity asks for more. "
    "What a damaged checkpoint still tells is shown, and the damage is told on stderr.",
    "thermos status\nthermos status --verbosity 3 --only active web-\nthermos status --json | jq '.tasks[].state'",
    (ExitCode.OK, ExitCode.NOT_FOUND, ExitCode.USAGE, ExitCode.DAMAGED),
    configure,
    execute,
)
