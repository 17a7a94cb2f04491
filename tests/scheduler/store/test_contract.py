"""What every store does: the same stories for SQLite and for PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from scheduler.core.changes import (
    AddInstanceEvent,
    Change,
    CronRun,
    DropCronJob,
    DropCronRun,
    DropHost,
    DropMaintenance,
    DropQuota,
    DropTask,
    DropUpdate,
    PutCronJob,
    PutCronRun,
    PutFramework,
    PutHost,
    PutMaintenance,
    PutQuota,
    PutTask,
    PutUpdate,
)
from scheduler.core.state import State
from scheduler.model import Host, JobKey, Resources
from scheduler.states import ScheduleStatus
from scheduler.store.backups import read_backup
from scheduler.store.interface import Fenced, NewerSchema, StoreError
from scheduler.store.rows import EVENT_TABLES, Damaged
from tests.scheduler.store.conftest import Place
from tests.scheduler.store.values import commits, config, picture, state_of, task, update
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    HostMaintenanceRequest,
    JobConfiguration,
    JobInstanceUpdateEvent,
    JobUpdateAction,
)


def clear(place: Place) -> None:
    """As if nobody had ever led, without the price of a new one."""
    tables = ("tasks", "configs", "cron_jobs", "cron_runs", "quotas", "hosts", "updates", "maintenance", *EVENT_TABLES)
    statements = [f"DELETE FROM {{t}}{table};" for table in tables]
    statements.append(
        "DELETE FROM {t}meta WHERE name = 'framework_id'; UPDATE {t}meta SET value = '0' WHERE name <> 'schema_version'"
    )
    place.sql("\n".join(statements))


def test_what_was_committed_is_loaded(place: Place, request: pytest.FixtureRequest) -> None:
    """Whatever was decided, in whatever order: a new process knows the same, in the same order."""
    is_sqlite = "sqlite" in request.node.callspec.id
    store = place.open()

    @settings(
        max_examples=60 if is_sqlite else 25,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    @given(commits)
    def story(made: list[list[Change]]) -> None:
        clear(place)
        store.lead()
        state = State()
        for changes in made:
            store.commit(changes)
            for change in changes:
                state.apply(change)
            assert picture(state_of(store.load())) == picture(state)
        reopened = place.open()
        assert reopened.lead() == 2
        loaded = list(reopened.load())
        reopened.close()
        assert picture(state_of(loaded)) == picture(state)

    story()


def test_a_configuration_is_one_object_and_goes_with_its_last_task(place: Place) -> None:
    store = place.open()
    store.lead()
    web, db = config("web"), config("db")
    store.commit([PutTask(task("a", web)), PutTask(task("b", web)), PutTask(task("c", db))])
    tasks = state_of(store.load()).tasks
    assert tasks["a"].config is tasks["b"].config

    store.commit([DropTask("a"), DropTask("c")])
    assert place.rows("SELECT digest FROM {t}configs") == [web.digest]
    # What was gone can come again, and what goes and comes within one commit stays.
    store.commit([PutTask(task("d", db)), DropTask("b"), PutTask(task("e", web))])
    assert {one.task_id: one.config for one in state_of(store.load()).tasks.values()} == {"d": db, "e": web}

    store.commit([PutTask(task("e", db))])
    place.open().lead()
    assert place.rows("SELECT digest FROM {t}configs") == [db.digest]


def test_what_comes_and_goes_within_one_commit(place: Place) -> None:
    """Of every kind: put and dropped, it never was; dropped and put, it is the last of its kind."""
    store = place.open()
    store.lead()
    key = JobKey("www", "prod", "web")
    puts: list[Change] = [
        PutTask(task("a")), PutCronJob(key, JobConfiguration(wire.JobKey(*key))), PutQuota("a", Resources(1)),
        PutHost(Host("a", None)), update(key, "a"), PutMaintenance(HostMaintenanceRequest("a")),
        PutCronRun(key, CronRun(1)),
    ]  # fmt: skip
    drops: list[Change] = [
        DropTask("a"), DropCronJob(key), DropQuota("a"), DropHost("a"), DropUpdate(key, "a"), DropMaintenance("a"),
        DropCronRun(key),
    ]  # fmt: skip
    store.commit([*puts, *drops])
    assert picture(state_of(store.load())) == picture(State())
    assert place.rows("SELECT digest FROM {t}configs") == []

    later: list[Change] = [PutTask(task("b")), PutQuota("b", Resources(1)), PutHost(Host("b", None))]
    store.commit([*puts, *later])
    store.commit([*drops, *puts])
    state = state_of(store.load())
    assert picture(state) == picture(state_of([*later, *puts]))
    assert (list(state.tasks), list(state.quotas), list(state.hosts)) == (["b", "a"], ["b", "a"], ["b", "a"])


def _event(at_ms: int) -> AddInstanceEvent:
    event = JobInstanceUpdateEvent(0, at_ms, JobUpdateAction.INSTANCE_UPDATING)
    return AddInstanceEvent(JobKey("www", "prod", "web"), "u1", event)


def test_events_of_an_update_are_rows_of_their_own(place: Place) -> None:
    """One event more writes one row more, whatever there is already; all of them go with their update."""
    store = place.open()
    store.lead()
    key = JobKey("www", "prod", "web")
    store.commit([update(key, "u1")])
    (before,) = place.rows("SELECT body FROM {t}updates")
    for number in range(5):
        store.commit([_event(number), _event(number + 10)])
    assert place.rows("SELECT body FROM {t}updates") == [before]
    assert len(place.rows("SELECT seq FROM {t}instance_events")) == 10
    (details,) = state_of(store.load()).updates.values()
    events = details.instance_events or ()
    assert [event.timestamp_ms for event in events] == [0, 10, 1, 11, 2, 12, 3, 13, 4, 14]

    # What is put, is put with all of its events, and no others.
    store.commit([_event(99), PutUpdate(key, "u1", details), _event(100)])
    (again,) = state_of(store.load()).updates.values()
    assert again.instance_events == (*events, _event(100).event)
    store.commit([DropUpdate(key, "u1")])
    assert [place.rows(f"SELECT seq FROM {{t}}{table}") for table in EVENT_TABLES] == [[], []]


def test_events_without_their_update_are_damage(place: Place) -> None:
    store = place.open()
    store.lead()
    store.commit([update(JobKey("www", "prod", "web"), "u1"), _event(1)])
    place.sql("DELETE FROM {t}updates")
    with pytest.raises(Damaged, match="its update is not there"):
        list(store.load())


def test_nobody_writes_who_does_not_lead(place: Place) -> None:
    store = place.open()
    with pytest.raises(StoreError, match="before they lead"):
        store.commit([PutFramework("f")])


def test_an_older_epoch_is_refused_and_nothing_of_it_is_written(place: Place) -> None:
    old, new = place.open(), place.open()
    assert old.lead() == 1
    old.commit([PutFramework("f"), PutTask(task("a"))])
    assert new.lead() == 2
    before = picture(state_of(new.load()))
    for _ in range(2):
        with pytest.raises(Fenced, match="another scheduler leads"):
            old.commit([DropTask("a"), PutQuota("www", Resources(1))])
    assert picture(state_of(new.load())) == before
    new.commit([PutQuota("www", Resources(2))])
    assert state_of(new.load()).quotas == {"www": Resources(2)}


def test_an_epoch_that_went_back_is_refused_too(place: Place) -> None:
    """A file was restored under a scheduler that leads: it must not write into what it does not know."""
    store = place.open()
    for expected in (1, 2, 3):
        assert store.lead() == expected
    place.sql("UPDATE {t}meta SET value = '1' WHERE name = 'epoch'")
    with pytest.raises(Fenced):
        store.commit([PutFramework("f")])


def test_a_store_that_others_wrote_to_is_refused(place: Place) -> None:
    store = place.open()
    store.lead()
    store.commit([PutFramework("f")])
    place.sql("UPDATE {t}meta SET value = '0' WHERE name = 'commits'")
    with pytest.raises(StoreError, match="has 0 commits and should have 1"):
        store.commit([PutFramework("g")])
    with pytest.raises(StoreError, match="since an earlier error"):
        store.commit([PutFramework("g")])


def test_rows_that_cannot_be_read_are_named_all_at_once(place: Place) -> None:
    store = place.open()
    store.lead()
    web = config("web")
    store.commit([
        PutTask(task("good", web)), PutTask(task("cut off", web)), PutTask(task("no events", web)),
        PutTask(task("a state of the future", web)), PutTask(task("alone", config("db"))),
        PutQuota("www", Resources(1)), PutHost(Host("h1", None)),
    ])  # fmt: skip
    place.sql("""
        UPDATE {t}tasks SET body = substr(body, 1, 20) WHERE key = 'cut off';
        UPDATE {t}tasks SET body = '[0,0,[],null,null,[],0,0,null]' WHERE key = 'no events';
        UPDATE {t}tasks SET body = '[0,99,[[1,0,null,null]],null,null,[],0,0,null]' WHERE key = 'a state of the future';
        UPDATE {t}tasks SET config = 'nowhere' WHERE key = 'alone';
        UPDATE {t}quotas SET body = '[1,2,3,4,5]';
        UPDATE {t}hosts SET key = '[1]';
    """)
    loaded: list[Change] = []
    with pytest.raises(Damaged) as caught:
        loaded.extend(store.load())
    text = str(caught.value)
    assert len(caught.value.problems) == 6, text
    for name in ("cut off", "no events", "a state of the future", "alone", "www", "[1]"):
        assert f"key {name}:" in text
    assert "configuration nowhere" in text
    assert "restore a backup" in text


def test_a_damaged_configuration_is_named_once_and_not_for_each_of_its_tasks(place: Place) -> None:
    store = place.open()
    store.lead()
    store.commit([PutTask(task("a")), PutTask(task("b"))])
    place.sql("UPDATE {t}configs SET body = substr(body, 1, 30)")
    with pytest.raises(Damaged) as caught:
        list(store.load())
    assert len(caught.value.problems) == 1
    assert f"table configs, key {config().digest}" in str(caught.value)


@pytest.mark.parametrize("name", ["schema_version", "epoch", "commits"])
def test_a_store_that_does_not_say_what_it_is_is_refused(place: Place, name: str) -> None:
    place.open()
    place.sql(f"DELETE FROM {{t}}meta WHERE name = '{name}'")
    with pytest.raises(StoreError, match="says no version"):
        place.open()


def test_a_newer_schema_is_refused_and_left_alone(place: Place) -> None:
    store = place.open()
    store.lead()
    store.commit([PutFramework("f")])
    place.sql("UPDATE {t}meta SET value = '2' WHERE name = 'schema_version'")
    with pytest.raises(NewerSchema, match="has schema 2, and this version knows 1"):
        place.open()
    with pytest.raises(NewerSchema):
        store.lead()
    place.sql("UPDATE {t}meta SET value = '1' WHERE name = 'schema_version'")
    assert place.open().lead() == 2


def test_a_backup_holds_all_of_it(place: Place, tmp_path: Path) -> None:
    store = place.open()
    store.lead()
    running = task("a", status=ScheduleStatus.RUNNING, ports=(("http", 31000),))
    store.commit([PutFramework("f"), PutTask(running), PutQuota("www", Resources(5)), PutHost(Host("h", "agent"))])
    path = tmp_path / "backup"
    store.backup(str(path))
    store.commit([DropTask("a")])
    restored = state_of(read_backup(str(path)))
    assert restored.framework_id == "f"
    assert restored.tasks == {"a": running}
    assert restored.quotas == {"www": Resources(5)}
    assert restored.hosts == {"h": Host("h", "agent")}
    assert [entry.name for entry in tmp_path.iterdir() if "backup" in entry.name] == ["backup"]


def test_a_backup_that_cannot_be_written_leaves_nothing(place: Place, tmp_path: Path) -> None:
    store = place.open()
    store.lead()
    store.commit([PutFramework("f")])
    with pytest.raises(StoreError):
        store.backup(str(tmp_path / "nowhere" / "backup"))
    store.commit([PutFramework("g")])
    assert state_of(store.load()).framework_id == "g"


def test_compacting_changes_nothing(place: Place) -> None:
    store = place.open()
    store.lead()
    store.commit([PutTask(task(str(number))) for number in range(50)])
    store.commit([DropTask(str(number)) for number in range(0, 50, 2)])
    before = picture(state_of(store.load()))
    store.compact()
    assert picture(state_of(store.load())) == before
    store.commit([DropTask("1")])
    assert len(state_of(store.load()).tasks) == 24


def test_compacting_in_another_thread_fails_no_commit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.store.sqlite.BUSY_TIMEOUT_S", 0.0)  # who meets another one fails at once
    store = place.open()
    store.lead()
    store.commit([PutTask(task(str(number))) for number in range(50)])
    with ThreadPoolExecutor(1) as other:
        for round_ in range(10):
            compacted = other.submit(store.compact)
            for number in range(10):
                store.commit([PutTask(task(f"{round_}-{number}"))])
            compacted.result()
    assert len(state_of(store.load()).tasks) == 150


def test_loading_that_stops_half_way_holds_nothing_up(place: Place) -> None:
    store = place.open()
    store.lead()
    store.commit([PutTask(task(str(number))) for number in range(50)])
    some = iter(store.load())
    next(some)
    del some
    store.commit([DropTask("1")])
    other = place.open()
    assert other.lead() == 2
    other.commit([DropTask("2")])
