"""What the API counts of itself."""

from __future__ import annotations

import threading
from collections import Counter
from types import MappingProxyType
from typing import Final

from thermos.formats.aurora_api import METHODS, ResponseCode, Service

#: Aurora's ``thrift_workload_*``, and the rest of what changes something.
_WORKLOADS: Final = tuple(name for name, method in METHODS.items() if method.service is not Service.READ_ONLY)
#: Status codes that are counted from the start, so that nobody's rate begins with a gap.
_STATUSES: Final = (200, 303, 307, 400, 401, 403, 404, 405, 413, 415, 500, 502, 503)


class Counts:
    """Numbers that only grow, each from 0. May be used by many threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        names = [f"scheduler_thrift_response_{code.name}" for code in ResponseCode]
        names += [f"thrift_workload_{name}" for name in _WORKLOADS]
        names += ["shiro_authorization_failures", "shiro_bad_requests", "uncaught_exceptions"]
        for status in _STATUSES:
            names += [f"http_{status}_responses_events", f"http_{status}_responses_nanos_total"]
        self._counts = Counter(dict.fromkeys(names, 0))

    def add(self, name: str, more: int = 1) -> None:
        """*more* of it."""
        with self._lock:
            self._counts[name] += more

    def answered(self, code: ResponseCode) -> None:
        """A method was answered."""
        self.add(f"scheduler_thrift_response_{code.name}")

    def responded(self, status: int, nanos: int) -> None:
        """A request was answered with *status*, and took so long."""
        with self._lock:
            self._counts[f"http_{status}_responses_events"] += 1
            self._counts[f"http_{status}_responses_nanos_total"] += nanos

    def all(self) -> MappingProxyType[str, int]:
        """All of them, as of now."""
        with self._lock:
            return MappingProxyType(dict(self._counts))
