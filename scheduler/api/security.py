"""Who may do what: users, roles and permissions of a ``security.ini`` as Aurora reads it.

    [users]
    sally = apple, admin
    [roles]
    admin = *
    webapp = thrift.AuroraSchedulerManager:*:webapp

A permission is parts with a colon between them; a part is names with commas between them, or ``*``; parts that are left
out at the end stand for all. What a call needs is ``thrift.SERVICE:METHOD:ROLE:ENVIRONMENT:JOB``. Source: Aurora
0.22, ``docs/operations/security.md``; Apache Shiro's ``IniRealm`` and ``WildcardPermission``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hmac import compare_digest
from typing import Final, NamedTuple

from thermos.errors import ExitCode, ThermosError
from thermos.formats.aurora_api import METHODS, Service

_SECTION: Final = re.compile(r"\[(.*)\]")
#: Words with commas between them; a word in double quotes may have commas.
_WORD: Final = re.compile(r'\s*(?:"([^"]*)"|([^,"]*))\s*(?:,|$)')
#: Passwords that Shiro reads as hashes: ``$shiro1$SHA-256$…``. They are not supported by Aurora, nor here.
_HASH: Final = "$shiro1$"

_SERVICES: Final = frozenset(f"thrift.{service.value}".lower() for service in Service)
#: Names by which an administrator's permission may call a method.
_METHODS: Final = frozenset(name.lower() for name in METHODS)


class SecurityError(ThermosError):
    """The file cannot be used; says all that is wrong with it, by line."""

    exit_code = ExitCode.DAMAGED  # 3, as for every configuration that cannot be used

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{source}: " + "\n  ".join(problems))


class Permission(NamedTuple):
    """What may be done: a set of names for each part, ``*`` among them for all."""

    parts: tuple[frozenset[str], ...]

    def allows(self, wanted: Sequence[str]) -> bool:
        """Whether it allows *wanted*: (``thrift.SERVICE``, method, role, environment, job)."""
        for index, part in enumerate(self.parts):
            if "*" in part:
                continue
            if index >= len(wanted):
                return False  # what is wanted is more than this allows
            # Shiro knows no case. Services and methods have no twins but for that; roles, which are users, do.
            if (wanted[index].lower() if index < 2 else wanted[index]) not in part:
                return False
        return True


class User(NamedTuple):
    """Somebody with a password."""

    name: str
    password: str
    roles: tuple[str, ...]


class Security:
    """Users and what they may do."""

    def __init__(self, users: Sequence[User], roles: dict[str, tuple[Permission, ...]]) -> None:
        self._users = {user.name: user for user in users}
        self._roles = roles

    def user(self, name: str, password: str) -> User | None:
        """The user of that name, if the password is theirs. Takes as long for a name that there is not."""
        known = self._users.get(name)
        expected = known.password if known is not None else password + "."
        is_right = compare_digest(expected.encode("utf-8", "replace"), password.encode("utf-8", "replace"))
        return known if is_right else None

    def allows(self, user: User, wanted: Sequence[str]) -> bool:
        """Whether one of the user's roles allows it."""
        return any(permission.allows(wanted) for role in user.roles for permission in self._roles.get(role, ()))


def read_shiro(path: str) -> Security:
    """What the file at *path* says. Raises SecurityError."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a path that none can be
        raise SecurityError(path, [f"cannot be read: {getattr(error, 'strerror', None) or error}"]) from None
    return parsed(text, path)


def parsed(text: str, source: str) -> Security:
    """What the file says. Raises SecurityError with all that is wrong with it."""
    problems: list[str] = []
    users: dict[str, User] = {}
    roles: dict[str, tuple[Permission, ...]] = {}
    for section, number, key, value in _lines(text, problems):
        where = f"line {number}"
        words = _words(value)
        if words is None:
            problems.append(f"{where}: {key!r} has a quotation mark in an odd place")
        elif section == "users":
            if key in users:
                problems.append(f"{where}: user {key!r} is there twice")
            password, *names = words
            if not password:
                problems.append(f"{where}: user {key!r} has no password")
            elif password.startswith(_HASH):
                problems.append(f"{where}: the password of {key!r} is a hash, and only plain ones are understood")
            users[key] = User(key, password, tuple(names))
        else:
            if key in roles:
                problems.append(f"{where}: role {key!r} is there twice")
            roles[key] = tuple(_permissions(words, where, problems))
    for user in users.values():
        problems += [f"user {user.name!r} has the role {role!r}, which there is not" for role in user.roles
                     if role not in roles]  # fmt: skip
    if not users and not problems:
        problems.append("it names no users")
    if problems:
        raise SecurityError(source, problems)
    return Security(list(users.values()), roles)


def _lines(text: str, problems: list[str]) -> Iterator[tuple[str, int, str, str]]:
    """(section, number of the line, key, value) of every line that says something."""
    section = ""
    is_known = False
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        header = _SECTION.fullmatch(line)
        if header is not None:
            section = header[1].strip()
            is_known = section in ("users", "roles")
            if not is_known:
                problems.append(f"line {number}: [{section}] is not understood; only [users] and [roles] are")
            continue
        key, sign, value = line.partition("=")
        if not section:
            problems.append(f"line {number}: stands before any section; [users] or [roles] should come first")
            section = "?"
        elif is_known and (not sign or not key.strip()):
            problems.append(f"line {number}: should be name = value")
        elif is_known:
            yield section, number, key.strip(), value.strip()


def _words(value: str) -> list[str] | None:
    """The words of *value*; None: quotation marks are where none can be."""
    found: list[str] = []
    offset = 0
    while offset < len(value) or not found:
        match = _WORD.match(value, offset)
        if match is None:
            return None
        found.append(match[1] if match[1] is not None else match[2].strip())
        if match.end() == offset:
            break
        offset = match.end()
    return found


def _permissions(words: list[str], where: str, problems: list[str]) -> Iterator[Permission]:
    for word in words:
        parts = [frozenset(name.strip() for name in part.split(",") if name.strip()) for part in word.split(":")]
        if not all(parts):
            problems.append(f"{where}: the permission {word!r} has an empty part")
            continue
        lowered = [frozenset(name.lower() for name in part) for part in parts[:2]]
        unknown = sorted(lowered[0] - _SERVICES - {"*"})
        if unknown:
            services = ", ".join(f"thrift.{service.value}" for service in Service)
            problems.append(f"{where}: the permission {word!r} is of {unknown[0]!r}; there are {services} and *")
        unknown = sorted((lowered[1] if len(lowered) > 1 else frozenset[str]()) - _METHODS - {"*"})
        if unknown:
            problems.append(f"{where}: the permission {word!r} is of {unknown[0]!r}, and there is no such method")
        yield Permission((*lowered, *parts[2:]))


def wanted_by(service: Service, method: str, job: Sequence[str] = ()) -> tuple[str, ...]:
    """What a call needs; *job*: role, environment and name of the job that it is about, where it is about one."""
    return (f"thrift.{service.value}", method, *job)
