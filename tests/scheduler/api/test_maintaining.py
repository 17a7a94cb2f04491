"""Hosts that are to be maintained, through ``/api``: what clients hear, whatever they ask for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Response as HttpResponse

from scheduler.api.app import ApiOptions, create_app
from scheduler.core.events import Offers, Subscribed
from scheduler.model import Mode
from scheduler.wire import thrift
from scheduler.wire.thrift import Protocol
from tests.support.engine_backend import EngineBackend
from tests.support.world import offer
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import Hosts, HostStatus, MaintenanceMode, Response, ResponseCode

NONE, SCHEDULED, DRAINED = MaintenanceMode.NONE, MaintenanceMode.SCHEDULED, MaintenanceMode.DRAINED
POLICY = wire.SlaPolicy(percentage_sla_policy=wire.PercentageSlaPolicy(95.0, 1800))


class Site:
    def __init__(self) -> None:
        self.backend = EngineBackend()
        offers = (offer(number)._replace(hostname=name) for number, name in enumerate(("a", "b")))
        self.backend.tell(Subscribed("fw-1", 15.0, "master:5050"), Offers(tuple(offers)))
        self.http = Client(create_app(self.backend, ApiOptions()), HttpResponse)

    def call(self, name: str, *hosts: str, **more: Any) -> Response:
        arguments = {"hosts": Hosts(hosts), **more}
        body = thrift.encode_call(name, 7, arguments, Protocol.BINARY)
        headers = {"Content-Type": Protocol.BINARY.value, "Accept": Protocol.BINARY.value}
        answer = self.http.post("/api", data=body, headers=headers)
        assert answer.status_code == 200
        return thrift.decode_reply(answer.data, name, 7, Protocol.BINARY)

    def statuses(self, name: str, *hosts: str, **more: Any) -> list[HostStatus]:
        response = self.call(name, *hosts, **more)
        assert response.response_code is ResponseCode.OK, response
        result: Any = next(member for member in response.result or () if member is not None)
        return sorted(result.statuses)


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_host_goes_through_its_modes(site: Site) -> None:
    assert site.statuses("maintenanceStatus", "a", "b") == [HostStatus("a", NONE), HostStatus("b", NONE)]
    assert site.statuses("startMaintenance", "a") == [HostStatus("a", SCHEDULED)]
    assert json.loads(site.http.get("/maintenance").data) == {"SCHEDULED": ["a"], "DRAINING": {}, "DRAINED": []}
    assert site.statuses("drainHosts", "a") == [HostStatus("a", DRAINED)]
    assert site.statuses("slaDrainHosts", "b", default_sla_policy=POLICY, timeout_secs=60) == [HostStatus("b", DRAINED)]
    assert json.loads(site.http.get("/maintenance").data) == {"SCHEDULED": [], "DRAINING": {}, "DRAINED": ["a", "b"]}
    assert site.statuses("endMaintenance", "a", "b") == [HostStatus("a", NONE), HostStatus("b", NONE)]
    assert site.backend.engine.state.maintenance == {}


@pytest.mark.parametrize("method", ["startMaintenance", "drainHosts", "endMaintenance", "maintenanceStatus"])
def test_unknown_hosts_are_named(site: Site, method: str) -> None:
    response = site.call(method, "nowhere", "a")
    assert response.response_code is ResponseCode.OK
    (detail,) = response.details or ()
    assert "nowhere" in (detail.message or "")
    assert [status.host for status in site.statuses(method, "nowhere", "a")] == ["a"]


def test_no_hosts_are_none(site: Site) -> None:
    assert site.statuses("maintenanceStatus") == []
    response = site.call("drainHosts", hosts=None)
    assert response.response_code is ResponseCode.INVALID_REQUEST


def test_a_drain_by_policy_wants_one(site: Site) -> None:
    response = site.call("slaDrainHosts", "a", default_sla_policy=None, timeout_secs=60)
    assert response.response_code is ResponseCode.INVALID_REQUEST
    broken = wire.SlaPolicy(percentage_sla_policy=wire.PercentageSlaPolicy(120.0, 1800))
    response = site.call("slaDrainHosts", "a", default_sla_policy=broken, timeout_secs=-60)
    assert response.response_code is ResponseCode.INVALID_REQUEST
    assert len(response.details or ()) == 2
    assert site.backend.engine.state.hosts["a"].mode == Mode.NONE
