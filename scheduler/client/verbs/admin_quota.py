"""``aurora_admin set_quota`` and ``increase_quota``: what a role may use for production jobs."""

from __future__ import annotations

import argparse

from scheduler.client import admin_options, sizes
from scheduler.client.exit_codes import ExitCode
from scheduler.client.printing import print_json, resources
from scheduler.client.scheduler_api import Scheduler
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.world import say
from scheduler.wire.plain_json import plain
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import Resource


def configure(parser: argparse.ArgumentParser) -> None:
    admin_options.add_cluster(parser)
    parser.add_argument("role", metavar="ROLE", help="the role")
    parser.add_argument("cpu", type=sizes.cores, metavar="CPU", help="cores")
    parser.add_argument("ram", type=sizes.megabytes, metavar="RAM", help="memory with its unit: 2048MB, 4g")
    parser.add_argument("disk", type=sizes.megabytes, metavar="DISK", help="disk with its unit: 10GB, 1t")
    admin_options.add_common(parser)


def execute_set(args: argparse.Namespace, session: Session) -> int:
    """Replace the quota."""
    found = (Resource(num_cpus=args.cpu), Resource(ram_mb=args.ram), Resource(disk_mb=args.disk))
    return _set(session.scheduler(args.cluster), found, args, session)


def execute_increase(args: argparse.Namespace, session: Session) -> int:
    """Add to the quota what is given; below 0 takes away. What else it holds stays."""
    scheduler = session.scheduler(args.cluster)
    quota = scheduler.result("getQuota", "get_quota_result", owner_role=args.role).quota
    old = quota.resources if quota is not None and quota.resources is not None else ()
    say(f"Current quota for {args.role}: {', '.join(resources(old)) or 'none'}")
    more = {"num_cpus": args.cpu, "ram_mb": args.ram, "disk_mb": args.disk}
    found = []
    for field, amount in more.items():
        before = next((value for each in old if (value := getattr(each, field)) is not None), 0)
        found.append(Resource(**{field: before + amount}))
    found += [each for each in old if all(getattr(each, field) is None for field in more)]
    return _set(scheduler, tuple(found), args, session)


def _set(scheduler: Scheduler, found: tuple[Resource, ...], args: argparse.Namespace, session: Session) -> int:
    session.so_far = f"the quota of {args.role} may have been set or not; `aurora quota get` tells"
    quota = api.ResourceAggregate(found)
    scheduler.ask("setQuota", f"The quota of {args.role} was not set", owner_role=args.role, quota=quota)
    if args.json:
        written = plain(api.RESOURCE_AGGREGATE, quota)
        print_json({"role": args.role, "quota": written})
    else:
        say(f"Quota for {args.role} is now: {', '.join(resources(found))}")
    return ExitCode.OK


VERBS = {
    "set_quota": Verb(
        "set_quota",
        "set the quota of a role",
        "Set what the role may use for production jobs, in place of what it may use now.",
        "aurora_admin set_quota west www-data 8.0 16GB 100GB",
        admin_options.CODES,
        configure,
        execute_set,
        ("role", "quota"),
    ),
    "increase_quota": Verb(
        "increase_quota",
        "add to the quota of a role",
        "Read the role's quota, add the amounts, and set the sum. Put -- before amounts below 0, which take away.",
        "aurora_admin increase_quota west www-data 1.0 2GB 0GB",
        admin_options.CODES,
        configure,
        execute_increase,
        ("role", "quota"),
    ),
}
