"""A user of the clients."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.aurora_client import Client


@pytest.fixture
def client(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Client:
    # requests looks for ~/.netrc and for proxies by itself.
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("NETRC", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return Client(tmp_path, capsys)
