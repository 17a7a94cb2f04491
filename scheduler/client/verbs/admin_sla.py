"""``aurora_admin sla_list_safe_domain`` and ``sla_probe_hosts``: what jobs would bear."""

from __future__ import annotations

import argparse

from scheduler.client import admin_options, hosts, keys, options, uptime
from scheduler.client.domains import Limit, Prediction
from scheduler.client.errors import InvalidParameter
from scheduler.client.exit_codes import ExitCode
from scheduler.client.keys import JobRef
from scheduler.client.printing import print_json
from scheduler.client.session import Session
from scheduler.client.verb import Verb


def _configure(parser: argparse.ArgumentParser) -> None:
    admin_options.add_cluster(parser)
    parser.add_argument(
        "percentage", type=hosts.percentage, metavar="PERCENTAGE", help="instances of each job that must be up"
    )
    parser.add_argument(
        "duration", type=uptime.span, metavar="DURATION", help="how long they must be up to count: XdYhZmWs"
    )
    hosts.add_grouping(parser)
    parser.add_argument(
        "--min_job_instance_count",
        type=options.positive,
        default=10,
        metavar="N",
        help="jobs with fewer instances do not count; default: 10",
    )
    admin_options.add_common(parser)


def configure_list(parser: argparse.ArgumentParser) -> None:
    _configure(parser)
    parser.add_argument("-X", "--exclude_file", metavar="FILE", help="file with hosts to leave out, one in a line")
    parser.add_argument("-x", "--exclude_hosts", metavar="HOST,HOST", help="hosts to leave out")
    parser.add_argument("-I", "--include_file", metavar="FILE", help="file with the only hosts to look at")
    parser.add_argument("-i", "--include_hosts", metavar="HOST,HOST", help="the only hosts to look at")
    parser.add_argument("-l", "--list_jobs", action="store_true", help="also print each job there, with its prediction")
    parser.add_argument(
        "-o", "--override_file", metavar="FILE", help="other limits for single jobs: lines 'KEY PERCENTAGE DURATION'"
    )


def configure_probe(parser: argparse.ArgumentParser) -> None:
    _configure(parser)
    hosts.add_hosts(parser)


def execute_list(args: argparse.Namespace, session: Session) -> int:
    """Print the hosts that may go down."""
    exclude = hosts.optional(args.exclude_hosts, args.exclude_file, "--exclude_hosts", "--exclude_file") or ()
    include = hosts.optional(args.include_hosts, args.include_file, "--include_hosts", "--include_file")
    grouping = hosts.grouping_named(args.grouping)
    of_job = {} if args.override_file is None else _overrides(args.override_file)
    scheduler = session.scheduler(args.cluster)
    domain = hosts.domain(scheduler, session, args.min_job_instance_count, include)
    looked_at = domain.hosts if include is None else domain.hosts & set(include)
    limit = Limit(args.percentage, args.duration.seconds)
    groups = domain.probe(looked_at, limit, grouping, of_job)
    safe = [
        each
        for predictions in groups
        if all(each.is_safe for each in predictions)
        for each in predictions
        if each.host not in exclude
    ]
    names = list(dict.fromkeys(each.host for each in safe))
    absent = hosts.unknown_in(domain, include or (), scheduler)
    if args.json:
        print_json({"cluster": args.cluster, "hosts": names, "jobs": _listed(safe), "unknown": absent})
    elif args.list_jobs:
        for each in safe:
            print(f"{each.host}\t{each.job}\t{each.percentage:.2f}\t{each.duration_s}")
    else:
        for name in names:
            print(name)
    return ExitCode.INVALID_PARAMETER if absent else ExitCode.OK


def execute_probe(args: argparse.Namespace, session: Session) -> int:
    """Print what becomes of each job on the hosts."""
    wanted = hosts.from_options(args)
    grouping = hosts.grouping_named(args.grouping)
    scheduler = session.scheduler(args.cluster)
    domain = hosts.domain(scheduler, session, args.min_job_instance_count, wanted)
    groups = domain.probe(wanted, Limit(args.percentage, args.duration.seconds), grouping)
    found = [each for predictions in groups for each in predictions]
    absent = hosts.unknown_in(domain, wanted, scheduler)
    if args.json:
        print_json({"cluster": args.cluster, "jobs": _listed(found), "unknown": absent})
    else:
        for each in found:
            print(prediction_line(each))
    return ExitCode.INVALID_PARAMETER if absent else ExitCode.OK


def prediction_line(each: Prediction) -> str:
    """One line: host, job, percentage, whether it is safe, and in how many seconds it will be."""
    when = "n/a" if each.safe_in_s is None else f"{each.safe_in_s:g}"
    return f"{each.host}\t{each.job}\t{each.percentage:.2f}\t{each.is_safe}\t{when}"


def _listed(found: list[Prediction]) -> list[dict[str, object]]:
    return [{**each._asdict(), "job": str(each.job)} for each in found]


def _overrides(path: str) -> dict[JobRef, Limit]:
    found = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            words = line.split()
            if not words:
                continue
            try:
                key, share, span = words
                found[keys.job(key)] = Limit(hosts.percentage(share), uptime.span(span).seconds)
            except (ValueError, argparse.ArgumentTypeError) as error:
                why = error if isinstance(error, argparse.ArgumentTypeError) else "write 'KEY PERCENTAGE DURATION'"
                raise InvalidParameter(f"{path}: line {number}: {why}") from None
    return found


VERBS = {
    "sla_list_safe_domain": Verb(
        "sla_list_safe_domain",
        "list hosts that may go down",
        "Print the hosts whose jobs would still have PERCENTAGE of their instances up for DURATION if these hosts went "
        "down. Only production jobs count, and hosts without any are not listed. Hosts of a group are listed together "
        "or not at all. With -l: host, job, predicted percentage, seconds.",
        "aurora_admin sla_list_safe_domain west 95 30m\n"
        "aurora_admin sla_list_safe_domain west 99 1h -l -i host1.example.org,host2.example.org",
        admin_options.CODES,
        configure_list,
        execute_list,
        ("cluster", "hosts", "jobs", "unknown"),
    ),
    "sla_probe_hosts": Verb(
        "sla_probe_hosts",
        "show what becomes of jobs if hosts go down",
        "Print a line for each production job on each host: host, job, percentage of instances that would be up, "
        "whether that is enough, and in how many seconds it would be (n/a: not with the instances that are left).",
        "aurora_admin sla_probe_hosts west 95 30m --hosts host1.example.org",
        admin_options.CODES,
        configure_probe,
        execute_probe,
        ("cluster", "jobs", "unknown"),
    ),
}
