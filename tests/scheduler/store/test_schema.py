"""Stores of other versions: older ones are read, and upgraded after a backup; what we write does not drift."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from scheduler.core.changes import PutFramework, PutQuota
from scheduler.model import Resources
from scheduler.store import backups, rows, sqlite
from scheduler.store.backups import read_backup
from scheduler.store.interface import NewerSchema, Store, StoreError
from scheduler.store.opening import open_store
from tests.golden.scheduler_store import make
from tests.scheduler.store.conftest import Place
from tests.scheduler.store.values import picture, state_of
from tests.support.postgres import Postgres

GOLDEN: Final = Path(make.__file__).parent


@pytest.mark.parametrize("version", sorted(path.name for path in GOLDEN.glob("v*")))
def test_a_store_of_every_version_is_read(version: str, tmp_path: Path) -> None:
    path = tmp_path / "store"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((GOLDEN / version / "store.sql").read_text("utf-8"))
    store = open_store(str(path))
    try:
        assert store.lead() == 2
        assert picture(state_of(store.load())) == picture(state_of(make.changes()))
    finally:
        store.close()


def test_what_is_written_does_not_drift() -> None:
    assert make.written() == (GOLDEN / f"v{rows.SCHEMA_VERSION}" / "store.sql").read_text("utf-8")


def knows_version_2(monkeypatch: pytest.MonkeyPatch, *statements: str) -> None:
    """From now on we are the next version, which brought one more column, or something that does not work."""
    modules = [rows, sqlite, backups]
    try:
        from scheduler.store import postgres
    except ImportError:
        pass
    else:
        modules.append(postgres)
        monkeypatch.setattr(
            postgres, "UPGRADES", {1: tuple(one.replace("{t}", f"{postgres.SCHEMA}.") for one in statements)}
        )
    for module in modules:
        monkeypatch.setattr(module, "SCHEMA_VERSION", 2)
    monkeypatch.setattr(sqlite, "UPGRADES", {1: tuple(one.replace("{t}", "") for one in statements)})


def version_1(place: Place) -> Store:
    store = place.open()
    store.lead()
    store.commit([PutFramework("f"), PutQuota("www", Resources(1))])
    return store


def test_an_older_store_is_upgraded_by_who_leads_after_a_backup(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = version_1(place)
    with monkeypatch.context() as patch:
        knows_version_2(patch, "ALTER TABLE {t}quotas ADD COLUMN note TEXT DEFAULT 'new'")
        new = place.open()
        assert place.rows("SELECT value FROM {t}meta WHERE name = 'schema_version'") == ["1"], (
            "a standby changes nothing"
        )
        assert new.lead() == 2
        assert place.rows("SELECT value FROM {t}meta WHERE name = 'schema_version'") == ["2"]
        assert place.rows("SELECT note FROM {t}quotas") == ["new"]
        new.commit([PutFramework("g")])
        assert state_of(new.load()).quotas == {"www": Resources(1)}
    # The version before refuses it, and its backup is one that it reads.
    with pytest.raises(StoreError):
        old.commit([PutFramework("h")])
    with pytest.raises(NewerSchema):
        place.open()
    (kept,) = tmp_path.glob("*.schema-1")
    assert state_of(read_backup(str(kept))).framework_id == "f"


def test_an_upgrade_that_fails_leaves_all_as_it_was(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    version_1(place).close()
    with monkeypatch.context() as patch:
        knows_version_2(patch, "DROP TABLE {t}quotas", "this is no SQL")
        with pytest.raises(StoreError, match="syntax error"):
            place.open().lead()
    store = place.open()
    assert store.lead() == 3
    assert state_of(store.load()).quotas == {"www": Resources(1)}


@pytest.mark.process
def test_an_upgrade_without_a_place_for_the_backup_is_refused(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a database; a file's backup goes beside it."""
    url = server.url(server.new_database())
    open_store(url).close()
    with monkeypatch.context() as patch:
        knows_version_2(patch, "DROP TABLE {t}quotas")
        with closing(open_store(url)) as store, pytest.raises(StoreError, match="say where backups go"):
            store.lead()
    with closing(open_store(url)) as store:
        assert store.lead() == 2


def test_a_backup_of_an_older_version_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(tmp_path / "store"))
    store.lead()
    store.commit([PutQuota("www", Resources(1))])
    store.backup(str(tmp_path / "backup"))
    store.close()
    before = (tmp_path / "backup").read_bytes()
    with monkeypatch.context() as patch:
        knows_version_2(patch, "UPDATE {t}quotas SET key = 'upgraded'")
        assert read_backup(str(tmp_path / "backup")) == [PutQuota("upgraded", Resources(1))]
    assert (tmp_path / "backup").read_bytes() == before
