"""``aurora-scheduler``: reads the command line, opens the store, waits to lead, and runs the loop."""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from scheduler.command_line import Parser, add_flags, read_command_line
from scheduler.flags import default_of
from scheduler.options import Options, OptionsInvalid, options_of
from thermos.errors import ExitCode, ThermosError

DESCRIPTION = """The lean scheduler: takes jobs from the aurora client, places their tasks on Mesos, restarts and
reconciles them, and explains what it does on its pages. All that it must not forget is in its store before Mesos hears
of it: it may be killed at any moment."""

EXAMPLE = """examples:
  aurora-scheduler --local
      everything on this machine, without a cluster: for trying out
  aurora-scheduler --cluster-name west --mesos-master-address zk://zk1:2181/mesos \\
      --zk-endpoints zk1:2181 --store /var/lib/aurora/scheduler.db --backup-dir /var/lib/aurora/backups \\
      --thermos-executor-path /usr/share/aurora/thermos_executor.pex
  aurora-scheduler import scheduler-backup-2026-01-31-12-00 --store /var/lib/aurora/scheduler.db --dry-run
      what a backup of Aurora's own scheduler holds; without --dry-run it becomes the store

exit codes:
    0  it was asked to end
    2  the command line is wrong: there is no such flag or command; all that is wrong is said
    3  the configuration cannot be used; all that is wrong with it is said
   23  Mesos did not register this leader in time: one of the other schedulers may lead
  101  a fault of ours, or of the store
  103  another scheduler leads now
  108  the store was written by a newer version
  110  no space left
"""


#: What can be done instead of running.
COMMANDS: Final = ("import", "restore", "forget-framework")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command."""
    parser = Parser(
        prog="aurora-scheduler",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="say which version this is")
    parser.add_argument("--local", action="store_true", help="with a Mesos of its own, on this machine alone")
    parser.add_argument("--local-dir", metavar="DIR", help="where that keeps everything (default: ./aurora-local)")
    parser.add_argument("--verbose", "-v", action="store_true", help="log more")
    add_flags(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="instead of running")
    bring = commands.add_parser("import", help="take over what Aurora's scheduler kept, from a backup of it")
    bring.add_argument("backup", help="the backup's file")
    bring.add_argument("--dry-run", action="store_true", help="say what is in it, and change nothing")
    bring.add_argument("--force", action="store_true", help="take over what can be, though something cannot")
    bring.add_argument("--store", default=argparse.SUPPRESS, help="what is to hold it; must be empty or new")
    again = commands.add_parser("restore", help="make a backup of ours the store again")
    again.add_argument("backup", help="the backup's file")
    again.add_argument("--store", default=argparse.SUPPRESS, help="what is to hold it")
    forget = commands.add_parser("forget-framework", help="register anew, after Mesos has removed the framework")
    forget.add_argument("--store", default=argparse.SUPPRESS, help="what holds it")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line *argv* (default: the process's own); gives the exit code."""
    args = read_command_line(build_parser(), sys.argv[1:] if argv is None else argv, COMMANDS)
    if args.version:
        from thermos import __version__

        print(f"aurora-scheduler {__version__}")
        return ExitCode.OK
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.INFO,
        format="%(asctime)s %(levelname).1s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("kazoo").setLevel(logging.WARNING)
    try:
        if args.command is not None:
            from scheduler import moving

            if args.unknown:
                raise OptionsInvalid(args.unknown, ExitCode.USAGE)
            args.store = args.store or default_of("store")
            verbs = {"import": moving.bring_in, "restore": moving.restore, "forget-framework": moving.forget_framework}
            return verbs[args.command](args)
        if args.local:
            return _run_local(args)
        return _run(options_of(args, socket.getfqdn()))
    except ThermosError as error:
        print(f"aurora-scheduler: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception:  # the program's top: what is kept is kept, and the next start goes on from there
        logging.getLogger(__name__).exception("a fault of ours; nothing that was answered is lost")
        return ExitCode.INTERNAL


def _run(options: Options, began: Callable[[str], None] = lambda url: None) -> int:
    from scheduler.service import Service

    for words in options.ignored:
        logging.getLogger(__name__).warning("%s", words)
    service = Service(options, began)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: service.stop(f"signal {signal.Signals(number).name}"))
    return service.run()


def _run_local(args: argparse.Namespace) -> int:
    """The same on a Mesos of our own."""
    from scheduler.local import program
    from scheduler.local.server import start_local

    options_of(args, socket.getfqdn())  # what is wrong is said before anything is begun
    directory = Path(args.local_dir or "aurora-local").absolute()
    mesos = start_local(directory / "mesos")
    try:
        more = program.defaults(directory, mesos.url)

        def began(url: str) -> None:
            program.write_clusters(directory, url, str(directory / "mesos"))
            print(program.greeting(directory, url), file=sys.stderr)

        return _run(options_of(args, socket.getfqdn(), more), began)
    finally:
        mesos.close()


if __name__ == "__main__":
    sys.exit(main())
