"""The original's configurations give its jobs, payloads and tasks; what it refused is refused, and said why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from thermos.config import Config, ConfigError, job_json, load, ports
from thermos.config.job_schema import Job
from thermos.definition import plain
from thermos.schema import MB
from thermos.schema import problems as task_problems

ROOT = Path(__file__).resolve().parents[3]
JOBS = ROOT.parent / "shared" / "golden" / "jobs"
pytestmark = pytest.mark.skipif(
    not JOBS.is_dir(), reason="the original's jobs (../shared/golden) are not on this machine"
)

HOSTNAME = "agent-7.example.test"  # of the agent in all golden files


def bindings(directory: Path) -> list[str]:
    path = directory / "bind.json"
    return list(json.loads(path.read_text())) if path.is_file() else []


def directories() -> Iterator[tuple[Path, Path]]:
    """The configuration's directory and the job's, for every job."""
    for facts in sorted(JOBS.glob("**/facts.json")):
        directory = facts.parent if (facts.parent / "config.aurora").is_file() else facts.parent.parent
        yield directory, facts.parent


ALL = list(directories())


@pytest.fixture(params=ALL, ids=lambda pair: "/".join(pair[1].relative_to(JOBS).parts))
def golden(request: pytest.FixtureRequest) -> tuple[Job, Path]:
    directory, of_job = request.param
    config = load(str(directory / "config.aurora"), bindings(directory))
    facts = json.loads((of_job / "facts.json").read_text())
    return config.job(facts["job_key"]), of_job


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def test_there_are_some() -> None:
    assert len(ALL) >= 14


def test_the_job(golden: tuple[Job, Path]) -> None:
    job, directory = golden
    assert json.loads(job_json.encode(job)) == read(directory / "write_json.json")


def test_the_executor_payload(golden: tuple[Job, Path]) -> None:
    job, directory = golden
    sent = read(directory / "job.readable.json")["taskConfig"]["executorConfig"]
    assert sent["name"] == job.executor_config.name
    assert json.loads(job_json.executor_payload(job)) == sent["data_parsed"]


def test_the_instance_and_its_task(golden: tuple[Job, Path]) -> None:
    """From the job itself, and from the payload as the original sent it."""
    job, directory = golden
    sent = read(directory / "job.sent.readable.json")["taskConfig"]["executorConfig"]["data"]
    for made in (job, job_json.decode(sent, "payload")):
        assert plain(job_json.task_instance(made, 0, HOSTNAME)) == read(directory / "task_instance.json")
        assert plain(job_json.runner_task(made, 0, HOSTNAME)) == read(directory / "runner_task.json")


def test_the_facts(golden: tuple[Job, Path]) -> None:
    job, directory = golden
    facts = read(directory / "facts.json")
    assert job.key == facts["job_key"]
    assert job.instances == facts["instances"]
    assert sorted(ports.ports_requested(job)) == facts["ports_requested"]
    assert ports.has_health_port(job) == facts["has_health_port"]
    resources = job.task.resources
    assert resources is not None
    named = [["namedPort", name] for name in sorted(ports.ports_requested(job))]
    gpus = [["numGpus", resources.gpu]] if resources.gpu else []
    listed = [["numCpus", resources.cpu], ["ramMb", resources.ram // MB], ["diskMb", resources.disk // MB]]
    assert [entry for entry in facts["resources"] if entry[0] != "numGpus"] == listed + named
    assert [entry for entry in facts["resources"] if entry[0] == "numGpus"] == gpus


def test_the_portmap(golden: tuple[Job, Path]) -> None:
    """Ports of the golden agent are 31000 and up, in the order of their names."""
    job, directory = golden
    assigned = {name: 31000 + index for index, name in enumerate(sorted(ports.ports_requested(job)))}
    assert ports.bind(ports.portmap(job), assigned) == read(directory / "facts.json")["executor"]["portmap"]


def test_health_and_lifecycle(golden: tuple[Job, Path]) -> None:
    job, directory = golden
    executor = read(directory / "facts.json")["executor"]
    health, checked = job.health_check_config, executor["health_check"]
    shell = health.health_checker.shell
    assert (shell is not None) == (checked["kind"] == "shell")
    if checked["kind"] != "none":
        for field in (
            "initial_interval_secs",
            "interval_secs",
            "max_consecutive_failures",
            "min_consecutive_successes",
        ):
            assert getattr(health, field) == checked[field]
    if job.lifecycle.http is None or job.lifecycle.http.port not in executor["portmap"]:
        assert executor["lifecycle"]["kind"] == "none"


def test_every_task_could_run(golden: tuple[Job, Path]) -> None:
    job, _ = golden
    assert task_problems(job_json.runner_task(job, 0, HOSTNAME)) == ()


@pytest.mark.parametrize("directory", sorted({directory for directory, _ in ALL}), ids=lambda path: path.name)
def test_written_jobs_can_be_loaded_again(directory: Path, tmp_path: Path) -> None:
    first = load(str(directory / "config.aurora"), bindings(directory))
    path = tmp_path / "jobs.json"
    path.write_text(json.dumps({"jobs": [plain(job) for job in first.jobs]}))
    assert load(str(path)).jobs == first.jobs


def load_invalid(name: str) -> Config:
    return load(str(JOBS / "invalid" / name / "config.aurora"))


#: What the original refused, and what it took although it cannot work; what is said of it, and in which line.
REFUSED = {
    "01-unbound-ref": (1, "task.processes[0].cmdline", "nothing gives {{speed}} a value"),
    "03-bad-type": (1, "instances", "must be a whole number, not 'several'"),
    "05-order-cycle": (3, "task.constraints", "a -> b -> a"),
    "07-missing-required-role": (1, "role", "is required in a Job and missing"),
    "09-bad-limit-constraint": (1, "constraints[rack]", "is 'limit:few'"),
    "13-no-resources": (1, "task.resources", "is required in a job and missing"),
    "15-strategy-and-batch": (1, "update_config.batch_size", "contradicts update_strategy"),
    "17-syntax-error": (1, "", "is not Python 3"),
    "19-negative-watch": (1, "update_config.watch_secs", "is -1 seconds"),
    "21-portmap-cycle": (1, "announce.portmap", "a -> b -> a"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    line, path, message = REFUSED[name]
    with pytest.raises(ConfigError) as caught:
        load_invalid(name)
    [problem] = caught.value.problems
    assert (problem.line, problem.path) == (line, path)  # type: ignore[attr-defined]
    assert message in str(problem)


def test_warned_of() -> None:
    """The original takes it; that the check is never made is all that is wrong."""
    [warning] = load_invalid("11-health-check-without-port").warnings
    assert "is never asked: no process uses a port named 'health'" in str(warning)


def test_what_only_python_2_could_not_read() -> None:
    assert load_invalid("23-non-ascii-bytes").jobs[0].task.processes[0].cmdline == "echo ñ"


def test_every_faulty_one_is_known() -> None:
    names = {path.name for path in (JOBS / "invalid").iterdir()}
    assert names == {*REFUSED, "11-health-check-without-port", "23-non-ascii-bytes"}
