"""One call over HTTP: a POST of Thrift, binary, to ``/api``, and what its failing means.

What decides is whether the scheduler may have heard: `NotSent` may always be tried again, `Unanswered` only for calls
that do no harm twice. The headers are those of Aurora's client (``aurora/common/transport.py``): its ``Host`` has no
port. Credentials come from ``~/.netrc``, as with requests in the original.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urljoin, urlsplit

import requests
from requests.exceptions import ConnectTimeout, RequestException
from urllib3.exceptions import NameResolutionError, NewConnectionError

from scheduler.client.errors import AuthError, ClientError, NetworkError

MEDIA_TYPE: Final = "application/vnd.apache.thrift.binary"
#: A host that does not take a connection within this time is not there.
CONNECT_TIMEOUT_S: Final = 10.0
#: The longest that a scheduler may think about one call; snapshots of large clusters take a while.
ANSWER_TIMEOUT_S: Final = 300.0
#: A standby leads to the leader; more hops than this are a circle.
MAX_REDIRECTS: Final = 5
#: Sent for any call, it makes a standby answer itself (``api.thrift``: BYPASS_LEADER_REDIRECT_HEADER_NAME).
BYPASS: Final = "Bypass-Leader-Redirect"
#: As much of a page is shown as helps to tell what answered.
_MAX_SHOWN: Final = 200


class NotSent(ClientError):
    """The scheduler did not hear of the call: nothing was done."""


class Unanswered(ClientError):
    """The call may have been heard, and its answer did not come."""


class Transport:
    """Posts to schedulers, on connections that are kept."""

    def __init__(
        self, user_agent: str, bypass_leader: bool = False, timeouts_s: tuple[float, float] | None = None
    ) -> None:
        self._timeouts_s = timeouts_s or (CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S)
        self._headers = {"User-Agent": user_agent, "Accept": MEDIA_TYPE, "Content-Type": MEDIA_TYPE}
        if bypass_leader:
            self._headers[BYPASS] = "true"
        self._session = requests.Session()

    def post(self, url: str, body: bytes) -> bytes:
        """What is answered to *body*, wherever *url* leads.

        Raises:
            NotSent, Unanswered: as above.
            AuthError: 401 or 403.
            NetworkError: an answer that will be the same the next time.
        """
        for _ in range(MAX_REDIRECTS + 1):
            response = self._post_once(url, body)
            if response.status_code in (307, 308) and "Location" in response.headers:
                url = urljoin(url, response.headers["Location"])
                continue
            return self._judged(url, response)
        raise NetworkError(f"{url}: led on {MAX_REDIRECTS} times, the last time to itself or in a circle")

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _post_once(self, url: str, body: bytes) -> requests.Response:
        host = urlsplit(url).hostname or ""
        headers = {**self._headers, "Host": f"[{host}]" if ":" in host else host}
        try:
            return self._session.post(url, data=body, headers=headers, timeout=self._timeouts_s, allow_redirects=False)
        except ConnectTimeout:
            raise NotSent(f"{url}: no connection within {self._timeouts_s[0]:g} s") from None
        except RequestException as error:
            if isinstance(error, ValueError):  # no URL at all
                raise NetworkError(f"{url}: {error}") from None
            reason = _reason(error)  # of the many ways to fail, these two were before anything was sent
            if isinstance(reason, NameResolutionError):
                raise NotSent(f"{url}: the name of the host is not known") from None
            if isinstance(reason, NewConnectionError):
                raise NotSent(f"{url}: nobody listens there (connection refused or host unreachable)") from None
            raise Unanswered(f"{url}: {_words(error, self._timeouts_s[1])}") from None

    def _judged(self, url: str, response: requests.Response) -> bytes:
        code = response.status_code
        if code == 200:
            return response.content
        shown = " ".join(response.content.decode("utf-8", "replace").split())[:_MAX_SHOWN]
        if code == 401:
            raise AuthError(
                f"{url}: the scheduler asks who you are (HTTP 401): put {urlsplit(url).hostname} into ~/.netrc"
            )
        if code == 403:
            raise AuthError(f"{url}: the scheduler does not let you do this (HTTP 403): {shown}")
        if code == 503:
            raise Unanswered(f"{url}: HTTP 503: no scheduler leads, or it is not ready")
        if code >= 500 or code == 429:
            raise Unanswered(f"{url}: HTTP {code}: {shown}")
        raise NetworkError(f"{url}: HTTP {code}, which is no scheduler's answer; is its address right? {shown}")


def _reason(error: BaseException) -> object:
    """The cause that urllib3 gave for *error*, under all wrappings."""
    inner = error.args[0] if error.args else None
    return getattr(inner, "reason", None) or inner


def _words(error: RequestException, answer_timeout_s: float) -> str:
    if isinstance(error, requests.Timeout):
        return f"no answer within {answer_timeout_s:g} s"
    if isinstance(error, requests.exceptions.SSLError):
        return f"no secure connection: {error}"
    if isinstance(error, requests.ConnectionError):
        return "the connection broke before the answer came"
    return str(error)
