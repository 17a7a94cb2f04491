"""``aurora task ssh``: a shell in an instance's sandbox."""

from __future__ import annotations

import argparse
import os

from scheduler.client import options, remote
from scheduler.client.errors import InvalidParameter
from scheduler.client.exit_codes import ExitCode
from scheduler.client.keys import InstancesRef
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.verbs.task_run import add_ssh
from scheduler.client.world import say
from thermos.formats.assigned_task import AssignedTask


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_instances(parser)
    parser.add_argument("-c", "--command", metavar="COMMAND", help="run this instead of a shell; needs an instance")
    parser.add_argument(
        "-L",
        "--tunnels",
        action="append",
        default=[],
        metavar="PORT:NAME",
        help="make PORT here lead to the instance's port NAME; repeatable",
    )
    parser.add_argument("-p", "--pid-file", metavar="PATH", help="write the process id of ssh to this file")
    add_ssh(parser)
    options.add_hooks(parser)


def execute(args: argparse.Namespace, session: Session) -> int:
    """Hand over to ssh; its exit code is ours."""
    wanted: InstancesRef = args.instances
    if args.command is not None and wanted.instances is None:
        raise InvalidParameter("INSTANCE must be specified when --command option is given")
    scheduler = session.scheduler(wanted.job.cluster)
    task = remote.live_tasks(scheduler, wanted)[0]
    command = remote.in_sandbox(scheduler.cluster, task, args.command or "bash", args.executor_sandbox)
    ssh = ["ssh", "-t", *remote.split_options(args.ssh_options)]
    for tunnel in args.tunnels:
        ssh += ["-L", _tunnel(tunnel, task)]
    ssh += [f"{remote.user_of(task, args.ssh_user)}@{remote.host_of(task)}", command]
    if args.pid_file is None:
        return session.world.run(ssh)
    # The shell becomes ssh, so that the number it writes is that of ssh.
    ssh = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', os.path.abspath(args.pid_file), *ssh]
    code = session.world.run(ssh)
    try:
        os.unlink(args.pid_file)
    except OSError as error:
        say(f"{args.pid_file}: cannot be removed: {error.strerror}")
    return code


def _tunnel(text: str, task: AssignedTask) -> str:
    port, colon, name = text.partition(":")
    if not colon or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidParameter(f"Could not parse tunnel: {text}.  Must be of form PORT:NAME")
    return f"{int(port)}:{remote.host_of(task)}:{remote.port_of(task, name)}"


VERBS = {
    "task ssh": Verb(
        "task ssh",
        "open a shell in the sandbox of an instance",
        "Log in by ssh on the host of the first running instance that is meant, and open a shell in its sandbox, "
        "or run one command there. The exit code is that of ssh, which is that of the command; 255: ssh did not get "
        "there.",
        "aurora task ssh west/www-data/prod/hello/0\n"
        "aurora task ssh west/www-data/prod/hello/0 -L 8080:http -c 'tail -f .logs/web/0/stdout'",
        (
            ExitCode.OK,
            ExitCode.USAGE,
            ExitCode.INVALID_CONFIGURATION,
            ExitCode.INVALID_PARAMETER,
            ExitCode.TIMEOUT,
            ExitCode.AUTH_ERROR,
            ExitCode.INTERRUPTED,
        ),
        configure,
        execute,
    )
}
