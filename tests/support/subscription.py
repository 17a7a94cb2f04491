"""One subscription of a scheduler's, not renewed when it ends; and calls with whatever is wrong in them."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from tests.support.launches import INFO
from thermos.formats import recordio

PATH: Final = "/master/api/v1/scheduler"
JSON: Final = {"Content-Type": "application/json", "Accept": "application/json"}


class Served(Protocol):
    """A Mesos on a port of this machine."""

    port: int


def post(cluster: Served, call: object, headers: Mapping[str, str] = JSON, path: str = PATH) -> tuple[int, str]:
    """Status and words of the answer to *call*; of a stream nothing is read."""
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=10)
    try:
        connection.request("POST", path, call if isinstance(call, str) else json.dumps(call), dict(headers))
        answer = connection.getresponse()
        return answer.status, "" if answer.status == 200 else answer.read().decode()
    finally:
        connection.close()


class Stream:
    """A subscription that is not renewed when it ends."""

    def __init__(self, cluster: Served, framework_id: str | None = None, **info: Any) -> None:
        whole = {**INFO, "name": "stream", **info}
        call: dict[str, Any] = {"type": "SUBSCRIBE", "subscribe": {"framework_info": whole}}
        if framework_id is not None:
            whole["id"] = call["framework_id"] = {"value": framework_id}
        self._connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=10)
        self._connection.request("POST", PATH, json.dumps(call), JSON)
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200, self._answer.read()
        self.stream_id = self._answer.headers["Mesos-Stream-Id"]
        self.framework_id = framework_id
        self.events: list[dict[str, Any]] = []
        self._cluster = cluster
        self._decoder = recordio.Decoder()

    def call(self, call: Mapping[str, Any]) -> None:
        """Make a call as this subscription."""
        whole = {**call, "framework_id": {"value": self.framework_id}}
        found = post(self._cluster, whole, {**JSON, "Mesos-Stream-Id": self.stream_id})
        assert found == (202, ""), found

    def read_until(self, kind: str) -> dict[str, Any]:
        """The next event of that kind."""
        at = 0
        while True:
            while at < len(self.events):
                if self.events[at]["type"] == kind:
                    return self.events.pop(at)
                at += 1
            data = self._answer.read1(1 << 16)
            assert data, f"the stream ends before {kind}: {self.events}"
            self.events += map(json.loads, self._decoder.feed(data))

    def is_ended(self) -> bool:
        """True when the other side has ended it; what still came is in ``events``."""
        with contextlib.suppress(http.client.IncompleteRead):  # it was cut off
            while data := self._answer.read1(1 << 16):
                self.events += map(json.loads, self._decoder.feed(data))
        return True

    def close(self) -> None:
        self._connection.close()
        self._answer.close()


@contextlib.contextmanager
def stream(cluster: Served, framework_id: str | None = None, **info: Any) -> Iterator[Stream]:
    made = Stream(cluster, framework_id, **info)
    try:
        yield made
    finally:
        made.close()
