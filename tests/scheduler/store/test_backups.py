"""Backups: when, under which names, how many; restored offline, or staged and thinned out first."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from scheduler.core.changes import DropTask, PutFramework, PutHost, PutMaintenance, PutQuota, PutTask
from scheduler.model import Host, JobKey, Resources
from scheduler.states import ScheduleStatus
from scheduler.store.backups import (
    Backups,
    NoSuchBackup,
    Recovery,
    changes_of,
    is_due,
    name_at,
    read_backup,
    replacing,
    restore,
    taken_at_ms,
)
from scheduler.store.interface import Fenced, Store, StoreError
from scheduler.store.opening import open_store
from tests.golden.scheduler_store.make import changes as everything
from tests.scheduler.store.conftest import Place
from tests.scheduler.store.values import config, picture, state_of, task, update
from thermos.formats.aurora_api import HostMaintenanceRequest

HOUR_MS = 3_600_000
#: 2023-11-14 22:13:20 UTC
NOW_MS = 1_700_000_000_000


def test_a_name_tells_its_minute_in_utc() -> None:
    name = name_at(NOW_MS)
    assert name == "scheduler-backup-2023-11-14-22-13"
    assert taken_at_ms(name) == NOW_MS - 20_000


@pytest.mark.parametrize(
    "ages_h, due",
    [
        ([], True),
        ([1], True),
        ([0.9], False),
        ([5, 0.5], False),
        ([5, 2], True),
        # The clock was set back: by a little, one waits; one from another year is no reason never to make one again.
        ([-0.5], False),
        ([-9000], True),
        ([-9000, 0.5], False),
    ],
)
def test_one_is_due_an_hour_after_the_last(ages_h: list[float], due: bool) -> None:
    now_ms = taken_at_ms(name_at(NOW_MS))
    names = sorted(name_at(now_ms - int(age * HOUR_MS)) for age in ages_h)
    assert is_due(names, now_ms) is due


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = open_store(str(tmp_path / "store"))
    made.lead()
    return made


def test_the_oldest_go_and_other_files_stay(store: Store, tmp_path: Path) -> None:
    backups = Backups(str(tmp_path / "backups"), kept=3)
    assert backups.names() == ()
    taken = [backups.take(store, NOW_MS + hour * HOUR_MS) for hour in range(2)]
    assert backups.names() == tuple(taken)
    others = ("notes.txt", "scheduler-backup-2001-99-99-99-99", "scheduler-backup-2001-01-01-01-01.kept")
    for name in others:
        Path(backups.directory, name).write_text("mine")
    taken += [backups.take(store, NOW_MS + hour * HOUR_MS) for hour in range(2, 5)]
    assert backups.names() == tuple(taken[-3:])
    assert {*os.listdir(backups.directory)} == {*taken[-3:], *others}
    # A second one within the same minute takes the place of the first.
    assert backups.take(store, NOW_MS + 4 * HOUR_MS) == taken[-1]
    assert backups.names() == tuple(taken[-3:])
    # With a clock that was set back the new one is not what goes.
    early = backups.take(store, NOW_MS - 100 * HOUR_MS)
    assert backups.names() == (early, *taken[-2:])
    store.close()


@pytest.mark.parametrize("name", ["", "..", "../store", "scheduler-backup-2001-01-01-01-01", "/etc/passwd"])
def test_an_id_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NoSuchBackup):
        Backups(str(tmp_path)).path(name)


def test_a_directory_that_cannot_be_is_named(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with closing(store), pytest.raises(StoreError, match=r"backup directory .*file.* cannot be made"):
        Backups(str(tmp_path / "file" / "backups")).take(store, NOW_MS)


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\x00 and then nothing"])
def test_what_is_no_backup_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="file"):
        read_backup(str(path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_damaged_backup_is_refused(store: Store, tmp_path: Path) -> None:
    store.commit([PutTask(task(f"t-{number}", config(f"job-{number}"))) for number in range(200)])
    store.backup(str(tmp_path / "backup"))
    store.close()
    content = bytearray((tmp_path / "backup").read_bytes())
    for page in range(5, len(content) // 4096):
        content[page * 4096 : page * 4096 + 8] = b"\xff" * 8
    (tmp_path / "backup").write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        read_backup(str(tmp_path / "backup"))


def test_damage_is_found_where_nothing_is_read(store: Store, tmp_path: Path) -> None:
    store.commit([PutTask(task("t"))])
    store.backup(str(tmp_path / "backup"))
    store.close()
    with closing(sqlite3.connect(tmp_path / "backup")) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'tasks_by_config'").fetchone()
    content = bytearray((tmp_path / "backup").read_bytes())
    content[(page - 1) * 4096 : (page - 1) * 4096 + 8] = b"\xff" * 8
    (tmp_path / "backup").write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        read_backup(str(tmp_path / "backup"))


def test_a_restored_store_holds_the_backup_and_nothing_else(place: Place, tmp_path: Path) -> None:
    """Wherever the backup came from, and whoever still leads is refused from then on."""
    source = open_store(str(tmp_path / "source"))
    source.lead()
    source.commit(everything())
    source.backup(str(tmp_path / "backup"))
    source.close()

    leader = place.open()
    leader.lead()
    leader.commit([
        PutFramework("other"), PutTask(task("t1")), PutQuota("www", Resources(9)), PutQuota("other", Resources(9)),
        PutHost(Host("other", None)), PutMaintenance(HostMaintenanceRequest("other")),
        update(JobKey("www", "prod", "other"), "u"),
    ])  # fmt: skip
    restored = place.open()
    restore(restored, read_backup(str(tmp_path / "backup")))
    assert picture(state_of(restored.load())) == picture(state_of(everything()))
    with pytest.raises(Fenced):
        leader.commit([DropTask("t1")])


def test_replacing_all_by_all_of_it_changes_nothing() -> None:
    state = state_of(everything())
    before = picture(state)
    assert changes_of(state) == everything()
    for change in replacing(everything(), everything()):
        state.apply(change)
    assert picture(state) == before


def test_a_staged_backup_is_looked_at_and_thinned_out_before_it_is_committed(store: Store, tmp_path: Path) -> None:
    backups = Backups(str(tmp_path / "backups"))
    kept, unwanted = task("kept", status=ScheduleStatus.RUNNING), task("unwanted")
    store.commit([PutFramework("f"), PutTask(kept), PutTask(unwanted)])
    name = backups.take(store, NOW_MS)
    store.commit([DropTask("kept"), PutTask(task("later")), PutQuota("www", Resources(1))])
    current = state_of(store.load())

    recovery = Recovery(backups)
    with pytest.raises(StoreError, match="no backup is staged"):
        recovery.changes(current)
    with pytest.raises(NoSuchBackup):
        recovery.stage("scheduler-backup-2001-01-01-01-01")
    recovery.stage(name)
    with pytest.raises(StoreError, match="another backup is staged"):
        recovery.stage(name)
    assert set(recovery.staged.tasks) == {"kept", "unwanted"}
    recovery.delete_tasks(["unwanted", "never there"])
    assert set(current.tasks) == {"later", "unwanted"}, "nothing happens to what is there before it is committed"

    store.commit(recovery.changes(current))
    after = state_of(store.load())
    assert (after.framework_id, after.tasks, after.quotas) == ("f", {"kept": kept}, {})
    recovery.unload()
    with pytest.raises(StoreError, match="no backup is staged"):
        recovery.delete_tasks(["kept"])
    recovery.stage(name)
    store.close()
