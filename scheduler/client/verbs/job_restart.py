"""``aurora job restart``: a rolling restart, led by this client."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence

from scheduler.client import finding, options
from scheduler.client.errors import CommandFailed, InvalidParameter
from scheduler.client.exit_codes import ExitCode
from scheduler.client.extending import hooked
from scheduler.client.job_file import check_optional
from scheduler.client.keys import JobRef, ranges
from scheduler.client.printing import print_json
from scheduler.client.restarting import Active, Restart, Settings
from scheduler.client.scheduler_api import Scheduler
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.waiting import Teller, describe, newest, pending_reasons
from scheduler.states import ACTIVE
from thermos.formats.aurora_api import ScheduleStatus


def configure(parser: argparse.ArgumentParser) -> None:
    options.add_instances(parser)
    options.add_batches(parser)
    parser.add_argument(
        "--healthcheck-interval-seconds",
        type=options.positive,
        default=3,
        metavar="S",
        help="look so often; default: 3",
    )
    parser.add_argument(
        "--watch-secs",
        type=options.not_negative,
        default=30,
        metavar="S",
        help="how long an instance must run to count as restarted; default: 30",
    )
    parser.add_argument(
        "--max-per-instance-failures",
        type=int,
        default=0,
        metavar="N",
        help="try an instance again after up to N failures; below 0: for ever; default: 0",
    )
    parser.add_argument("--force", action="store_true", help="accepted for old scripts; nothing is asked for")
    options.add_strict(parser)
    options.add_optional_config(parser)
    options.add_browser(parser)
    options.add_json(parser)
    options.add_hooks(parser)


class _Job:
    """The job, for :class:`Restart`."""

    def __init__(self, job: JobRef, scheduler: Scheduler) -> None:
        self._job = job
        self._scheduler = scheduler

    def restart(self, instances: Sequence[int]) -> None:
        heading = f"Error restarting job {self._job}"
        self._scheduler.ask("restartShards", heading, job=self._job.key, shard_ids=tuple(instances))

    def active(self, instances: Collection[int]) -> dict[int, Active]:
        return {
            number: Active(task.assigned_task.task_id, task.status is ScheduleStatus.RUNNING)
            for number, task in newest(self._scheduler.tasks(self._job.key, instances, ACTIVE)).items()
            if task.assigned_task is not None
        }

    def why(self, instances: Sequence[int]) -> str:
        """How those of *instances* are that do not run, with the scheduler's reasons."""
        tasks = newest(self._scheduler.tasks(self._job.key, instances, ACTIVE))
        reasons = pending_reasons(self._scheduler, self._job, tasks.values())
        gone = sorted(set(instances) - tasks.keys())
        parts = [describe(tasks, reasons)] if tasks else []
        return ", ".join([*parts, f"{ranges(gone)} not there"] if gone else parts)


def execute(args: argparse.Namespace, session: Session) -> int:
    """Restart the instances, and say how it went."""
    if args.max_total_failures < 0:
        raise InvalidParameter(f"--max-total-failures is {args.max_total_failures}; it may not be below 0")
    job: JobRef = args.instances.job
    wanted = args.instances.instances
    check_optional(job, args, session)
    scheduler = session.scheduler(job.cluster)
    tasks = finding.active_tasks(scheduler, job)
    active = finding.numbers(tasks)
    if not active:
        raise finding.no_such_job(scheduler, job, f"{job} has no active instances")
    if wanted is not None and (args.strict or not active & set(wanted)):
        finding.check_active(job, wanted, active)
    chosen = sorted(active if wanted is None else active & set(wanted))
    old = {task.assigned_task.instance_id or 0: task.assigned_task.task_id for task in tasks if task.assigned_task}
    settings = Settings(
        batch_size=args.batch_size,
        watch_s=args.watch_secs,
        interval_s=args.healthcheck_interval_seconds,
        max_per_instance_failures=args.max_per_instance_failures,
        max_total_failures=args.max_total_failures,
    )
    teller = Teller(session.world, f"the restart of {args.instances}")
    target = _Job(job, scheduler)
    restart = Restart(settings, target, old, session.world.mono_s, session.world.sleep, teller.tell)

    def note() -> None:
        session.so_far = restart.story()

    restart.note = note
    restart.why = target.why

    def lead() -> None:
        is_good = restart.run(chosen)
        if args.json:
            print_json(
                {"job": str(job), "restarted": restart.done, "failed": restart.failed, "not_touched": restart.waiting}
            )
        if not is_good:
            raise CommandFailed(f"Error restarting job {job}: more instances failed than may; {restart.story()}")

    hooked(session, job, "restart", lead, job, chosen, settings, config=session.config)
    if args.open_browser:
        session.world.open_page(scheduler.page(*job[1:]))
    if not args.json:
        print(f"Job {job} restarted successfully")
    return ExitCode.OK


VERBS = {
    "job restart": Verb(
        "job restart",
        "restart instances of a job",
        "Restart instances, batch by batch. Each must run for --watch-secs before the next batch starts. The restart "
        "is led by this command: when it is stopped, the rest is left as it is.",
        "aurora job restart west/www-data/prod/hello\n"
        "aurora job restart west/www-data/prod/hello/0-3 --batch-size 2 --watch-secs 10",
        (
            ExitCode.OK,
            ExitCode.USAGE,
            ExitCode.INVALID_CONFIGURATION,
            ExitCode.COMMAND_FAILURE,
            ExitCode.INVALID_PARAMETER,
            ExitCode.TIMEOUT,
            ExitCode.API_ERROR,
            ExitCode.AUTH_ERROR,
            ExitCode.INTERRUPTED,
        ),
        configure,
        execute,
        ("job", "restarted", "failed", "not_touched"),
    )
}
