"""``aurora update start``: change a job step by step, or show what that would do."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from scheduler.client import finding, options, updates
from scheduler.client.conversion import job_configuration, update_settings
from scheduler.client.errors import ApiError, CommandFailed
from scheduler.client.exit_codes import ExitCode
from scheduler.client.extending import hooked
from scheduler.client.job_file import read_job_with_tier
from scheduler.client.keys import JobRef, ranges
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
    response = scheduler.call("getJobUpdateDiff", request=request)
    diff = response.result.get_job_update_diff_result if response.result is not None else None
    if response.response_code is not ResponseCode.OK or diff is None:
        code = ExitCode.API_ERROR if args.plan else ExitCode.COMMAND_FAILURE
        raise ApiError(refusal(response, "The scheduler refused getJobUpdateDiff"), code, response)
    if not args.json:
        show(diff, None, session)
    if args.plan:
        if diff.groups is None and response.details:
            raise ApiError(refusal(response, "The scheduler would not start this update"), response=response)
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
    return {
        part: sorted({number for group in getattr(diff, part) or () for number in _numbers(group.instances)})
        for part in ("add", "update", "remove", "unchanged")
    }


def _numbers(spans: Iterable[api.Range] | None) -> list[int]:
    return sorted({number for span in spans or () for number in range(span.first or 0, (span.last or 0) + 1)})


def _show_plan(job: JobRef, diff: api.GetJobUpdateDiffResult, request: api.JobUpdateRequest, is_json: bool) -> None:
    assert request.settings is not None
    how = _how(request.settings)
    groups = None if diff.groups is None else [_numbers(group.instances) for group in diff.groups]
    counts = _counts(diff)
    if is_json:
        print_json({"job": str(job), **counts, "groups": groups, "how": how})
        return
    if not any(counts[part] for part in ("add", "update", "remove")):
        print("Nothing would change.")
        return
    if groups is None:
        print(f"This scheduler does not say in which groups, nor whether it would start this update: {how}.")
    else:
        print(f"Groups, {how}:")
        for number, group in enumerate(groups, 1):
            parts = [
                f"{part} {ranges([each for each in group if each in of_kind])}"
                for part, numbers in counts.items()
                if (of_kind := set(numbers)) & set(group)
            ]
            print(f"  {number}. {', '.join(parts) or ranges(group)}")
    print("Nothing was started.")


def _how(settings: api.JobUpdateSettings) -> str:
    """How one group follows the other, in words: what was asked for."""
    strategy = settings.update_strategy or api.JobUpdateStrategy()
    batches = strategy.batch_strategy or strategy.var_batch_strategy
    if batches is None:
        queue = strategy.queue_strategy or api.QueueJobUpdateStrategy(settings.update_group_size)
        words = f"up to {queue.group_size} at a time, the next as soon as one is done"
    else:
        words = "each group when the one before is done"
        if batches.autopause_after_batch:
            words += ", after a pause that `aurora update resume` ends"
    if settings.canary_count:
        after_ms = settings.canary_promote_after_ms
        when = "when `aurora update resume` says so" if after_ms is None else f"after {after_ms / 1000:g} s"
        words = f"{settings.canary_count} first as canaries, the others {when}; {words}"
    return words


VERBS = {
    "update start": Verb(
        "update start",
        "change a job step by step",
        "Show what changes, and let the scheduler bring the job to what the configuration file says, in the way that "
        "its update_config says. Instances that are the same already are left alone. A job that is not there is "
        "created. With --plan nothing is started, and what the scheduler would not start is said, with exit code 10; "
        "with --wait the command returns when the update is over.",
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
