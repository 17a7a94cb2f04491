"""All checks of a task in time: who is asked when, what is told, what the snooze file silences, what is counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.box import IS_ROOT
from thermos.core.health import HEALTHY, HealthPolicy
from thermos.core.lifetime_events import HealthTold, ReadinessTold
from thermos.core.probes import Check, Purpose, Words
from thermos.executor.assignment import Assignment, read
from thermos.executor.checks import Checks, Wanted, wanted
from thermos.executor.options import Options
from thermos.executor.sandbox import SandboxPlan
from thermos.health import grpc_probe, probes, shell
from thermos.health.probes import Cancel, Done, Result
from thermos.host.loop import Loop

Told = HealthTold | ReadinessTold
HEALTH = HealthTold(True, HEALTHY)


class Staged:
    """A probe that answers at once what the test says."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.stage = stage
        self.name = name

    def start(self, loop: Loop, done: Done) -> Cancel:
        self.stage.asked.append((self.name, round(self.stage.now_s, 3)))
        result = Result(self.stage.failures.get(self.name), 0.01)
        key = (self, len(self.stage.asked))
        loop.call_later(key, 0.0, lambda: done(result))
        return lambda: loop.cancel(key)


class Stage:
    """A loop whose time the test moves, staged probes, and what was told."""

    def __init__(self, snooze_file: Path, *checks: Check, policy: HealthPolicy | None = None) -> None:
        self.now_s = 0.0
        self.loop = Loop(lambda: self.now_s)
        self.failures: dict[str, str] = {}
        self.asked: list[tuple[str, float]] = []
        self.told: list[Told] = []
        self.shown: list[Words] = []
        self.hears: Callable[[Told], object] = self.told.append
        policy = policy or HealthPolicy(0.0, 10.0, 1, 1)
        every = [Wanted(check, policy, Staged(self, check.name or "own")) for check in checks]
        self.checks = Checks(self.loop, every, str(snooze_file), self._hear, self.shown.append)

    def _hear(self, told: Told) -> None:
        self.hears(told)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.05)):
            for _ in range(4):
                self.loop.step(0)
            self.now_s += 0.05
        self.loop.step(0)

    def names(self) -> set[str]:
        found = {name for name, _ in self.asked}
        self.asked.clear()
        return found


Make = Callable[..., Stage]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Make]:
    made: list[Stage] = []

    def make(*checks: Check, **more: HealthPolicy) -> Stage:
        made.append(Stage(tmp_path / "snooze", *checks, **more))
        return made[-1]

    yield make
    for each in made:
        each.loop.close()


OWN = Check()
UP = Check("up", Purpose.STARTUP)
DB = Check("db")
READY = Check("ready", Purpose.READINESS)


def test_others_are_asked_when_it_has_started_and_startup_probes_no_more(stage: Make) -> None:
    at = stage(OWN, UP, READY, policy=HealthPolicy(60.0, 10.0, 0, 1))
    at.failures["up"] = "not yet"
    at.checks.start()
    at.run(25)
    assert at.names() == {"up"}
    assert at.told == []
    assert at.shown == [Words(None, "Waits for startup probe 'up'.")]
    at.failures.clear()
    at.run(30)
    assert at.told == [HEALTH, ReadinessTold(True)]
    assert [each for each in at.asked if each[0] == "up"][1:] == []
    assert at.shown[-1] == Words(True, f"{HEALTHY} Ready.")


def test_a_startup_probe_has_its_time_and_no_more(stage: Make) -> None:
    at = stage(OWN, UP)
    at.failures["up"] = "no page"
    at.checks.start()
    at.run(9)
    assert at.told == []
    at.run(2)
    assert at.told == [HealthTold(False, "startup probe 'up': no page", True)]
    assert at.names() == {"up"}


def test_readiness_comes_and_goes_and_never_ends_anything(stage: Make) -> None:
    at = stage(OWN, READY)
    at.failures["ready"] = "warms up"
    at.checks.start()
    at.run(100)
    assert at.told == [HEALTH]
    assert at.shown[-1] == Words(True, f"{HEALTHY} Not ready: readiness probe 'ready': warms up")
    at.failures.clear()
    at.run(11)
    at.failures["ready"] = "too much to do"
    at.run(15)
    assert at.told == [HEALTH, ReadinessTold(True)]  # one failure is forgiven
    at.run(60)
    assert at.told == [HEALTH, ReadinessTold(True), ReadinessTold(False)]


def test_each_liveness_probe_can_end_it(stage: Make) -> None:
    at = stage(OWN, DB)
    at.checks.start()
    at.run(5)
    at.failures["db"] = "gone"
    at.run(20)
    message = "liveness probe 'db': gone"
    assert at.told == [HEALTH, HealthTold(False, message), HealthTold(False, message, True)]


def test_the_snooze_file_silences_liveness_and_nothing_else(stage: Make, tmp_path: Path) -> None:
    at = stage(OWN, DB, UP, READY)
    at.checks.start()
    at.run(5)
    (tmp_path / "snooze").touch()
    at.failures.update(own="ill", db="gone", ready="busy")
    at.names()
    at.run(60)
    assert at.names() == {"ready"}
    assert at.told == [HEALTH, ReadinessTold(True), ReadinessTold(False)]
    assert (at.checks.counts["snoozed"], at.checks.counts["probe.db.snoozed"]) == (1, 1)
    (tmp_path / "snooze").unlink()
    at.run(30)
    assert any(isinstance(told, HealthTold) and told.is_fatal for told in at.told)


