"""``aurora_admin query``, ``prune_tasks`` and ``reconcile_tasks``: tasks of any role."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any, Final

from scheduler.client import admin_options, options
from scheduler.client.errors import InvalidParameter
from scheduler.client.exit_codes import ExitCode
from scheduler.client.printing import clean, print_json
from scheduler.client.scheduler_api import messages
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.world import say
from scheduler.states import ACTIVE, TERMINAL
from scheduler.wire.plain_json import plain
from scheduler.wire.schema import schema_of
from thermos.definition import nearest
from thermos.formats import aurora_api as api
from thermos.formats.aurora_api import ScheduledTask, ScheduleStatus
from thermos.formats.thrift_binary import STRUCT, StructType

#: One line for each task; tokens are the fields of a task, its key and its configuration.
_LIST_FORMAT: Final = "%role%/%name%/%instanceId% %status%"
_TOKEN: Final = re.compile(r"%(\w+)%")


def _states(text: str) -> tuple[ScheduleStatus, ...]:
    found = []
    for name in text.split(","):
        if name not in ScheduleStatus.__members__:
            close = nearest(name, ScheduleStatus.__members__)
            hint = f"did you mean {close}?" if close else f"there are {', '.join(ScheduleStatus.__members__)}"
            raise argparse.ArgumentTypeError(f"Unknown state '{name}'; {hint}")
        found.append(ScheduleStatus[name])
    return tuple(found)


def _shards(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[0-9]{1,7}(,[0-9]{1,7})*", text):
        raise argparse.ArgumentTypeError(f"'{text}' are no instances: write numbers with commas")
    return tuple(int(number) for number in text.split(","))


def configure_query(parser: argparse.ArgumentParser) -> None:
    admin_options.add_cluster(parser)
    parser.add_argument("role", nargs="?", metavar="ROLE", help="only tasks of this role")
    parser.add_argument("job", nargs="?", metavar="JOB", help="only tasks of jobs of this name")
    parser.add_argument("--force", action="store_true", help="ask also what costs the scheduler much")
    parser.add_argument("--shards", type=_shards, metavar="N,N", help="only these instances")
    parser.add_argument(
        "--states",
        type=_states,
        default=(ScheduleStatus.RUNNING,),
        metavar="STATE,STATE",
        help="only tasks in these states; default: RUNNING",
    )
    parser.add_argument(
        "-l",
        "--listformat",
        default=_LIST_FORMAT,
        metavar="FORMAT",
        help=f"line for each task; default: {_LIST_FORMAT}".replace("%", "%%"),
    )
    admin_options.add_common(parser)


def execute_query(args: argparse.Namespace, session: Session) -> int:
    """Print a line for each task."""
    expensive = [
        (args.role is None, "no role specified"),
        (args.job is None, "no job specified"),
        (not set(args.states) <= ACTIVE, "states outside ACTIVE states"),
    ]
    for is_so, why in expensive:
        if is_so and not args.force:
            raise InvalidParameter(f"--force is required for expensive queries ({why})")
    query = api.TaskQuery(role=args.role, job_name=args.job, instance_ids=args.shards, statuses=args.states)
    tasks = session.scheduler(args.cluster).query(query)
    if args.json:
        print_json({"tasks": [plain(api.SCHEDULED_TASK, task) for task in tasks]})
    else:
        for task in tasks:
            print(_line(args.listformat, task))
    return ExitCode.OK


def _line(form: str, task: ScheduledTask) -> str:
    fields = dict(_flat(api.SCHEDULED_TASK, task))

    def value(found: re.Match[str]) -> str:
        if found[1] not in fields:
            raise InvalidParameter(f"--listformat: a task has no '{found[1]}', but {', '.join(sorted(fields))}")
        return clean(fields[found[1]])

    return _TOKEN.sub(value, form)


def _flat(struct: StructType, value: Any) -> Iterator[tuple[str, Any]]:
    """Fields of the task and of what it holds, those not set as None; the key of the job counts before its like."""
    job = None
    for slot in schema_of(struct).slots:
        item = value[slot.position]
        if item is not None and slot.name == "job":
            job = item
        elif item is not None and slot.field.type == STRUCT:
            yield from _flat(slot.field.struct, item)  # type: ignore[arg-type]  # a STRUCT has one
        else:
            yield slot.name, item if item is None or slot.enum is None else slot.enum(item).name
    if job is not None:
        yield from (("role", job.role), ("environment", job.environment), ("env", job.environment))
        yield from (("name", job.name), ("jobName", job.name))


def configure_prune(parser: argparse.ArgumentParser) -> None:
    admin_options.add_cluster(parser)
    parser.add_argument("--states", type=_states, metavar="STATE,STATE", help="only tasks in these terminal states")
    parser.add_argument("--role", help="only tasks of this role")
    parser.add_argument("--env", help="only tasks of this environment")
    parser.add_argument("--limit", type=options.positive, metavar="N", help="at most so many")
    admin_options.add_common(parser)


def execute_prune(args: argparse.Namespace, session: Session) -> int:
    """Let the scheduler forget terminal tasks."""
    living = [state for state in args.states or () if state not in TERMINAL]
    if living:
        raise InvalidParameter(
            f"{', '.join(map(str, living))}: only tasks that are over can be pruned, "
            f"which are {', '.join(map(str, sorted(TERMINAL)))}"
        )
    query = api.TaskQuery(role=args.role, environment=args.env, statuses=args.states, limit=args.limit)
    session.so_far = "tasks may have been pruned or not"
    words = [clean(word) for word in messages(session.scheduler(args.cluster).ask("pruneTasks", query=query))]
    if args.json:
        print_json({"cluster": args.cluster, "messages": words})
    else:
        say("Tasks pruned")
    return ExitCode.OK


def configure_reconcile(parser: argparse.ArgumentParser) -> None:
    admin_options.add_cluster(parser)
    parser.add_argument(
        "-t",
        "--type",
        choices=("explicit", "implicit"),
        default="explicit",
        help="explicit: of each task the scheduler knows; implicit: all that Mesos knows; default: explicit",
    )
    parser.add_argument(
        "-b", "--batch_size", type=options.positive, metavar="N", help="explicit: ask Mesos about N tasks at a time"
    )
    admin_options.add_common(parser)


def execute_reconcile(args: argparse.Namespace, session: Session) -> int:
    """Let the scheduler ask Mesos how its tasks are."""
    scheduler = session.scheduler(args.cluster)
    session.so_far = "the reconciliation may have been started or not"
    if args.type == "implicit":
        if args.batch_size is not None:
            raise InvalidParameter("--batch_size has no meaning for an implicit reconciliation, which is one question")
        scheduler.ask("triggerImplicitTaskReconciliation")
    else:
        settings = api.ExplicitReconciliationSettings(args.batch_size)
        scheduler.ask("triggerExplicitTaskReconciliation", settings=settings)
    if args.json:
        print_json({"cluster": args.cluster, "type": args.type})
    else:
        say(f"The scheduler reconciles its tasks with Mesos ({args.type})")
    return ExitCode.OK


VERBS = {
    "query": Verb(
        "query",
        "list tasks",
        "Print a line for each task that fits. Tokens of the format are fields of a task, such as %taskId%, "
        "%slaveHost%, %role%, %environment%, %name%. What makes the scheduler look at very many tasks needs --force.",
        "aurora_admin query west www-data hello\n"
        "aurora_admin query west --force --states PENDING,THROTTLED -l '%role%/%environment%/%name% %taskId%'",
        admin_options.CODES,
        configure_query,
        execute_query,
        ("tasks",),
    ),
    "prune_tasks": Verb(
        "prune_tasks",
        "let the scheduler forget tasks that are over",
        "Delete tasks that are over from the scheduler's store, all or those that fit.",
        "aurora_admin prune_tasks west --role www-data --states FAILED,LOST --limit 1000",
        admin_options.CODES,
        configure_prune,
        execute_prune,
        ("cluster", "messages"),
    ),
    "reconcile_tasks": Verb(
        "reconcile_tasks",
        "compare the scheduler's tasks with those of Mesos",
        "Let the scheduler ask Mesos now how its tasks are, instead of when it is due.",
        "aurora_admin reconcile_tasks west\naurora_admin reconcile_tasks west -t implicit",
        admin_options.CODES,
        configure_reconcile,
        execute_reconcile,
        ("cluster", "type"),
    ),
}
