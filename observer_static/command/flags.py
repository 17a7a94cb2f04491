"""The flags of ``thermos_observer``: those of Aurora's observer, by their names, and ours."""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from detectors import plugins
from observer_static.command.page_flags import add_page_flags, page_flags_fault
from observer_static.history import History
from observer_static.options import is_agent
from thermos.errors import ExitCode

PROGRAM: Final = "thermos_observer"

DEFAULT_IP: Final = "127.0.0.1"
#: That of Aurora's observer.
DEFAULT_PORT: Final = 1338

DESCRIPTION: Final = """\
Keeps a directory of static pages of all tasks on this host up to date: write once with --once, or run on and follow
every change. Nothing is polled and nothing is measured unless an interval is given. With --serve, --ip or --port the
pages, Aurora's observer routes and metrics can be had over HTTP, read-only, on the loopback address unless --ip names
another. The pages show everybody's tasks, so they are for operators: with --owner those of one user alone."""

EXAMPLE: Final = """\
thermos_observer --once --output /tmp/site
thermos_observer --serve --group adm
thermos_observer --owner www-data --output /srv/www-data/tasks"""

EXIT_CODES: Final = (
    (ExitCode.OK, "Done with `--once`, or ended by SIGTERM or SIGINT."),
    (ExitCode.USAGE, "The command line is wrong."),
    (
        ExitCode.INTERNAL,
        "With `--once`: some pages, or the metrics, could not be written. Else a fault of ours or of the system.",
    ),
    (ExitCode.REFUSED, "Another observer keeps the directory, or it is not one for pages."),
    (ExitCode.UNKNOWN_USER, "There is no such user or group."),
    (
        ExitCode.PERMISSION,
        "The directory is not ours, or others may change what lies in it. With `--once` also: the pages were written, "
        "but a directory in which there may be more tasks may not be read.",
    ),
    (ExitCode.NO_SPACE, "With `--once`: no space left for the pages."),
    (ExitCode.PLUGIN, "A detector does not work."),
)  # fmt: skip


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}; `{self.prog} --help` explains\n")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Fills the description; leaves example and exit codes as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("example:"):
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)


