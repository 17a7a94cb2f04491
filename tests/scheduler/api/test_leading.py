"""Who does not lead sends clients on."""

from __future__ import annotations

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Response

from scheduler.api.app import create_app
from scheduler.api.backend import Leader
from tests.support.engine_backend import EngineBackend

LEADERS = [
    "/api", "/apibeta", "/apibeta/getJobs", "/agents", "/slaves", "/cron", "/maintenance", "/mname/a/b/c/0", "/offers",
    "/pendingtasks", "/quotas", "/state", "/tiers", "/utilization", "/scheduler", "/scheduler/www", "/updates", "/",
]  # fmt: skip
EVERYBODYS = ["/health", "/vars", "/vars.json", "/leaderhealth", "/services", "/metrics"]


@pytest.fixture
def backend() -> EngineBackend:
    return EngineBackend()


@pytest.fixture
def http(backend: EngineBackend) -> Client:
    return Client(create_app(backend), Response)


@pytest.mark.parametrize("path", LEADERS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_leads(backend: EngineBackend, http: Client, path: str, method: str) -> None:
    backend.leading = Leader(False, "https://other.example.org:8443")
    answer = http.open(f"{path}?a=b&c=d%20e", method=method, headers={"Host": "evil.example.com"})
    assert answer.status_code == 307
    assert answer.headers["Location"] == f"https://other.example.org:8443{path}?a=b&c=d%20e"


def test_no_query_no_question_mark(backend: EngineBackend, http: Client) -> None:
    backend.leading = Leader(False, "http://other:1/")
    assert http.get("/scheduler/www").headers["Location"] == "http://other:1/scheduler/www"


@pytest.mark.parametrize(
    "path", ["/scheduler/x%0d%0aSet-Cookie:%20a=b", "/scheduler/%E2%82%AC", "/scheduler/..%2f", "/scheduler/a%20b"]
)
def test_a_path_stays_a_path(backend: EngineBackend, http: Client, path: str) -> None:
    backend.leading = Leader(False, "http://other:1")
    answer = http.get(path)
    location = answer.headers["Location"]
    assert "\n" not in location and "\r" not in location and " " not in location
    assert location.startswith("http://other:1/scheduler/")
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("path", LEADERS)
def test_nobody_leads(backend: EngineBackend, http: Client, path: str) -> None:
    backend.leading = Leader(False, None)
    answer = http.get(path)
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert "No scheduler leads" in answer.text


@pytest.mark.parametrize("path", EVERYBODYS)
@pytest.mark.parametrize("url", ["http://other:1", None])
def test_what_everybody_answers(backend: EngineBackend, http: Client, path: str, url: str | None) -> None:
    backend.leading = Leader(False, url)
    assert http.get(path).status_code in ((200,) if path != "/leaderhealth" else (502, 503))


@pytest.mark.parametrize("value", ["true", "false", ""])
def test_the_way_around(backend: EngineBackend, http: Client, value: str) -> None:
    backend.leading = Leader(False, "http://other:1")
    headers = {"Bypass-Leader-Redirect": value}
    assert http.get("/quotas", headers=headers).status_code == 200
    read = http.post("/apibeta/getRoleSummary", headers=headers)
    assert (read.status_code, read.get_json()["responseCode"]) == (200, "OK")
    # Who does not lead changes nothing, whoever asks.
    changed = http.post("/apibeta/triggerImplicitTaskReconciliation", headers=headers)
    assert changed.get_json()["responseCode"] == "ERROR_TRANSIENT"


def test_the_leader(http: Client) -> None:
    assert http.get("/leaderhealth").status_code == 200
    assert http.get("/quotas").status_code == 200


def test_leader_health(backend: EngineBackend, http: Client) -> None:
    backend.leading = Leader(False, "http://other:1")
    assert http.get("/leaderhealth").status_code == 503
    backend.leading = Leader(False, None)
    assert http.get("/leaderhealth").status_code == 502
