"""``aurora_admin scheduler_snapshot``, ``scheduler_backup_now``, ``scheduler_list_backups``: its own data."""

from __future__ import annotations

import argparse

from scheduler.client import admin_options
from scheduler.client.exit_codes import ExitCode
from scheduler.client.printing import clean, print_json
from scheduler.client.scheduler_api import messages
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.world import say


def configure(parser: argparse.ArgumentParser) -> None:
    admin_options.add_cluster(parser)
    admin_options.add_common(parser)


def _do(method: str, done: str, args: argparse.Namespace, session: Session) -> int:
    scheduler = session.scheduler(args.cluster)
    session.so_far = f"{method} may have been done or not"
    words = [clean(word) for word in messages(scheduler.ask(method))]
    if args.json:
        print_json({"cluster": args.cluster, "messages": words})
    else:
        say(done)
    return ExitCode.OK


def execute_snapshot(args: argparse.Namespace, session: Session) -> int:
    """Let the scheduler compact its store."""
    return _do("snapshot", "The scheduler's store is compacted", args, session)


def execute_backup(args: argparse.Namespace, session: Session) -> int:
    """Let the scheduler write a backup."""
    return _do("performBackup", "The scheduler wrote a backup", args, session)


def execute_list(args: argparse.Namespace, session: Session) -> int:
    """Print the names of all backups."""
    result = session.scheduler(args.cluster).result("listBackups", "list_backups_result")
    found = sorted(result.backups or ())
    if args.json:
        print_json({"cluster": args.cluster, "backups": found})
    else:
        print(f"{len(found)} available backups:")
        for name in found:
            print(clean(name))
    return ExitCode.OK


VERBS = {
    "scheduler_snapshot": Verb(
        "scheduler_snapshot",
        "compact the scheduler's store",
        "Let the scheduler compact its store now, and wait until it is done.",
        "aurora_admin scheduler_snapshot west",
        admin_options.CODES,
        configure,
        execute_snapshot,
        ("cluster", "messages"),
    ),
    "scheduler_backup_now": Verb(
        "scheduler_backup_now",
        "write a backup of the scheduler's store",
        "Let the scheduler write a backup of its store now.",
        "aurora_admin scheduler_backup_now west",
        admin_options.CODES,
        configure,
        execute_backup,
        ("cluster", "messages"),
    ),
    "scheduler_list_backups": Verb(
        "scheduler_list_backups",
        "list backups of the scheduler's store",
        "Print how many backups there are, and their names, the oldest first.",
        "aurora_admin scheduler_list_backups west",
        admin_options.CODES,
        configure,
        execute_list,
        ("cluster", "backups"),
    ),
}
