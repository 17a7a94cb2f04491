"""Control groups of version 2, where this host has them: made, joined, killed, waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.support.box import until
from thermos.host import cgroup


@pytest.fixture(name="group")
def _group() -> Iterator[str]:
    base = cgroup.find_base()
    if base is None or not os.path.exists(f"{base}/cgroup.procs"):
        pytest.skip("no control group can be made here")
    path = f"{base}/{cgroup.PARENT_NAME}/test-{os.getpid()}"
    if not cgroup.make(path) or not os.path.exists(f"{path}/cgroup.events"):
        pytest.skip("no control group of version 2 can be made here")
    try:
        yield path
    finally:
        cgroup.kill(path)
        until(lambda: cgroup.remove(path), "the group is empty")


def member(path: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["sh", "-c", f"echo $$ >{path}/cgroup.procs; echo in; exec sleep 600"], stdout=subprocess.PIPE
    )


def test_the_wait_for_an_empty_group_is_a_wait(group: str) -> None:
    with member(group) as child:
        assert child.stdout is not None
        child.stdout.readline()
        began = time.monotonic()
        cgroup.wait_empty(group, 0.2)
        assert time.monotonic() - began >= 0.2
        child.kill()


def test_the_wait_ends_with_the_last_member_or_at_once_where_there_is_none(group: str) -> None:
    cgroup.wait_empty(group, 600)
    with member(group) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert cgroup.members(group) == [child.pid]
        cgroup.kill(group)
        cgroup.wait_empty(group, 600)
        assert cgroup.remove(group)
        assert child.wait() == -signal.SIGKILL
    assert cgroup.make(group)
