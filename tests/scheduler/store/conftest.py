"""Both stores, each with what a test needs to look behind it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import pytest

from scheduler.store.interface import Store
from scheduler.store.opening import open_store
from tests.support.postgres import Postgres, postgres


class Place(NamedTuple):
    """Where a store lies."""

    url: str
    #: Opens it; closed when the test ends.
    open: Callable[[], Store]
    #: Runs a statement in it, past our own code; ``{t}`` before a table's name is the schema, if there is one.
    sql: Callable[[str], None]
    #: Runs a query and gives its one column, as text.
    rows: Callable[[str], list[str]]


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    """A PostgreSQL server for all tests of this directory."""
    with postgres() as running:
        yield running


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.process)])
def running(request: pytest.FixtureRequest) -> Postgres | None:
    """The server, for what is not in a file. Of the session, so that no test is taken for the one that started it."""
    if request.param == "sqlite":
        return None
    server: Postgres = request.getfixturevalue("server")
    return server


@pytest.fixture
def place(running: Postgres | None, tmp_path: Path) -> Iterator[Place]:
    """An empty store of each kind."""
    if running is None:
        path = str(tmp_path / "scheduler.db")
        url = f"sqlite://{path}"

        def sql(statement: str) -> None:
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.executescript(f"PRAGMA synchronous=OFF; BEGIN; {statement.replace('{t}', '')}; COMMIT")

        def rows(query: str) -> list[str]:
            with closing(sqlite3.connect(path)) as connection:
                return [str(value) for (value,) in connection.execute(query.replace("{t}", ""))]
    else:
        database = running.new_database()
        url = running.url(database)

        def sql(statement: str) -> None:
            running.sql(database, statement.replace("{t}", "aurora_scheduler."))

        def rows(query: str) -> list[str]:
            return running.sql(database, query.replace("{t}", "aurora_scheduler.")).splitlines()

    with ExitStack() as opened:

        def open_it() -> Store:
            store = open_store(url, str(tmp_path))
            opened.callback(store.close)
            return store

        yield Place(url, open_it, sql, rows)
