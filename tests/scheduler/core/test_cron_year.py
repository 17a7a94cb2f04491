"""A year of cron jobs, with both changes of the clocks: failovers, clocks that are set, runs that last too long."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from scheduler.core import cron
from scheduler.core.changes import CronRun, PutTask
from scheduler.core.cron_jobs import LATE_S, LOOK_S
from scheduler.core.events import Event, Now, Woke
from scheduler.model import JobKey
from scheduler.states import ScheduleStatus
from tests.support.cron import Clock
from tests.support.world import offer
from thermos.formats.aurora_api import CronCollisionPolicy, ResponseCode

KILL, CANCEL, _ = CronCollisionPolicy
#: Each with about how long it is from one time to the next.
SCHEDULES: Final = {
    "30 2 * * *": 86400.0, "0 */12 * * *": 12 * 3600.0, "15 4 * * MON": 7 * 86400.0, "0 0 1 * *": 30 * 86400.0,
    "*/20 2 * * *": 1200.0,
}  # fmt: skip
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
#: An engine that is asked to wake up does so within this, here; less than ``LATE_S``.
WOKEN_WITHIN_S: Final = 25.0


class Year(Clock):
    """A world that is followed: whatever one event brings is compared with what the schedules promise."""

    def __init__(self, zone: ZoneInfo, makes_up: bool, dice: random.Random) -> None:
        self.dice = dice
        self.makes_up = makes_up
        #: Time that passes whatever clocks say.
        self.true_s = 0.0
        #: Times that the schedules promise, ascending.
        self.promised: dict[JobKey, list[int]] = {}
        self.interval_s: dict[JobKey, float] = {}
        self.policies: dict[JobKey, CronCollisionPolicy] = {}
        #: Tasks that run, by job, and when they end: *true_s*, and how.
        self.ends: dict[JobKey, dict[str, tuple[float, str]]] = {}
        #: Wall times that nobody looked at: from, to.
        self.gaps: list[tuple[int, int]] = []
        #: Runs that made up for others, by job and gap (how many there were by then); and those that must, or may: a
        #: look up to ``LOOK_S`` later can find the last time too old.
        self.made_up: Counter[tuple[JobKey, int]] = Counter()
        self.must_make_up: set[tuple[JobKey, int]] = set()
        self.may_make_up: set[tuple[JobKey, int]] = set()
        self.missed: dict[JobKey, set[int]] = {}
        self.decided: dict[JobKey, list[int]] = {}
        self.seen: Counter[str] = Counter()
        settings: dict[str, Any] = {
            "cron_timezone": zone, "cron_run_missed": makes_up, "history_max_per_job": 5,
            "transient_task_state_timeout_s": 3600.0,
        }  # fmt: skip
        super().__init__("00:00:10", day="2026-01-01", **settings)
        self.begin_ms = self.now.wall_ms
        times = {text: _times(text, self.begin_ms, zone) for text in SCHEDULES}
        for policy in (KILL, CANCEL):
            for number, text in enumerate(SCHEDULES):
                key = JobKey("www", "prod", f"{policy.name.lower()}{number}")
                self.promised[key] = times[text]
                self.interval_s[key], self.policies[key] = SCHEDULES[text], policy
                self.ends[key], self.missed[key], self.decided[key] = {}, set(), []
                assert self.schedule(text, job=key, policy=policy).code is ResponseCode.OK

    # -- what one event brings -----------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        before = dict(self.engine.state.cron_runs)
        self.changes.clear()
        super().handle(event)
        created = Counter(
            change.task.job for change in self.changes if isinstance(change, PutTask) and len(change.task.events) == 1
        )
        for key, run in self.engine.state.cron_runs.items():
            if key in self.promised and (run is not before.get(key) or created[key]):
                self._follow(key, before[key], run, created[key])
        assert created.keys() <= self.promised.keys()

    def _follow(self, key: JobKey, before: CronRun, after: CronRun, created: int) -> None:
        came = self.between(key, before.at_ms, after.at_ms)
        missed = after.missed - before.missed
        is_active = bool(self.ends[key])
        begins = before.is_waiting and not after.is_waiting
        if not came:
            assert (after.at_ms, missed) == (before.at_ms, 0)
            assert not after.is_waiting or before.is_waiting
        else:
            assert after.at_ms == came[-1], "none that was not promised"
            assert not self.between(key, after.at_ms, self.now.wall_ms), "none is left over"
            is_late = self.now.wall_ms - came[-1] > LATE_S * 1000
            lost = came if is_late else came[:-1]
            assert missed == len(lost)
            self.decided[key] += came
            self.missed[key].update(lost)
            is_triggered = not is_late or self.makes_up
            if is_late and self.makes_up:
                self.made_up[key, len(self.gaps)] += 1
            if is_triggered and not is_active:
                begins = True
            elif is_triggered:
                self.seen[self.policies[key].name] += 1
                self.seen["waited already"] += before.is_waiting
                assert after.is_waiting == (self.policies[key] is KILL)
            else:
                assert after.is_waiting == before.is_waiting
        assert created == begins, "one task for one run"
        assert not (created and is_active), "never two at once"

    def between(self, key: JobKey, after_ms: int, until_ms: int) -> list[int]:
        """The job's times after the one and up to the other."""
        times = self.promised[key]
        return times[bisect_right(times, after_ms) : bisect_right(times, until_ms)]

    # -- time ----------------------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Time goes by. The engine is woken when a time has come, a little late, and when a task has ended; not for
        looking at its clock."""
        end_s = self.true_s + seconds
        while self.true_s < end_s:
            at_s = min(
                (times[bisect_right(times, self.now.wall_ms)] - self.now.wall_ms) / 1000
                for times in self.promised.values()
            )
            step_s = at_s + self.dice.choice([0.0, 0.7, WOKEN_WITHIN_S])
            ends_s = [one for ends in self.ends.values() for one, _ in ends.values()]
            self._step(max(0.0, min([end_s - self.true_s, step_s, *(one - self.true_s for one in ends_s)])))

    def _step(self, step_s: float) -> None:
        self.true_s += step_s
        self._set_time(self.now.mono_s + step_s)
        self.handle(Woke())
        self.pass_s(0.002)
        self.true_s += 0.002
        self._mesos()

    def _mesos(self) -> None:
        """It says what has ended, and launches what waits, until nothing does."""
        for ends in self.ends.values():
            for task_id in list(ends):
                at_s, state = ends[task_id]
                if self.engine.state.tasks[task_id].status is ScheduleStatus.KILLING and state == "FINISHED":
                    at_s, state = ends[task_id] = (self.true_s + self.dice.choice([0.0, 100.0, 1500.0]), "KILLED")
                if at_s <= self.true_s:
                    del ends[task_id]
                    self.status(self.engine.state.tasks[task_id], state)
        self.handle(Woke())
        looks = 0
        while waiting := self.engine.state.with_status([ScheduleStatus.PENDING, ScheduleStatus.ASSIGNED]):
            for task in waiting:
                lasts_s = self.dice.choice([20.0, 600.0, 1.5 * self.interval_s[task.job]])
                self.ends[task.job].setdefault(task.task_id, (self.true_s + lasts_s, "FINISHED"))
                if task.status is ScheduleStatus.ASSIGNED:
                    self.status(task, "RUNNING")
            if not len(self.engine.offers):
                self.offers(offer(cpus=100.0))
            self.pass_s(0.1)
            self.true_s += 0.1
            looks += 1
            assert looks < 100, "what waits is launched"
        self.actions.clear()
        idle = {key for key, run in self.engine.state.cron_runs.items() if run.is_waiting and not self.ends.get(key)}
        assert not idle, "what waits for an end begins with it"

    def is_disturbed(self) -> Year:
        """The scheduler dies, or its clock is set forward or back; gives who leads then."""
        before_ms = self.now.wall_ms
        world = self
        match self.dice.randrange(3):
            case 0:
                down_s = self.dice.choice([0.1, 20.0, 45.0, 7200.0, 90_000.0])
                self.true_s += down_s
                self._miss(before_ms, before_ms + round(down_s * 1000))
                world = self.fail_over(down_s)
            case 1:
                self.now = Now(before_ms + self.dice.choice([1000, HOUR_MS, 5 * HOUR_MS]), self.now.mono_s)
                self._miss(before_ms, self.now.wall_ms)
            case 2:
                self.now = Now(before_ms - self.dice.choice([1000, HOUR_MS, 2 * HOUR_MS]), self.now.mono_s)
        # It looks at the clock as soon as it asked to, so that each gap ends before the next one.
        world.pass_s(LOOK_S + 1)
        world.true_s += LOOK_S + 1
        world._mesos()
        return world

    def _miss(self, from_ms: int, to_ms: int) -> None:
        """Nobody looks at these times, nor maybe for ``LOOK_S`` more."""
        self.gaps.append((from_ms, to_ms))
        for key, decided in self.decided.items():
            look_ms = to_ms + round((LOOK_S + 1) * 1000)
            for last_ms in self.between(key, decided[-1] if decided else self.begin_ms, look_ms)[-1:]:
                if look_ms - last_ms > LATE_S * 1000:
                    self.may_make_up.add((key, len(self.gaps)))
                if to_ms - last_ms > LATE_S * 1000:
                    self.must_make_up.add((key, len(self.gaps)))


def _times(text: str, begin_ms: int, zone: ZoneInfo) -> list[int]:
    """The schedule's times of a year, and of some days more."""
    found: list[int] = []
    at_ms: int | None = begin_ms
    while (at_ms := cron.next_ms(cron.parse(text), at_ms or 0, zone)) is not None:
        found.append(at_ms)
        if at_ms > begin_ms + 400 * DAY_MS:
            break
    return found


