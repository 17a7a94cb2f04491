"""Users, roles and permissions: what the file may say, and what it comes to over HTTP."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Response

from scheduler.api.app import ApiOptions, create_app
from scheduler.api.security import SecurityError, parsed, read_shiro
from scheduler.wire import thrift
from scheduler.wire.thrift import Protocol
from tests.support.engine_backend import EngineBackend, job
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import METHODS, ResponseCode, Service

INI = """
# Aurora's own example, and more
[users]
sally = apple, admin
jim = 123456, accounting
becky = letmein, webapp
larry = 654321,accounting
steve = password
zoë = "pass,wörd", webapp, accounting

[roles]
admin = *
accounting = thrift.AuroraAdmin:setQuota
webapp = thrift.AuroraSchedulerManager:*:webapp
deployer = "thrift.AuroraSchedulerManager:createJob,killTasks:www:prod", thrift.AuroraAdmin:listBackups
"""


def headers(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


class Secured:
    def __init__(self, ini: str = INI, *, is_auth_required_for_reads: bool = False) -> None:
        self.backend = EngineBackend()
        options = ApiOptions(
            security=parsed(ini, "security.ini"), is_auth_required_for_reads=is_auth_required_for_reads
        )
        self.http = Client(create_app(self.backend, options), Response)

    def code(self, path: str, body: bytes, headers: dict[str, str]) -> int | str:
        """The HTTP status, or in a 200 the response code."""
        answer = self.http.post(path, data=body, headers=headers)
        if answer.status_code != 200:
            return answer.status_code
        if path == "/api":
            return str(thrift.decode_reply(answer.data, "createJob", 1, Protocol.JSON).response_code)
        return str(answer.get_json()["responseCode"])


@pytest.fixture
def secured() -> Secured:
    return Secured()


def create(role: str = "www") -> bytes:
    return thrift.encode_call("createJob", 1, {"description": job(role=role)}, Protocol.JSON)


def test_who_may_create_what(secured: Secured) -> None:
    assert secured.code("/api", create(), headers("sally", "apple")) == "OK"
    assert secured.code("/api", create("webapp"), headers("becky", "letmein")) == "OK"
    assert secured.code("/api", create("other"), headers("becky", "letmein")) == "AUTH_FAILED"
    assert secured.code("/api", create("webapp"), headers("zoë", "pass,wörd")) == "INVALID_REQUEST"  # is there already
    assert secured.code("/api", create(), headers("steve", "password")) == "AUTH_FAILED"
    assert len(secured.backend.engine.state.tasks) == 2


def test_a_permission_is_missing(secured: Secured) -> None:
    answer = secured.http.post("/api", data=create(), headers=headers("jim", "123456"))
    response = thrift.decode_reply(answer.data, "createJob", 1, Protocol.JSON)
    assert response.response_code is ResponseCode.AUTH_FAILED
    (detail,) = response.details or ()
    assert detail.message == (
        "Subject jim lacks permission thrift.AuroraSchedulerManager:createJob:www:prod:hello"
    )  # fmt: skip
    figures = secured.http.get("/vars.json").get_json()
    assert figures["shiro_authorization_failures"] == 1
    assert figures["scheduler_thrift_response_AUTH_FAILED"] == 1


@pytest.mark.parametrize(
    "sent",
    [
        {}, headers("sally", "pear"), headers("nobody", "apple"), headers("sally", ""), {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"}, {"Authorization": "Basic " + b64encode(b"\xff\xfe:x").decode()},
        {"Authorization": "Basic " + b64encode(b"sally").decode()}, {"Authorization": "Bearer c2FsbHk6YXBwbGU="},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("path", ["/api", "/apibeta/snapshot"])
def test_no_user(secured: Secured, path: str, sent: dict[str, str]) -> None:
    answer = secured.http.post(path, data=create() if path == "/api" else b"", headers=sent)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith('Basic realm="Apache Aurora Scheduler"')
    assert not secured.backend.engine.state.tasks and not secured.backend.compactions


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.service is Service.READ_ONLY])
def test_reading_is_open(secured: Secured, name: str) -> None:
    assert secured.code(f"/apibeta/{name}", b"", {}) in ("OK", "INVALID_REQUEST", "ERROR")
    assert secured.code(f"/apibeta/{name}", b"", headers("sally", "wrong")) in ("OK", "INVALID_REQUEST", "ERROR")


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.service is not Service.READ_ONLY])
def test_changing_is_not(secured: Secured, name: str) -> None:
    """Every method of the other two services, those that may be added later too."""
    assert secured.code(f"/apibeta/{name}", b"", {}) == 401
    assert secured.code(f"/apibeta/{name}", b"", headers("steve", "password")) == "AUTH_FAILED"
    assert secured.code(f"/apibeta/{name}", b"", headers("sally", "apple")) not in (401, "AUTH_FAILED")


def test_reading_may_need_a_user() -> None:
    secured = Secured(is_auth_required_for_reads=True)
    for path in (
        "/quotas",
        "/vars",
        "/metrics",
        "/offers",
        "/scheduler",
        "/apihelp/index.html",
        "/apibeta/openapi.json",
    ):
        assert secured.http.get(path).status_code == 401, path
        assert secured.http.get(path, headers=headers("steve", "password")).status_code in (200, 404), path
    assert secured.code("/apibeta/getRoleSummary", b"", {}) == 401
    assert secured.code("/apibeta/getRoleSummary", b"", headers("steve", "password")) == "OK"
    assert secured.http.post("/api", data=b'[1,"getRoleSummary",1,0,{}]').status_code == 401
    assert secured.http.get("/health").status_code == 200
    assert secured.http.get("/leaderhealth").status_code == 200


# -- permissions -------------------------------------------------------------------------------------------------------

_M = "thrift.AuroraSchedulerManager"
_A = "thrift.AuroraAdmin"


@pytest.mark.parametrize(
    "permission, wanted, is_allowed",
    [
        ("*", (_A, "setQuota"), True),
        (_A, (_A, "setQuota"), True),
        (_A, (_M, "createJob", "www", "prod", "x"), False),
        (f"{_A}:setQuota", (_A, "setQuota"), True),
        (f"{_A}:setQuota", (_A, "snapshot"), False),
        (f"{_A}:SETQUOTA".lower(), (_A, "setQuota"), True),
        (f"{_M}:*:www", (_M, "createJob", "www", "prod", "x"), True),
        (f"{_M}:*:www", (_M, "createJob", "WWW", "prod", "x"), False),
        (f"{_M}:*:www", (_M, "createJob"), False),  # of a job that says not whose it is
        (f"{_M}:*:*", (_M, "createJob"), True),
        (f"{_M}:createJob,killTasks:www:prod,devel", (_M, "killTasks", "www", "devel", "x"), True),
        (f"{_M}:createJob,killTasks:www:prod,devel", (_M, "killTasks", "www", "test", "x"), False),
        (f"{_M}:createJob:www:prod:x:more", (_M, "createJob", "www", "prod", "x"), False),
        (f"{_M}:createJob:www:prod:x:*", (_M, "createJob", "www", "prod", "x"), True),
    ],
)
def test_permissions(permission: str, wanted: tuple[str, ...], is_allowed: bool) -> None:
    security = parsed(f'[users]\nu = p, r\n[roles]\nr = "{permission}"\n', "x")
    user = security.user("u", "p")
    assert user is not None
    assert security.allows(user, wanted) is is_allowed


def test_the_job_of_a_call_is_the_one_that_is_changed() -> None:
    """A key for show beside a configuration of somebody else's."""
    secured = Secured("[users]\nbecky = letmein, webapp\n[roles]\nwebapp = thrift.AuroraSchedulerManager:*:webapp\n")
    mine = job(role="other")._replace(key=wire.JobKey("webapp", "prod", "hello"))
    body = thrift.encode_call("createJob", 1, {"description": mine}, Protocol.JSON)
    assert secured.code("/api", body, headers("becky", "letmein")) == "INVALID_REQUEST"
    assert not secured.backend.engine.state.tasks


