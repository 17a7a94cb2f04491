"""``thermos simplerun``: run one command line as a task."""

from __future__ import annotations

import argparse
import os

from thermos.cli.run import EXIT_CODES, add_running, make_root
from thermos.cli.taskargs import add_bindings, bound_cmdline, parse_ports
from thermos.cli.verb import Verb
from thermos.errors import ConfigError

#: The resources of Aurora's simplerun, which nothing enforces.
_CPU, _RAM_BYTES, _DISK_BYTES = 1.0, 256 << 20, 0


def configure(parser: argparse.ArgumentParser) -> None:
    add_running(parser)
    parser.add_argument("--name", default="simple", help="name of the task and its process (default: simple)")
    add_bindings(parser)
    parser.add_argument("cmdline", nargs=argparse.REMAINDER, help="what bash runs; everything that follows")


def execute(args: argparse.Namespace) -> int:
    """Run the command line."""
    import tempfile

    from thermos.formats import task_json
    from thermos.formats.paths import check_task_id
    from thermos.schema import Process, Resources, Task, problems

    words = args.cmdline[1:] if args.cmdline[:1] == ["--"] else args.cmdline
    found: list[object] = []
    ports = parse_ports(args.port, found)
    cmdline = bound_cmdline(" ".join(words), args.environment, found)
    if not words:
        found.append("there is no command line: thermos simplerun [OPTIONS] [--] COMMAND...")
    task = Task(args.name, (Process(args.name, cmdline),), resources=Resources(_CPU, _RAM_BYTES, _DISK_BYTES))
    if words:
        found += problems(task, ports)
    if found:
        raise ConfigError("command line", found)
    from thermos.cli.erase import TEMPORARY_PREFIX
    from thermos.cli.launch import new_task_id, run_task
    from thermos.runner.spawn import RunnerCommand

    task_id = args.task_id or new_task_id(task.name)
    check_task_id(task_id)
    make_root(args.root)
    if not args.quiet and not args.daemon:
        print(f"Running command: {cmdline!r}", flush=True)
    command = RunnerCommand(
        root=args.root,
        task_id=task_id,
        task_json=task_json.encode(task),
        sandbox=os.path.join(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX), "sandbox"),
        user=args.user,
        ports=ports,
    )
    return run_task("simplerun", command, args.daemon, args.quiet)


VERB = Verb(
    "simplerun",
    "run one command line as a task",
    "Run one command line as a task of one process, in a fresh directory below $TMPDIR. Everything else is as "
    "with `thermos run`.",
    "thermos simplerun -- echo hello\nthermos simplerun --name web -P http:8080 -- 'python3 -m http.server "
    "{{thermos.ports[http]}}'",
    EXIT_CODES,
    configure,
    execute,
)