def seconds(text: str) -> float:
    """A time above 0, in seconds, that is no nonsense. Raises argparse.ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no time in seconds above 0")
    return value


def interval(text: str) -> float:
    """An interval at which to measure. Raises argparse.ArgumentTypeError."""
    value = seconds(text)
    try:
        History(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return value


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of tasks")
    return int(text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:6]) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 0 to 65535")
    return int(text)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no IP address") from None


def _api_url(text: str) -> str:
    match = re.fullmatch(r"(https?://[^/]+)(?:/[!-~]*)?", text)
    if match is None or not is_agent(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not http://HOST:PORT/PATH")
    return text


def _json_path(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*", text, re.ASCII):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not names with dots between them, such as statistics.disk_used_bytes; of JMESPath nothing "
            "else is understood"
        )
    return text


def default_output() -> str:
    """Where the site lies unless ``--output`` names a directory."""
    if os.geteuid() == 0:
        return "/var/lib/thermos/site"
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "thermos-site")


def _add_site(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("pages")
    group.add_argument(
        "--output",
        metavar="DIR",
        help="directory of the pages; default: /var/lib/thermos/site as root, else $XDG_STATE_HOME/thermos-site or "
        "~/.local/state/thermos-site",
    )
    group.add_argument("--once", action="store_true", help="write all pages and end")
    group.add_argument("--owner", metavar="USER", help="show the tasks of this user alone; default: everybody's")
    group.add_argument(
        "--group",
        metavar="NAME",
        help="let this group read the pages (modes 0750 and 0640); default: only who writes them (0700 and 0600)",
    )
    group.add_argument(
        "--finished_pages",
        "--finished-pages",
        metavar="N",
        type=_count,
        default=1000,
        help="finished tasks that keep pages of their own, the newest ones; older ones are listed only; default: 1000",
    )
    add_page_flags(group)


def _add_watching(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("noticing changes")
    group.add_argument(
        "--rescan_s",
        "--rescan-s",
        metavar="SECONDS",
        type=seconds,
        default=30.0,
        help="look at everything anew this often, should the kernel have failed to tell of a change; default: 30",
    )
    group.add_argument(
        "--polling_interval_secs",
        "--polling-interval-secs",
        metavar="SECONDS",
        type=seconds,
        default=5.0,
        help="how often to look where the kernel cannot tell: without inotify, on network file systems. Aurora's "
        "observer looks this often everywhere; default: 5",
    )


def _add_measuring(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("measuring")
    group.add_argument(
        "--disable_task_resource_collection",
        "--disable-task-resource-collection",
        action="store_true",
        help="measure nothing, not even when somebody asks the server",
    )
    group.add_argument(
        "--task_process_collection_interval_secs",
        "--task-process-collection-interval-secs",
        metavar="SECONDS",
        type=interval,
        help="measure processor time and memory this often, and write the pages of active tasks then; default: only "
        "when somebody asks the server (Aurora's observer: every 20 seconds)",
    )
    group.add_argument(
        "--task_disk_collection_interval_secs",
        "--task-disk-collection-interval-secs",
        metavar="SECONDS",
        type=interval,
        help="count the disk use of sandboxes this often; default: only when somebody asks the server (Aurora's "
        "observer: every 60 seconds)",
    )
    group.add_argument(
        "--enable_mesos_disk_collector",
        "--enable-mesos-disk-collector",
        action="store_true",
        help="ask the Mesos agent how much disk a sandbox uses, instead of counting files",
    )
    group.add_argument(
        "--agent_api_url",
        "--agent-api-url",
        metavar="URL",
        type=_api_url,
        default="http://localhost:5051/containers",
        help="where to ask the agent; default: http://localhost:5051/containers",
    )
    group.add_argument(
        "--executor_id_json_path",
        "--executor-id-json-path",
        metavar="PATH",
        type=_json_path,
        default="executor_id",
        help="where in a container's answer its executor's id stands: names with dots between them; default: "
        "executor_id",
    )
    group.add_argument(
        "--disk_usage_json_path",
        "--disk-usage-json-path",
        metavar="PATH",
        type=_json_path,
        default="statistics.disk_used_bytes",
        help="where in a container's answer its disk use stands: names with dots between them; default: "
        "statistics.disk_used_bytes",
    )
    group.add_argument(
        "--textfile",
        metavar="FILE",
        help="keep metrics in this file for node_exporter's textfile collector; its name ends in .prom, and its "
        "directory exists. What processes use is there as it was last measured, so give an interval; with --once "
        "processor time and memory are measured once",
    )


def _add_serving(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("serving")
    group.add_argument(
        "--serve", action="store_true", help="answer HTTP requests, read-only; --ip and --port mean this too"
    )
    group.add_argument(
        "--ip",
        metavar="ADDRESS",
        type=_address,
        help=f"address to listen on; default: {DEFAULT_IP} (Aurora's observer: 0.0.0.0). There is no authentication",
    )
    group.add_argument("--port", metavar="N", type=_port, help=f"port to listen on; default: {DEFAULT_PORT}")
    group.add_argument(
        "--allowed_host",
        "--allowed-host",
        metavar="NAME",
        action="append",
        default=[],
        help="answer requests to this host name too, besides loopback names and this host's own; may be given again",
    )


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    codes = "\n".join(f"  {int(code):>3}  {text.replace('`', '')}" for code, text in EXIT_CODES)
    example = "\n".join(f"  {line}" for line in EXAMPLE.splitlines())
    options: dict[str, Any] = {"color": False} if sys.version_info >= (3, 14) else {}
    parser = _Parser(
        prog=PROGRAM,
        description=DESCRIPTION,
        epilog=f"example:\n{example}\n\nexit codes:\n{codes}\n",
        formatter_class=_Formatter,
        allow_abbrev=False,
        **options,
    )
    parser.add_argument("-V", "--version", action="store_true", help="print the version and end")
    _add_site(parser)
    plugins.add_options(parser)
    _add_watching(parser)
    _add_measuring(parser)
    _add_serving(parser)
    return parser


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments; ends the program, as argparse does, on ``--help`` and on mistakes."""
    parser = build_parser()
    args = parser.parse_args(argv)
    fault = page_flags_fault(args)
    if fault is not None:
        parser.error(fault)
    # Where to listen is said by who wants an answer: Aurora's start lines name a port, and no more.
    args.serve = args.serve or args.ip is not None or args.port is not None
    args.ip = args.ip if args.ip is not None else DEFAULT_IP
    args.port = args.port if args.port is not None else DEFAULT_PORT
    if args.once and args.serve:
        parser.error("--once ends when all pages are written, --serve, --ip and --port go on: give one of them")
    if args.allowed_host and not args.serve:
        parser.error("--allowed_host says whose requests are answered, and none are: give --serve too")
    if args.textfile is not None and not args.textfile.endswith(".prom"):
        parser.error(f"--textfile {args.textfile}: node_exporter reads only files whose names end in .prom")
    if args.textfile is not None and not os.path.isdir(directory := os.path.dirname(os.path.abspath(args.textfile))):
        parser.error(f"--textfile {args.textfile}: there is no directory {directory}")
    args.output = args.output or default_output()
    return args
