"""The executor's command line: Aurora's flags, and a few of ours."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from thermos import __version__
from thermos.schema import LOGGER_DESTINATIONS, LOGGER_MODES

EPILOG: Final = """\
example, as the command of a Mesos ExecutorInfo:
  thermos_executor --announcer-ensemble zk1:2181,zk2:2181 --announcer-serverset-path /aurora

exit codes:
  0 the task is over and Mesos knows how, or it was told to end; 2 wrong flags, or not started by a Mesos agent;
  23 no task came, or Mesos could not be told how it ended; 101 our own fault; 109 the kernel is too old
"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line said; names and defaults as in ``aurora/executor/bin/thermos_executor_main.py``."""

    announcer_ensemble: str | None = None
    announcer_serverset_path: str = "/aurora"
    announcer_allow_custom_serverset_path: bool = False
    announcer_hostname: str | None = None
    announcer_zookeeper_auth_config: str | None = None
    #: Ours: join ZooKeeper when the task starts, as the original does, and not when it is healthy.
    announcer_join_early: bool = False
    mesos_containerizer_path: str = "/usr/libexec/mesos/mesos-containerizer"
    no_create_user: bool = False
    sandbox_mount_point: str = "/mnt/mesos/sandbox"
    execute_as_user: str | None = None
    nosetuid: bool = False
    nosetuid_health_checks: bool = False
    runner_logger_destination: str | None = None
    runner_logger_mode: str | None = None
    runner_rotate_log_size_mb: int | None = None
    runner_rotate_log_backups: int | None = None
    preserve_env: bool = False
    stop_timeout_in_secs: float = 120.0

    @property
    def keeps_user(self) -> bool:
        """Whether what a task runs, its checks included, runs as this program's user, whatever its role."""
        return self.nosetuid or self.execute_as_user is not None


def parser() -> argparse.ArgumentParser:
    """The parser of all flags; each may be written with ``-`` or ``_`` between its words."""
    result = argparse.ArgumentParser(
        prog="thermos_executor",
        description="Runs one task for a Mesos agent, which starts this program itself.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )

    def add(name: str, help: str, **more: Any) -> None:
        other = name.replace("-", "_") if "-" in name else name.replace("_", "-")
        names = dict.fromkeys((f"--{name}", f"--{other}"))  # one, where it is one word
        result.add_argument(*names, help=help, dest=name.replace("-", "_"), **more)

    def switch(name: str, help: str) -> None:
        add(name, help, action="store_true")

    add("announcer-ensemble", "ZooKeeper servers; tasks that want it are announced there", metavar="HOST:PORT,…")
    add("announcer-serverset-path", "path below which they are announced", metavar="PATH", default="/aurora")
    switch("announcer-allow-custom-serverset-path", "honour a job's own zk_path")
    add("announcer-hostname", "the name to announce this host by; default: the one the scheduler says", metavar="NAME")
    add("announcer-zookeeper-auth-config", "JSON file with credentials and access rules", metavar="FILE")
    switch("announcer-join-early", "announce a task when it starts, as Aurora did, not when it is healthy")
    add(
        "mesos-containerizer-path",
        "what enters the image of a task",
        metavar="PATH",
        default=Options.mesos_containerizer_path,
    )
    switch("no-create-user", "do not create the role's user inside images")
    add("sandbox-mount-point", "the sandbox inside an image", metavar="PATH", default=Options.sandbox_mount_point)
    add(
        "execute-as-user",
        "the sandbox is this user's; processes and shell health checks run as this program's user",
        metavar="USER",
    )
    switch("nosetuid", "run processes and shell health checks as this program's user")
    switch("nosetuid-health-checks", "run shell health checks as this program's user")
    add("runner-logger-destination", "where the output of processes goes", choices=LOGGER_DESTINATIONS)
    add("runner-logger-mode", "whether full logs are put aside", choices=LOGGER_MODES)
    add("runner-rotate-log-size-mb", "size a log is put aside at", metavar="MIB", type=_count)
    add("runner-rotate-log-backups", "logs put aside that are kept", metavar="N", type=_count)
    switch("preserve_env", "give processes this program's environment")
    add(
        "stop_timeout_in_secs",
        "most time that ending a task may take (120)",
        metavar="S",
        type=_seconds,
        default=Options.stop_timeout_in_secs,
    )
    # What the original's log library takes; our log lies in the sandbox.
    for name in ("log_dir", "log_to_disk", "log_to_stderr", "log_to_stdout", "log_simple"):
        result.add_argument(f"--{name}", help=argparse.SUPPRESS)
    result.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    return result


def parse(argv: Sequence[str]) -> Options:
    """The options in *argv*. Ends the program with help, or with what is wrong and exit code 2."""
    found = vars(parser().parse_args(list(argv)))
    return Options(**{field.name: found[field.name] for field in fields(Options)})


def _count(word: str) -> int:
    try:
        value = int(word)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 31:
        raise argparse.ArgumentTypeError(f"should be a whole number, 0 or more: {word!r}")
    return value


def _seconds(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"should be a number of seconds, 0 or more: {word!r}")
    return value
