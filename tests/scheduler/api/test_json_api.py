"""``/apibeta`` and ``/apihelp``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse
from werkzeug.wrappers import Response

from scheduler.api.app import ApiOptions, create_app
from scheduler.wire.plain_json import plain
from tests.support.engine_backend import EngineBackend, job
from thermos.formats.aurora_api import JOB_CONFIGURATION, METHODS


@pytest.fixture
def http() -> Client:
    return Client(create_app(EngineBackend(), ApiOptions(cluster_name="west")), Response)


def call(http: Client, name: str, body: Any = b"", status: int = 200, **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = http.post(f"/apibeta/{name}", data=data, headers=headers)
    assert (answer.status_code, answer.mimetype) == (status, "application/json")
    found = answer.get_json()
    assert found["serverInfo"] == {"clusterName": "west", "statsUrlPrefix": ""}
    assert isinstance(found["details"], list)
    return found


def test_a_job(http: Client) -> None:
    written = plain(JOB_CONFIGURATION, job(2))
    assert call(http, "createJob", {"description": written})["responseCode"] == "OK"
    assert call(http, "createJob", {"description": written})["responseCode"] == "INVALID_REQUEST"
    key = {"role": "www", "environment": "prod", "name": "hello"}
    query = {"jobKeys": [key], "statuses": ["PENDING"]}
    found = call(http, "getTasksStatus", {"query": query})
    tasks = found["result"]["scheduleStatusResult"]["tasks"]
    assert [task["assignedTask"]["instanceId"] for task in tasks] == [0, 1]
    assert {task["status"] for task in tasks} == {"PENDING"}
    assert {"namedPort": "http"} in tasks[0]["assignedTask"]["task"]["resources"]
    killed = call(http, "killTasks", {"job": key, "instances": [0]})
    assert killed == {"responseCode": "OK", "serverInfo": killed["serverInfo"], "details": []}


@pytest.mark.parametrize("body", [b"", b"  ", b"{}", b"null"])
def test_no_arguments(http: Client, body: bytes) -> None:
    status = 400 if body == b"null" else 200
    found = call(http, "getRoleSummary", body, status)
    assert found["responseCode"] == ("OK" if status == 200 else "ERROR")


def test_a_name_that_is_missing_is_null(http: Client) -> None:
    assert call(http, "getTasksStatus", {})["result"]["scheduleStatusResult"]["tasks"] == []
    found = call(http, "createJob", {"description": None})
    assert (found["responseCode"], found["details"]) == (
        "INVALID_REQUEST", [{"message": "the job's description is missing"}],
    )  # fmt: skip


@pytest.mark.parametrize(
    "body, words",
    [
        (b"{", "not JSON"),
        (b"[]", "an object should be here"),
        (b"7", "an object should be here"),
        (b"\xff", "not JSON"),
        (b'{"query": {"role": NaN}}', "not JSON"),
        (b'{"query": ' + b"[" * 100_000, "nested too deep"),
        (b'{"query": 7}', "query: an object should be here, not 7"),
        (b'{"qeury": {}}', "'qeury' is unknown; there are query"),
        (b'{"query": {"statuses": ["RUNING"]}}', "one of PENDING"),
    ],
)
def test_a_body_that_is_none(http: Client, body: bytes, words: str) -> None:
    found = call(http, "getTasksStatus", body, 400)
    assert found["responseCode"] == "ERROR"
    assert words in found["details"][0]["message"]


def test_an_unknown_method(http: Client) -> None:
    assert call(http, "getNothing", {}, 404)["responseCode"] == "ERROR"
    assert call(http, "__init__", {}, 404)["responseCode"] == "ERROR"


def test_a_method_is_posted_to(http: Client) -> None:
    answer = http.get("/apibeta/getRoleSummary")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def location(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.headers["Location"]


def test_help(http: Client) -> None:
    assert location(http.get("/apibeta")) == (303, "/apihelp/index.html")
    assert location(http.get("/apihelp")) == (303, "/apihelp/index.html")
    page = http.get("/apihelp/index.html").text
    assert "killTasks(job, instances, message)" in page
    assert all(name in page for name in METHODS)
    assert http.get("/apihelp/other").status_code == 404


def test_gzip(http: Client) -> None:
    answer = http.post("/apibeta/getTierConfigs", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
