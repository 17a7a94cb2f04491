"""``aurora update start``: change a job step by step, or show what that would do."""

from __future__ import annotations

import argparse
from typing import Any
from uuid import uuid4

from scheduler.client import finding, options, updates
from scheduler.client.conversion import job_configuration, update_settings
from scheduler.client.errors import ApiError, CommandFailed
from scheduler.client.exit_codes import ExitCode
from scheduler.client.extending import hooked
from scheduler.client.job_file import read_job_with_tier
from scheduler.client.keys import JobRef, ranges
from scheduler.client.planning import instances_of, plan
from scheduler.client.printing import clean, print_json
from scheduler.client.scheduler_api import Scheduler, messages, refusal
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.verbs.job_diff import show
from scheduler.client.world import say
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import Metadata
from thermos.formats.aurora_api import ResponseCode


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_instances(parser)
    options.add_config_file(parser)
    parser.add_argument("-m", "--message", help="why; kept with the update")
    parser.add_argument("--wait", action="store_true", help="wait for the update to end; its end is the exit code")
    parser.add_argument("--plan", action="store_true", help="start nothing; show what would be done, in which groups")
    parser.add_argument(
        "--healthcheck-interval-seconds",
        type=options.positive,
        metavar="S",
        help="accepted for old scripts; the scheduler leads the update",
    )
    options.add_strict(parser)
    options.add_browser(parser)
    options.add_json(parser)
    options.add_hooks(parser)


def execute(args: argparse.Namespace, session: Session) -> int:
    """Show what changes, start the update, and wait for it if that is asked for."""
    job: JobRef = args.instances.job
    found = read_job_with_tier(args.config, job, args, session)
    if found.cron_schedule is not None:
        raise CommandFailed(
            f"Cron jobs may only be updated with `aurora cron schedule {job} {args.config}`, and {job} is one"
        )
    scheduler = session.scheduler(job.cluster)
    if args.strict and args.instances.instances is not None:
        finding.check_active(job, args.instances.instances, finding.numbers(finding.active_tasks(scheduler, job)))
    request = api.JobUpdateRequest(
        task_config=job_configuration(found, session.world.user()).task_config,
        instance_count=found.instances,
        settings=update_settings(found, args.instances.instances),
    )
    diff: api.GetJobUpdateDiffResult = scheduler.result(
        "getJobUpdateDiff", "get_job_update_diff_result", code=ExitCode.COMMAND_FAILURE, request=request
    )
    if not args.json:
        show(diff, None, session)
    if args.plan:
        _show_plan(job, diff, request, args.json)
        return ExitCode.OK
    return _start(job, request, diff, args, session, scheduler)


def _start(
    job: JobRef,
    request: api.JobUpdateRequest,
    diff: api.GetJobUpdateDiffResult,
    args: argparse.Namespace,
    session: Session,
    scheduler: Scheduler,
) -> int:
    own_id = str(uuid4())
    request = request._replace(metadata=(Metadata(updates.UPDATE_ID_KEY, own_id),))
    session.so_far = f"the update of {job} may have been started or not; `aurora update list {job}` tells"
    instances = None if args.instances.instances is None else list(args.instances.instances)
    response = hooked(
        session,
        job,
        "start_job_update",
        lambda: _ask(request, own_id, args.message, scheduler),
        session.config,
        args.message,
        instances=instances,
    )
    result = response.result.start_job_update_result if response.result is not None else None
    words = [clean(word) for word in messages(response)]
    if result is None or result.key is None:
        if args.json:
            print_json(
                {"job": str(job), "update_id": None, "url": None, "status": None, "messages": words, **_counts(diff)}
            )
        else:
            print(", ".join(words))
        return ExitCode.OK
    key = result.key
    url = scheduler.page(*job[1:], "update", clean(key.id))
    session.so_far = f"update {clean(key.id)} goes on; `aurora update wait {job} {clean(key.id)}` waits for it again"
    if not args.json:
        print(f"Job update has started. View your update progress at {url}", flush=True)
    if args.open_browser:
        session.world.open_page(url)
    status = None
    if args.wait:
        status = updates.wait(scheduler, job, key, session.world, show_state(args.json))
    if args.json:
        answer = {"job": str(job), "update_id": key.id, "url": url, "status": None if status is None else str(status)}
        print_json({**answer, "messages": words, **_counts(diff)})
    return ExitCode.OK if status is None else updates.FORWARD_CODES.get(status, ExitCode.UNKNOWN_ERROR)


