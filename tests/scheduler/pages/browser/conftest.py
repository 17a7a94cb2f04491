"""Chromium, and the scheduler's pages of a busy cluster behind the API's own server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import pytest

from scheduler.api.app import create_app
from scheduler.api.backend import View
from scheduler.api.options import ApiOptions
from scheduler.api.server import Server
from scheduler.pages.site import Site
from tests.observer_static.browser.conftest import axe_source, browser, tabs
from tests.support.paged import Paged, busy_world, updated_world
from tests.support.updates import Updated

__all__ = ["axe_source", "browser", "tabs"]

T = TypeVar("T")

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
    "cron": "/cluster/cron",
    "maintenance": "/cluster/maintenance",
    "missing": "/scheduler/www/prod/nothing",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.process)


class Updating(NamedTuple):
    """A cluster in which something is updated, and where its pages are. A world is looked at by the server's threads:
    change it under the lock."""

    address: str
    world: Updated
    lock: threading.Lock
    over: str
    active: str


@pytest.fixture
def updating() -> Iterator[Updating]:
    """One of its own for each test."""
    lock = threading.Lock()

    class Locked(Paged):
        def look(self, at: Callable[[View], T]) -> T:
            with lock:
                return super().look(at)

    world, over, active = updated_world()
    server = Server(create_app(Locked(world), ApiOptions(cluster_name="west", pages=Site())), "127.0.0.1", 0)
    server.start()
    base = f"http://127.0.0.1:{server.port}/scheduler/www/prod/web/update/"
    yield Updating(base, world, lock, over, active)
    server.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the pages are."""
    backend = Paged(busy_world())
    options = ApiOptions(cluster_name="west", pages=Site("http://{host}:1338/task/{task_id}"))
    server = Server(create_app(backend, options), "127.0.0.1", 0)
    server.start()
    yield f"http://127.0.0.1:{server.port}"
    server.close()
