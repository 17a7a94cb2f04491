"""``aurora_admin host_deactivate``, ``host_activate``, ``host_status`` and ``sla_host_drain``: hosts out of use."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Final

from scheduler.client import admin_options, hosts, uptime
from scheduler.client.exit_codes import ExitCode
from scheduler.client.printing import print_json
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.world import say
from thermos.formats.assigned_task import PercentageSlaPolicy, SlaPolicy
from thermos.formats.aurora_api import MaintenanceMode

#: Told on Ctrl-C while a call is under way.
_UNCLEAR: Final = "{} may have been done or not; `aurora_admin host_status {}` tells"


def configure(parser: argparse.ArgumentParser) -> None:
    admin_options.add_cluster(parser)
    hosts.add_hosts(parser)
    admin_options.add_common(parser)


def configure_drain(parser: argparse.ArgumentParser) -> None:
    configure(parser)
    parser.add_argument(
        "--default_percentage",
        type=hosts.percentage,
        default=95.0,
        metavar="P",
        help="percent of a job's instances that stay up, for jobs that have no sla_policy; default: 95",
    )
    parser.add_argument(
        "--default_duration",
        type=uptime.span,
        default=uptime.span("30m"),
        metavar="SPAN",
        help="how long an instance must be up to count, for jobs that have no sla_policy; default: 30m",
    )
    parser.add_argument(
        "--force_drain_timeout",
        type=uptime.span,
        default=uptime.span("7d"),
        metavar="SPAN",
        help="after so long instances go whatever their policy says; default: 7d",
    )


def _report(args: argparse.Namespace, modes: Mapping[str, MaintenanceMode], absent: list[str]) -> int:
    """Say how the hosts are."""
    if args.json:
        listed = {host: mode.name for host, mode in modes.items()}
        print_json({"cluster": args.cluster, "hosts": listed, "unknown": absent})
    else:
        for host, mode in modes.items():
            # Scripts take the sixth word, which was so in a log.
            print(f"INFO] {host} is in state: {mode.name}")
    return ExitCode.INVALID_PARAMETER if absent else ExitCode.OK


def execute_deactivate(args: argparse.Namespace, session: Session) -> int:
    """Use the hosts only if there is no other."""
    wanted = hosts.from_options(args)
    session.so_far = _UNCLEAR.format("startMaintenance", args.cluster)
    modes = hosts.call(session.scheduler(args.cluster), "startMaintenance", wanted)
    return _report(args, modes, hosts.unknown(wanted, modes))


def execute_activate(args: argparse.Namespace, session: Session) -> int:
    """Use the hosts as before."""
    wanted = hosts.from_options(args)
    scheduler = session.scheduler(args.cluster)
    session.so_far = _UNCLEAR.format("endMaintenance", args.cluster)
    hosts.call(scheduler, "endMaintenance", wanted)
    modes = hosts.call(scheduler, "maintenanceStatus", wanted)
    return _report(args, modes, hosts.unknown(wanted, modes))


def execute_status(args: argparse.Namespace, session: Session) -> int:
    """Print the state of each host."""
    wanted = hosts.from_options(args)
    modes = hosts.call(session.scheduler(args.cluster), "maintenanceStatus", wanted)
    return _report(args, modes, hosts.unknown(wanted, modes))


def execute_drain(args: argparse.Namespace, session: Session) -> int:
    """Let the scheduler move all tasks away as their policies allow."""
    wanted = hosts.from_options(args)
    scheduler = session.scheduler(args.cluster)
    share = PercentageSlaPolicy(args.default_percentage, args.default_duration.seconds)
    session.so_far = _UNCLEAR.format("slaDrainHosts", args.cluster)
    modes = hosts.call(
        scheduler,
        "slaDrainHosts",
        wanted,
        default_sla_policy=SlaPolicy(percentage_sla_policy=share),
        timeout_secs=args.force_drain_timeout.seconds,
    )
    absent = hosts.unknown(wanted, modes)
    session.so_far = "the scheduler goes on draining; the command only waited for it"
    waiting = [host for host, mode in modes.items() if mode is not MaintenanceMode.DRAINED]
    left = hosts.wait_drained(scheduler, session, waiting)
    code = _report(args, {host: left.get(host, MaintenanceMode.DRAINED) for host in modes}, absent)
    if left and code is ExitCode.OK:
        say(f"not DRAINED yet: {', '.join(left)}; the scheduler goes on as the policies of their tasks allow")
        return ExitCode.TIMEOUT
    return code


_FIELDS = ("cluster", "hosts", "unknown")

VERBS = {
    "host_deactivate": Verb(
        "host_deactivate",
        "use hosts only if there is no other",
        "Mark hosts for maintenance: what runs there goes on, and new tasks go elsewhere where they can. Mark all "
        "hosts that are to be drained before the first is, so that tasks do not move to one that is next.",
        "aurora_admin host_deactivate west --hosts host1.example.org,host2.example.org",
        admin_options.CODES,
        configure,
        execute_deactivate,
        _FIELDS,
    ),
    "host_activate": Verb(
        "host_activate",
        "use hosts as before",
        "End the maintenance of hosts, whether they are marked, draining or drained.",
        "aurora_admin host_activate west --filename hosts.txt",
        admin_options.CODES,
        configure,
        execute_activate,
        _FIELDS,
    ),
    "host_status": Verb(
        "host_status",
        "show whether hosts are in use",
        "Print the state of each host: NONE, SCHEDULED (marked), DRAINING or DRAINED. Hosts that the scheduler does "
        "not know are named on stderr, and the exit code is 6.",
        "aurora_admin host_status west --hosts host1.example.org | awk '{print $6}'",
        admin_options.CODES,
        configure,
        execute_status,
        _FIELDS,
    ),
    "sla_host_drain": Verb(
        "sla_host_drain",
        "move all tasks away from hosts, as their policies allow",
        "Let the scheduler drain hosts: each task moves when its job's sla_policy, or else the given percentage and "
        "duration, allows it, and at the end in any case. The command waits up to 5 minutes; the scheduler goes on "
        "after that.",
        "aurora_admin sla_host_drain west --hosts host1.example.org --force_drain_timeout 12h",
        admin_options.CODES,
        configure_drain,
        execute_drain,
        _FIELDS,
    ),
}
