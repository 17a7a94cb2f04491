"""Whom the server answers, and what a browser may do with what it gets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from observer_static.serve.security import DATA_POLICY, Hosts, Kind, refuse
from tests.support.served import Client, Host, a_run

pytestmark = pytest.mark.process

NAME = "host1.example.org"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    host = Host(tmp_path)
    host.add("one", a_run("p"), logs={"p/0/stdout": b"out\n"})
    with host.serving(allowed_hosts=["observer.internal"]) as client:
        yield client


@pytest.mark.parametrize(
    "host, is_ours",
    [
        ("127.0.0.1", True),
        ("127.0.0.1:1338", True),
        ("127.8.9.10", True),
        ("[::1]:1338", True),
        ("localhost:1338", True),
        ("LOCALHOST", True),
        (NAME, True),
        (f"{NAME}.:80", True),
        (socket.gethostname(), True),
        ("observer.internal", True),
        ("evil.example.com", False),
        ("evil.example.com:1338", False),
        ("127.0.0.1.evil.example.com", False),
        ("localhost.evil.example.com", False),
        (f"{NAME}.evil.example.com", False),
        ("192.0.2.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("", False),
        ("localhost, evil.example.com", False),
        ("evil@localhost", False),
        ("localhost/..", False),
        ("localhost:1338:1", False),
        ("[::1", False),
        ("2130706433", False),
        ("a" * 300, False),
        ("localhost\u212a", False),
    ],
)
def test_hosts(host: str, is_ours: bool) -> None:
    assert Hosts("127.0.0.1", NAME, ["observer.internal"]).is_ours(host) is is_ours


def test_a_server_on_all_addresses_has_those_of_this_host_and_no_other() -> None:
    """Documentation's addresses (RFC 5737, RFC 3849) are no host's."""
    hosts = Hosts("0.0.0.0", NAME)
    assert hosts.is_ours("127.0.0.1")
    assert not hosts.is_ours("192.0.2.1")
    assert not hosts.is_ours("[2001:db8::1]")
    assert not hosts.is_ours("0.0.0.0")
    assert not hosts.is_ours("evil.example.com")


def test_a_strangers_name_on_our_address_gets_nothing(client: Client) -> None:
    """DNS rebinding: the browser thinks that it talks to evil.example.com, and would let its page read the answer."""
    for target in ("/", "/j/task_ids", "/logdata/one/p/0/stdout", "/download/one/.logs/p/0/stdout", "/metrics"):
        answer = client.get(target, {"Host": "evil.example.com"})
        assert answer.status == 403
        assert b"out" not in answer.body.replace(b"without", b"")
    assert client.get("/j/task_ids", {"Host": "observer.internal"}).status == 200
    assert client.get("/j/task_ids", {"Host": "localhost:9"}).status == 200


def test_a_request_that_names_no_host_or_two_is_refused(client: Client) -> None:
    assert b" 403 " in client.raw(b"GET /health HTTP/1.0\r\n\r\n").split(b"\r\n")[0]
    twice = b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example.com\r\nConnection: close\r\n\r\n"
    assert b" 403 " in client.raw(twice).split(b"\r\n")[0]


def test_what_a_proxy_claims_is_not_believed(client: Client) -> None:
    forwarded = {"X-Forwarded-Host": "localhost", "Forwarded": "host=localhost", "Host": "evil.example.com"}
    assert client.get("/health", forwarded).status == 403


OWN = "http://127.0.0.1:1338"


@pytest.mark.parametrize(
    "kind, headers, status",
    [
        (Kind.DATA, {}, None),
        (Kind.DATA, {"origin": OWN}, None),
        (Kind.DATA, {"origin": "https://localhost"}, None),
        (Kind.DATA, {"sec-fetch-site": "same-origin"}, None),
        (Kind.DATA, {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, None),
        (Kind.DATA, {"origin": "https://evil.example.com"}, 403),
        (Kind.DATA, {"origin": "null"}, 403),
        (Kind.DATA, {"origin": "file://"}, 403),
        (Kind.DATA, {"origin": OWN + " http://evil.example.com"}, 403),
        (Kind.DATA, {"origin": OWN, "sec-fetch-site": "cross-site"}, 403),
        (Kind.DATA, {"sec-fetch-site": "cross-site"}, 403),
        (Kind.DATA, {"sec-fetch-site": "same-site"}, 403),  # another port of this host: any task's own pages
        (Kind.DATA, {"sec-fetch-site": "nonsense"}, 403),
        (Kind.DATA, {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 403),
        (Kind.PAGE, {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, None),
        (Kind.PAGE, {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, 403),
        (Kind.PAGE, {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}, 403),
        (Kind.PAGE, {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, None),
        (Kind.PAGE, {"origin": "https://evil.example.com"}, 403),
    ],
)
def test_origins(kind: Kind, headers: dict[str, str], status: int | None) -> None:
    found = refuse(Hosts("127.0.0.1", NAME), kind, "GET", {"host": "127.0.0.1", **headers})
    assert (found.status if found is not None else None) == status


@pytest.mark.parametrize("target", ["/j/task/one", "/logdata/one/p/0/stdout", "/filedata/one/x", "/file/one/x",
                                    "/download/one/x", "/vars.json", "/metrics"])  # fmt: skip
def test_data_is_not_told_to_pages_from_elsewhere(client: Client, target: str) -> None:
    assert client.get(target, {"Origin": "https://evil.example.com"}).status == 403
    assert client.get(target, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}).status == 403
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get(target, followed).status == 403


@pytest.mark.parametrize("target", ["/", "/main", "/task/one", "/rawtask/one", "/process/one/p", "/browse/one",
                                    "/logs/one/p/0/stdout", "/task/one/index.html"])  # fmt: skip
def test_links_from_elsewhere_lead_to_pages(client: Client, target: str) -> None:
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get(target, followed).status in (200, 302)
    assert client.get(target, {**followed, "Sec-Fetch-Dest": "iframe"}).status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "FROB"])
def test_it_only_reads(client: Client, method: str) -> None:
    for target in ("/", "/j/task_ids", "/quitquitquit", "/abortabortabort"):
        answer = client.get(target, method=method)
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD"


def test_nothing_ends_the_observer(client: Client) -> None:
    for target in ("/quitquitquit", "/abortabortabort", "/threads", "/profile"):
        assert client.get(target).status == 404
    assert client.get("/health").text == "OK\n"


def test_a_body_is_refused(client: Client) -> None:
    said = client.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
    assert b" 413 " in said.split(b"\r\n")[0]


def test_every_answer_carries_its_fences(client: Client) -> None:
    for target in ("/health", "/j/task_ids", "/nothing", "/task/one", "/favicon.ico"):
        headers = client.get(target).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"]
        assert "Server" not in headers
        assert "Access-Control-Allow-Origin" not in headers
    assert client.get("/j/task_ids").headers["Content-Security-Policy"] == DATA_POLICY
