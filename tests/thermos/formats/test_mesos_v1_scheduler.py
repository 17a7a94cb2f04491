"""The scheduler API's encoding: what a real master sent is read, and what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermos.formats.mesos_v1 import WireError
from thermos.formats.mesos_v1_scheduler import (
    Accept,
    AcceptInverseOffers,
    Acknowledge,
    Decline,
    DeclineInverseOffers,
    Error,
    Failure,
    Heartbeat,
    InverseOffers,
    Kill,
    Message,
    Offers,
    Range,
    Reconcile,
    Rescind,
    RescindInverseOffer,
    Revive,
    SchedulerCall,
    SchedulerEvent,
    SendMessage,
    Shutdown,
    Subscribe,
    Subscribed,
    Suppress,
    Teardown,
    Unavailability,
    Unknown,
    Update,
    decode_event,
    encode_call,
)
from thermos.mesos import MesosTaskState, Reason, Source

GOLDEN = Path(__file__).parents[2] / "golden" / "mesos_scheduler"
ID = "00000000-0000-4000-8000-000000000000"
OFFER: dict[str, Any] = {
    "id": {"value": "o"},
    "agent_id": {"value": "a"},
    "hostname": "h",
    "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.5}, "role": "*"}],
}
STATUS: dict[str, Any] = {"task_id": {"value": "t"}, "state": "TASK_RUNNING"}


def recorded(name: str) -> list[SchedulerEvent]:
    return [decode_event(line) for line in (GOLDEN / f"{name}.jsonl").read_bytes().splitlines()]


def decoded(kind: str, body: object) -> SchedulerEvent:
    return decode_event(json.dumps({"type": kind, kind.lower(): body}).encode())


def test_every_recording_is_read() -> None:
    names = {path.stem for path in GOLDEN.glob("*.jsonl")}
    assert names == {"life", "reserved_by_role", "reserved_by_reservations"}
    for name in names:
        assert not [event for event in recorded(name) if isinstance(event, Unknown)]


def test_a_life() -> None:
    events = recorded("life")
    kinds = [type(event) for event in events if type(event) not in (Offers, Rescind)]
    assert kinds == [
        Subscribed, Heartbeat, *[Update] * 5, Message, Update, Failure, *[Update] * 3,
        InverseOffers, RescindInverseOffer, Error,
    ]  # fmt: skip
    assert events[0] == Subscribed(f"{ID}-0000", 15.0, "192.0.2.1:5050")
    (inverse,) = next(event for event in events if isinstance(event, InverseOffers)).offers
    assert inverse.unavailability == Unavailability(4_000_000_000_000_000_000, 3_600_000_000_000)
    assert inverse.agent_id == f"{ID}-S0"
    assert Failure(f"{ID}-S0", "thermos-www-data-prod-hello-0-1", 0) in events
    assert Message(f"{ID}-S0", "thermos-www-data-prod-hello-0-1", b"HELLO") in events
    assert events[-1] == Error("Framework failed over")


def test_an_offer() -> None:
    first = next(event for event in recorded("life") if isinstance(event, Offers))
    (offer,) = first.offers
    assert (offer.offer_id, offer.agent_id, offer.hostname) == (f"{ID}-O0", f"{ID}-S0", "192.0.2.1")
    assert [(one.name, one.value, one.is_revocable) for one in offer.amounts] == [
        ("cpus", 4.0, False),
        ("mem", 4096.0, False),
        ("disk", 10000.0, False),
    ]
    assert [(one.name, one.ranges) for one in offer.ports] == [("ports", (Range(31000, 32000),))]
    assert offer.attributes == (("rack", "r1"), ("weight", "4.0"), ("slots", "[1-3, 5-6]"))
    assert offer.agent_address == "192.0.2.1:5050"
    assert offer.unavailability is None
    warned = [event.offers[0].unavailability for event in recorded("life") if isinstance(event, Offers)]
    assert Unavailability(4_000_000_000_000_000_000, 3_600_000_000_000) in warned


def test_statuses() -> None:
    statuses = [event.status for event in recorded("life") if isinstance(event, Update)]
    known, gone, unknown = statuses[2:5]
    assert [(one.state, one.reason, one.uuid) for one in (known, gone, unknown)] == [
        (MesosTaskState.TASK_RUNNING, Reason.REASON_RECONCILIATION, None),
        (MesosTaskState.TASK_GONE, Reason.REASON_RECONCILIATION, None),
        (MesosTaskState.TASK_UNKNOWN, Reason.REASON_RECONCILIATION, None),
    ]
    running = statuses[1]
    assert (running.source, running.message, running.healthy) == (Source.SOURCE_EXECUTOR, "as told", True)
    assert running.uuid is not None
    assert len(running.uuid) == 16
    assert running.timestamp_s == 1700000000.25


@pytest.mark.parametrize("name", ["reserved_by_role", "reserved_by_reservations"])
def test_reserved_resources_keep_their_form(name: str) -> None:
    first = next(event for event in recorded(name) if isinstance(event, Offers))
    (offer,) = first.offers
    assert [(one.name, one.value) for one in offer.amounts] == [
        ("cpus", 2.0), ("disk", 1000.0), ("cpus", 2.0), ("mem", 4096.0),
    ]  # fmt: skip
    reserved, free = (one.raw for one in offer.amounts if one.name == "cpus")
    if name == "reserved_by_role":
        assert (reserved["role"], free["role"]) == ("aurora", "*")
    else:
        assert reserved["reservations"] == [{"type": "STATIC", "role": "aurora"}]
        assert "reservations" not in free


def test_what_may_be_revoked() -> None:
    resource = {"name": "cpus", "type": "SCALAR", "scalar": {"value": 2}, "revocable": {}}
    event = decoded("OFFERS", {"offers": [{**OFFER, "resources": [resource]}]})
    assert isinstance(event, Offers)
    assert [(one.name, one.value, one.is_revocable) for one in event.offers[0].amounts] == [("cpus", 2.0, True)]


def test_what_a_later_mesos_may_send() -> None:
    assert decode_event(b'{"type": "UPDATE_OPERATION_STATUS"}') == Unknown("UPDATE_OPERATION_STATUS")
    event = decoded("UPDATE", {"status": {**STATUS, "state": "TASK_DREAMING", "reason": "REASON_NEW", "source": "X"}})
    assert isinstance(event, Update)
    assert (event.status.state, event.status.reason, event.status.source) == (
        MesosTaskState.TASK_UNKNOWN,
        "REASON_NEW",
        None,
    )
    assert "TASK_DREAMING" in (event.status.message or "")
    event = decoded("OFFERS", {"offers": [{**OFFER, "resources": [{"name": "x", "type": "SET", "set": {}}]}]})
    assert isinstance(event, Offers)
    assert event.offers[0].amounts == ()


@pytest.mark.parametrize(
    "kind, body, path",
    [
        ("SUBSCRIBED", {}, "subscribed.framework_id"),
        ("SUBSCRIBED", {"framework_id": {"value": "f"}, "heartbeat_interval_seconds": -1},
         "subscribed.heartbeat_interval_seconds"),
        ("OFFERS", {"offers": {}}, "offers.offers"),
        ("OFFERS", {"offers": [OFFER, 3]}, "offers.offers[1]"),
        ("OFFERS", {"offers": [OFFER, {**OFFER, "hostname": 7}]}, "offers.offers[1].hostname"),
        ("OFFERS", {"offers": [{**OFFER, "id": {"value": 7}}]}, "offers.offers[0].id.value"),
        ("OFFERS", {"offers": [{**OFFER, "resources": [3]}]}, "offers.offers[0].resources[0]"),
        ("OFFERS", {"offers": [{**OFFER, "resources": [{"type": "SCALAR"}]}]}, "offers.offers[0].resources[0].name"),
        ("OFFERS", {"offers": [{**OFFER, "resources": [{"name": "cpus", "type": "SCALAR"}]}]},
         "offers.offers[0].resources[0].scalar"),
        ("OFFERS", {"offers": [{**OFFER, "resources": [{"name": "cpus", "type": "SCALAR", "scalar": {"value": "1"}}]}]},
         "offers.offers[0].resources[0].scalar.value"),
        ("OFFERS", {"offers": [{**OFFER, "resources": [{"name": "mem", "type": "SCALAR", "scalar": {"value": -2.0}}]}]},
         "offers.offers[0].resources[0].scalar.value"),
        ("OFFERS", {"offers": [{**OFFER, "resources": [
            {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 2, "end": 1}]}}]}]},
         "offers.offers[0].resources[0].ranges.range[0]"),
        ("OFFERS", {"offers": [{**OFFER, "resources": [{"name": "ports", "type": "RANGES", "ranges": []}]}]},
         "offers.offers[0].resources[0].ranges"),
        ("OFFERS", {"offers": [{**OFFER, "attributes": [{"name": "rack", "type": "TEXT", "text": {"value": 1}}]}]},
         "offers.offers[0].attributes[0].text.value"),
        ("RESCIND", {}, "rescind.offer_id"),
        ("UPDATE", {"status": {"task_id": {"value": "t"}}}, "update.status.state"),
        ("UPDATE", {"status": {**STATUS, "uuid": "?"}}, "update.status.uuid"),
        ("UPDATE", {"status": {**STATUS, "timestamp": "now"}}, "update.status.timestamp"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_path(kind: str, body: object, path: str) -> None:
    with pytest.raises(WireError) as caught:
        decoded(kind, body)
    assert caught.value.path == path


def test_amounts_that_are_no_numbers() -> None:
    for text in ("NaN", "Infinity", "1e999", "1" + "0" * 400):
        offer = json.dumps({"type": "OFFERS", "offers": {"offers": [OFFER]}}).replace("1.5", text)
        with pytest.raises(WireError):
            decode_event(offer.encode())


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PLACES = [
    ("SUBSCRIBED", {"framework_id": {"value": "f"}, "master_info": {"address": {"ip": "i", "port": 1}}}),
    ("OFFERS", {"offers": [{**OFFER, "attributes": [{"name": "n", "type": "SCALAR", "scalar": {"value": 1}}]}]}),
    ("OFFERS", {"offers": [{**OFFER, "resources": [
        {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 1, "end": 2}]}}]}]}),
    ("INVERSE_OFFERS", {"inverse_offers": [{"id": {"value": "i"}, "unavailability": {"start": {"nanoseconds": 1}}}]}),
    ("UPDATE", {"status": {**STATUS, "labels": {"labels": [{"key": "k"}]}, "timestamp": 1.0}}),
    ("MESSAGE", {"agent_id": {"value": "a"}, "executor_id": {"value": "e"}, "data": ""}),
    ("FAILURE", {"agent_id": {"value": "a"}, "status": 1}),
    ("ERROR", {"message": "m"}),
]  # fmt: skip


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key, inner in value.items():
            found += paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += paths(inner, (*path, index))
    return found


@given(st.data())
def test_whatever_is_changed_in_an_event_only_wire_errors_come(data: st.DataObject) -> None:
    kind, body = data.draw(st.sampled_from(PLACES))
    event = json.loads(json.dumps({"type": kind, kind.lower(): body}))
    path = data.draw(st.sampled_from([one for one in paths(event) if one]))
    owner = event
    for step in path[:-1]:
        owner = owner[step]
    owner[path[-1]] = data.draw(ANYTHING)
    try:
        decode_event(json.dumps(event).encode())
    except WireError:
        pass


@given(st.binary(max_size=60))
def test_whatever_bytes_come_only_wire_errors_do(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_event(data)


CALLS: list[tuple[SchedulerCall, dict[str, Any]]] = [
    (
        Subscribe({"name": "Aurora"}, ("quiet",)),
        {
            "type": "SUBSCRIBE",
            "subscribe": {"framework_info": {"name": "Aurora", "id": {"value": "f"}}, "suppressed_roles": ["quiet"]},
        },
    ),
    (
        Accept(("o1", "o2"), ({"name": "t"},), 2.5),
        {
            "type": "ACCEPT",
            "accept": {
                "offer_ids": [{"value": "o1"}, {"value": "o2"}],
                "operations": [{"type": "LAUNCH", "launch": {"task_infos": [{"name": "t"}]}}],
                "filters": {"refuse_seconds": 2.5},
            },
        },
    ),
    (
        Decline(("o",), 5.0),
        {"type": "DECLINE", "decline": {"offer_ids": [{"value": "o"}], "filters": {"refuse_seconds": 5.0}}},
    ),
    (
        AcceptInverseOffers(("i",)),
        {"type": "ACCEPT_INVERSE_OFFERS", "accept_inverse_offers": {"inverse_offer_ids": [{"value": "i"}]}},
    ),
    (
        DeclineInverseOffers(("i",)),
        {"type": "DECLINE_INVERSE_OFFERS", "decline_inverse_offers": {"inverse_offer_ids": [{"value": "i"}]}},
    ),
    (Revive(), {"type": "REVIVE"}),
    (Suppress(), {"type": "SUPPRESS"}),
    (
        Kill("t", "a", 1.5),
        {
            "type": "KILL",
            "kill": {
                "task_id": {"value": "t"},
                "agent_id": {"value": "a"},
                "kill_policy": {"grace_period": {"nanoseconds": 1_500_000_000}},
            },
        },
    ),
    (Kill("t"), {"type": "KILL", "kill": {"task_id": {"value": "t"}}}),
    (
        Shutdown("e", "a"),
        {"type": "SHUTDOWN", "shutdown": {"executor_id": {"value": "e"}, "agent_id": {"value": "a"}}},
    ),
    (
        Acknowledge("a", "t", b"\0" * 16),
        {
            "type": "ACKNOWLEDGE",
            "acknowledge": {
                "agent_id": {"value": "a"},
                "task_id": {"value": "t"},
                "uuid": "AAAAAAAAAAAAAAAAAAAAAA==",
            },
        },
    ),
    (
        Reconcile((("t", "a"), ("u", None))),
        {
            "type": "RECONCILE",
            "reconcile": {
                "tasks": [{"task_id": {"value": "t"}, "agent_id": {"value": "a"}}, {"task_id": {"value": "u"}}]
            },
        },
    ),
    (Reconcile(()), {"type": "RECONCILE", "reconcile": {"tasks": []}}),
    (
        SendMessage("a", "e", b"hi"),
        {
            "type": "MESSAGE",
            "message": {"agent_id": {"value": "a"}, "executor_id": {"value": "e"}, "data": "aGk="},
        },
    ),
    (Teardown(), {"type": "TEARDOWN"}),
]


@pytest.mark.parametrize("call, written", CALLS)
def test_calls(call: SchedulerCall, written: dict[str, Any]) -> None:
    assert json.loads(encode_call(call, "f")) == {**written, "framework_id": {"value": "f"}}


def test_the_first_subscribe_has_no_framework() -> None:
    written = json.loads(encode_call(Subscribe({"name": "Aurora"}), None))
    assert written == {"type": "SUBSCRIBE", "subscribe": {"framework_info": {"name": "Aurora"}}}


def test_nothing_to_launch_is_no_operation() -> None:
    assert json.loads(encode_call(Accept(("o",), ()), "f"))["accept"]["operations"] == []
