"""``thermos_executor``: what a Mesos agent launches for one task."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from thermos.errors import ExitCode, ThermosError
from thermos.executor import environment
from thermos.executor.emergency import traceback_of
from thermos.executor.log import Log
from thermos.executor.options import parse
from thermos.executor.program import Program
from thermos.host.linux import require_kernel
from thermos.host.loop import Loop

if TYPE_CHECKING:
    from thermos.announce.auth import Auth


def main(argv: Sequence[str] | None = None) -> int:
    """Run one task; the exit code."""
    options = parse(sys.argv[1:] if argv is None else argv)
    try:
        require_kernel()
        surroundings = environment.take(os.environ)
    except ThermosError as error:
        print(f"thermos_executor: {error}", file=sys.stderr)
        return error.exit_code
    log = Log(surroundings.sandbox)
    try:
        auth = _auth(options.announcer_zookeeper_auth_config)
        if isinstance(auth, ThermosError):
            log.error(f"no task can be announced: {auth}")
        with Loop() as loop:
            program = Program(loop, surroundings, options, log, auth)
            program.run()
        return program.exit_code
    except Exception as error:  # noqa: BLE001  what goes wrong before there is a task, or after it
        log.error(f"a fault of ours; please report it with this log\n{traceback_of(error)}")
        return ExitCode.INTERNAL
    finally:
        log.close()


def _auth(path: str | None) -> Auth | ThermosError | None:
    """What the file of credentials says; if that is nothing, the tasks that need it are refused with the reason."""
    if path is None:
        return None
    from thermos.announce.auth import load

    try:
        return load(path)
    except ThermosError as error:
        return error
    except OSError as error:
        return ThermosError(f"{path}: {error.strerror}")


if __name__ == "__main__":
    sys.exit(main())
