"""``aurora job kill`` and ``aurora job killall``: end instances, in batches, and wait until they are gone."""

from __future__ import annotations

import argparse

from scheduler.client import finding, keys, options
from scheduler.client.errors import CommandFailed, InvalidParameter, TimedOut
from scheduler.client.exit_codes import ExitCode
from scheduler.client.extending import hooked
from scheduler.client.job_file import check_optional
from scheduler.client.keys import JobRef
from scheduler.client.printing import print_json
from scheduler.client.scheduler_api import Scheduler
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.waiting import Monitor, is_over
from scheduler.client.world import say
from thermos.formats.aurora_api import Response


def _configure(parser: argparse.ArgumentParser) -> None:
    options.add_batches(parser)
    parser.add_argument("--no-batching", action="store_true", help="all of them at once, instead of batch by batch")
    parser.add_argument("-m", "--message", help="why; kept with the tasks' history")
    options.add_optional_config(parser)
    options.add_browser(parser)
    options.add_json(parser)
    options.add_hooks(parser)


def configure_kill(parser: argparse.ArgumentParser) -> None:
    options.add_instances(parser)
    options.add_strict(parser)
    _configure(parser)


def configure_killall(parser: argparse.ArgumentParser) -> None:
    options.add_job(parser)
    _configure(parser)


def execute_kill(args: argparse.Namespace, session: Session) -> int:
    """Kill the instances that are named."""
    job: JobRef = args.instances.job
    wanted = args.instances.instances
    if wanted is None:
        raise InvalidParameter(
            f"The instances list cannot be omitted in a kill command: write {job}/0-2, "
            f"or `aurora job killall {job}` for all"
        )
    return _kill(job, wanted, args.strict, "kill", args, session)


def execute_killall(args: argparse.Namespace, session: Session) -> int:
    """Kill all instances of a job."""
    return _kill(args.job, None, False, "killall", args, session)


def _kill(
    job: JobRef, wanted: tuple[int, ...] | None, strict: bool, verb: str, args: argparse.Namespace, session: Session
) -> int:
    check_optional(job, args, session)
    scheduler = session.scheduler(job.cluster)
    killing = _Killing(job, args, session, scheduler)
    if args.no_batching:
        if strict:
            finding.check_active(job, wanted or (), finding.numbers(finding.active_tasks(scheduler, job)))
        killing.at_once(wanted)
    else:
        active = finding.numbers(finding.active_tasks(scheduler, job))
        if strict:
            finding.check_active(job, wanted or (), active)
        chosen = sorted(active if wanted is None else active & set(wanted))
        if not chosen:
            raise finding.no_such_job(scheduler, job, f"No tasks to kill found for job {_named(job, wanted)}")
        absent = sorted(set(wanted or ()) - active)
        if absent:
            say(f"instances {keys.ranges(absent)} of {job} are not active, and passed over")
        killing.in_batches(chosen)
    if args.open_browser:
        session.world.open_page(scheduler.page(*job[1:]))
    if args.json:
        print_json({"job": str(job), "killed": killing.killed})
    else:
        print(f"Job {verb} succeeded")
    return ExitCode.OK


def _named(job: JobRef, wanted: tuple[int, ...] | None) -> str:
    return str(job) if wanted is None else f"{job}/{keys.ranges(wanted)}"


class _Killing:
    """Kills instances of one job, and keeps account."""

    def __init__(self, job: JobRef, args: argparse.Namespace, session: Session, scheduler: Scheduler) -> None:
        #: Instances that are gone; None: all that there were.
        self.killed: list[int] | None = []
        self._job = job
        self._args = args
        self._session = session
        self._scheduler = scheduler

    def at_once(self, instances: tuple[int, ...] | None) -> None:
        """Kill all of *instances* (None: of the job) with one call. Raises TimedOut."""
        what = _named(self._job, instances)
        self._session.so_far = f"{what} may have been asked to end; `aurora job status {self._job}` tells"
        self._call(instances, "The scheduler refused the kill")
        self._session.so_far = f"{what} was asked to end, and goes on doing so"
        left = self._wait(instances)
        if left:
            raise TimedOut(f"Instances {keys.ranges(left)} were not killed in time; they go on ending")
        self.killed = None if instances is None else sorted(instances)

    def in_batches(self, instances: list[int]) -> None:
        """Kill *instances*, a batch after the other. Raises CommandFailed when too many do not end."""
        size = self._args.batch_size
        failures = 0
        killed: list[int] = []
        slow: list[int] = []
        for start in range(0, len(instances), size):
            batch = instances[start : start + size]
            self._account(batch, slow, instances[start + size :])
            self._call(tuple(batch), f"Kill of instances {batch} failed with error")
            left = self._wait(tuple(batch))
            if left:
                slow += left
                failures += 1
                say(f"Instances {batch} were not killed in time: {keys.ranges(left)} still active")
                if failures > self._args.max_total_failures:
                    raise CommandFailed(
                        "Exceeded maximum number of errors while killing instances; "
                        + self._story(slow, instances[start + size :])
                    )
            else:
                killed += batch
                self.killed = killed
                if not self._args.json:
                    print(f"Successfully killed instances {batch}", flush=True)
        if failures:
            raise CommandFailed(f"Errors occurred while killing instances; {self._story(slow, [])}")

    def _call(self, instances: tuple[int, ...] | None, heading: str) -> None:
        message = self._args.message

        def kill() -> Response:
            return self._scheduler.ask("killTasks", heading, job=self._job.key, instances=instances, message=message)

        hooks = {"instances": None if instances is None else list(instances), "message": message}
        hooked(self._session, self._job, "kill_job", kill, self._job, config=self._session.config, **hooks)

    def _wait(self, instances: tuple[int, ...] | None) -> tuple[int, ...]:
        what = f"{_named(self._job, instances)} to end"
        return Monitor(self._scheduler, self._job, self._session.world).wait(what, is_over, instances, gives_up=True)

    def _account(self, batch: list[int], slow: list[int], rest: list[int]) -> None:
        self._session.so_far = self._story([*slow, *batch], rest)

    def _story(self, asked: list[int], rest: list[int]) -> str:
        return (
            f"killed: {keys.ranges(self.killed or []) or 'none'}; "
            f"asked to end, not confirmed: {keys.ranges(asked) or 'none'}; not touched: {keys.ranges(rest) or 'none'}"
        )


_CODES = (
    ExitCode.OK,
    ExitCode.USAGE,
    ExitCode.INVALID_CONFIGURATION,
    ExitCode.COMMAND_FAILURE,
    ExitCode.INVALID_PARAMETER,
    ExitCode.NETWORK_ERROR,
    ExitCode.TIMEOUT,
    ExitCode.API_ERROR,
    ExitCode.AUTH_ERROR,
    ExitCode.INTERRUPTED,
)

VERBS = {
    "job kill": Verb(
        "job kill",
        "kill instances of a job",
        "Kill the named instances, batch by batch, and wait for each batch to be gone. Instances that are not active "
        "are passed over. An instance that does not end within about five minutes counts as a failure.",
        "aurora job kill west/www-data/prod/hello/3\n"
        'aurora job kill west/www-data/prod/hello/0-9 --batch-size 5 -m "too many"',
        _CODES,
        configure_kill,
        execute_kill,
        ("job", "killed"),
    ),
    "job killall": Verb(
        "job killall",
        "kill all instances of a job",
        "Kill all instances of the job, batch by batch or with --no-batching at once, and wait until they are gone.",
        "aurora job killall west/www-data/devel/hello --no-batching",
        _CODES,
        configure_killall,
        execute_killall,
        ("job", "killed"),
    ),
}
