"""``aurora_admin scheduler_stage_recovery`` and the like: put a backup back while the scheduler runs."""

from __future__ import annotations

import argparse
from typing import Any

from scheduler.client import admin_options
from scheduler.client.errors import InvalidParameter
from scheduler.client.exit_codes import ExitCode
from scheduler.client.printing import clean, print_json
from scheduler.client.scheduler_api import messages
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.world import say
from scheduler.states import ACTIVE
from scheduler.wire.plain_json import plain
from thermos.formats import aurora_api as api


def configure(parser: argparse.ArgumentParser) -> None:
    admin_options.add_cluster(parser)
    admin_options.add_common(parser)


def configure_stage(parser: argparse.ArgumentParser) -> None:
    admin_options.add_cluster(parser)
    parser.add_argument("backup_id", metavar="BACKUP", help="the backup, as scheduler_list_backups names it")
    admin_options.add_common(parser)


def configure_delete(parser: argparse.ArgumentParser) -> None:
    admin_options.add_cluster(parser)
    parser.add_argument("task_ids", metavar="ID,ID", help="the tasks, as scheduler_print_recovery_tasks names them")
    admin_options.add_common(parser)


def _do(method: str, done: str, args: argparse.Namespace, session: Session, **arguments: Any) -> int:
    scheduler = session.scheduler(args.cluster)
    session.so_far = f"{method} may have been done or not"
    words = [clean(word) for word in messages(scheduler.ask(method, **arguments))]
    if args.json:
        print_json({"cluster": args.cluster, "messages": words})
    else:
        say(done)
    return ExitCode.OK


def execute_stage(args: argparse.Namespace, session: Session) -> int:
    """Let the scheduler load a backup beside its store."""
    return _do("stageRecovery", f"{args.backup_id} is staged", args, session, backup_id=args.backup_id)


def execute_print(args: argparse.Namespace, session: Session) -> int:
    """Print the active tasks of the staged backup."""
    query = api.TaskQuery(statuses=tuple(sorted(ACTIVE)))
    result = session.scheduler(args.cluster).result("queryRecovery", "query_recovery_result", query=query)
    tasks: tuple[api.ScheduledTask, ...] = result.tasks or ()
    if args.json:
        print_json({"tasks": [plain(api.SCHEDULED_TASK, task) for task in tasks]})
        return ExitCode.OK
    print("Role\tJob\tShard\tStatus\tTask ID")
    for task in tasks:
        assigned = task.assigned_task
        if assigned is not None and assigned.task.job is not None:
            job = assigned.task.job
            cells = (job.role, job.name, assigned.instance_id, task.status, assigned.task_id)
            print("\t".join(clean(cell) for cell in cells))
    return ExitCode.OK


def execute_delete(args: argparse.Namespace, session: Session) -> int:
    """Take tasks out of the staged backup."""
    ids = tuple(dict.fromkeys(word.strip() for word in args.task_ids.split(",") if word.strip()))
    if not ids:
        # A question without ids would mean every task.
        raise InvalidParameter("which tasks? Write their ids with commas between them")
    done = f"{len(ids)} tasks are taken out of the staged backup"
    return _do("deleteRecoveryTasks", done, args, session, query=api.TaskQuery(task_ids=ids))


def execute_commit(args: argparse.Namespace, session: Session) -> int:
    """Make the staged backup the scheduler's store."""
    return _do("commitRecovery", "the staged backup is the scheduler's store now", args, session)


def execute_unload(args: argparse.Namespace, session: Session) -> int:
    """Forget the staged backup."""
    return _do("unloadRecovery", "the staged backup is forgotten; nothing was changed", args, session)


VERBS = {
    "scheduler_stage_recovery": Verb(
        "scheduler_stage_recovery",
        "load a backup, to look at it before it is put back",
        "Let the scheduler load a backup beside its store. Nothing changes until scheduler_commit_recovery.",
        "aurora_admin scheduler_stage_recovery west scheduler-backup-2026-01-31-12-00",
        admin_options.CODES,
        configure_stage,
        execute_stage,
        ("cluster", "messages"),
    ),
    "scheduler_print_recovery_tasks": Verb(
        "scheduler_print_recovery_tasks",
        "list the active tasks of the staged backup",
        "Print role, job, instance, status and id of each active task of the staged backup.",
        "aurora_admin scheduler_print_recovery_tasks west",
        admin_options.CODES,
        configure,
        execute_print,
        ("tasks",),
    ),
    "scheduler_delete_recovery_tasks": Verb(
        "scheduler_delete_recovery_tasks",
        "take tasks out of the staged backup",
        "Delete tasks from the staged backup, so that they do not come back with it.",
        "aurora_admin scheduler_delete_recovery_tasks west 1580000000000-www-data-prod-hello-3-abc",
        admin_options.CODES,
        configure_delete,
        execute_delete,
        ("cluster", "messages"),
    ),
    "scheduler_commit_recovery": Verb(
        "scheduler_commit_recovery",
        "put the staged backup back",
        "Make the staged backup the scheduler's store; what the store had is lost.",
        "aurora_admin scheduler_commit_recovery west",
        admin_options.CODES,
        configure,
        execute_commit,
        ("cluster", "messages"),
    ),
    "scheduler_unload_recovery": Verb(
        "scheduler_unload_recovery",
        "forget the staged backup",
        "Forget the staged backup; the scheduler's store stays as it is.",
        "aurora_admin scheduler_unload_recovery west",
        admin_options.CODES,
        configure,
        execute_unload,
        ("cluster", "messages"),
    ),
}
