"""Probes of a job: written in configurations, read back from JSON, absent where they are not used, and checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from thermos.config import job_json
from thermos.config.job_checks import job_problems, job_warnings
from thermos.config.job_schema import Announcer, Job
from thermos.config.loader import load
from thermos.config.ports import ports_requested
from thermos.config.probe_schema import LIVENESS, READINESS, STARTUP, GrpcProbe, HttpProbe, Probe, ShellProbe, TcpProbe
from thermos.schema import MB, Process, Resources, Task

TASK = Task("t", (Process("p", "x {{thermos.ports[http]}} {{thermos.ports[rpc]}}"),), resources=Resources(0.1, MB, MB))
JOB = Job("n", "r", "c", "e", TASK)
PROBES = (
    Probe("up", STARTUP, tcp=TcpProbe("http"), interval_secs=2.0),
    Probe("ready", READINESS, http=HttpProbe("http", "/ready", "", 204, tls=True), max_consecutive_failures=3),
    Probe("alive", LIVENESS, shell=ShellProbe("test -e x && nc {{thermos.ports[rpc]}}"), timeout_secs=5.0),
    Probe("rpc.v1", LIVENESS, grpc=GrpcProbe("rpc", "my.Service"), min_consecutive_successes=2),
)


def with_probes(*probes: Probe, **fields: Any) -> Job:
    return replace(JOB, x_probes=probes, **fields)


CONFIG = """
web = Process(name='p', cmdline='x {{thermos.ports[http]}} {{thermos.ports[rpc]}}')
jobs = [Job(
    name='n', role='r', cluster='c', environment='e',
    task=Task(name='t', processes=[web], resources=Resources(cpu=0.1, ram=1 * MB, disk=1 * MB)),
    x_probes=[
        Probe(name='up', purpose='startup', tcp=TcpProbe(port='http'), interval_secs=2),
        Probe(name='ready', purpose='readiness', max_consecutive_failures=3, http=HttpProbe(
            port='http', endpoint='/ready', expected_response='', expected_response_code=204, tls=True)),
        Probe(name='alive', purpose='liveness', timeout_secs=5,
            shell=ShellProbe(command='test -e {{file}} && nc {{thermos.ports[rpc]}}')),
        Probe(name='rpc.v1', purpose='liveness', grpc=GrpcProbe(port='rpc', service='my.Service'),
            min_consecutive_successes=2),
    ]).bind(file='x')]
"""


def test_a_configuration_has_them(tmp_path: Path) -> None:
    path = tmp_path / "a.aurora"
    path.write_text(CONFIG)
    assert load(str(path)).job().x_probes == PROBES


def test_json_is_read_back_as_it_was() -> None:
    job = with_probes(*PROBES)
    assert job_json.decode(job_json.encode(job), "here").x_probes == PROBES
    assert job_json.decode(job_json.executor_payload(job), "here").x_probes == PROBES
    made = job_json.task_instance(job, 3, "host")
    assert made.x_probes == PROBES


def test_references_to_the_instance_are_bound_on_the_agent() -> None:
    job = with_probes(Probe("a", LIVENESS, shell=ShellProbe("{{mesos.instance}} {{thermos.ports[http]}}")))
    (made,) = job_json.task_instance(job, 3, "host").x_probes
    assert made.shell == ShellProbe("3 {{thermos.ports[http]}}")


def test_a_job_without_any_says_nothing_of_them() -> None:
    for text in (job_json.encode(JOB), job_json.executor_payload(JOB)):
        assert not [name for name in json.loads(text) if name.startswith("x_")]


def test_they_stand_beside_what_the_original_reads_and_not_within() -> None:
    """A reader of the original's refuses a field that it does not know, but at the top."""
    plain, extended = (json.loads(job_json.executor_payload(job)) for job in (JOB, with_probes(*PROBES)))
    assert extended.keys() - plain.keys() == {"x_probes"}
    assert {name: extended[name] for name in plain} == plain


