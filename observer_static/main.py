"""``thermos_observer``: puts its parts together, and says with its exit code how it went."""

from __future__ import annotations

import argparse
import grp
import logging
import os
import pwd
import socket
import sys
from collections.abc import Sequence
from typing import Final

from observer_static.command.flags import PROGRAM, parse
from thermos import __version__
from thermos.errors import ExitCode, ThermosError, UnknownUser, code_of

log = logging.getLogger(PROGRAM)

#: Directories above the output are made so that others may pass.
_UMASK: Final = 0o022


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv* (default: the process's own) and return its exit code."""
    args = parse(argv)
    if args.version:
        print(f"{PROGRAM} {__version__}")
        return ExitCode.OK
    _start_logging()
    os.umask(_UMASK)
    try:
        return _run(args)
    except ThermosError as error:
        log.error("%s", error)
        return error.exit_code
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        log.error("%s%s", where, error.strerror or error)
        return code_of(error)


def _start_logging() -> None:
    """One line for each event, on stderr; the journal knows the time itself."""
    form = "%(message)s" if "JOURNAL_STREAM" in os.environ else "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, stream=sys.stderr)


def _run(args: argparse.Namespace) -> int:
    from observer_static import assembly

    return assembly.run(args, owner=_user(args.owner), group=_group(args.group), hostname=socket.gethostname())


def _user(name: str | None) -> pwd.struct_passwd | None:
    """The user of that name. Raises UnknownUser."""
    if name is None:
        return None
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise UnknownUser(f"there is no user {name!r} on this host") from None


def _group(name: str | None) -> int:
    """The group's number; -1: none is named. Raises UnknownUser."""
    if name is None:
        return -1
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise UnknownUser(f"there is no group {name!r} on this host") from None


if __name__ == "__main__":
    sys.exit(main())
