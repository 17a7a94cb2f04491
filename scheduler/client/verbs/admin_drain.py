"""``aurora_admin host_drain``: move all tasks away from hosts, group by group, led by this client."""

from __future__ import annotations

import argparse
import os
from typing import Final

from scheduler.client import admin_options, hosts, uptime
from scheduler.client.domains import Grouping, Limit, grouped
from scheduler.client.errors import InvalidParameter
from scheduler.client.exit_codes import ExitCode
from scheduler.client.printing import print_json
from scheduler.client.scheduler_api import Scheduler
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.verbs.admin_sla import prediction_line
from scheduler.client.world import say

#: What must stay up (``aurora/admin/{admin_util,host_maintenance}.py``).
_LIMIT: Final = Limit(95.0, 1800)
_MIN_INSTANCES: Final = 20


def configure(parser: argparse.ArgumentParser) -> None:
    admin_options.add_cluster(parser)
    hosts.add_hosts(parser)
    hosts.add_grouping(parser)
    parser.add_argument("--post_drain_script", metavar="FILE", help="program to run for each host that is drained")
    parser.add_argument(
        "--override_percentage", type=hosts.percentage, metavar="P", help="instances that must stay up; default: 95"
    )
    parser.add_argument(
        "--override_duration", type=uptime.span, metavar="SPAN", help="how long they must be up to count; default: 30m"
    )
    parser.add_argument("--override_reason", metavar="TEXT", help="why; needed with the other two, and they with it")
    parser.add_argument("--unsafe_hosts_file", metavar="FILE", help="write the hosts there that were not drained")
    admin_options.add_common(parser)


def execute(args: argparse.Namespace, session: Session) -> int:
    """Drain the hosts, and name those that could not be."""
    wanted = hosts.from_options(args)
    grouping = hosts.grouping_named(args.grouping)
    limit = _limit(args, wanted)
    script = _script(args.post_drain_script)
    scheduler = session.scheduler(args.cluster)
    session.so_far = "some hosts may be marked for maintenance"
    known = hosts.call(scheduler, "startMaintenance", wanted)
    absent = hosts.unknown(wanted, known)
    draining = _Draining(scheduler, session, limit, grouping, script)
    for group in grouped(known, grouping):
        draining.drain(group)
    left = draining.left
    if args.json:
        print_json({"cluster": args.cluster, "drained": draining.drained, "not_drained": left, "unknown": absent})
    elif left:
        say("not drained, because too few instances would stay up, or because tasks did not end in time:")
        print("\n".join(left))
    if args.unsafe_hosts_file is not None and left:
        with open(args.unsafe_hosts_file, "w", encoding="utf-8") as file:
            file.write("\n".join(left) + "\n")
        say(f"they are written to {args.unsafe_hosts_file}")
    if left or draining.script_failures:
        return ExitCode.COMMAND_FAILURE
    return ExitCode.INVALID_PARAMETER if absent else ExitCode.OK


def _limit(args: argparse.Namespace, wanted: tuple[str, ...]) -> Limit:
    given = (args.override_percentage, args.override_duration, args.override_reason)
    if not any(value is not None for value in given):
        return _LIMIT
    if not all(value is not None and value != "" for value in given):
        raise InvalidParameter("--override_percentage, --override_duration and --override_reason go together")
    limit = Limit(args.override_percentage, args.override_duration.seconds)
    say(
        f"for {', '.join(wanted)}: {limit.percentage:g} % up for {limit.duration_s} s is enough, "
        f"instead of {_LIMIT.percentage:g} % for {_LIMIT.duration_s} s: {args.override_reason}"
    )
    return limit


def _script(path: str | None) -> str | None:
    if path is None:
        return None
    if not os.access(path, os.X_OK) or os.path.isdir(path):
        raise InvalidParameter(f"--post_drain_script {path} is no program that can be run")
    return os.path.abspath(path)


class _Draining:
    """Drains groups of hosts, and keeps account."""

    def __init__(
        self, scheduler: Scheduler, session: Session, limit: Limit, grouping: Grouping, script: str | None
    ) -> None:
        self.drained: list[str] = []
        self.left: list[str] = []
        self.script_failures = 0
        self._scheduler = scheduler
        self._session = session
        self._limit = limit
        self._grouping = grouping
        self._script = script

    def drain(self, group: tuple[str, ...]) -> None:
        """Drain those hosts of *group* whose jobs bear it, and run the script for each."""
        unsafe = self._unsafe(group)
        self.left += sorted(unsafe)
        safe = [host for host in group if host not in unsafe]
        if not safe:
            return
        self._note(f"being drained: {', '.join(safe)}")
        say(f"draining {', '.join(safe)}")
        hosts.call(self._scheduler, "drainHosts", safe)
        late = hosts.wait_drained(self._scheduler, self._session, safe)
        if late:
            named = ", ".join(f"{host} {mode.name}" for host, mode in late.items())
            say(f"not DRAINED within {hosts.DRAIN_FOR_S:.0f} s: {named}")
        self.left += sorted(late)
        done = [host for host in safe if host not in late]
        self.drained += done
        self._note()
        for host in done:
            if self._script is not None and (code := self._session.world.run([self._script, host])) != 0:
                self.script_failures += 1
                say(f"{self._script} {host} ended with {code}")

    def _unsafe(self, group: tuple[str, ...]) -> set[str]:
        domain = hosts.domain(self._scheduler, self._session, _MIN_INSTANCES, group)
        probed = domain.probe(group, self._limit, self._grouping)
        unsafe = [each for predictions in probed for each in predictions if not each.is_safe]
        for each in unsafe:
            say(f"too few instances would stay up: {prediction_line(each)}")
        return {each.host for each in unsafe}

    def _note(self, now: str = "") -> None:
        parts = [f"drained: {', '.join(self.drained) or 'none'}", now, f"not: {', '.join(self.left) or 'none'}"]
        self._session.so_far = "; ".join(part for part in parts if part)


VERBS = {
    "host_drain": Verb(
        "host_drain",
        "move all tasks away from hosts, now",
        "Mark hosts for maintenance and drain them, group by group: tasks there are ended and started elsewhere. A "
        "host is left alone if a production job with 20 instances or more would have fewer than 95 % of them up for 30 "
        "minutes. Drained hosts stay out of use until host_activate. Where the scheduler can, sla_host_drain is the "
        "better way: it keeps to each job's own policy.",
        "aurora_admin host_drain west --hosts host1.example.org --post_drain_script ./reboot.sh\n"
        "aurora_admin host_drain west --filename rack7.txt --grouping none --unsafe_hosts_file left.txt",
        (*admin_options.CODES[:3], ExitCode.COMMAND_FAILURE, *admin_options.CODES[3:]),
        configure,
        execute,
        ("cluster", "drained", "not_drained", "unknown"),
    )
}
