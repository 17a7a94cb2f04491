"""Who does not lead sends clients to whoever does."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from scheduler.api.answers import html
from scheduler.api.backend import Leader

#: First names of paths that only the leader answers (Aurora's ``LeaderRedirectFilter``).
LEADERS: Final = frozenset({
    "api", "apibeta", "agents", "cluster", "cron", "maintenance", "mname", "offers", "pendingtasks", "quotas", "slaves",
    "state", "tiers", "utilization", "scheduler", "updates", "structdump", "",
})  # fmt: skip
BYPASS: Final = "Bypass-Leader-Redirect"

_NO_LEADER: Final = (
    "<!doctype html><meta charset=utf-8><title>No leader</title><h1>No scheduler leads</h1>"
    "<p>One will be elected in a moment; then this page works again. If it does not, look at ZooKeeper and at the logs "
    "of the schedulers."
)
#: What stays as it is in a path and in a query (RFC 3986); control characters, which could end a header, do not.
_PATH: Final = "/:@!$&'()*+,;=~-._"
_QUERY: Final = _PATH + "?%"


def elsewhere(request: Request, first: str, leader: Leader) -> Response | None:
    """The response that leads to the leader; None: this request is answered here.

    The ``Host`` of the request plays no part: the leader's own address is in ZooKeeper.
    """
    if leader.is_us or first not in LEADERS or BYPASS in request.headers:
        return None
    if leader.url is None:
        return html(_NO_LEADER, 503)
    raw_path = request.environ.get("PATH_INFO", "").encode("latin-1", "replace")
    raw_query = request.environ.get("QUERY_STRING", "").encode("latin-1", "replace")
    query = f"?{quote(raw_query, safe=_QUERY)}" if raw_query else ""
    response = Response(status=307, content_type="text/plain; charset=utf-8")
    response.headers["Location"] = f"{leader.url.rstrip('/')}/{quote(raw_path, safe=_PATH).lstrip('/')}{query}"
    response.autocorrect_location_header = False
    return response
