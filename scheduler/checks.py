"""What flags name and must be right before anything begins: files of users, certificates and secrets, and addresses.

Each function gives what was read, or puts what is wrong, with the flag's name before it, into *problems*.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from scheduler.api.security import Security, SecurityError, read_shiro
from scheduler.api.tls import TlsError, context_of, is_certificate
from scheduler.mesos.finder import MasterAddressError, parse_masters, wrong_servers

_PRINCIPAL: Final = "aurora_authentication_principal"
_SECRET: Final = "aurora_authentication_secret"

#: mesos/src/common/roles.cpp, ``validate``.
_PART_OF_ROLE: Final = r"(?!-)(?!\.{1,2}$)(?!\*$)[^/\s\x08]+"

Values = Mapping[str, Any]


def read_text(flag: str, path: str, problems: list[str]) -> str | None:
    """The text of a file."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a path that none can be
        problems.append(f"-{flag} {path}: cannot be read: {getattr(error, 'strerror', None) or error}")
        return None


def security_of(values: Values, problems: list[str]) -> Security | None:
    """Users and what they may do; None: everybody may do everything."""
    path = values["shiro_ini_path"]
    if path is None:
        return None
    try:
        return read_shiro(path)
    except SecurityError as error:
        problems += [f"-shiro_ini_path {path}: {problem}" for problem in error.problems]
        return None


def credential_of(values: Values, problems: list[str]) -> tuple[str, str] | None:
    """Principal and secret, from the file in Aurora's form (a Java properties file)."""
    path = values["framework_authentication_file"]
    text = None if path is None else read_text("framework_authentication_file", path, problems)
    if text is None:
        return None
    where = f"-framework_authentication_file {path}"
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line[0] in "#!":
            continue
        pair = re.fullmatch(r"([^\s=:]+)\s*[=:\s]\s*(.*)", line)
        if pair is None:  # not shown: it may be the secret
            problems.append(f"{where}: line {number} should be name=value")
        else:
            found[pair[1]] = pair[2]
    missing = [name for name in (_PRINCIPAL, _SECRET) if not found.get(name)]
    problems += [f"{where}: there is no {name}" for name in missing]
    return None if missing else (found[_PRINCIPAL], found[_SECRET])


def check_tls(values: Values, problems: list[str]) -> None:
    """Certificates and keys."""
    certificate, key = values["tls_cert"], values["tls_key"]
    if (certificate is None) != (key is None):
        problems.append("-tls_cert and -tls_key belong together")
    elif certificate is not None:
        before = len(problems)
        _check_certificate("tls_cert", certificate, problems)
        _check_readable("tls_key", key, problems)
        if len(problems) == before:
            try:
                context_of(certificate, key)
            except TlsError as error:
                problems.append(f"-tls_key: {error}")
    if values["mesos_tls_ca"] is not None:
        _check_certificate("mesos_tls_ca", values["mesos_tls_ca"], problems)


def _check_certificate(flag: str, path: str, problems: list[str]) -> None:
    if _check_readable(flag, path, problems) and not is_certificate(path):
        problems.append(f"-{flag} {path}: there is no certificate in it, as PEM")


def _check_readable(flag: str, path: str, problems: list[str]) -> bool:
    try:
        with open(path, "rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        problems.append(f"-{flag} {path}: cannot be read: {getattr(error, 'strerror', None) or error}")
        return False
    return True


def check_addresses(values: Values, problems: list[str]) -> None:
    """Where Mesos and ZooKeeper are, and as whom, and below what, we are there."""
    if values["mesos_master_address"] is not None:
        try:
            parse_masters(values["mesos_master_address"])
        except MasterAddressError as error:
            problems.append(f"-mesos_master_address: {error}")
    problems += [
        f"-zk_endpoints: {server!r} should be like zk1.example.org:2181"
        for server in wrong_servers(values["zk_endpoints"])
    ]
    role = values["mesos_role"]
    if role != "*" and not all(re.fullmatch(_PART_OF_ROLE, part) for part in role.split("/")):
        problems.append(f"-mesos_role {role}: Mesos takes no such role; it should be like www or www/prod")
    for flag in ("zk_chroot_path", "serverset_path"):
        path = values[flag]
        if path is not None and re.fullmatch(r"(/[^/\s]+)+/?", path) is None:
            problems.append(f"-{flag} {path}: should be like /aurora/scheduler")
    credential = values["zk_digest_credentials"]
    if credential and not re.fullmatch(r"[^:]+:.+", credential):  # not shown
        problems.append("-zk_digest_credentials: should be user:password")