# -- the file ----------------------------------------------------------------------------------------------------------


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "security.ini"
    path.write_text(
        """
early = x
[main]
sessionManager = org.apache.shiro.x
[users]
sally = apple, admin, nobody
sally = pear
empty =
hashed = $shiro1$SHA-256$500000$abc$def, admin
no sign
odd = "a"b
[urls]
/** = authcBasic
[roles]
admin = *
admin = *
old = thrift.AuroraReader:getJobs
typo = thrift.AuroraAdmin:setQouta
hole = thrift.AuroraAdmin::x
"""
    )
    with pytest.raises(SecurityError) as caught:
        read_shiro(str(path))
    said = str(caught.value)
    for words in (
        "line 2: stands before any section",
        "line 3: [main] is not understood; only [users] and [roles] are",
        "line 7: user 'sally' is there twice",
        "line 8: user 'empty' has no password",
        "line 9: the password of 'hashed' is a hash",
        "line 10: should be name = value",
        "line 11: 'odd' has a quotation mark in an odd place",
        "line 12: [urls] is not understood",
        "line 16: role 'admin' is there twice",
        "line 17: the permission 'thrift.AuroraReader:getJobs' is of 'thrift.aurorareader'",
        "line 18: the permission 'thrift.AuroraAdmin:setQouta' is of 'setqouta', and there is no such method",
        "line 19: the permission 'thrift.AuroraAdmin::x' has an empty part",
    ):
        assert words in said, said
    assert "apple" not in said and "abc" not in said  # no password of anybody's


@pytest.mark.parametrize(
    "text, words",
    [("", "it names no users"), ("[users]\nu = p, r\n", "user 'u' has the role 'r', which there is not")],
)
def test_a_file_that_says_too_little(text: str, words: str) -> None:
    with pytest.raises(SecurityError, match=words):
        parsed(text, "x")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SecurityError, match="No such file"):
        read_shiro(str(tmp_path / "none.ini"))
    (tmp_path / "latin.ini").write_bytes(b"[users]\nu = \xff\n")
    with pytest.raises(SecurityError, match=r"latin\.ini"):
        read_shiro(str(tmp_path / "latin.ini"))
