"""Hosts that are to be maintained, on a real Mesos: by an operator, by a coordinator, by Mesos' own plan."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.support.cluster import Cluster, cluster
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import Hosts, MaintenanceMode, TaskQuery

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture
def own() -> Iterator[Cluster]:
    with cluster(
        flags=("-flapping_task_threshold", "0s", "-host_maintenance_polling_interval", "1s", "-sla_aware_kill_non_prod")
    ) as made:
        yield made


def host_of(made: Cluster, key: wire.JobKey) -> str:
    (task,) = made.wait_running(key)
    assert task.assigned_task is not None
    return task.assigned_task.slave_host or ""


def mode(made: Cluster, host: str) -> MaintenanceMode | None:
    result = made.api.ok("maintenanceStatus", hosts=Hosts((host,))).result
    assert result is not None
    assert result.maintenance_status_result is not None
    (status,) = result.maintenance_status_result.statuses or ()
    return status.mode


def reason(made: Cluster, key: wire.JobKey) -> str:
    result = made.api.ok("getPendingReason", query=TaskQuery(job_keys=(key,))).result
    assert result is not None
    assert result.get_pending_reason_result is not None
    return " ".join(one.reason or "" for one in result.get_pending_reason_result.reasons or ())


def test_the_only_host_is_drained_and_given_back(own: Cluster) -> None:
    key = own.create("moved")
    host = host_of(own, key)
    own.api.ok("drainHosts", hosts=Hosts((host,)))
    own.wait("the host is drained", lambda: mode(own, host) is MaintenanceMode.DRAINED)
    own.wait("its task waits", lambda: own.states(key) == ["KILLED", "PENDING"])
    own.wait("it says why", lambda: "maintenance" in reason(own, key).lower())
    own.scheduler.kill()
    own.scheduler.start()
    assert mode(own, host) is MaintenanceMode.DRAINED
    own.wait("it waits again", lambda: "maintenance" in reason(own, key).lower())
    shown = json.loads(own.api.get("/maintenance")[1])
    assert shown == {"SCHEDULED": [], "DRAINING": {}, "DRAINED": [host]}
    assert own.states(key) == ["KILLED", "PENDING"]
    own.api.ok("endMaintenance", hosts=Hosts((host,)))
    own.wait_running(key)
    assert mode(own, host) is MaintenanceMode.NONE


def test_unknown_hosts_are_named(own: Cluster) -> None:
    response = own.api.ok("drainHosts", hosts=Hosts(("nowhere",)))
    assert response.result is not None
    assert response.result.drain_hosts_result is not None
    assert not response.result.drain_hosts_result.statuses
    assert "nowhere" in " ".join(detail.message or "" for detail in response.details or ())


@contextlib.contextmanager
def coordinator(said: dict[str, bool], asked: list[Any]) -> Iterator[str]:
    """One that says what *said* says at the moment."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            data = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def test_a_coordinator_decides(own: Cluster) -> None:
    said, asked = {"drain": False}, list[Any]()
    with coordinator(said, asked) as url:
        policy = wire.SlaPolicy(coordinator_sla_policy=wire.CoordinatorSlaPolicy(url, "drain"))
        key = own.create("asked")
        host = host_of(own, key)
        own.api.ok("slaDrainHosts", hosts=Hosts((host,)), default_sla_policy=policy, timeout_secs=3600)
        own.wait("it was asked twice", lambda: len(asked) >= 2)
        assert own.states(key) == ["RUNNING"]
        assert mode(own, host) is MaintenanceMode.DRAINING
        said["drain"] = True
        own.wait("the host is drained", lambda: mode(own, host) is MaintenanceMode.DRAINED)
        assert asked[0]["task"] == "test/root/test/asked/0"
        assert asked[0]["taskConfig"]["assignedTask"]["slaveHost"] == host


def test_mesos_own_maintenance_empties_its_agent(own: Cluster) -> None:
    key = own.create("evicted")
    host = host_of(own, key)
    schedule = {
        "windows": [
            {
                "machine_ids": [{"hostname": host, "ip": "127.0.0.1"}],
                "unavailability": {"start": {"nanoseconds": int((time.time() + 60) * 1e9)}},
            }
        ]
    }
    _schedule(own, schedule)
    own.wait("its task waits", lambda: own.states(key) == ["KILLED", "PENDING"])
    own.wait("it says why", lambda: "maintenance" in reason(own, key).lower())
    assert mode(own, host) is MaintenanceMode.NONE
    _schedule(own, {"windows": []})
    own.wait_running(key)


def _schedule(made: Cluster, schedule: dict[str, Any]) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{made.mesos.port}/maintenance/schedule", json.dumps(schedule).encode()
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200
