"""The runner's command line: Aurora's flags, and ours for those who start it from within this project.

``argparse`` costs half a megabyte and ten milliseconds, which hundreds of runners of a node would pay for nothing: a
command line without fault is read without it, and it is loaded for help and for telling what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from thermos.schema import LOGGER_DESTINATIONS, LOGGER_MODES

if TYPE_CHECKING:
    from argparse import ArgumentParser

EPILOG: Final = """\
example:
  thermos_runner --thermos_json task.json --sandbox /tmp/box --checkpoint_root /tmp/root --task_id hello

exit codes:
  0 the task is over, however it ended (see `thermos status`); 2 wrong flags; 101 our fault, or a port is missing;
  102 invalid task, or not the one this id runs; 103 another runner owns it; 104 unknown user; 105 already over;
  106 not permitted; 107 damaged checkpoint; 108 written by a newer version; 109 system too old; 110 no space
"""


class Flag(NamedTuple):
    """One flag. Without *metavar* and *choices* it takes no value; *convert* raises ValueError on a bad one."""

    name: str
    metavar: str | None = None
    help: str | None = None  # None: taken, but not shown
    default: Any = None
    choices: tuple[str, ...] | None = None
    convert: Callable[[str], Any] = str
    repeats: bool = False
    is_ours: bool = False

    @property
    def is_switch(self) -> bool:
        """It takes no value."""
        return self.metavar is None and self.choices is None


def _at_least(least: int) -> Callable[[str], int]:
    def convert(word: str) -> int:
        if not word.isdecimal() or not least <= int(word) < 1 << 31:
            raise ValueError(f"should be a whole number, {least} or more: {word!r}")
        return int(word)

    return convert


def _seconds(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise ValueError(f"should be a number of seconds, 0 or more: {word!r}")
    return value


FLAGS: Final = (
    Flag("thermos_json", "FILE", "the task, as JSON"),
    Flag("sandbox", "DIR", "where its processes run; made if missing"),
    Flag("container_sandbox", "DIR", "the sandbox as its processes see it, in an image"),
    Flag("checkpoint_root", "DIR", "where its state is kept"),
    Flag("task_id", "ID", "its name among all tasks; default: made of its name and the time"),
    Flag("setuid", "USER", "the user its processes run as (root only)"),
    Flag("enable_chroot", None, "its processes see the sandbox as /", False),
    Flag("mesos_containerizer_path", "PATH", "run its processes in the image of this container"),
    Flag("preserve_env", None, "give its processes our environment", False),
    Flag("port", "NAME:PORT", "a port by its name; may be repeated", repeats=True),
    Flag("hostname", "NAME", "name of this host, for the record"),
    Flag("process_logger_destination", None, "where the output of processes goes (file)", "file", LOGGER_DESTINATIONS),
    Flag("process_logger_mode", None, "whether full logs are put aside (standard)", "standard", LOGGER_MODES),
    Flag("rotate_log_size_mb", "MIB", "size a log is put aside at (mode rotate)", convert=_at_least(1)),
    Flag("rotate_log_backups", "N", "logs put aside that are kept (mode rotate)", convert=_at_least(0)),
    Flag("takeover", None, "go on with a task from its checkpoint alone", False, is_ours=True),
    Flag("kill", None, "end the task as that, with --takeover", choices=("KILLED", "LOST"), is_ours=True),
    Flag("kill_reason", "TEXT", "why, for the record", "asked for", is_ours=True),
    Flag("kill_budget", "S", "seconds to clean up and finalize in; 0: at once", convert=_seconds, is_ours=True),
    Flag("preemption_wait", "S", "most seconds a kill may take (60)", 60.0, convert=_seconds, is_ours=True),
    Flag("no_cgroup", None, "make no control groups, even where that is possible", False, is_ours=True),
    Flag("report_fd", "FD", "copy each record to this descriptor", convert=_at_least(0), is_ours=True),
    Flag(
        "leash_fd",
        "FD",
        "end the task as LOST when this descriptor's other end closes",
        convert=_at_least(0),
        is_ours=True,
    ),
    # What the original's log library takes and its executor may pass on; our runner keeps no log of its own.
    *(Flag(name, "X") for name in ("log_dir", "log_to_disk", "log_to_stderr", "log_to_stdout", "log_simple")),
)
_BY_WORD: Final = {f"--{flag.name}": flag for flag in FLAGS}


def parse(words: list[str]) -> SimpleNamespace:
    """The options, by name. Ends the program with help, or with what is wrong and exit code 2."""
    options = _parse_faultless(words)
    return options if options is not None else SimpleNamespace(**vars(parser().parse_args(words)))


def _parse_faultless(words: list[str]) -> SimpleNamespace | None:
    """The options; None if there is anything to tell about *words*."""
    values: dict[str, Any] = {flag.name: [] if flag.repeats else flag.default for flag in FLAGS}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        flag = _BY_WORD.get(name)
        if flag is None or (flag.is_switch and equals):
            return None
        if flag.is_switch:
            values[flag.name] = True
            continue
        if not equals:
            value = next(rest, "-")
            if value.startswith("-"):
                return None
        if flag.choices is not None and value not in flag.choices:
            return None
        try:
            converted = flag.convert(value)
        except ValueError:
            return None
        if flag.repeats:
            values[flag.name].append(converted)
        else:
            values[flag.name] = converted
    return SimpleNamespace(**values)


def parser() -> ArgumentParser:
    """The same command line for ``argparse``: help, and words for every fault."""
    import argparse

    from thermos import __version__

    def checked(convert: Callable[[str], Any]) -> Callable[[str], Any]:
        def type_(word: str) -> Any:
            try:
                return convert(word)
            except ValueError as error:
                raise argparse.ArgumentTypeError(str(error)) from None

        return type_

    parse = argparse.ArgumentParser(
        prog="thermos_runner",
        description="Run one task to its end; started again with the same flags, go on with it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    ours = parse.add_argument_group("not in Aurora")
    ours.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    for flag in FLAGS:
        add = (ours if flag.is_ours else parse).add_argument
        help_ = flag.help if flag.help is not None else argparse.SUPPRESS
        if flag.is_switch:
            add(f"--{flag.name}", action="store_true", help=help_)
        elif flag.repeats:
            add(f"--{flag.name}", metavar=flag.metavar, action="append", default=[], help=help_)
        else:
            add(
                f"--{flag.name}",
                metavar=flag.metavar,
                choices=flag.choices,
                default=flag.default,
                type=checked(flag.convert),
                help=help_,
            )
    return parse


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
