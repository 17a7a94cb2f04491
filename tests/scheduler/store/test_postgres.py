"""What only a database on the other end of a connection does: going away, in the middle of a commit or between two."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import pytest

from scheduler.core.changes import PutFramework, PutQuota, PutTask
from scheduler.model import Resources
from scheduler.store.interface import Fenced, StoreError
from tests.scheduler.store.values import state_of, task
from tests.support.postgres import Postgres, postgres
from tests.support.relay import Relay
from tests.support.zookeeper import free_port

postgres_store = pytest.importorskip("scheduler.store.postgres", reason="needs the Python package psycopg")

pytestmark = pytest.mark.process

#: A commit sends and gets fewer packets than this.
_PACKETS: Final = 40


class Breaking(Relay):
    """Loses one packet, whichever way it goes, and the connection with it."""

    #: Which one, counted from now; 0: none.
    at: int = 0

    def _pass_on(self, one: socket.socket) -> None:
        if self.at:
            self.at -= 1
            if not self.at:
                self._end(one)
                return
        super()._pass_on(one)


@pytest.fixture
def breaking(server: Postgres) -> Iterator[Breaking]:
    relay = Breaking("127.0.0.1", free_port(), ("127.0.0.1", server.port))
    yield relay
    relay.close()


def port_of(relay: Relay) -> int:
    return int(relay.hosts.rpartition(":")[2])


def test_a_commit_is_made_once_whichever_packet_is_lost(server: Postgres, breaking: Breaking) -> None:
    """Also the answer to COMMIT, after which it is there and nobody was told."""
    database = server.new_database()
    with (
        closing(postgres_store.PostgresStore(server.url(database, port_of(breaking)))) as store,
        closing(postgres_store.PostgresStore(server.url(database))) as other,
    ):
        store.lead()
        survived = 0
        for at in range(1, _PACKETS):
            breaking.at = at
            store.commit([PutTask(task(f"t-{at}")), PutTask(task("count", failure_count=at))])
            if breaking.at:
                break
            survived += 1
            state = state_of(other.load())
            assert set(state.tasks) == {"count", *(f"t-{number}" for number in range(1, at + 1))}
            assert state.tasks["count"].failure_count == at
        assert survived >= 10, "a commit has more packets than that"
        assert server.sql(database, "SELECT value FROM aurora_scheduler.meta WHERE name = 'commits'") == f"{at}\n"


def test_a_standby_leads_whichever_packet_is_lost(server: Postgres, breaking: Breaking) -> None:
    """Its connection is old, and may be gone when it is needed."""
    database = server.new_database()
    with closing(postgres_store.PostgresStore(server.url(database, port_of(breaking)))) as store:
        epoch = 0
        for at in range(1, 7):
            breaking.at = at
            led = store.lead()
            assert led > epoch
            assert not breaking.at, "nothing was lost"
            epoch = led
        store.commit([PutFramework("one")])


def test_who_comes_back_after_another_has_led_is_refused(server: Postgres, breaking: Breaking) -> None:
    database = server.new_database()
    with (
        closing(postgres_store.PostgresStore(server.url(database, port_of(breaking)))) as store,
        closing(postgres_store.PostgresStore(server.url(database))) as other,
    ):
        store.lead()
        store.commit([PutFramework("one")])
        other.lead()
        breaking.drop()
        with pytest.raises(Fenced):
            store.commit([PutFramework("two")])
        assert state_of(other.load()).framework_id == "one"


def test_a_server_that_starts_again_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_store, "RECONNECT_S", 1.0)
    with postgres() as own, closing(postgres_store.PostgresStore(own.url(own.new_database()))) as store:
        store.lead()
        store.commit([PutFramework("one")])
        own.stop(signal.SIGQUIT)
        own.start()
        store.commit([PutFramework("two")])
        assert state_of(store.load()).framework_id == "two"
        own.stop(signal.SIGQUIT)
        with pytest.raises(StoreError, match=r"cannot be reached.*start again"):
            store.commit([PutFramework("three")])
        own.start()
        with pytest.raises(StoreError, match="since an earlier error"):
            store.commit([PutFramework("three")])


def test_somebody_who_holds_the_lock_is_not_waited_for_for_ever(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_store, "LOCK_TIMEOUT_S", 1)
    database = server.new_database()
    with (
        closing(postgres_store.PostgresStore(server.url(database))) as store,
        closing(postgres_store.psycopg.connect(server.url(database))) as other,
    ):
        store.lead()
        other.execute("SELECT * FROM aurora_scheduler.meta FOR UPDATE")
        with pytest.raises(StoreError, match="holds a lock for more than 1 s"):
            store.commit([PutFramework("one")])


def test_a_standby_is_named_as_such(server: Postgres) -> None:
    database = server.new_database()
    server.sql("postgres", f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    with pytest.raises(StoreError, match=r"takes no changes.*target_session_attrs=read-write"):
        postgres_store.PostgresStore(server.url(database))


def test_what_cannot_be_reached_is_named_without_the_password() -> None:
    url = f"postgresql://aurora:secret@127.0.0.1:{free_port()}/scheduler"
    with pytest.raises(StoreError, match=r"database scheduler at 127\.0\.0\.1 cannot be reached") as caught:
        postgres_store.PostgresStore(url)
    assert "secret" not in str(caught.value)


def test_commits_wait_for_the_disk_whatever_the_database_says(server: Postgres) -> None:
    database = server.new_database()
    server.sql("postgres", f"ALTER DATABASE {database} SET synchronous_commit = off")
    with closing(postgres_store.PostgresStore(server.url(database))) as store:
        # What a transaction of this session is bound to shows in a column that it fills itself.
        store.lead()
        server.sql(
            database,
            "ALTER TABLE aurora_scheduler.quotas ADD COLUMN said text DEFAULT current_setting('synchronous_commit')",
        )
        store.commit([PutQuota("www", Resources(1))])
    assert server.sql(database, "SELECT said FROM aurora_scheduler.quotas") == "on\n"
