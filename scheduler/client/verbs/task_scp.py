"""``aurora task scp``: copy files from and to the sandboxes of instances."""

from __future__ import annotations

import argparse
import posixpath

from scheduler.client import keys, options, remote
from scheduler.client.errors import InvalidParameter
from scheduler.client.exit_codes import ExitCode
from scheduler.client.session import Session
from scheduler.client.verb import Verb


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", nargs="+", metavar="SOURCE", help="a file here, or KEY/INSTANCE:PATH")
    parser.add_argument("dest", metavar="DEST", help="where to, in the same form")
    parser.add_argument(
        "--scp-options", action="append", default=[], metavar="OPTIONS", help="more options for scp, as one text"
    )
    parser.add_argument(
        "--executor-sandbox", action="store_true", help="paths are below the executor's directory, not the task's"
    )
    parser.add_argument("-l", "--ssh-user", metavar="USER", help="log in as this user; default: the job's role")
    options.add_hooks(parser)


def execute(args: argparse.Namespace, session: Session) -> int:
    """Hand over to scp; its exit code is ours."""
    places = [_place(text, args, session) for text in (*args.source, args.dest)]
    return session.world.run(["scp", *remote.split_options(args.scp_options), *places])


def _place(text: str, args: argparse.Namespace, session: Session) -> str:
    """*text* as scp takes it: a path here as it is, one of an instance with its host."""
    key, colon, path = text.partition(":")
    if not colon or key.count("/") != 4:
        if text.startswith("-"):
            raise InvalidParameter(f"'{text}' would be an option of scp: write ./{text}")
        return text
    try:
        wanted = keys.one_instance(key)
    except argparse.ArgumentTypeError as error:
        raise InvalidParameter(str(error)) from None
    if path.startswith("~"):
        raise InvalidParameter(
            f"{text}: a path with ~ has no meaning in a sandbox: write it from /, or from the sandbox"
        )
    scheduler = session.scheduler(wanted.job.cluster)
    task = remote.live_tasks(scheduler, wanted)[0]
    where = posixpath.join(remote.sandbox(scheduler.cluster, task, args.executor_sandbox), path)
    return f"{remote.user_of(task, args.ssh_user)}@{remote.host_of(task)}:{where}"


VERBS = {
    "task scp": Verb(
        "task scp",
        "copy files from and to the sandbox of an instance",
        "Copy with scp. A place is a path here, or KEY/INSTANCE:PATH with a path below the sandbox of a running "
        "instance, or from / on its host. The exit code is that of scp.",
        "aurora task scp west/www-data/prod/hello/0:.logs/web/0/stderr .\n"
        "aurora task scp a.conf west/www-data/prod/hello/0:conf/",
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
