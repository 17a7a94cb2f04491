"""``thermos_executor``: what a Mesos agent launches for one task."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from thermos.errors import ExitCode, ThermosError
from thermos.executor import environment
from thermos.executor.log import Log
from thermos.executor.options import parse
from thermos.executor.program import Program
from thermos.host.linux import require_kernel
from thermos.host.loop import Loop


def main(argv: Sequence[str] | None = None) -> int:
    """Run one task; the exit code."""
    options = parse(sys.argv[1:] if argv is None else argv)
    try:
        require_kernel()
        surroundings = environment.take(os.environ)
        auth = None
        if options.announcer_zookeeper_auth_config is not None:
            from thermos.announce.auth import load

            auth = load(options.announcer_zookeeper_auth_config)
    except ThermosError as error:
        print(f"thermos_executor: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"thermos_executor: {error.filename}: {error.strerror}", file=sys.stderr)
        return ExitCode.USAGE
    log = Log(surroundings.sandbox)
    with Loop() as loop:
        Program(loop, surroundings, options, log, auth).run()
    log.close()
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
