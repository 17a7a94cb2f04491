"""The API's description: it is what the code says, it is valid, and a running server keeps to it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from scheduler.api import reference
from scheduler.api.app import ApiOptions, create_app
from scheduler.api.openapi import describe, document
from scheduler.api.server import Server
from scheduler.wire.plain_json import plain
from scheduler.wire.schema import ARGUMENTS, schema_of
from tests.support.api_values import values
from tests.support.engine_backend import EngineBackend
from thermos.formats.aurora_api import METHODS, RESPONSE

pytestmark = pytest.mark.process

schemathesis: Any = pytest.importorskip("schemathesis")


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_page_is_up_to_date(name: str) -> None:
    assert (reference.DIRECTORY / name).read_text("utf-8") == reference.PAGES[name](), (
        "run: python -m scheduler.api.reference --write"
    )


def test_check_notices_an_old_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "DIRECTORY", tmp_path / "reference")
    assert reference.main(["--check"]) == 1
    assert reference.main(["--write"]) == 0
    assert reference.main(["--check"]) == 0


def test_every_method_is_there() -> None:
    assert {path.removeprefix("/apibeta/") for path in describe()["paths"]} == METHODS.keys()


def validator(schema: dict[str, Any]) -> Any:
    jsonschema: Any = pytest.importorskip("jsonschema")
    return jsonschema.Draft202012Validator({**schema, "components": describe()["components"]})


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(response=values(RESPONSE))
def test_whatever_is_answered_is_described(response: Any) -> None:
    written = plain(RESPONSE, response)
    required = {"responseCode": "OK", "serverInfo": {}, "details": []}
    validator({"$ref": "#/components/schemas/Response"}).validate(required | written)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = Server(create_app(EngineBackend(), ApiOptions()), "127.0.0.1", 0)
    server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.close()


@pytest.fixture(scope="module")
def schema(url: str) -> Any:
    loaded = schemathesis.openapi.from_url(f"{url}/apibeta/openapi.json")
    assert loaded.raw_schema == json.loads(document())
    loaded.validate()
    return loaded


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
@pytest.mark.parametrize("name", METHODS)
def test_a_server_keeps_to_it(schema: Any, name: str, mode: str, caplog: pytest.LogCaptureFixture) -> None:
    """Bodies that the description allows are answered as it says; those that it does not, with 400."""
    if mode == "NEGATIVE" and not METHODS[name].arguments:
        pytest.skip("takes nothing")
    caplog.set_level(logging.ERROR)
    operation = schema[f"/apibeta/{name}"]["POST"]
    strategy = operation.as_strategy(generation_mode=schemathesis.GenerationMode[mode])

    @settings(max_examples=5, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=strategy)
    def ask(case: Any) -> None:
        response = case.call()
        case.validate_response(response)
        assert response.status_code == 200 if mode == "POSITIVE" else response.status_code in (200, 400)

    ask()
    assert not caplog.records  # nothing failed behind a polite answer


def test_arguments_are_described_as_they_are_read() -> None:
    for name, struct in ARGUMENTS.items():
        described = describe()["paths"][f"/apibeta/{name}"]["post"]["requestBody"]
        properties = described["content"]["application/json"]["schema"]["properties"]
        assert properties.keys() == schema_of(struct).by_name.keys()