@pytest.mark.parametrize(("seed", "zone"), [(0, "Europe/Berlin"), (1, "America/New_York")])
@pytest.mark.parametrize("makes_up", [False, True])
def test_a_year_with_failovers_and_clocks_that_jump(seed: int, zone: str, makes_up: bool) -> None:
    """Every time of every schedule starts one run, collides as its policy says, or is told to be missed, and that only
    while nobody looked; one run makes up for all that a gap cost, where that is wanted."""
    world = Year(ZoneInfo(zone), makes_up, random.Random(seed))
    while world.now.wall_ms < world.begin_ms + 365 * DAY_MS:
        world.wait(world.dice.choice([3600.0, 86400.0, 5 * 86400.0]))
        world = world.is_disturbed()
    world.wait(HOUR_MS / 1000)
    _has_both_changes(world, ZoneInfo(zone))
    state = world.engine.state
    for key in world.promised:
        last_ms = state.cron_runs[key].at_ms
        promised = world.between(key, world.begin_ms, last_ms)
        assert world.decided[key] == promised, "each once, in order"
        assert not world.between(key, last_ms, world.now.wall_ms - round(LATE_S * 1000)), "and up to now"
        assert state.cron_runs[key].missed == len(world.missed[key])
        unseen = {at_ms for at_ms in world.missed[key] if not any(low < at_ms <= high for low, high in world.gaps)}
        assert not unseen, "none missed while somebody looked"
    assert world.seen["KILL_EXISTING"] and world.seen["CANCEL_NEW"] and world.seen["waited already"]
    assert any(world.missed.values())
    assert world.must_make_up, "there was something to make up for"
    if makes_up:
        assert world.must_make_up <= world.made_up.keys() <= world.may_make_up
        assert set(world.made_up.values()) == {1}, "one for each gap"
    else:
        assert not world.made_up


def _has_both_changes(world: Year, zone: ZoneInfo) -> None:
    """Both days on which clocks are changed are within, and the job of every night has one time on each day."""
    night = next(times for key, times in world.promised.items() if key.name == "cancel_new0")
    end_ms = world.begin_ms + 365 * DAY_MS
    local = [datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone) for at_ms in night if at_ms < end_ms]
    assert len({at.date() for at in local}) == len(local) == 365
    months = [other.month for one, other in pairwise(local) if one.utcoffset() != other.utcoffset()]
    assert months == {"Europe/Berlin": [3, 10], "America/New_York": [3, 11]}[zone.key]
