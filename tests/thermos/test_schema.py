"""Every fault of a task is found, all of them at once, and nothing that can run is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermos.schema import (
    MAX_ARGUMENT_BYTES,
    MAX_NAME_BYTES,
    Backoff,
    Constraint,
    Logger,
    Process,
    ProcessExtension,
    Resources,
    RotatePolicy,
    Task,
    ports_wanted,
    problems,
)

ROOT = Path(__file__).resolve().parents[2]

A, B, C = (Process(name, "true") for name in "abc")


def task(*processes: Process, **fields: object) -> Task:
    return replace(Task("t", processes or (A,)), **fields)  # type: ignore[arg-type]


def ordered(*names: str) -> tuple[Constraint, ...]:
    return (Constraint(names),)


def found(given: Task, ports: dict[str, int] | None = None) -> list[tuple[str, str]]:
    return [(problem.path, problem.message) for problem in problems(given, ports)]


GOOD = {
    "the least": task(),
    "ordered": task(A, B, C, constraints=ordered("a", "b", "c") + ordered("a", "c")),
    "an order of one, and of none": task(A, constraints=ordered("a") + ordered()),
    "two finals in order": task(A, replace(B, final=True), replace(C, final=True), constraints=ordered("b", "c")),
    "an ephemeral after another": task(
        replace(A, ephemeral=True), replace(B, ephemeral=True), constraints=ordered("a", "b")
    ),
    "an ephemeral after one that is not": task(A, replace(B, ephemeral=True), constraints=ordered("a", "b")),
    "a daemon after one that is not": task(A, replace(B, daemon=True), constraints=ordered("a", "b")),
    "names in any script": task(Process("grüße 東京 +&@.x", "true")),
    "the longest name": task(Process("é" * (MAX_NAME_BYTES // 2), "true")),
    "the longest command": task(Process("a", "x" * (MAX_ARGUMENT_BYTES - 1))),
    "tabs and lines in a command": task(Process("a", "\n\ttrue\n")),
    "late references": task(Process("a", "{{thermos.task_id}} {{thermos.user}} {{thermos.ports[http]}}")),
    "a literal": task(Process("a", "{{&anything at all}}")),
    "zeros where they mean something": task(
        replace(A, max_failures=0, min_duration=0), max_failures=0, max_concurrency=0, finalization_wait=0
    ),
    "rotation without a policy, and without files kept": task(
        replace(A, logger=Logger("file", "rotate")),
        replace(B, logger=Logger("both", "rotate", RotatePolicy(1, 0))),
    ),
    "an extension": task(x_processes={"a": ProcessExtension(Backoff(), compress_rotated=True)}),
    "no disk": task(resources=Resources(0.0, 0, 0)),
}


@pytest.mark.parametrize("name", GOOD)
def test_nothing_is_wrong_with(name: str) -> None:
    assert problems(GOOD[name]) == ()


BAD = {
    "no process": (Task("t", ()), "processes", "at least one process"),
    "an empty name": (task(Process("", "true")), "processes[0].name", "is empty"),
    "a hidden name": (task(Process(".a", "true")), "processes[0].name", "'.a' is no file name"),
    "a slash": (task(Process("a/b", "true")), "processes[0].name", "'a/b' is no file name"),
    "a line break in a name": (task(Process("a\n", "true")), "processes[0].name", "control character"),
    "a NUL in a name": (task(Process("a\0", "true")), "processes[0].name", "control character"),
    "an escape sequence in a name": (task(Process("\x9b1m", "true")), "processes[0].name", "control character"),
    "half a pair in a name": (task(Process("\ud800", "true")), "processes[0].name", "surrogate"),
    "a long name": (task(Process("é" * 101, "true")), "processes[0].name", "takes 202 bytes"),
    "a name twice": (task(A, A), "processes[1].name", "'a' is also the name of processes[0]"),
    "an empty command": (task(Process("a", " \n")), "processes[0].cmdline", "is empty"),
    "a NUL in a command": (task(Process("a", "x\0")), "processes[0].cmdline", "NUL at character 2"),
    "half a pair in a command": (task(Process("a", "\udfff")), "processes[0].cmdline", "surrogate"),
    "a long command": (
        task(Process("a", "x" * MAX_ARGUMENT_BYTES)), "processes[0].cmdline", f"takes {MAX_ARGUMENT_BYTES} bytes",
    ),
    "fewer than no failures": (task(replace(A, max_failures=-1)), "processes[0].max_failures", "is -1 runs"),
    "a time before now": (task(replace(A, min_duration=-5)), "processes[0].min_duration", "is -5 seconds"),
    "a wait before now": (task(finalization_wait=-1), "finalization_wait", "is -1 seconds"),
    "less than no concurrency": (task(max_concurrency=-1), "max_concurrency", "is -1 processes"),
    "no such destination": (
        task(replace(A, logger=Logger("flie"))), "processes[0].logger.destination", "is 'flie'",
    ),
    "no such mode": (task(replace(A, logger=Logger(mode="x"))), "processes[0].logger.mode", "is 'x'"),
    "a log of nothing": (
        task(replace(A, logger=Logger(rotate=RotatePolicy(0)))), "processes[0].logger.rotate.log_size", "is 0 bytes",
    ),
    "fewer than no backups": (
        task(replace(A, logger=Logger(rotate=RotatePolicy(1, -1)))), "processes[0].logger.rotate.backups", "is -1",
    ),
    "less than no memory": (task(resources=Resources(1.0, -1, 0)), "resources.ram", "is -1 bytes"),
    "no number": (task(resources=Resources(float("nan"), 1, 0)), "resources.cpu", "is not a number"),
    "an unknown name": (task(A, B, constraints=ordered("a", "bb")), "constraints[0].order[1]", "no process 'bb'"),
    "final and not": (
        task(A, replace(B, final=True), constraints=ordered("a", "b")),
        "constraints[0].order", "orders 'a' and the final",
    ),
    "after a daemon": (
        task(replace(A, daemon=True), B, constraints=ordered("a", "b")), "constraints[0].order", "'a', a daemon",
    ),
    "after an ephemeral": (
        task(replace(A, ephemeral=True), B, constraints=ordered("a", "b")),
        "constraints[0].order", "ephemeral process 'a'",
    ),
    "a circle": (
        task(A, B, C, constraints=ordered("a", "b", "c") + ordered("c", "a")), "constraints", "a -> b -> c -> a",
    ),
    "a circle of one": (task(A, constraints=ordered("a", "a")), "constraints", "a -> a"),
    "a circle of finals": (
        task(A, replace(B, final=True), replace(C, final=True), constraints=ordered("b", "c", "b")),
        "constraints", "b -> c -> b",
    ),
    "an extension of nothing": (task(x_processes={"b": ProcessExtension()}), "x_processes[b]", "no process 'b'"),
    "no back-off": (
        task(x_processes={"a": ProcessExtension(Backoff(initial_s=0))}), "x_processes[a].backoff.initial_s", "is 0",
    ),
    "a shrinking back-off": (
        task(x_processes={"a": ProcessExtension(Backoff(factor=0.5))}), "x_processes[a].backoff.factor", "is 0.5",
    ),
    "a back-off beyond its end": (
        task(x_processes={"a": ProcessExtension(Backoff(9.0, max_s=3.0))}), "x_processes[a].backoff.max_s", "is 3.0",
    ),
    "more chance than there is": (
        task(x_processes={"a": ProcessExtension(Backoff(jitter=1.5))}), "x_processes[a].backoff.jitter", "is 1.5",
    ),
    "an unbound reference": (task(Process("a", "{{x.y}}")), "processes[0].cmdline", "nothing gives {{x.y}} a value"),
    "a malformed reference": (task(Process("a", "{{ x }}")), "processes[0].cmdline", "{{ x }} is not a reference"),
    "an unbound reference in the name": (replace(task(), name="{{x}}"), "name", "nothing gives {{x}} a value"),
    "an unknown thermos reference": (
        task(Process("a", "{{thermos.port[x]}}")), "processes[0].cmdline", "nothing gives {{thermos.port[x]}}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_found(name: str) -> None:
    given_task, path, message = BAD[name]
    [(found_path, found_message)] = found(given_task)
    assert found_path == path
    assert message in found_message


def test_all_at_once_in_the_order_of_the_fields() -> None:
    bad = task(
        Process("", ""),
        Process("x", "{{y}}", max_failures=-1),
        constraints=ordered("x", "z"),
        x_processes={"q": ProcessExtension()},
    )
    assert [path for path, _ in found(bad)] == [
        "processes[0].name",
        "processes[0].cmdline",
        "processes[1].max_failures",
        "constraints[0].order[1]",
        "x_processes[q]",
        "processes[1].cmdline",
    ]


def test_two_tangles_are_two_problems() -> None:
    names = "abcd"
    tangled = task(
        *(Process(name, "true") for name in names),
        constraints=ordered("a", "b", "a") + ordered("c", "d", "c"),
    )
    assert [message for _, message in found(tangled)] == [
        "the order goes in a circle: a -> b -> a",
        "the order goes in a circle: c -> d -> c",
    ]


def test_circles_that_share_a_process_are_both_named() -> None:
    tangled = task(A, B, C, constraints=ordered("a", "b", "c", "b", "a"))
    assert [message for _, message in found(tangled)] == [
        "the order goes in a circle: b -> c -> b",
        "the order goes in a circle: a -> b -> a",
    ]


def test_what_follows_from_a_mixed_order_is_not_said_as_well() -> None:
    mixed = task(replace(A, daemon=True), replace(B, final=True), constraints=ordered("a", "b", "a"))
    assert [path for path, _ in found(mixed)] == ["constraints[0].order"]


def test_a_long_chain_is_no_deep_recursion() -> None:
    names = [f"p{index}" for index in range(5000)]
    assert problems(task(*(Process(name, "true") for name in names), constraints=ordered(*names))) == ()


def test_the_nearest_name_is_suggested() -> None:
    [problem] = problems(task(Process("fetch", "x"), Process("build", "x"), constraints=ordered("fetch", "biuld")))
    assert problem.hint == "did you mean 'build'?"


def test_ports_are_missed_only_when_ports_are_given() -> None:
    needs = task(Process("a", "{{thermos.ports[http]}} {{thermos.ports[admin]}}"))
    assert ports_wanted(needs) == {"http", "admin"}
    assert found(needs) == []
    assert found(needs, {"http": 80, "admin": 81}) == []
    assert found(needs, {"http": 80}) == [("processes[0].cmdline", "needs port 'admin', which was not given")]


def test_a_problem_is_one_sentence() -> None:
    [problem] = problems(task(Process("a/b", "true")))
    assert str(problem) == "processes[0].name: 'a/b' is no file name; it may not hold '/' and not start with '.'"
    assert str(replace(problem, line=7)).startswith("line 7: processes[0].name: ")
    assert str(replace(problem, line=7, file="x.aurora")).startswith("x.aurora line 7: processes[0].name: ")


def test_values_are_frozen_and_can_be_keys() -> None:
    with pytest.raises(FrozenInstanceError):
        A.name = "b"  # type: ignore[misc]
    assert len({task(), task(), task(x_processes={"a": ProcessExtension(Backoff())})}) == 2


@given(st.text(max_size=20))
def test_a_name_that_is_accepted_names_a_file(name: str) -> None:
    if not problems(task(Process(name, "true"))):
        encoded = f"coordinator.{name}".encode()
        assert len(encoded) <= 255
        assert b"/" not in encoded
        assert not set(encoded) & set(range(32))


def test_the_runner_pays_little_for_the_import() -> None:
    """Each of these would double the price of every coordinator; pystachio is not to be needed at all."""
    heavy = "threading logging subprocess socket pystachio hypothesis difflib random pathlib"
    script = f"import sys, thermos.schema; print(*[m for m in {heavy.split()!r} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-S", "-E", "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == ""
