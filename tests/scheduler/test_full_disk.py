"""A store on a disk that is full: nothing is begun, clients are told, and it goes on when there is room."""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.core.commands import CreateJob
from scheduler.core.engine import Engine
from scheduler.core.events import Accept, Call, Decline, Launch, Offers, Reconcile, Subscribed
from scheduler.core.state import State
from scheduler.program import Program
from scheduler.store.backups import changes_of
from scheduler.store.sqlite import SqliteStore
from scheduler.turn import Ended
from tests.support.box import SOON_S, until
from tests.support.cluster import cluster, job
from tests.support.world import JOB, SETTINGS, job_of, offer
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import ResponseCode

pytestmark = [pytest.mark.process, pytest.mark.slow]

_libc = ctypes.CDLL(None, use_errno=True)
_DETACH = 2  # sys/mount.h: MNT_DETACH


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Four megabytes."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    path = tmp_path / "disk"
    path.mkdir()
    if _libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, b"size=4m") != 0:
        pytest.skip(f"a small disk cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield path
    finally:
        _libc.umount2(os.fsencode(path), _DETACH)


def fill(path: Path) -> None:
    """Until nothing more fits."""
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    with cluster(flags=("-store", str(small_disk / "store.db"))) as made:
        before = made.create("before")
        made.wait_running(before)
        filler = small_disk / "filler"
        fill(filler)
        key = wire.JobKey("root", "test", "during")
        refused = made.api.call("createJob", description=job(key, instances=50))
        assert refused.response_code is ResponseCode.ERROR_TRANSIENT
        assert "is full" in " ".join(one.message or "" for one in refused.details or ())
        assert made.states(key) == []
        assert made.states(before) == ["RUNNING"]
        made.scheduler.kill()
        filler.unlink()
        made.scheduler.start()
        assert made.wait_running(before)
        made.api.ok("createJob", description=job(key, instances=1))
        made.wait_running(key)


def test_it_goes_on_by_itself_when_there_is_room(small_disk: Path) -> None:
    with cluster(flags=("-store", str(small_disk / "store.db"))) as made:
        filler = small_disk / "filler"
        fill(filler)
        key = wire.JobKey("root", "test", "patient")

        def code() -> ResponseCode | None:
            # More than any agent has: that it is taken is what counts, not fifty executors.
            huge = (wire.Resource(num_cpus=1000.0), wire.Resource(ram_mb=16), wire.Resource(disk_mb=16))
            return made.api.call("createJob", description=job(key, instances=50, resources=huge)).response_code

        assert code() is ResponseCode.ERROR_TRANSIENT
        filler.unlink()
        made.wait("it takes the job", lambda: code() is not ResponseCode.ERROR_TRANSIENT)
        assert made.states(key) == ["PENDING"] * 50
        made.wait_running(made.create("after"))


class Heard:
    """Mesos, of which only the calls are kept."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def start(self) -> None:
        """Nothing: what it says, the test says."""

    def call(self, call: Call) -> None:
        self.calls.append(call)

    def metrics(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        """Nothing."""

    def declined(self) -> set[str]:
        return {one for call in list(self.calls) if isinstance(call, Decline) for one in call.offer_ids}


def accept(launch: Launch) -> tuple[Accept, tuple[()]]:
    return Accept(tuple(one.offer_id for one in launch.offers), ()), ()


def test_a_launch_that_cannot_be_kept_gives_its_offer_back(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.program.RETRY_DISK_S", 0.05)
    store = SqliteStore(str(small_disk / "store.db"))
    store.lead()
    ids = itertools.count()
    engine = Engine(SETTINGS, lambda: f"u{next(ids)}", lambda: 0.5)
    mesos = Heard()
    program = Program(engine, store, lambda framework_id, tell: mesos, accept)
    thread = threading.Thread(target=program.run, daemon=True)
    thread.start()
    try:
        program.tell(Subscribed("fw-1", 15.0, "m:5050"))
        small = (wire.Resource(num_cpus=0.1), wire.Resource(ram_mb=16), wire.Resource(disk_mb=16))
        assert program.command(CreateJob(job_of(JOB, 50, resources=small), "ann")).code is ResponseCode.OK
        filler = small_disk / "filler"
        fill(filler)
        mesos.calls.clear()
        one = offer(1)
        program.tell(Offers((one,)))
        until(lambda: one.offer_id in mesos.declined(), lambda: f"{one.offer_id} is given back: {mesos.calls}")
        assert program.look(lambda view: view.holds) != ()
        states = program.look(lambda view: {task.status.name for task in view.state.tasks.values()})
        assert states == {"PENDING"}
        assert not [call for call in mesos.calls if isinstance(call, Accept)]
        filler.unlink()
        until(lambda: program.look(lambda view: view.holds) == (), "there is room")
        until(lambda: any(isinstance(call, Reconcile) for call in list(mesos.calls)), "Mesos is asked again")
        two = offer(2)
        program.tell(Offers((two,)))
        until(lambda: Accept((two.offer_id,), ()) in mesos.calls, "they are launched")
    finally:
        program.tell(Ended(0, "over"))
        thread.join(SOON_S)
    kept = State()
    for change in store.load():
        kept.apply(change)
    store.close()
    assert changes_of(kept) == changes_of(engine.state)
    assert {task.status.name for task in kept.tasks.values()} == {"ASSIGNED"}
