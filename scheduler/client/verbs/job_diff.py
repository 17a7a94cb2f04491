"""``aurora job diff``: what a configuration file would change."""

from __future__ import annotations

import argparse
import os
import shlex
import tempfile
from collections.abc import Iterable, Sequence
from typing import Final

from scheduler.client import finding, keys, options
from scheduler.client.conversion import job_configuration, update_settings
from scheduler.client.dump import task_lines
from scheduler.client.errors import CommandFailed
from scheduler.client.exit_codes import ExitCode
from scheduler.client.job_file import read_job_with_tier
from scheduler.client.keys import JobRef
from scheduler.client.printing import print_json
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.states import ACTIVE
from scheduler.wire.plain_json import plain
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import TaskConfig

#: Parts of the answer, with their headings, in the original's order.
_PARTS: Final = (
    ("add", "add instances:"),
    ("remove", "remove instances:"),
    ("update", "update instances:"),
    ("unchanged", "not change instances:"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_instances(parser)
    options.add_config_file(parser)
    parser.add_argument(
        "--from",
        dest="other",
        type=keys.job,
        metavar="CLUSTER/ROLE/ENV/NAME",
        help="compare with this job instead of the one of the same key",
    )
    options.add_json(parser)
    options.add_hooks(parser)


def execute(args: argparse.Namespace, session: Session) -> int:
    """Print what an update with the file would do."""
    job: JobRef = args.instances.job
    other: JobRef = args.other or job
    found = read_job_with_tier(args.config, job, args, session)
    description = job_configuration(found, session.world.user())
    scheduler = session.scheduler(other.cluster)
    populated = scheduler.result(
        "populateJobConfig",
        "populate_job_result",
        code=ExitCode.INVALID_CONFIGURATION,
        description=description,
    ).task_config
    if found.cron_schedule is not None:
        # With configurations: what the executors are given is to be compared.
        query = api.TaskQuery(job_keys=(other.key,), statuses=tuple(sorted(ACTIVE)))
        tasks = scheduler.result(
            "getTasksStatus", "schedule_status_result", code=ExitCode.INVALID_PARAMETER, query=query
        ).tasks
        if not tasks:
            raise finding.no_such_job(scheduler, other, f"No tasks found for job {other}")
        remote = [task.assigned_task.task for task in tasks if task.assigned_task is not None]
        local = [populated] * len(remote)
        if args.json:
            print_json(
                {"job": str(other), "is_changed": {task_lines(one) for one in remote} != {task_lines(populated)}}
            )
        else:
            print(_text_diff(remote, local, session), end="")
        return ExitCode.OK
    assert description.task_config is not None
    request = api.JobUpdateRequest(
        task_config=description.task_config._replace(job=other.key),
        instance_count=found.instances,
        settings=update_settings(found, args.instances.instances),
    )
    diff = scheduler.result(
        "getJobUpdateDiff", "get_job_update_diff_result", code=ExitCode.COMMAND_FAILURE, request=request
    )
    if args.json:
        print_json(
            {
                "job": str(other),
                **plain(api.RESULT, api.Result(get_job_update_diff_result=diff))["getJobUpdateDiffResult"],
            }
        )
    else:
        show(diff, populated, session)
    return ExitCode.OK


def show(diff: api.GetJobUpdateDiffResult, local: TaskConfig | None, session: Session) -> None:
    """Print what an update would do; with *local*, also what changes in each configuration."""
    print("This job update will:")
    for field, heading in _PARTS:
        groups = sorted(getattr(diff, field) or (), key=_first)
        if field == "update" and local is not None:
            for group in groups:
                print(f"{heading} {_spans([group])}")
                print("with diff:\n")
                print(_text_diff([group.config], [local], session))
        elif groups:
            print(f"{heading} {_spans(groups)}")


def _first(group: api.ConfigGroup) -> int:
    return min((span.first or 0 for span in group.instances or ()), default=0)


def _spans(groups: Iterable[api.ConfigGroup]) -> str:
    spans = sorted((span.first or 0, span.last or 0) for group in groups for span in group.instances or ())
    return ", ".join(f"[{first}]" if first == last else f"[{first}-{last}]" for first, last in spans)


def _text_diff(remote: Sequence[TaskConfig], local: Sequence[TaskConfig], session: Session) -> str:
    """What ``$DIFF_VIEWER``, or ``diff``, says of the two. Raises CommandFailed."""
    viewer = shlex.split(session.world.environ.get("DIFF_VIEWER") or "diff")
    with tempfile.TemporaryDirectory(prefix="aurora-diff-") as directory:
        paths = []
        for name, configs in (("scheduler", remote), ("file", local)):
            paths.append(os.path.join(directory, name))
            with open(paths[-1], "w", encoding="utf-8", errors="surrogatepass") as file:
                file.write(",\n".join(task_lines(config) for config in configs))
        try:
            code, text = session.world.capture([*viewer, *paths])
        except OSError as error:
            raise CommandFailed(
                f"Error running diff: {viewer[0]}: {error.strerror}; $DIFF_VIEWER names another"
            ) from None
    if code not in (0, 1):  # 1: there are differences
        raise CommandFailed(f"Error running diff: {viewer[0]} ended with {code}: {text.strip()}")
    return text


VERBS = {
    "job diff": Verb(
        "job diff",
        "show what a configuration would change",
        "Compare the configuration file with what the scheduler runs: which instances an update would add, remove, "
        "change or leave, and what changes in them, as `diff` or the program in $DIFF_VIEWER shows it.",
        "aurora job diff west/www-data/prod/hello hello.aurora\n"
        'DIFF_VIEWER="diff -u" aurora job diff west/www-data/prod/hello/0-2 hello.aurora',
        (
            ExitCode.OK,
            ExitCode.USAGE,
            ExitCode.INVALID_CONFIGURATION,
            ExitCode.COMMAND_FAILURE,
            ExitCode.INVALID_PARAMETER,
            ExitCode.TIMEOUT,
            ExitCode.AUTH_ERROR,
            ExitCode.INTERRUPTED,
        ),
        configure,
        execute,
        ("job", "add", "remove", "update", "unchanged", "groups", "is_changed"),
    )
}
