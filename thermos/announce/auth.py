"""Credentials and access rules for ZooKeeper: the file that ``--announcer-zookeeper-auth-config`` names.

Layout, as Aurora documents it::

    {"auth": [{"scheme": "digest", "credential": "user:password"}],
     "acl":  [{"scheme": "digest", "credential": "user:password",
               "permissions": {"read": true, "write": true, "create": true, "delete": true, "admin": true}}]}
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from thermos.definition import Problem
from thermos.errors import TaskInvalid

#: Names of permissions.
PERMISSIONS: Final = ("read", "write", "create", "delete", "admin")
_MAX_BYTES: Final = 1 << 20


class Rule(NamedTuple):
    """Who may do what with the nodes that are made."""

    scheme: str
    credential: str
    #: Those of :data:`PERMISSIONS` that are granted.
    permissions: frozenset[str]


class Auth(NamedTuple):
    """Who we are (scheme, credential), and the rules for what we make; empty: everybody may everything."""

    credentials: tuple[tuple[str, str], ...] = ()
    rules: tuple[Rule, ...] = ()


def load(path: str) -> Auth:
    """What the file says. Raises TaskInvalid with everything that is wrong with it, and OSError."""
    with open(path, "rb") as file:
        data = file.read(_MAX_BYTES)
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise TaskInvalid(path, [Problem("", f"is not JSON: {error}")]) from None
    found: list[Problem] = []
    if not isinstance(raw, dict):
        raise TaskInvalid(path, [Problem("", "is no JSON object")])
    found += [Problem(name, "is unknown", "there are `auth` and `acl`") for name in raw.keys() - {"auth", "acl"}]
    credentials = tuple(_credential(one, f"auth[{i}]", found) for i, one in enumerate(_list(raw, "auth", found)))
    rules = tuple(_rule(one, f"acl[{i}]", found) for i, one in enumerate(_list(raw, "acl", found)))
    if found:
        raise TaskInvalid(path, found)
    return Auth(credentials, rules)


def _list(raw: dict[str, Any], name: str, found: list[Problem]) -> list[Any]:
    value = raw.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        found.append(Problem(name, "is no list"))
        return []
    return value


def _credential(raw: Any, path: str, found: list[Problem], also: frozenset[str] = frozenset()) -> tuple[str, str]:
    if not isinstance(raw, dict):
        found.append(Problem(path, "is no object"))
        return "", ""
    known = {"scheme", "credential"} | also
    found += [Problem(f"{path}.{name}", "is unknown") for name in sorted(raw.keys() - known)]
    for name in ("scheme", "credential"):
        if not isinstance(raw.get(name), str) or not raw[name]:
            found.append(Problem(f"{path}.{name}", "is missing, or is no text"))
    scheme, credential = str(raw.get("scheme", "")), str(raw.get("credential", ""))
    if scheme == "digest" and ":" not in credential:
        found.append(Problem(f"{path}.credential", "is not USER:PASSWORD"))
    return scheme, credential


def _rule(raw: Any, path: str, found: list[Problem]) -> Rule:
    scheme, credential = _credential(raw, path, found, frozenset({"permissions"}))
    permissions = raw.get("permissions") if isinstance(raw, dict) else None
    granted = set()
    if permissions is not None and not isinstance(permissions, dict):
        found.append(Problem(f"{path}.permissions", "is no object"))
    elif permissions is not None:
        for name, value in permissions.items():
            if name not in PERMISSIONS:
                found.append(Problem(f"{path}.permissions.{name}", "is unknown", f"there are {', '.join(PERMISSIONS)}"))
            elif not isinstance(value, bool):
                found.append(Problem(f"{path}.permissions.{name}", "is neither true nor false"))
            elif value:
                granted.add(name)
    return Rule(scheme, credential, frozenset(granted))
