"""Chromium, and the scheduler's pages of a busy cluster behind the API's own server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from scheduler.api.app import create_app
from scheduler.api.options import ApiOptions
from scheduler.api.server import Server
from scheduler.pages.site import Site
from tests.observer_static.browser.conftest import axe_source, browser, tabs
from tests.support.paged import Paged, busy_world

__all__ = ["axe_source", "browser", "tabs"]

#: One of each kind of page, and those that look different.
PLACES: Final = {
    "roles": "/scheduler",
    "role": "/scheduler/www",
    "environment": "/scheduler/www/prod",
    "job": "/scheduler/www/prod/web",
    "job-waiting": "/scheduler/ads/prod/stuck",
    "job-cron": "/scheduler/ads/staging1/nightly",
    "instance": "/scheduler/www/prod/web/2",
    "agents": "/cluster/agents",
    "agent": "/cluster/agents/host-7",
    "offers": "/cluster/offers",
    "pending": "/cluster/pending",
    "missing": "/scheduler/www/prod/nothing",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.process)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the pages are."""
    backend = Paged(busy_world())
    options = ApiOptions(cluster_name="west", pages=Site("http://{host}:1338/task/{task_id}"))
    server = Server(create_app(backend, options), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.close()
