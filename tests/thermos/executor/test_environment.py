"""What an agent says through the environment."""

from __future__ import annotations

import pytest

from thermos.core.session_events import Settings
from thermos.executor.environment import (
    TOKEN,
    AgentAddress,
    NotUnderMesos,
    Tls,
    parse_endpoint,
    parse_pid,
    take,
)

#: As an agent of 1.11 sets it for a framework that checkpoints.
FULL = {
    "MESOS_FRAMEWORK_ID": "F-0000",
    "MESOS_EXECUTOR_ID": "executor-t",
    "MESOS_DIRECTORY": "/var/lib/mesos/slaves/S0/runs/x",
    "MESOS_SANDBOX": "/mnt/mesos/sandbox",
    "MESOS_SLAVE_PID": "slave(1)@127.0.0.1:5051",
    "MESOS_AGENT_ENDPOINT": "127.0.0.1:5051",
    "MESOS_CHECKPOINT": "1",
    "MESOS_RECOVERY_TIMEOUT": "15mins",
    "MESOS_SUBSCRIPTION_BACKOFF_MAX": "2secs",
    "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": "5secs",
}


def test_all_of_it() -> None:
    environ = {**FULL, TOKEN: "secret", "HOME": "/root"}
    found = take(environ)
    assert found.settings == Settings("executor-t", "F-0000", True, 900.0, 2.0, 5.0)
    assert found.address == AgentAddress("127.0.0.1", 5051, "/slave(1)/api/v1/executor")
    assert str(found.address) == "http://127.0.0.1:5051/slave(1)/api/v1/executor"
    assert (found.sandbox, found.directory) == ("/mnt/mesos/sandbox", "/var/lib/mesos/slaves/S0/runs/x")
    assert found.token == "secret"
    assert environ == {**FULL, "HOME": "/root"}, "no task inherits the token"


@pytest.mark.parametrize("value, checkpoint", [("1", True), ("0", False), ("", False), ("true", False), (None, False)])
def test_checkpointing_is_a_one(value: str | None, checkpoint: bool) -> None:
    environ = {name: text for name, text in FULL.items() if name != "MESOS_CHECKPOINT"}
    if value is not None:
        environ["MESOS_CHECKPOINT"] = value
    assert take(environ).settings.checkpoint is checkpoint


@pytest.mark.parametrize(("value", "timeout_s"), [(None, 1.0), ("", 1.0), ("2.5", 2.5), ("10", 10.0)])
def test_how_long_a_request_to_stop_may_take(value: str | None, timeout_s: float) -> None:
    more = {"AURORA_HTTP_SIGNALER_TIMEOUT_SECS": value} if value is not None else {}
    assert take({**FULL, **more}).farewell_timeout_s == timeout_s


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1sec"])
def test_what_is_no_time_for_a_request_to_stop(value: str) -> None:
    with pytest.raises(NotUnderMesos) as refused:
        take({**FULL, "AURORA_HTTP_SIGNALER_TIMEOUT_SECS": value})
    assert f"AURORA_HTTP_SIGNALER_TIMEOUT_SECS, which is set, but {value!r} is no number of seconds" in str(
        refused.value
    )


def test_without_the_agents_process_id_its_endpoint_serves() -> None:
    environ = {name: text for name, text in FULL.items() if name != "MESOS_SLAVE_PID"}
    assert take(environ).address == AgentAddress("127.0.0.1", 5051, "/api/v1/executor")


def test_a_socket_file_takes_the_place_of_host_and_port_and_of_https() -> None:
    environ = {**FULL, "MESOS_DOMAIN_SOCKET": "/var/run/agent.sock", "LIBPROCESS_SSL_ENABLED": "1"}
    address = take(environ).address
    assert (address.socket_path, address.path, address.tls) == (
        "/var/run/agent.sock",
        "/slave(1)/api/v1/executor",
        None,
    )
    assert str(address) == "/var/run/agent.sock/slave(1)/api/v1/executor"


@pytest.mark.parametrize(
    "more, verify, verify_address",
    [
        ({}, False, False),
        ({"VERIFY_SERVER_CERT": "true"}, True, False),
        ({"VERIFY_CERT": "1"}, True, False),
        ({"REQUIRE_CERT": "1"}, True, False),
        ({"CA_FILE": "/ca.pem"}, True, False),
        ({"CA_FILE": "/ca.pem", "VERIFY_SERVER_CERT": "false"}, False, False),
        ({"CA_DIR": "/ca", "VERIFY_IPADD": "true"}, True, True),
    ],
)
def test_https_as_libprocess_is_told(more: dict[str, str], verify: bool, verify_address: bool) -> None:
    environ = (
        FULL | {"LIBPROCESS_SSL_ENABLED": "true"} | {f"LIBPROCESS_SSL_{name}": text for name, text in more.items()}
    )
    tls = take(environ).address.tls
    assert tls == Tls(verify, verify_address, more.get("CA_FILE"), more.get("CA_DIR"), None, None)


def test_everything_that_is_missing_is_told_at_once() -> None:
    with pytest.raises(NotUnderMesos) as caught:
        take({})
    names = {"MESOS_FRAMEWORK_ID", "MESOS_EXECUTOR_ID", "MESOS_DIRECTORY", "MESOS_SLAVE_PID or MESOS_AGENT_ENDPOINT"}
    assert set(caught.value.problems) == names
    assert all(name in str(caught.value) for name in names)


@pytest.mark.parametrize(
    "name, value, told",
    [
        ("MESOS_RECOVERY_TIMEOUT", "15", "'15' is no duration"),
        ("MESOS_SUBSCRIPTION_BACKOFF_MAX", "soon", "'soon' is no duration"),
        ("MESOS_SLAVE_PID", "127.0.0.1:5051", "is not like slave(1)@HOST:PORT"),
        ("MESOS_SLAVE_PID", "slave(1)@127.0.0.1", "'127.0.0.1' is not HOST:PORT"),
        ("MESOS_SLAVE_PID", "a b@127.0.0.1:1", "is not like slave(1)@HOST:PORT"),
        ("MESOS_SLAVE_PID", "x/../y@127.0.0.1:1", "is not like slave(1)@HOST:PORT"),
    ],
)
def test_what_is_wrong_is_told(name: str, value: str, told: str) -> None:
    environ = {key: text for key, text in FULL.items() if key != "MESOS_AGENT_ENDPOINT"} | {name: value, TOKEN: "x"}
    with pytest.raises(NotUnderMesos) as caught:
        take(environ)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{name}, which is set, but ")
    assert told in problem
    assert "x" not in str(caught.value).split(), "the token is nobody's to read"


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":1", "host:0", "host:65536", "host:x", "host:²", "h:" + "9" * 5000]
)
def test_what_is_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        parse_endpoint(text)


def test_an_ipv6_address() -> None:
    assert parse_pid("slave(1)@[::1]:5051") == ("slave(1)", "::1", 5051)
    assert str(AgentAddress("::1", 5051, "/x", tls=Tls(True, True, None, None, None, None))) == "https://[::1]:5051/x"