def _ask(request: api.JobUpdateRequest, own_id: str, message: str | None, scheduler: Scheduler) -> api.Response:
    """The scheduler's answer, if there is an update with *own_id* now, or nothing to do. Raises ApiError."""
    response = scheduler.call("startJobUpdate", request=request, message=message)
    result = response.result.start_job_update_result if response.result is not None else None
    # The first answer may have been lost on its way: then the update that is under way has our id.
    is_ours = (
        response.response_code is ResponseCode.INVALID_REQUEST
        and result is not None
        and result.update_summary is not None
        and updates.id_of(result.update_summary.metadata) == own_id
    )
    if response.response_code is not ResponseCode.OK and not is_ours:
        raise ApiError(refusal(response, "Failed to start update due to error"), response=response)
    return response


def show_state(is_json: bool) -> Any:
    """What tells each new state of an update: on stdout, unless that is for JSON."""
    return (lambda state: say(f"Current state {state}")) if is_json else _print_state


def _print_state(state: str) -> None:
    print(f"Current state {state}", flush=True)


def _counts(diff: api.GetJobUpdateDiffResult) -> dict[str, list[int]]:
    return {part: instances_of(getattr(diff, part)) for part in ("add", "update", "remove", "unchanged")}


def _show_plan(job: JobRef, diff: api.GetJobUpdateDiffResult, request: api.JobUpdateRequest, is_json: bool) -> None:
    assert request.settings is not None
    planned = plan(diff, request.settings)
    if is_json:
        groups = [list(group) for group in planned.groups]
        print_json({"job": str(job), **_counts(diff), "groups": groups, "how": planned.how})
        return
    if not planned.groups:
        print("Nothing would change.")
        return
    kinds = [(part, set(numbers)) for part, numbers in _counts(diff).items()]
    print(f"Groups, {planned.how}:")
    for number, group in enumerate(planned.groups, 1):
        parts = [
            f"{part} {ranges([each for each in group if each in of_kind])}"
            for part, of_kind in kinds
            if of_kind & set(group)
        ]
        print(f"  {number}. {', '.join(parts) or ranges(group)}")
    print("Nothing was started.")


VERBS = {
    "update start": Verb(
        "update start",
        "change a job step by step",
        "Show what changes, and let the scheduler bring the job to what the configuration file says, in the way that "
        "its update_config says. Instances that are the same already are left alone. A job that is not there is "
        "created. With --plan nothing is started; with --wait the command returns when the update is over.",
        "aurora update start west/www-data/prod/hello hello.aurora --plan\n"
        'aurora update start west/www-data/prod/hello hello.aurora -m "hello 1.7" --wait\n'
        "aurora update start west/www-data/prod/hello/0 hello.aurora",
        (
            ExitCode.OK,
            ExitCode.USAGE,
            ExitCode.INVALID_CONFIGURATION,
            ExitCode.COMMAND_FAILURE,
            ExitCode.INVALID_PARAMETER,
            ExitCode.TIMEOUT,
            ExitCode.API_ERROR,
            ExitCode.UNKNOWN_ERROR,
            ExitCode.AUTH_ERROR,
            ExitCode.INTERRUPTED,
        ),
        configure,
        execute,
        ("job", "update_id", "url", "status", "messages", "add", "update", "remove", "unchanged", "groups", "how"),
    )
}
