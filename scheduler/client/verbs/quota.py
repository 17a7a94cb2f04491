"""``aurora quota get``: what a role may use, and uses."""

from __future__ import annotations

import argparse
import json

from scheduler.client import keys, options
from scheduler.client.exit_codes import ExitCode
from scheduler.client.printing import print_json, quota_text
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.wire.plain_json import plain
from thermos.formats import aurora_api as api


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("role", type=keys.role, metavar="CLUSTER/ROLE", help="the role")
    options.add_write_json(parser)
    options.add_hooks(parser)


def execute(args: argparse.Namespace, session: Session) -> int:
    """Print the quota."""
    cluster, role = args.role
    quota = session.scheduler(cluster).result("getQuota", "get_quota_result", owner_role=role)
    written = plain(api.RESULT, api.Result(get_quota_result=quota))["getQuotaResult"]
    if args.json:
        print_json({"role": role, **written})
    elif args.write_json:
        print(json.dumps(written, separators=(",", ":")))
    else:
        print(quota_text(quota))
    return ExitCode.OK


VERBS = {
    "quota get": Verb(
        "quota get",
        "show the quota of a role",
        "Show what the role may use for production jobs, and what all of its jobs use.",
        "aurora quota get west/www-data",
        (
            ExitCode.OK,
            ExitCode.USAGE,
            ExitCode.INVALID_CONFIGURATION,
            ExitCode.TIMEOUT,
            ExitCode.API_ERROR,
            ExitCode.AUTH_ERROR,
            ExitCode.INTERRUPTED,
        ),
        configure,
        execute,
        (
            "role",
            "quota",
            "prodSharedConsumption",
            "nonProdSharedConsumption",
            "prodDedicatedConsumption",
            "nonProdDedicatedConsumption",
        ),
    )
}
