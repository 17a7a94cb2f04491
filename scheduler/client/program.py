"""What both programs share: streams, the way errors become exit codes, Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable

from scheduler.client.errors import ClientError
from scheduler.client.exit_codes import ExitCode
from scheduler.client.session import Session
from scheduler.client.verb import Verb
from scheduler.client.world import say
from thermos.errors import ConfigError, ThermosError


def run(program: str, verb: Verb, parse: Callable[[], argparse.Namespace], session: Session) -> int:
    """Do what *verb* does; every error ends in one sentence and its exit code."""
    name = f"{program} {verb.name}"
    try:
        args = parse()
        session.bypass_leader = getattr(args, "bypass_leader_redirect", False)
        code = verb.execute(args, session)
        sys.stdout.flush()
        return code
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
    finally:
        session.close()


def prepare_streams() -> None:
    """Let no character kill the program, and a closed pipe end it quietly, as it ends other filters."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
