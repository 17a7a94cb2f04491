"""``thermos kill``: end tasks."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from thermos.cli.find import Found, Patterns, find_tasks, places
from thermos.cli.show import clean, is_terminal, tell
from thermos.cli.verb import Verb
from thermos.errors import ExitCode, TaskOver, ThermosError

if TYPE_CHECKING:
    from thermos.runner.control import KillOutcome


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "patterns", metavar="regexp", nargs="*", help="end active tasks whose id matches, from its first character on"
    )
    parser.add_argument("--exact", action="store_true", help="take the arguments as whole task ids")
    parser.add_argument(
        "--force",
        action="store_true",
        help="kill everything at once: nothing may clean up, no final process runs",
    )
    parser.add_argument(
        "--timeout", type=_seconds, metavar="S", help="wait this many seconds for each; default: until it has ended"
    )
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask, however many match")


def _may(tasks: list[Found]) -> bool:
    """Ask a person who may have matched more than they meant."""
    print("These tasks would be killed:")
    for task in tasks:
        print(f"  {clean(task.task_id)}")
    print(f"Kill {len(tasks)} tasks? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def execute(args: argparse.Namespace) -> int:
    """End the tasks that are meant, one after the other; all are asked to before any is waited for."""
    if not args.patterns:
        tell("kill", "name the tasks to kill: regular expressions, or whole ids with --exact; nothing was done")
        return ExitCode.OK
    tasks = [task for task in find_tasks(args, Patterns(args.patterns, args.exact)) if task.is_active]
    if not tasks:
        tell("kill", f"no active task matches under {places(args)}; nothing was done")
        return ExitCode.OK
    if len(tasks) > 1 and not args.yes and is_terminal() and is_terminal(sys.stdin) and not _may(tasks):
        tell("kill", "nothing was done")
        return ExitCode.OK
    if len(tasks) > 1 and not args.force:
        for task in tasks:
            _ask(task)
    code = ExitCode.OK
    for task in tasks:
        result = _kill(task, args.force, args.timeout)
        code = code if code is not ExitCode.OK else result
    return code


def _ask(task: Found) -> None:
    """Ask a task to end without waiting for it, so that many end at the same time."""
    from thermos.runner.control import kill_task

    try:
        kill_task(task.root, task.task_id, timeout_s=0.0)
    except (ThermosError, OSError):
        return  # told when it is waited for


def _kill(task: Found, force: bool, timeout_s: float | None) -> ExitCode:
    from thermos.runner.control import kill_task

    print(f"Killing {clean(task.task_id)}...", end="", flush=True)
    try:
        outcome = kill_task(task.root, task.task_id, force=force, timeout_s=timeout_s)
    except TaskOver:
        print("done.")  # it ended by itself meanwhile
        return ExitCode.OK
    except ThermosError as error:
        print("failed.")
        tell("kill", clean(error))
        return error.exit_code
    except OSError as error:
        print("failed.")
        tell("kill", f"{clean(task.task_id)}: {error.strerror or error}")
        return ExitCode.INTERNAL
    return _tell(task, outcome)


def _tell(task: Found, outcome: KillOutcome) -> ExitCode:
    if outcome.ended is None:
        print("not yet.")
        tell("kill", f"{clean(task.task_id)}: {clean(outcome.detail)}")
        return ExitCode.TIMED_OUT
    print("done.")
    if outcome.survivors:
        for survivor in outcome.survivors:
            tell("kill", f"{clean(task.task_id)}: {clean(survivor)}")
        return ExitCode.SURVIVORS
    return ExitCode.OK


VERB = Verb(
    "kill",
    "end tasks",
    "End active tasks. Their processes get SIGTERM, then their final processes run, all within the task's "
    "finalization_wait; what is left then is killed. A task whose runner is dead is ended all the same. "
    "On a terminal, more than one task is listed and asked for first.",
    "thermos kill --exact TASK_ID\nthermos kill --force --yes 'web-.*'",
    (
        ExitCode.OK,
        ExitCode.NOT_FOUND,
        ExitCode.USAGE,
        ExitCode.TIMED_OUT,
        ExitCode.SURVIVORS,
        ExitCode.INTERNAL,
        ExitCode.PERMISSION,
    ),
    configure,
    execute,
)
