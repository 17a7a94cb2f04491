"""``{{docker.image[NAME][TAG]}}``: asked for at a registry on loopback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scheduler.client import docker
from scheduler.client.clusters import Cluster
from scheduler.client.errors import InvalidConfiguration
from tests.support.aurora_client import Client, Reply, Sent, server

pytestmark = pytest.mark.process

DIGEST = "sha256:" + "ab" * 32
V2 = {"Docker-Distribution-Api-Version": "registry/2.0"}
BASE = Reply(200, b"", V2)
FOUND = Reply(200, b"", {**V2, "Docker-Content-Digest": DIGEST})


def registry(manifest: Callable[[Sent], Reply], base: Reply = BASE) -> Callable[[Sent], Reply]:
    return lambda sent: base if sent.line.split()[1] == "/v2/" else manifest(sent)


def test_a_digest() -> None:
    with server(registry(lambda sent: FOUND)) as made:
        host = made.url.removeprefix("http://")
        assert docker.resolve(made.url, "library/python", "3.13") == f"{host}/library/python@{DIGEST}"
    assert made.sent[1].line == "HEAD /v2/library/python/manifests/3.13 HTTP/1.1"
    assert made.sent[1].headers["Accept"] == "application/vnd.docker.distribution.manifest.v2+json"


def test_a_registry_that_wants_a_token() -> None:
    def manifest(sent: Sent) -> Reply:
        if sent.method == "GET":
            return Reply(200, b'{"token": "t0"}')
        if sent.headers.get("Authorization") == "Bearer t0":
            return FOUND
        challenge = f'Bearer realm="{made.url}/token",service="here",scope="repository:a/b:pull"'
        return Reply(401, b"", {**V2, "WWW-Authenticate": challenge})

    with server(registry(manifest, Reply(401, b"", V2))) as made:
        assert docker.resolve(made.url, "a/b", "1").endswith(f"/a/b@{DIGEST}")
    assert made.sent[2].line == "GET /token?service=here&scope=repository%3Aa%2Fb%3Apull HTTP/1.1"


@pytest.mark.parametrize(
    "reply, said",
    [
        (Reply(404, b"", V2), "has no such image or tag"),
        (Reply(200, b"", V2), "gives no digest"),
        (Reply(500, b"", V2), "gives no digest"),
        (Reply(200, b"", {**V2, "Docker-Content-Digest": "x y"}), "gives no digest"),
        (Reply(403, b"", V2), "gives it only to those it knows"),
        (Reply(401, b"", {**V2, "WWW-Authenticate": 'Basic realm="x"'}), "asks for a password"),
    ],
)
def test_no_digest(reply: Reply, said: str) -> None:
    with server(registry(lambda sent: reply)) as made, pytest.raises(InvalidConfiguration, match=said):
        docker.resolve(made.url, "a/b", "1")


def test_no_registry() -> None:
    with server(lambda sent: Reply(200)) as made, pytest.raises(InvalidConfiguration, match="is no Docker registry"):
        docker.resolve(made.url, "a/b", "1")
    with pytest.raises(InvalidConfiguration, match="it cannot be reached"):
        docker.resolve(made.url, "a/b", "1")
    with pytest.raises(InvalidConfiguration, match="is no URL"):
        docker.resolve("registry.example", "a/b", "1")


def test_dockers_own_registry_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(registry(lambda sent: FOUND)) as made:
        monkeypatch.setattr(docker, "DOCKER_REGISTRY", made.url)
        assert docker.resolve(made.url, "library/python", "3") == f"library/python@{DIGEST}"


def test_each_image_is_asked_for_once() -> None:
    with server(registry(lambda sent: FOUND)) as made:
        bind = docker.image_binder(Cluster("west", {"docker_registry": made.url}, "f"))
        first = bind("docker.image[a/b][1]")
        assert bind("docker.image[a/b][1]") == first
        assert bind("profile.x") is None
    assert len(made.sent) == 2


def test_in_a_configuration(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "x.aurora"
    path.write_text(
        "jobs = [Job(name='n', cluster='west', role='r', environment='devel', "
        "container=Docker(image='{{docker.image[a/b][1]}}'), task=SimpleTask('n', 'true'))]"
    )
    answers: dict[str, Any] = {}
    with server(registry(lambda sent: FOUND)) as made:
        client.cluster(docker_registry=made.url, scheduler_uri=made.url)
        assert client.aurora("config", "list", str(path)).out == "jobs=[west/r/devel/n]\n"
        assert made.sent == []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("scheduler.client.verbs.job_inspect.read_job_with_tier", _without_tier(answers))
            assert client.aurora("job", "inspect", "west/r/devel/n", str(path)).code == 0
    assert answers["job"].container.image == f"{made.url.removeprefix('http://')}/a/b@{DIGEST}"


def _without_tier(answers: dict[str, Any]) -> Any:
    from scheduler.client.job_file import read_job

    def read(*arguments: Any) -> Any:
        answers["job"] = read_job(*arguments)
        return answers["job"]

    return read
