from __future__ import annotations

import socket
from pathlib import Path

import pytest

from observer_static.notify import notify


@pytest.mark.parametrize("abstract", [False, True])
def test_what_is_told_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    path = f"@{tmp_path}" if abstract else f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path.replace("@", "\0", 1))
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        assert notify("READY=1", "STATUS=3 tasks\nMAINPID=1")
        assert listener.recv(4096) == b"READY=1\nSTATUS=3 tasks MAINPID=1"


@pytest.mark.parametrize("address", [None, "", "relative", "/nowhere/at/all"])
def test_with_nobody_to_tell_nothing_happens(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    if address is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify("READY=1")
