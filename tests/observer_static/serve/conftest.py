"""A task with a log and a file in its sandbox, and secrets all around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.served import LOG, SECRET, Client, Host, a_run


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """The host of that task, ``one``."""
    host = Host(tmp_path)
    box = host.add("one", a_run("p"), logs={"p/0/stdout": LOG, "p/0/stderr": b""})
    (box / "data.txt").write_bytes(b"0123456789")
    (box / "sub").mkdir()
    (box / "sub" / "inner").write_bytes(b"inner")
    (tmp_path / "sandboxes" / "secret").write_bytes(SECRET)
    beside = tmp_path / "sandboxes" / "one-beside"  # begins with the sandbox's own path
    beside.mkdir()
    (beside / "secret").write_bytes(SECRET)
    return host


@pytest.fixture
def client(host: Host) -> Iterator[Client]:
    with host.serving() as client:
        yield client


@pytest.fixture
def box(host: Host) -> Path:
    return host.path / "sandboxes" / "one"
