"""What is set of the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeVar

from scheduler.api.backend import View
from scheduler.api.security import Security

T = TypeVar("T")

#: More than any job has; a body is held in memory, and decoded while others wait.
MAX_BODY_BYTES: Final = 4 << 20


class Look(Protocol):
    """``Backend.look``."""

    def __call__(self, at: Callable[[View], T], /) -> T: ...


class Shown(NamedTuple):
    """A page for people; one with status 404 says what is not there."""

    html: str
    status: int = 200


#: HTML for people: (path, query, look) → a page, or None where there can be none. Called on a thread of the server;
#: only what it hands to *look* runs on the thread that owns the state, and should do no more than pick out values.
Pages = Callable[[str, Mapping[str, str], Look], Shown | None]


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """All of it. *security* None: everybody may do everything, and is called ``UNSECURE``."""

    cluster_name: str = "example"
    #: Where clients are told that statistics are.
    stats_url_prefix: str = ""
    security: Security | None = None
    #: Pages, endpoints and reading methods want a user, too.
    is_auth_required_for_reads: bool = False
    max_body_bytes: int = MAX_BODY_BYTES
    pages: Pages | None = None
