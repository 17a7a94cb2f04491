"""Options of ``aurora_admin``'s commands (``aurora/admin/admin.py``)."""

from __future__ import annotations

import argparse
from typing import Final

from scheduler.client import options
from scheduler.client.exit_codes import ExitCode

#: Exit codes that each command has.
CODES: Final = (
    ExitCode.OK,
    ExitCode.USAGE,
    ExitCode.INVALID_CONFIGURATION,
    ExitCode.INVALID_PARAMETER,
    ExitCode.NETWORK_ERROR,
    ExitCode.TIMEOUT,
    ExitCode.API_ERROR,
    ExitCode.AUTH_ERROR,
    ExitCode.INTERRUPTED,
)


def add_cluster(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("cluster", metavar="CLUSTER", help="the cluster, as clusters.json has it")


def add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="accepted for old scripts; there is little talk")
    parser.add_argument(
        "--bypass-leader-redirect", action="store_true", help="let the scheduler that is asked answer, leader or not"
    )
    options.add_json(parser)
