"""Every error the clients end on, each with its exit code."""

from __future__ import annotations

from scheduler.client.exit_codes import ExitCode
from thermos.errors import ThermosError
from thermos.formats.aurora_api import Response


class ClientError(ThermosError):
    """Root of the clients' errors; ``code`` is what the program exits with."""

    code = ExitCode.UNKNOWN_ERROR


class InvalidConfiguration(ClientError):
    """A file of the user's, or a name that leads to one, is wrong."""

    code = ExitCode.INVALID_CONFIGURATION


class CommandFailed(ClientError):
    """What was asked for was tried, and did not succeed."""

    code = ExitCode.COMMAND_FAILURE


class InvalidParameter(ClientError):
    """What was named is not there, or a value makes no sense."""

    code = ExitCode.INVALID_PARAMETER


class NetworkError(ClientError):
    """No usable answer, and asking again is not safe or not useful."""

    code = ExitCode.NETWORK_ERROR


class TimedOut(ClientError):
    """Tried for as long as is sensible."""

    code = ExitCode.TIMEOUT


class ApiError(ClientError):
    """The scheduler answered, and the answer is no."""

    code = ExitCode.API_ERROR

    def __init__(self, text: str, code: ExitCode = ExitCode.API_ERROR, response: Response | None = None) -> None:
        self.code = code
        #: What it answered, where it answered at all: for hooks.
        self.response = response
        super().__init__(text)


class AuthError(ClientError):
    """HTTP 401 or 403."""

    code = ExitCode.AUTH_ERROR
