"""What a power loss may leave of the streams, and how a task ends from there.

A life is recorded through ptrace: at each moment what the runner's stream holds, how much of that had been
synced, and what coordinators had written, of which nothing ever is. A power loss then keeps any part of the
runner's stream behind its last sync and any part of the others: cut anywhere, or its size kept and zeros in
place of what was not written (ext4 and XFS do so behind reserved room), or a hole of one sector in it. Then the
host has booted again: other boot id, no process left.

Modelled after Pillai et al., All File Systems Are Not Created Equal (OSDI 2014). ``THERMOS_TEST_POWER`` is how
many losses are tried, ``THERMOS_TEST_SEED`` chooses others.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.invariants import violations
from tests.support.lab import RAN, Lab, process, task
from tests.support.nursery import Nursery, nursery, time_limit
from tests.support.parallel import map_in_processes
from tests.support.ptrace import FDATASYNC, Tracee, TraceRefused
from thermos.formats import checkpoint, paths
from thermos.records import ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

WORKERS = 3
SECTOR_BYTES = 512
#: A frame may end in so many zeros and be whole.
FEW_ZEROS = 32
LOSSES = int(os.environ.get("THERMOS_TEST_POWER", "300"))
SEED = int(os.environ.get("THERMOS_TEST_SEED", "20141006"))

NAMES = ("a", "b", "c", "d", "f")
TASK = task([*map(process, "abcd"), process("f", final=True)], ["a", "b"], ["a", "c"], ["b", "d"])


class Moment(NamedTuple):
    """What was on disk, or on its way there."""

    runner: bytes
    synced_bytes: int
    coordinators: dict[str, bytes]
    is_finished: bool


class Loss(NamedTuple):
    """What is left after the power was lost at some moment."""

    moment: Moment
    #: Of the runner's stream, up to here is kept.
    kept_bytes: int
    #: What is behind that: nothing; zeros; or all, but for one sector of zeros.
    kind: str
    coordinators: dict[str, bytes]

    def __str__(self) -> str:
        told = {name: len(data) for name, data in self.coordinators.items() if data}
        written = len(self.moment.runner)
        at = f"{self.kind} at {self.kept_bytes} of {self.moment.synced_bytes} synced and {written} written"
        return f"{at}; coordinators {told}"

    def spoil(self, runner: bytes) -> bytes:
        """What is left of the stream *runner*."""
        left = runner[: self.kept_bytes]
        if self.kind == "zeros":
            return left + bytes(len(runner) - len(left))
        if self.kind == "hole":
            return (left + bytes(SECTOR_BYTES) + runner[self.kept_bytes + SECTOR_BYTES :])[: len(runner)]
        return left


# -- a life -------------------------------------------------------------------------------------------------------


def record_life() -> list[Moment]:
    """Every distinct moment of an unkilled life, as of an earlier boot."""
    directory = tempfile.mkdtemp(prefix="thermos-power-")
    moments: list[Moment] = []
    try:
        with nursery() as place, time_limit(60, "a life"):
            lab = Lab(Path(directory), TASK)
            tracee = Tracee.start(lab.argv, lab.said)
            try:
                synced_bytes = 0
                while (stop := tracee.next()) is not None:
                    if stop.result is None:
                        continue
                    runner = lab.bytes_of(lab.runner_path)
                    if stop.number in FDATASYNC:
                        synced_bytes = len(runner)
                    told = {name: lab.bytes_of(lab.coordinator_path(name)) for name in NAMES}
                    moment = Moment(runner, synced_bytes, told, lab.is_finished)
                    if not moments or moments[-1] != moment:
                        moments.append(moment)
            finally:
                tracee.kill()
            assert violations(lab, place, TaskState.SUCCESS) == []
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return moments


def earlier(data: bytes, lab: Lab, cookie: str) -> bytes:
    """The same stream as that of *lab* in an earlier boot; each frame is as long as it was."""

    def change(record: Record) -> Record:
        if isinstance(record, TaskStatus):
            return record._replace(boot_id="0" * 8 + (record.boot_id or "")[8:])
        if isinstance(record, RunnerHeader):
            cgroup = record.cgroup and record.cgroup.replace(record.cookie or "", cookie)
            log_dir = paths.default_log_dir(lab.sandbox)
            return record._replace(sandbox=lab.sandbox, log_dir=log_dir, cookie=cookie, cgroup=cgroup)
        return record

    changed = b"".join(checkpoint.encode(change(record)) for record in checkpoint.decode(data).records)
    assert len(changed) == len(data)
    return changed


# -- losses -------------------------------------------------------------------------------------------------------


def cuts(moments: list[Moment]) -> list[Loss]:
    """Each record that was not synced yet, gone, begun, half there or all but there; coordinators' are whole."""
    found: dict[tuple[bytes, int], Loss] = {}
    for moment in moments:
        offsets = [entry.offset for entry in checkpoint.decode(moment.runner).entries] + [len(moment.runner)]
        for first, second in pairwise(offsets):
            for kept in (first, first + 1, (first + second) // 2, second - 1, second):
                if kept >= moment.synced_bytes:
                    told = b"".join(moment.coordinators.values())
                    found[told, kept] = Loss(moment, kept, "cut", moment.coordinators)
    return list(found.values())


def lose(moment: Moment, chance: random.Random) -> Loss:
    """Something that a power loss at *moment* may leave."""
    start, end = moment.synced_bytes, len(moment.runner)
    sectors = list(range(-(-start // SECTOR_BYTES) * SECTOR_BYTES, end, SECTOR_BYTES))
    kind = chance.choice(["cut", "zeros", "hole"] if sectors else ["cut", "zeros"])
    if kind == "cut":
        kept = chance.choice([start, end, chance.randint(start, end)])
    else:  # zeros begin where data was never written: at the last sync, or with a sector
        kept = chance.choice(sectors if kind == "hole" else [start, *sectors])
    coordinators = {
        name: data[: chance.choice([0, len(data), chance.randint(0, len(data))])]
        for name, data in moment.coordinators.items()
    }
    return Loss(moment, kept, kind, coordinators)


# -- what comes of one --------------------------------------------------------------------------------------------


def outcome(loss: Loss) -> list[str]:
    """What is wrong at the end of a task that goes on from *loss*."""
    directory = tempfile.mkdtemp(prefix="thermos-power-")
    try:
        with nursery() as place, time_limit(60, str(loss)):
            lab = Lab(Path(directory), TASK)
            try:
                problems = _outcome(lab, place, loss)
            except AssertionError as error:
                problems = [str(error), lab.words]
            return [str(loss), *problems, *map(str, lab.records())] if problems else []
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _outcome(lab: Lab, place: Nursery, loss: Loss) -> list[str]:
    written = earlier(loss.moment.runner, lab, os.urandom(8).hex())
    left = loss.spoil(written)
    _lay_out(lab, loss, left)
    code = lab.run(place)
    if code == 105 and loss.moment.is_finished:
        return []
    few = loss.kind == "zeros" and 0 < len(left.rstrip(b"\0")) < len(left) < loss.kept_bytes + FEW_ZEROS
    if code == 107 and (loss.kind == "hole" or few):
        # Good records follow what is damaged, or it might be a damaged record: somebody must look.
        return [] if lab.bytes_of(lab.runner_path) == left else ["stopped, and changed what it stopped at"]
    if code != 0:
        return [f"the runner exited {code}: {lab.words}"]
    seen = written[: loss.moment.synced_bytes]
    return violations(lab, place, TaskState.SUCCESS, seen=seen, power_lost=True)


def _lay_out(lab: Lab, loss: Loss, runner: bytes) -> None:
    where = paths.FINISHED if loss.moment.is_finished else paths.ACTIVE
    task_path = Path(paths.task_path(lab.root, lab.task_id, where))
    task_path.parent.mkdir(parents=True)
    shutil.copy(lab.task_json, task_path)
    Path(lab.runner_path).parent.mkdir(parents=True, mode=0o700)
    Path(lab.runner_path).write_bytes(runner)
    for name, data in loss.coordinators.items():
        if data:
            Path(lab.coordinator_path(name)).write_bytes(data)
    os.mkdir(lab.sandbox)
    # What has run: as far as anyone knows now. The rest ran for nothing, and runs again.
    records = [r for data in (runner, *loss.coordinators.values()) for r in checkpoint.decode(data).records]
    ran = {(r.process, r.pid) for r in records if isinstance(r, ProcessStatus) and r.state is ProcessState.RUNNING}
    Path(lab.sandbox, RAN).write_text("".join(f"{name} {pid}\n" for name, pid in sorted(ran)), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_task_goes_on_from_whatever_a_power_loss_leaves() -> None:
    try:
        moments = record_life()
    except TraceRefused as error:
        pytest.skip(str(error))
    chance = random.Random(SEED)
    tried = cuts(moments) + [lose(moments[number % len(moments)], chance) for number in range(LOSSES)]
    bad = [problems for problems in map_in_processes(outcome, tried, WORKERS) if problems]
    print(f"{len(moments)} moments, {len(tried)} losses, {len(bad)} bad")
    if bad:
        listed = "\n".join("\n    ".join(problems) for problems in bad[:5])
        pytest.fail(f"{len(bad)} of {len(tried)} losses:\n{listed}", pytrace=False)
