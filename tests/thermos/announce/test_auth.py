"""The file of credentials and rules: read, and everything that is wrong with it told at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thermos.announce.auth import Auth, Rule, load
from thermos.errors import TaskInvalid


def write(tmp_path: Path, raw: object) -> str:
    file = tmp_path / "auth.json"
    file.write_text(raw if isinstance(raw, str) else json.dumps(raw))
    return str(file)


def test_what_is_documented(tmp_path: Path) -> None:
    raw = {
        "auth": [{"scheme": "digest", "credential": "u:p:q"}],
        "acl": [
            {"scheme": "digest", "credential": "u:p", "permissions": {"read": True, "write": False, "admin": True}},
            {"scheme": "world", "credential": "anyone", "permissions": {}},
        ],
    }
    rules = (Rule("digest", "u:p", frozenset({"read", "admin"})), Rule("world", "anyone", frozenset()))
    assert load(write(tmp_path, raw)) == Auth((("digest", "u:p:q"),), rules)


def test_an_empty_one_is_fine(tmp_path: Path) -> None:
    assert load(write(tmp_path, {})) == Auth()


@pytest.mark.parametrize(
    "raw, words",
    [
        ("{", ["is not JSON"]),
        ("[" * 100_000, ["is not JSON"]),
        ([], ["is no JSON object"]),
        ({"auth": {}, "other": 1}, ["other: is unknown", "auth: is no list"]),
        ({"auth": [{"scheme": 1}]}, ["auth[0].scheme", "auth[0].credential"]),
        ({"auth": [{"scheme": "digest", "credential": "nobody"}]}, ["is not USER:PASSWORD"]),
        (
            {"acl": [{"scheme": "x", "credential": "y", "permissions": {"fly": True, "read": 1}, "z": 0}, 3]},
            ["acl[0].z", "permissions.fly: is unknown", "permissions.read: is neither", "acl[1]: is no object"],
        ),
    ],
)
def test_all_that_is_wrong_is_told(tmp_path: Path, raw: object, words: list[str]) -> None:
    path = write(tmp_path, raw)
    with pytest.raises(TaskInvalid) as caught:
        load(path)
    for word in [path, *words]:
        assert word in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(str(tmp_path / "absent"))
