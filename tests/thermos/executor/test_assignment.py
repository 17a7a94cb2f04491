"""What an executor is to run: as the original understood its scheduler's bytes, as JSON, and ill-formed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from thermos.core.lifetime_events import Plan
from thermos.errors import TaskInvalid
from thermos.executor.assignment import Assignment, read
from thermos.executor.options import Options, parse
from thermos.formats.assigned_task import AssignedTask, ExecutorConfig, JobKey, TaskConfig, encode

JOBS: Final = Path(__file__).parents[4] / "shared" / "golden" / "jobs"
OPTIONS: Final = Options(announcer_ensemble="zk:2181", announcer_allow_custom_serverset_path=True)
TASK: Final = {"name": "hello", "processes": [{"name": "hello", "cmdline": "echo {{thermos.ports[http]}}"}]}


SHELL: Final = {"health_checker": {"shell": {"shell_command": "x {{thermos.ports[no]}} {{y}}"}}}


def golden() -> Iterator[Path]:
    for facts in sorted(JOBS.glob("**/facts.json")) if JOBS.is_dir() else ():
        if json.loads(facts.read_text()).get("executor"):
            yield facts.parent


def test_golden_jobs_are_there() -> None:
    if not JOBS.is_dir():
        pytest.skip("the original's jobs lie beside the checkout, and are not there")
    assert len(list(golden())) >= 10


def from_golden(directory: Path, options: Options = OPTIONS) -> tuple[Assignment, dict[str, Any]]:
    facts = json.loads((directory / "facts.json").read_text())["executor"]
    words = dict(word[2:].split("=", 1) for word in facts["runner_args_when_root"] if not word.startswith("--port"))
    return read((directory / "assigned.bin").read_bytes(), words["task_id"], options), facts


@pytest.mark.parametrize("directory", list(golden()), ids=lambda path: str(path.relative_to(JOBS)))
class TestGolden:
    def test_ports_are_as_the_original_resolves_them(self, directory: Path) -> None:
        assignment, facts = from_golden(directory)
        assert dict(assignment.ports) == facts["portmap"]
        words = sorted(f"--port={name}:{number}" for name, number in assignment.ports.items())
        assert words == sorted(word for word in facts["runner_args_when_root"] if word.startswith("--port"))

    def test_the_runner_s_task_is_the_original_s(self, directory: Path) -> None:
        assignment, _ = from_golden(directory)
        expected = json.loads((directory / "runner_task.json").read_text())
        assert json.loads(assignment.task_json) == expected

    def test_who_runs_it_and_where(self, directory: Path) -> None:
        assignment, facts = from_golden(directory)
        assert f"--hostname={assignment.hostname}" in facts["runner_args_when_root"]
        assert f"--setuid={assignment.role}" in facts["runner_args_when_root"]
        assert (assignment.is_docker, assignment.has_image) == (False, facts["sandbox"]["is_filesystem_image"])

    def test_health(self, directory: Path) -> None:
        assignment, facts = from_golden(directory)
        expected = facts["health_check"]
        kind = "shell" if assignment.health_command else "http" if assignment.health_port else "none"
        assert kind == expected["kind"]
        if kind == "shell":
            assert assignment.health_command == expected["command"]
        if kind != "none":
            for name in ("initial_interval_secs", "interval_secs", "max_consecutive_failures", "timeout_secs"):
                assert getattr(assignment.health, name) == expected[name]

    def test_how_it_is_asked_to_stop(self, directory: Path) -> None:
        assignment, facts = from_golden(directory)
        assert (assignment.farewell_port is not None) is (facts["lifecycle"]["kind"] != "none")
        assert bool(assignment.plan(OPTIONS).farewells) is (facts["lifecycle"]["kind"] != "none")

    def test_how_it_is_announced(self, directory: Path) -> None:
        assignment, facts = from_golden(directory)
        expected = facts["announce"]
        if expected is None:
            assert assignment.announcement is None
            return
        assert assignment.announcement is not None
        assert json.loads(assignment.announcement.member) == expected["member"]
        assert assignment.announcement.path == expected["path"]
        assert assignment.announcement.timeout_s == expected["timeout_secs"]

    def test_a_path_of_its_own_must_be_allowed(self, directory: Path) -> None:
        _, facts = from_golden(directory)
        refused = "error" in (facts.get("announce_without_allow_custom_path") or {})
        options = Options(announcer_ensemble="zk:2181")
        if refused:
            with pytest.raises(TaskInvalid, match="allows no paths"):
                from_golden(directory, options)
        else:
            from_golden(directory, options)


def made(raw: object, options: Options = OPTIONS) -> Assignment:
    return read(json.dumps(raw).encode(), "t-1", options, "agent", "me")


def test_a_bare_task_as_json() -> None:
    assignment = made({"name": "hello", "processes": [{"name": "hello", "cmdline": "echo hi"}]})
    assert (assignment.role, assignment.name, assignment.hostname, assignment.instance) == ("me", "hello", "agent", 0)
    assert assignment.plan(OPTIONS) == Plan("t-1", kill_budget_s=30.0)


def test_a_task_as_json_with_all_around_it() -> None:
    assignment = made({
        "task": TASK,
        "role": "www",
        "environment": "test",
        "name": "web",
        "instance": 3,
        "hostname": "h",
        "ports": {"http": 8080, "health": 8081},
        "announce": {"primary_port": "http", "portmap": {"aurora": "http"}},
        "lifecycle": {"http": {}},
    })  # fmt: skip
    assert assignment.ports == {"aurora": 8080, "health": 8081, "http": 8080}
    assert assignment.health_port == assignment.farewell_port == 8081
    assert assignment.announcement is not None
    assert assignment.announcement.path == "/aurora/www/test/web"
    plan = assignment.plan(OPTIONS)
    assert plan.is_checked
    assert plan.is_announced
    assert plan.farewells == (("/quitquitquit", 5.0), ("/abortabortabort", 5.0))


def test_without_an_ensemble_nothing_is_announced() -> None:
    raw = {"task": TASK, "ports": {"http": 1}, "announce": {}}
    assert made(raw, Options()).announcement is None


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", ["is no AssignedTask"]),
        (b"\xff\xfe garbage", ["is no AssignedTask"]),
        (b"{", ["JSON"]),
        (b"[" * 100_000, ["is no AssignedTask"]),
        (b"{" * 100_000, ["JSON"]),
        (b"{}", ["task"]),
        (b'{"task": {"name": "x", "processes": []}}', ["at least one process"]),
        (json.dumps({"task": TASK}).encode(), ["needs port 'http'"]),
        (json.dumps({"task": TASK, "ports": {"http": "many"}}).encode(), ["ports"]),
        (json.dumps({"task": TASK, "announce": {"portmap": {"a": "b", "b": "a"}}}).encode(), ["circle"]),
        (json.dumps({"task": TASK, "health_check_config": SHELL}).encode(), ["'http'", "ports[no]", "{{y}}"]),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_told_whole(data: bytes, words: list[str]) -> None:
    with pytest.raises(TaskInvalid) as caught:
        read(data, "t-1", OPTIONS)
    for word in words:
        assert word in str(caught.value)
    assert "t-1" in str(caught.value)


@pytest.mark.parametrize("path", ["relative", "/a//b", "/a/../b", "/", "//", "/a\0b", "/a/\x1f", "/a/\ue000"])
def test_a_path_that_zookeeper_would_not_take(path: str) -> None:
    with pytest.raises(TaskInvalid, match="no path of ZooKeeper"):
        made({"task": TASK, "ports": {"http": 1}, "announce": {"zk_path": path}})


@pytest.mark.parametrize("names", [{"environment": ""}, {"name": "a/../b"}, {"environment": ".."}, {"name": "a\0"}])
def test_names_that_make_no_path_of_zookeeper(names: dict[str, str]) -> None:
    with pytest.raises(TaskInvalid, match=r"announce: .* is no path of ZooKeeper") as caught:
        made({"task": TASK, "role": "www", "ports": {"http": 1}, "announce": {}, **names})
    assert len(caught.value.problems) == 1


def test_options_are_the_original_s_with_either_dash() -> None:
    words = ["--announcer-ensemble=a:1", "--announcer_hostname", "h", "--preserve-env", "--stop_timeout_in_secs=5"]
    options = parse([*words, "--log_to_disk=NONE", "--runner-rotate-log-size-mb=10"])
    assert (options.announcer_ensemble, options.announcer_hostname) == ("a:1", "h")
    assert (options.preserve_env, options.stop_timeout_in_secs, options.runner_rotate_log_size_mb) == (True, 5.0, 10)
    assert parse([]) == Options()


def test_a_wrong_option_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--stop_timeout_in_secs=soon", "--nonsense"])
    assert caught.value.code == 2
    assert "soon" in capsys.readouterr().err


def test_what_is_wrong_with_probes_is_told_whole() -> None:
    probes = [
        {"name": "a b", "purpose": "fun", "tcp": {"port": "no"}, "interval_secs": 0},
        {"name": "c", "purpose": "liveness", "shell": {"command": "{{thermos.ports[no]}} {{y}} {{thermos.task_id}}"}},
        {"name": "c", "purpose": "liveness"},
    ]
    with pytest.raises(TaskInvalid) as caught:
        made({"task": TASK, "ports": {"http": 1}, "x_probes": probes})
    told = [str(problem) for problem in caught.value.problems]
    paths = sorted(text.partition(": ")[0] for text in told)
    assert paths == [
        "x_probes[0].interval_secs", "x_probes[0].name", "x_probes[0].purpose", "x_probes[0].tcp.port",
        "x_probes[1].shell.command", "x_probes[1].shell.command", "x_probes[2]", "x_probes[2].name",
    ]  # fmt: skip


def test_probes_in_the_scheduler_s_bytes() -> None:
    job = {
        "name": "job", "role": "www", "cluster": "c", "environment": "test", "task": TASK,
        "x_probes": [
            {"name": "a", "purpose": "liveness", "shell": {"command": "{{mesos.instance}} {{thermos.ports[http]}}"}}
        ],
    }  # fmt: skip
    config = TaskConfig(
        job=JobKey("www", "test", "job"), executor_config=ExecutorConfig("AuroraExecutor", json.dumps(job))
    )
    data = encode(AssignedTask("t", "agent", "localhost", config, {"http": 31005}, 7))
    (probe,) = read(data, "t", OPTIONS).probes
    assert probe.shell is not None
    assert probe.shell.command == "7 31005"
