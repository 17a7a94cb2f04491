"""Who is answered, and what a browser may do with the answer.

There is no password: the server listens on loopback unless told otherwise. What a browser on this host could be
made to ask by a page from elsewhere is refused: by the name it asks for (DNS rebinding puts a stranger's name on
our address), and by the origin it says it comes from.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

#: A host as ``Host`` and ``Origin`` write it, with its port.
_HOST: Final = re.compile(r"(?:\[([0-9a-fA-F:.]{2,45})\]|([A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})))(?::[0-9]{1,5})?")
_ORIGIN: Final = re.compile(r"https?://(.{1,300})")
_LOOPBACK_NAMES: Final = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})
#: What ``Sec-Fetch-Site`` says of a request that our own page made, or a person with the address bar.
_OWN_SITE: Final = frozenset({"same-origin", "none"})


class Kind(Enum):
    """What a route answers with."""

    PAGE = "page"  # HTML of ours; a link from elsewhere may lead to it
    DATA = "data"  # JSON, logs, files: for scripts on this host and for our own pages


class Refusal(NamedTuple):
    """Why a request is not answered."""

    status: int
    text: str


class Hosts:
    """The names under which this server may be asked for."""

    def __init__(self, bound: str, hostname: str, allowed: Iterable[str] = ()) -> None:
        self._names = {_plain(name) for name in (hostname, socket.gethostname(), *allowed)} | _LOOPBACK_NAMES
        self._names.discard("")
        self._is_wildcard = _is_wildcard(bound)
        if not self._is_wildcard:
            self._names.add(_plain(bound))

    def is_ours(self, host: str) -> bool:
        """Whether *host* (``name``, ``address``, each with or without a port) is this server."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = _plain(match[1] or match[2])
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or (self._is_wildcard and _is_of_this_host(address))


def refuse(hosts: Hosts, kind: Kind, method: str, headers: dict[str, str]) -> Refusal | None:
    """Why this request is refused; None: it is not. *headers* by their names in lower case."""
    host = headers.get("host")
    if host is None or not hosts.is_ours(host):
        return Refusal(403, "this server is not the host that was asked for; see --allowed_host")
    if method not in ("GET", "HEAD"):
        return Refusal(405, "this server only answers GET and HEAD")
    origin = headers.get("origin")
    if origin is not None:
        match = _ORIGIN.fullmatch(origin)
        if match is None or not hosts.is_ours(match[1]):
            return Refusal(403, "pages from elsewhere are not answered")
    site = headers.get("sec-fetch-site")
    if site is None or site in _OWN_SITE:
        return None
    if kind is Kind.PAGE and headers.get("sec-fetch-mode") == "navigate" and _is_document(headers):
        return None  # a person followed a link to us
    return Refusal(403, "pages from elsewhere are not answered")


def _is_document(headers: dict[str, str]) -> bool:
    return headers.get("sec-fetch-dest", "document") == "document"


#: With every answer. What a page itself may do is said by its own policy; this adds what only a header can say.
ALWAYS: Final[tuple[tuple[str, str], ...]] = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
#: For our pages, which carry the rest in a meta element.
PAGE_POLICY: Final = "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; object-src 'none'"
#: For all else: what others wrote does nothing, whatever a browser takes it for.
DATA_POLICY: Final = "sandbox; default-src 'none'; frame-ancestors 'none'"


def _plain(name: str) -> str:
    return name.strip().strip("[]").rstrip(".").lower()


def _is_wildcard(bound: str) -> bool:
    try:
        return ipaddress.ip_address(bound).is_unspecified
    except ValueError:
        return bound == ""


def _is_of_this_host(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an interface of this host has *address*: only then can a socket be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return not address.is_unspecified and not address.is_multicast
