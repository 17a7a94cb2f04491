"""Exit codes of ``aurora`` and ``aurora_admin``: those of Aurora's client, because scripts ask for them.

``docs/reference/aurora.md`` shows them. Source: ``aurora/client/cli/__init__.py``.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What an exit code of the clients means."""

    doc: str

    def __new__(cls, value: int, doc: str) -> ExitCode:
        member = int.__new__(cls, value)
        member._value_ = value
        member.doc = doc
        return member

    OK = 0, "Done."
    USAGE = 2, "The command line is wrong."
    INVALID_CONFIGURATION = 3, "The configuration file, clusters.json or the cluster's name is wrong."
    COMMAND_FAILURE = 4, "It was tried, and did not succeed: a job not created, more failures than allowed."
    INVALID_PARAMETER = 6, "There is no such job, instance, port or role, or a value makes no sense."
    NETWORK_ERROR = 7, "The scheduler's answer did not arrive, and asking again might do the same thing twice."
    TIMEOUT = 9, "Given up after trying for as long as is sensible."
    API_ERROR = 10, "The scheduler refused; its words are printed."
    UNKNOWN_ERROR = 20, "A fault of the client's own, or of the system under it."
    AUTH_ERROR = 30, "The scheduler does not know you, or does not let you (HTTP 401 and 403)."
    INTERRUPTED = 130, "Stopped by Ctrl-C; what was done and what was not is printed."