def test_metrics_have_the_original_s_names_for_its_check_and_others_their_own(stage: Make) -> None:
    at = stage(OWN, DB, READY)
    at.failures["ready"] = "busy"
    assert stage(OWN).checks.counts == {"consecutive_failures": 0, "snoozed": 0, "total_latency_secs": 0, "checks": 0}
    assert at.checks.counts["probe.db.healthy"] is None
    at.checks.start()
    at.run(15)
    found = at.checks.counts
    assert found["checks"] == found["probe.db.checks"] == found["probe.ready.checks"] == 2
    assert found["probe.ready.consecutive_failures"] == 2
    assert (found["probe.db.healthy"], found["probe.ready.healthy"], found["ready"]) == (1, 0, 0)
    assert found["probe.db.total_latency_secs"] == pytest.approx(0.02)
    assert "ready" not in stage(OWN).checks.counts


def test_after_the_stop_nothing_is_asked_or_told(stage: Make) -> None:
    at = stage(OWN, UP, READY)
    at.failures["up"] = "not yet"
    at.checks.start()
    at.run(3)
    at.checks.stop()
    at.names()
    at.failures.clear()
    at.run(60)
    assert at.names() == set()
    assert at.told == []


def test_who_hears_of_it_may_stop_it_at_once(stage: Make, tmp_path: Path) -> None:
    """A snoozed check answers while the others are just being started."""
    (tmp_path / "snooze").touch()
    at = stage(OWN, READY)

    def hear(told: Told) -> None:
        at.told.append(told)
        at.checks.stop()

    at.hears = hear
    at.checks.start()
    at.run(30)
    assert at.told == [HEALTH]
    assert at.names() == set()


# -- From an assignment -----------------------------------------------------------------------------------------------


def assignment(*x_probes: object, **more: object) -> Assignment:
    task = {"name": "t", "processes": [{"name": "p", "cmdline": "x {{thermos.ports[web]}}"}]}
    raw = {"task": task, "ports": {"web": 8080, "health": 8081}, "x_probes": x_probes, **more}
    return read(json.dumps(raw).encode(), "t-1", Options(), "agent", "")


def made(*x_probes: object) -> tuple[Wanted, ...]:
    plan = SandboxPlan(directory="/box", mounted="/box")
    return wanted(assignment(*x_probes), Options(nosetuid=True), plan, True)


@pytest.mark.skipif(not IS_ROOT, reason="another user's check takes root")
@pytest.mark.parametrize(
    ("options", "name"),
    [
        (Options(), "daemon"),
        (Options(nosetuid=True), None),
        (Options(nosetuid_health_checks=True), None),
        (Options(execute_as_user="nobody"), None),  # as the processes: the role may not enter that user's sandbox
    ],
)
def test_a_command_runs_as_the_processes_do(options: Options, name: str | None) -> None:
    config = {"health_checker": {"shell": {"shell_command": "true"}}}
    plan = SandboxPlan(directory="/box", mounted="/box")
    (own,) = wanted(assignment(role="daemon", health_check_config=config), options, plan, True)
    assert isinstance(own.probe, shell.ShellProbe)
    assert (own.probe.user.name if own.probe.user is not None else None) == name


def test_each_kind_becomes_what_is_asked() -> None:
    found = made(
        {"name": "a", "purpose": "startup", "tcp": {"port": "web"}, "timeout_secs": 2},
        {"name": "b", "purpose": "readiness", "http": {"port": "web", "endpoint": "/r", "tls": True}},
        {"name": "c", "purpose": "liveness", "grpc": {"port": "web", "service": "s"}, "interval_secs": 3},
        {"name": "d", "purpose": "liveness", "shell": {"command": "nc {{thermos.ports[web]}}"}},
    )
    own, a, b, c, d = (each.probe for each in found)
    assert [each.check.purpose.value for each in found] == ["liveness", "startup", "readiness", "liveness", "liveness"]
    assert [each.check.name for each in found] == [None, "a", "b", "c", "d"]
    assert own == probes.HttpProbe(8081)
    assert a == probes.TcpProbe(8080, 2.0)
    assert b == probes.HttpProbe(8080, "/r", tls=True)
    assert c == grpc_probe.GrpcProbe(8080, "s")
    assert isinstance(d, shell.ShellProbe)
    assert (d.command, d.user) == ("nc 8080", None)
    assert found[3].policy == HealthPolicy(15.0, 3.0, 0, 1)


def test_the_plan_knows_what_decides() -> None:
    tcp = {"tcp": {"port": "web"}}
    without = {"ports": {"web": 1}}
    plan = assignment({"name": "a", "purpose": "readiness", **tcp}, **without).plan(Options())
    assert (plan.is_checked, plan.has_readiness) == (False, True)
    for purpose in ("startup", "liveness"):
        plan = assignment({"name": "a", "purpose": purpose, **tcp}, **without).plan(Options())
        assert (plan.is_checked, plan.has_readiness) == (True, False)
