"""``thermos run``: run a task, and show what it does."""

from __future__ import annotations

import argparse
import os

from detectors.roots import default_state_dir
from thermos.cli.taskargs import add_config, load_task
from thermos.cli.verb import Verb
from thermos.errors import ExitCode, NotPermitted

#: Where tasks of root get their sandboxes unless ``--sandbox`` says otherwise.
_ROOT_SANDBOXES = "/var/lib/thermos/sandboxes"

EXIT_CODES = (
    ExitCode.OK,
    ExitCode.USAGE,
    ExitCode.TASK_FAILED,
    ExitCode.TASK_KILLED,
    ExitCode.TASK_LOST,
    ExitCode.INTERNAL,
    ExitCode.INVALID_TASK,
    ExitCode.REFUSED,
    ExitCode.UNKNOWN_USER,
    ExitCode.TERMINAL_TASK,
    ExitCode.PERMISSION,
    ExitCode.CORRUPT,
    ExitCode.NEWER_FORMAT,
    ExitCode.UNSUPPORTED_SYSTEM,
    ExitCode.NO_SPACE,
    ExitCode.INTERRUPTED,
)


def add_running(parser: argparse.ArgumentParser) -> None:
    """What every verb that runs a task understands."""
    parser.add_argument("--user", metavar="USER", help="run its processes as this user; only root can")
    parser.add_argument(
        "--task_id",
        "--task-id",
        metavar="ID",
        help="its id, unique under the root; that of a task whose runner died goes on with that task; "
        "default: its name and the time",
    )
    parser.add_argument("--daemon", action="store_true", help="print the task id and return once the task is recorded")
    parser.add_argument("--quiet", "-q", action="store_true", help="show nothing but errors")


def configure(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    add_running(parser)
    parser.add_argument(
        "--sandbox",
        metavar="PATH",
        help="directory to run in; made if it is missing; default: one of its own for each task, below "
        f"{_ROOT_SANDBOXES} as root, else below the directory --root defaults to",
    )
    parser.add_argument("--enable_chroot", action="store_true", help="let its processes see the sandbox as /")


def default_sandbox(task_id: str) -> str:
    """A directory of the task's own."""
    base = _ROOT_SANDBOXES if os.geteuid() == 0 else os.path.join(default_state_dir(), "sandboxes")
    return os.path.join(base, task_id)


def make_root(root: str) -> None:
    """Make the checkpoint root. Raises NotPermitted."""
    try:
        os.makedirs(root, exist_ok=True)
    except OSError as error:
        raise NotPermitted(
            f"the checkpoint root {root} cannot be made: {error.strerror}; name another with --root"
        ) from None


def execute(args: argparse.Namespace) -> int:
    """Run the task that the configuration describes."""
    from thermos.formats import task_json

    task, ports = load_task(args, args.task_id)
    from thermos.cli.launch import new_task_id, run_task
    from thermos.runner.spawn import RunnerCommand

    task_id = args.task_id or new_task_id(task.name)
    make_root(args.root)
    command = RunnerCommand(
        root=args.root,
        task_id=task_id,
        task_json=task_json.encode(task),
        sandbox=os.path.abspath(args.sandbox) if args.sandbox else default_sandbox(task_id),
        user=args.user,
        ports=ports,
        enable_chroot=args.enable_chroot,
    )
    return run_task("run", command, args.daemon, args.quiet)


VERB = Verb(
    "run",
    "run the task that a configuration describes",
    "Run a task to its end and show each process start and end; the exit code tells how the task ended. "
    "Ctrl-C lets its processes end and its final processes run, within finalization_wait; a second one kills "
    "everything at once. Its state is kept below --root, so that a task whose runner was killed goes on when "
    "it is started again with the same --task_id. A .thermos or .aurora file is a program: run only files "
    "that you trust.",
    "thermos run examples/demo.thermos\nthermos run -P http:8080 -E profile=staging --daemon web.thermos",
    EXIT_CODES,
    configure,
    execute,
)
