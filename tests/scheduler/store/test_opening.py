"""Which store a URL means, and what is said of one that means none."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from contextlib import closing
from pathlib import Path

import pytest

from scheduler.core.changes import PutTask
from scheduler.store.interface import StoreError
from scheduler.store.opening import open_store
from scheduler.store.rows import Damaged
from tests.scheduler.store.values import task


@pytest.mark.parametrize("form", ["{path}", "sqlite://{path}"])
def test_a_file(tmp_path: Path, form: str) -> None:
    path = tmp_path / "with space % ? # ü"
    url = form.format(
        path=str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23") if ":" in form else path
    )
    with closing(open_store(url)) as store:
        assert store.lead() == 1
    assert path.exists()
    with closing(open_store(str(path))) as store:
        assert store.lead() == 2


@pytest.mark.parametrize(
    "url, why",
    [
        ("", "no store is named"),
        ("sqlite://", "three slashes"),
        ("sqlite://relative/path", "three slashes"),
        ("sqlite:///path?mode=ro", "three slashes"),
        ("mysql://user:secret@host/database", "no store is called so"),
        ("postgresql://host/database?nonsense=1", "none that PostgreSQL's client takes"),
        ("/nowhere/at/all/store", "its directory exists"),
        ("/", "its directory exists"),
    ],
)
def test_what_means_none_is_refused(url: str, why: str) -> None:
    if url.startswith("postgresql"):
        pytest.importorskip("psycopg", reason="needs the Python package psycopg")
    with pytest.raises(StoreError, match=why) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_without_psycopg_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "scheduler.store.postgres", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"pip install 'thermos\[postgresql\]'"):
        open_store("postgresql://host/database")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="database of another program"):
        open_store(str(path))
    assert path.read_bytes() == before


def test_what_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.write_text("something that somebody wrote, long enough to be looked at as a database header" * 10)
    with pytest.raises(StoreError, match="no SQLite database"):
        open_store(str(path))
    assert path.read_text().startswith("something")


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with closing(open_store(str(tmp_path / "store"))) as store:
            store.lead()
            store.backup(str(tmp_path / "backup"))
            modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("store", "store-wal", "store-shm", "backup"), 0o600)


def test_a_row_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with closing(open_store(str(path))) as store:
        store.lead()
        store.commit([PutTask(task("good")), PutTask(task("bad"))])
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE tasks SET body = CAST(x'5b30ff' AS TEXT) WHERE key = 'bad'")
        with pytest.raises(Damaged, match="table tasks, key bad"):
            list(store.load())
