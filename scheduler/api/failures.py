"""Why a request is not answered as it was meant."""

from __future__ import annotations

from thermos.formats.aurora_api import ResponseCode


class Refused(Exception):
    """A method's arguments make no sense; *problems*: all of them, for the client."""

    def __init__(self, *problems: str, code: ResponseCode = ResponseCode.INVALID_REQUEST) -> None:
        self.problems = problems
        self.code = code
        super().__init__("; ".join(problems))


class HttpFailure(Exception):
    """The request is answered with an HTTP status and a text."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.headers = headers or {}
        super().__init__(text)
