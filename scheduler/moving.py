"""``aurora-scheduler import``, ``restore`` and ``forget-framework``: what is done to a store that no scheduler uses."""

from __future__ import annotations

import argparse

from scheduler.core.changes import PutFramework, PutTask
from scheduler.store.backups import read_backup
from scheduler.store.backups import restore as replace_all
from scheduler.store.opening import open_store
from scheduler.store.snapshot_import import described, read_snapshot
from thermos.errors import ExitCode, ThermosError


class NotWhole(ThermosError):
    """Something of the backup would be lost."""

    exit_code = ExitCode.DAMAGED


class NotEmpty(ThermosError):
    """The store holds something already."""

    exit_code = ExitCode.REFUSED


def bring_in(args: argparse.Namespace) -> int:
    """Take over a backup of Aurora's scheduler, or only say what is in it."""
    found = read_snapshot(args.backup)
    print(described(found))
    if args.dry_run:
        print("Nothing was changed.")
        return ExitCode.OK
    if found.left_out and not args.force:
        raise NotWhole(
            f"{len(found.left_out)} things in {args.backup} cannot be taken over (named above); --force takes the rest"
        )
    store = open_store(args.store)
    try:
        if any(True for _ in store.load()):
            raise NotEmpty(f"{args.store} holds something already: import into a new store, or move that one away")
        store.lead()
        # One commit: a store that holds half of a cluster would have the other half's tasks killed.
        store.commit(found.changes)
    finally:
        store.close()
    print(f"{args.store} holds it now. Start the scheduler with it: running tasks are taken over, not restarted.")
    return ExitCode.OK


def restore(args: argparse.Namespace) -> int:
    """Make a backup the store."""
    wanted = read_backup(args.backup)
    store = open_store(args.store)
    try:
        replace_all(store, wanted)
    finally:
        store.close()
    tasks = sum(isinstance(change, PutTask) for change in wanted)
    print(f"{args.store} holds the {tasks} tasks of {args.backup} now, and all else that is in it.")
    return ExitCode.OK


def forget_framework(args: argparse.Namespace) -> int:
    """Register as a new framework from now on: Mesos has removed the old one, and its tasks with it."""
    store = open_store(args.store)
    try:
        store.lead()
        store.commit([PutFramework("")])
    finally:
        store.close()
    print(f"{args.store} names no framework any more. The next start registers a new one, and replaces all tasks.")
    return ExitCode.OK
