"""What both programs share: streams, the way errors become exit codes, Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable

from scheduler.client.errors import ClientError
from scheduler.client.exit_codes import ExitCode
from scheduler.client.extending import Extensions
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.world import say
from thermos.errors import ConfigError, ThermosError


def run(
    program: str,
    verb: Verb,
    parse: Callable[[], argparse.Namespace],
    session: Session,
    extensions: Extensions | None = None,
) -> int:
    """Do what *verb* does, with *extensions* around it; every error ends in one sentence and its exit code."""

    def do() -> int:
        args = parse()
        session.bypass_leader = getattr(args, "bypass_leader_redirect", False)
        if extensions is not None:
            extensions.before(verb.name, args)
        code = verb.execute(args, session)
        if extensions is not None and code == ExitCode.OK:
            extensions.done(code)
        sys.stdout.flush()
        return code

    try:
        code = guarded(f"{program} {verb.name}", session, do)
        if extensions is not None:
            extensions.after(code)
        return code
    finally:
        session.close()


def guarded(name: str, session: Session, do: Callable[[], int]) -> int:
    """The exit code of *do*, or of the error that it ends with, which is told."""
    try:
        return do()
    except ClientError as error:
        say(f"{name}: {error}")
        return error.code
    except ConfigError as error:
        say(f"{name}: {error}")
        return ExitCode.INVALID_CONFIGURATION
    except ThermosError as error:
        say(f"{name}: {error}")
        return ExitCode.UNKNOWN_ERROR
    except KeyboardInterrupt:
        say(f"\n{name}: stopped by Ctrl-C; {session.so_far}")
        return ExitCode.INTERRUPTED
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        say(f"{name}: {where}{error.strerror or error}")
        return ExitCode.UNKNOWN_ERROR


def prepare_streams() -> None:
    """Let no character kill the program, and a closed pipe end it quietly, as it ends other filters."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