def test_ports_that_are_asked_are_requested() -> None:
    probes = (
        Probe("a", LIVENESS, tcp=TcpProbe("one")),
        Probe("b", LIVENESS, shell=ShellProbe("{{thermos.ports[two]}}")),
        Probe("c", LIVENESS, tcp=TcpProbe("aurora")),
    )
    assert ports_requested(with_probes(*probes)) == {"http", "rpc", "one", "two", "aurora"}
    announced = with_probes(*probes, announce=Announcer())
    assert ports_requested(announced) == {"http", "rpc", "one", "two"}  # aurora is another name of http


def test_nothing_is_wrong_with_good_ones() -> None:
    assert list(job_problems(with_probes(*PROBES))) == []
    assert list(job_problems(with_probes(Probe("a", LIVENESS, tcp=TcpProbe("aurora")), announce=Announcer()))) == []


TCP = TcpProbe("http")
GOOD = Probe("a", LIVENESS, tcp=TCP)
BAD: dict[str, tuple[Probe, str, str]] = {
    "no name": (replace(GOOD, name=""), "x_probes[0].name", "is ''"),
    "a name with a space": (replace(GOOD, name="a b"), "x_probes[0].name", "is 'a b'"),
    "a long name": (replace(GOOD, name="a" * 101), "x_probes[0].name", "at most 100"),
    "a purpose of its own": (replace(GOOD, purpose="fun"), "x_probes[0].purpose", "it may be 'startup'"),
    "no kind": (replace(GOOD, tcp=None), "x_probes[0]", "set one of http, tcp, shell, grpc"),
    "two kinds": (replace(GOOD, shell=ShellProbe("true")), "x_probes[0]", "has tcp and shell"),
    "an unknown port": (replace(GOOD, tcp=TcpProbe("htpp")), "x_probes[0].tcp.port", "did you mean 'http'"),
    "no port": (replace(GOOD, tcp=TcpProbe("")), "x_probes[0].tcp.port", "there is no port ''"),
    "an unknown port in a command": (
        replace(GOOD, tcp=None, shell=ShellProbe("{{thermos.ports[zzz]}}")),
        "x_probes[0].shell.command",
        "there is no port 'zzz'; use {{thermos.ports[zzz]}}",
    ),
    "an empty command": (replace(GOOD, tcp=None, shell=ShellProbe(" ")), "x_probes[0].shell.command", "is empty"),
    "a NUL": (replace(GOOD, tcp=None, shell=ShellProbe("a\0")), "x_probes[0].shell.command", "NUL"),
    "a path with a line break": (
        replace(GOOD, tcp=None, http=HttpProbe("http", "/a\r\nX: y")), "x_probes[0].http.endpoint", "printable",
    ),
    "a status": (
        replace(GOOD, tcp=None, http=HttpProbe("http", expected_response_code=999)),
        "x_probes[0].http.expected_response_code", "is 999",
    ),
    "no interval": (replace(GOOD, interval_secs=0.0), "x_probes[0].interval_secs", "it must be above 0"),
    "no time": (replace(GOOD, timeout_secs=0.0), "x_probes[0].timeout_secs", "it must be above 0"),
    "fewer failures than none": (
        replace(GOOD, max_consecutive_failures=-1), "x_probes[0].max_consecutive_failures", "is -1",
    ),
    "no success": (replace(GOOD, min_consecutive_successes=0), "x_probes[0].min_consecutive_successes", "is 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_found(name: str) -> None:
    probe, path, message = BAD[name]
    (problem,) = job_problems(with_probes(probe))
    assert problem.path == path
    assert message in str(problem)


def test_all_of_it_is_told_at_once() -> None:
    probes = (GOOD, replace(GOOD, tcp=TcpProbe("no")), replace(GOOD, name="/", tcp=None))
    found = [problem.path for problem in job_problems(with_probes(*probes))]
    assert found == ["x_probes[1].name", "x_probes[1].tcp.port", "x_probes[2].name", "x_probes[2]"]


def test_what_is_hardly_meant_is_a_warning() -> None:
    ready = Probe("a", READINESS, tcp=TCP, initial_interval_secs=3.0)
    assert [problem.path for problem in job_warnings(with_probes(ready))] == [
        "x_probes[0]",
        "x_probes[0].initial_interval_secs",
    ]
    assert list(job_warnings(with_probes(replace(ready, initial_interval_secs=15.0), announce=Announcer()))) == []
