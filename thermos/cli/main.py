"""The ``thermos`` command: finds the verb and hands over; imports only what that verb needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from thermos.cli import verb as verbs
from thermos.errors import ExitCode, ThermosError, code_of

#: Options that may stand before the verb and take a value.
_GLOBAL: Final = ("--root", "--mesos-root", "--mesos_root", "--detector")


def split(argv: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """*argv* as options before the verb, the verb (None: there is none), and what follows it."""
    before: list[str] = []
    words = iter(argv)
    for word in words:
        if not word.startswith("-"):
            return before, word, list(words)
        before.append(word)
        if word in _GLOBAL:
            before.extend(value for value in [next(words, None)] if value is not None)
    return before, None, []


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv* (default: the process's own) and return its exit code."""
    if argv is None:
        argv = sys.argv[1:]
        _prepare_streams()
    before, name, rest = split(argv)
    if "--version" in before:
        from thermos import __version__

        print(f"thermos {__version__}")
        return ExitCode.OK
    if name is None or "-h" in before or "--help" in before:
        help_verb = verbs.load("help")
        code = help_verb.execute(verbs.parse(help_verb, [name] if name in verbs.NAMES else []))
        return code if name is not None or "-h" in before or "--help" in before else ExitCode.USAGE
    if name not in verbs.NAMES:
        print(f"thermos: there is no verb {name!r}; `thermos help` lists them", file=sys.stderr)
        return ExitCode.USAGE
    verb = verbs.load(name)
    try:
        return verb.execute(verbs.parse(verb, [*before, *rest]))
    except ThermosError as error:
        sys.stdout.flush()
        print(f"thermos {name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"thermos {name}: {where}{error.strerror or error}", file=sys.stderr)
        return code_of(error)


def _prepare_streams() -> None:
    """Let no character kill the program, and a closed pipe end it quietly, as it ends other filters."""
    import signal

    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
