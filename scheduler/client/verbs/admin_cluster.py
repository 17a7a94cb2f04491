"""``aurora_admin get_scheduler`` and ``get_cluster_config``: where a scheduler is, what clusters.json says."""

from __future__ import annotations

import argparse
import json
import re
import shlex

from scheduler.client import admin_options
from scheduler.client.exit_codes import ExitCode
from scheduler.client.printing import print_json
from scheduler.client.session import Session
from scheduler.client.verb import Verb


def configure_scheduler(parser: argparse.ArgumentParser) -> None:
    admin_options.add_cluster(parser)
    admin_options.add_common(parser)


def configure_config(parser: argparse.ArgumentParser) -> None:
    admin_options.add_cluster(parser)
    parser.add_argument("--sh", action="store_true", help="as assignments that a shell can evaluate")
    parser.add_argument("--export", action="store_true", help="with --sh: exported")
    admin_options.add_common(parser)


def execute_scheduler(args: argparse.Namespace, session: Session) -> int:
    """Print the leader's address."""
    url = session.scheduler(args.cluster).url()
    if args.json:
        print_json({"cluster": args.cluster, "url": url})
    else:
        print(f"Found leading scheduler at: {url}")
    return ExitCode.OK


def execute_config(args: argparse.Namespace, session: Session) -> int:
    """Print the cluster's keys."""
    keys = dict(session.clusters[args.cluster].keys)
    if args.json:
        print_json({"cluster": keys})
    elif args.sh:
        for key, value in sorted(keys.items()):
            name = "AURORA_CLUSTER_" + re.sub(r"\W", "_", key, flags=re.ASCII)
            print(f"{'export ' if args.export else ''}{name}={shlex.quote(_text(value))}")
    else:
        print(json.dumps(keys))
    return ExitCode.OK


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


VERBS = {
    "get_scheduler": Verb(
        "get_scheduler",
        "show where the leading scheduler is",
        "Print the address of the cluster's leading scheduler, as it announced itself in ZooKeeper or as "
        "clusters.json has it.",
        "aurora_admin get_scheduler west",
        admin_options.CODES,
        configure_scheduler,
        execute_scheduler,
        ("cluster", "url"),
    ),
    "get_cluster_config": Verb(
        "get_cluster_config",
        "show what clusters.json says of a cluster",
        "Print the cluster's keys as JSON, or as assignments of AURORA_CLUSTER_KEY for a shell.",
        'aurora_admin get_cluster_config west\neval "$(aurora_admin get_cluster_config west --sh)"',
        (ExitCode.OK, ExitCode.USAGE, ExitCode.INVALID_CONFIGURATION, ExitCode.INTERRUPTED),
        configure_config,
        execute_config,
        ("cluster",),
    ),
}
