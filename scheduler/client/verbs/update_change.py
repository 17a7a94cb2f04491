"""``aurora update pause``, ``resume``, ``abort``, ``rollback`` and ``wait``: of the update that is under way."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from scheduler.client import options, updates
from scheduler.client.exit_codes import ExitCode
from scheduler.client.keys import JobRef
from scheduler.client.printing import clean, print_json
from scheduler.client.scheduler_api import messages
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.verbs.update_start import show_state
from thermos.formats import aurora_api as api


def configure_change(parser: argparse.ArgumentParser) -> None:
    options.add_job(parser)
    parser.add_argument("-m", "--message", help="why; kept with the update")
    options.add_json(parser)
    options.add_hooks(parser)


def configure_rollback(parser: argparse.ArgumentParser) -> None:
    configure_change(parser)
    parser.add_argument("--wait", action="store_true", help="wait for the update to end; its end is the exit code")


def configure_wait(parser: argparse.ArgumentParser) -> None:
    options.add_job(parser)
    add_update_id(parser)
    options.add_json(parser)
    options.add_hooks(parser)


def add_update_id(parser: argparse.ArgumentParser) -> None:
    """The argument that names one update."""
    parser.add_argument("id", nargs="?", metavar="ID", help="the update; default: the one that is under way")


def _changer(
    method: str, heading: str, done: str, doing: str | None = None
) -> Callable[[argparse.Namespace, Session], int]:
    """Asks for it, and says that it is *done*, or *doing* where the scheduler's answer has words on what is to come."""

    def execute(args: argparse.Namespace, session: Session) -> int:
        """Do so with the update that is under way."""
        job: JobRef = args.job
        scheduler = session.scheduler(job.cluster)
        key = updates.active(scheduler, job)
        session.so_far = f"{method} may have been done or not; `aurora update info {job} {clean(key.id)}` tells"
        words = [clean(word) for word in messages(scheduler.ask(method, heading, key=key, message=args.message))]
        session.so_far = (
            f"update {clean(key.id)} goes on; `aurora update wait {job} {clean(key.id)}` waits for it again"
        )
        if not args.json:
            print(doing if words and doing is not None else done, flush=True)
        status = None
        if getattr(args, "wait", False):
            status = updates.wait(scheduler, job, key, session.world, show_state(args.json))
        if args.json:
            answer = {"job": str(job), "update_id": key.id, "status": None if status is None else str(status)}
            print_json({**answer, "messages": words})
        return ExitCode.OK if status is None else updates.BACK_CODES.get(status, ExitCode.UNKNOWN_ERROR)

    return execute


def execute_wait(args: argparse.Namespace, session: Session) -> int:
    """Wait for the update, and say how it ends."""
    job: JobRef = args.job
    scheduler = session.scheduler(job.cluster)
    key = api.JobUpdateKey(job.key, args.id) if args.id is not None else updates.active(scheduler, job)
    session.so_far = "the update goes on; it was only waited for"
    status = updates.wait(scheduler, job, key, session.world, show_state(args.json))
    if args.json:
        print_json({"job": str(job), "update_id": key.id, "status": str(status)})
    return updates.FORWARD_CODES.get(status, ExitCode.UNKNOWN_ERROR)


_CODES = (
    ExitCode.OK,
    ExitCode.USAGE,
    ExitCode.INVALID_CONFIGURATION,
    ExitCode.INVALID_PARAMETER,
    ExitCode.NETWORK_ERROR,
    ExitCode.TIMEOUT,
    ExitCode.API_ERROR,
    ExitCode.AUTH_ERROR,
    ExitCode.INTERRUPTED,
)
_WAIT_CODES = (*_CODES[:3], ExitCode.COMMAND_FAILURE, *_CODES[3:7], ExitCode.UNKNOWN_ERROR, *_CODES[7:])
_WAIT_FIELDS = ("job", "update_id", "status")
_FIELDS = (*_WAIT_FIELDS, "messages")

VERBS = {
    "update pause": Verb(
        "update pause",
        "let an update begin no further step",
        "Pause the update of the job that is under way. Steps that have begun are finished.",
        'aurora update pause west/www-data/prod/hello -m "looking at the errors"',
        _CODES,
        configure_change,
        _changer("pauseJobUpdate", "Failed to pause update due to error", "Update has been paused."),
        _FIELDS,
    ),
    "update resume": Verb(
        "update resume",
        "let a paused update go on",
        "Resume the update of the job that is paused, by somebody or by itself after a group.",
        "aurora update resume west/www-data/prod/hello",
        _CODES,
        configure_change,
        _changer("resumeJobUpdate", "Failed to resume update due to error", "Update has been resumed."),
        _FIELDS,
    ),
    "update abort": Verb(
        "update abort",
        "end an update where it is",
        "Abort the update of the job that is under way: what is changed stays changed, the rest stays as it was. "
        "Instances whose old tasks are being killed just then get their new ones first; the scheduler names them.",
        "aurora update abort west/www-data/prod/hello",
        _CODES,
        configure_change,
        _changer(
            "abortJobUpdate",
            "Failed to abort update due to error",
            "Update has been aborted.",
            "Update is being aborted.",
        ),
        _FIELDS,
    ),
    "update rollback": Verb(
        "update rollback",
        "put back what was there before an update",
        "Let the update of the job that is under way undo what it has done. With --wait the exit code is 0 once all is "
        "as it was.",
        'aurora update rollback west/www-data/prod/hello -m "1.7 leaks" --wait',
        _WAIT_CODES,
        configure_rollback,
        _changer("rollbackJobUpdate", "Failed to rollback update due to error", "Update rollback has started."),
        _FIELDS,
    ),
    "update wait": Verb(
        "update wait",
        "wait for an update to end",
        "Print each new state of the update until it is over; why it does not go on is told on stderr. The exit code "
        "is 0 if it rolled forward, 4 if it rolled back, and else 20.",
        "aurora update wait west/www-data/prod/hello\n"
        "aurora update wait west/www-data/prod/hello 5d1c7a52-0b1e-4c86-9a58-3f0c2b7e9d11",
        _WAIT_CODES,
        configure_wait,
        execute_wait,
        _WAIT_FIELDS,
    ),
}
