"""A store on a disk that is full: nothing is begun, clients are told, and it goes on when there is room."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import cluster, job
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
