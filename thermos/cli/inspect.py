"""``thermos inspect``: what does this configuration come to?"""

from __future__ import annotations

import argparse

from thermos.cli.show import print_json
from thermos.cli.taskargs import add_config, load_task, partly_bound
from thermos.cli.verb import Verb
from thermos.errors import ExitCode


def configure(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument(
        "--output",
        choices=("python", "json"),
        default="python",
        help="print a Python dictionary, as Aurora's thermos does (default), or one JSON object",
    )


def execute(args: argparse.Namespace) -> int:
    """Print the task, evaluated."""
    from thermos.definition import plain

    task, ports = load_task(args, needs_ports=False)
    body = partly_bound(plain(task), ports)
    if args.output == "json":
        print_json({"task": body})
    else:
        from thermos.cli.pydict import pydict

        print(pydict(body))
    return ExitCode.OK


VERB = Verb(
    "inspect",
    "show what a configuration comes to",
    "Evaluate a configuration and show the task that it describes, every default filled in. Nothing is run, "
    "but a .thermos or .aurora file is a program: inspect only files that you would run.",
    "thermos inspect examples/demo.thermos\n"
    "thermos inspect --task web -E profile=staging web.thermos\n"
    "thermos inspect --output json examples/demo.thermos | jq .task.processes[].name",
    (ExitCode.OK, ExitCode.USAGE, ExitCode.INVALID_TASK),
    configure,
    execute,
)
