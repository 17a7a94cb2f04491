"""The runner's command line: Aurora's flags, and ours for those who start it from within this project."""

from __future__ import annotations

import argparse
from typing import Final

from thermos.schema import LOGGER_DESTINATIONS, LOGGER_MODES

EPILOG: Final = """\
example:
  thermos_runner --thermos_json task.json --sandbox /tmp/box --checkpoint_root /tmp/root --task_id hello

exit codes:
  0 the task is over, however it ended (see `thermos status`); 2 wrong flags; 101 our fault, or a port is missing;
  102 invalid task, or not the one this id runs; 103 another runner owns it; 104 unknown user; 105 already over;
  106 not permitted; 107 damaged checkpoint; 108 written by a newer version; 109 system too old; 110 no space
"""


def parser() -> argparse.ArgumentParser:
    """The parser of ``thermos_runner``."""
    parse = argparse.ArgumentParser(
        prog="thermos_runner",
        description="Run one task to its end; started again with the same flags, go on with it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parse.add_argument
    add("--thermos_json", metavar="FILE", help="the task, as JSON")
    add("--sandbox", metavar="DIR", help="where its processes run; made if missing")
    add("--container_sandbox", metavar="DIR", help="the sandbox as its processes see it, in an image")
    add("--checkpoint_root", metavar="DIR", help="where its state is kept")
    add("--task_id", metavar="ID", help="its name among all tasks; default: made of its name and the time")
    add("--setuid", metavar="USER", help="the user its processes run as (root only)")
    add("--enable_chroot", action="store_true", help="its processes see the sandbox as /")
    add("--mesos_containerizer_path", metavar="PATH", help="run its processes in the image of this container")
    add("--preserve_env", action="store_true", help="give its processes our environment")
    add("--port", metavar="NAME:PORT", action="append", default=[], help="a port by its name; may be repeated")
    add("--hostname", metavar="NAME", help="name of this host, for the record")
    add("--process_logger_destination", choices=LOGGER_DESTINATIONS, default="file")
    add("--process_logger_mode", choices=LOGGER_MODES, default="standard")
    add("--rotate_log_size_mb", metavar="MIB", type=_at_least_one, help="size a log is put aside at (mode rotate)")
    add("--rotate_log_backups", metavar="N", type=_at_least_none, help="logs put aside that are kept (mode rotate)")
    ours = parse.add_argument_group("not in Aurora")
    add = ours.add_argument
    add("--takeover", action="store_true", help="go on with a task from its checkpoint alone")
    add("--kill", choices=("KILLED", "LOST"), help="end the task as that, with --takeover")
    add("--kill_reason", metavar="TEXT", default="asked for", help="why, for the record")
    add("--kill_budget", metavar="S", type=_seconds, help="seconds to clean up and finalize in; 0: at once")
    add("--preemption_wait", metavar="S", type=_seconds, default=60.0, help="most seconds a kill may take (60)")
    add("--no_cgroup", action="store_true", help="make no control groups, even where that is possible")
    add("--report_fd", metavar="FD", type=int, help="copy each record to this descriptor")
    add(
        "--leash_fd",
        metavar="FD",
        type=int,
        help="end the task as LOST when this descriptor's other end closes",
    )
    # What the original's log library takes and its executor may pass on; our runner keeps no log of its own.
    for name in ("--log_dir", "--log_to_disk", "--log_to_stderr", "--log_to_stdout", "--log_simple"):
        parse.add_argument(name, help=argparse.SUPPRESS)
    return parse


def _at_least_one(word: str) -> int:
    return _number(word, 1)


def _at_least_none(word: str) -> int:
    return _number(word, 0)


def _number(word: str, least: int) -> int:
    if not word.isdecimal() or not least <= int(word) < 1 << 31:
        raise argparse.ArgumentTypeError(f"should be a whole number, {least} or more: {word!r}")
    return int(word)


def _seconds(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"should be a number of seconds, 0 or more: {word!r}")
    return value


def parse_ports(words: list[str]) -> dict[str, int]:
    """Name → number, of ``NAME:PORT`` words. Raises ValueError with all that are wrong."""
    ports: dict[str, int] = {}
    wrong = []
    for word in words:
        name, colon, number = word.rpartition(":")
        if not colon or not name or not number.isdecimal() or not 0 < int(number) < 1 << 16:
            wrong.append(f"--port {word}: should be NAME:PORT, with a number from 1 to 65535")
        else:
            ports[name] = int(number)
    if wrong:
        raise ValueError("; ".join(wrong))
    return ports
