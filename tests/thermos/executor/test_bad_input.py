"""The whole executor among things that are not as they should be: words, a status, a bounded time, an exit code."""

from __future__ import annotations

import contextlib
import random
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.support.box import IS_ROOT, process, until, with_words
from tests.support.executor import PROJECT, free_port
from tests.support.fake_agent import HEAD, FakeAgent, answer
from tests.support.run import Run
from thermos.errors import ExitCode
from thermos.executor import options


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    with FakeAgent() as made:
        yield made


@pytest.fixture
def run(agent: FakeAgent, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []
    box = tmp_path / "box"
    box.mkdir()

    def make(*flags: str, **environ: str) -> Run:
        runs.append(Run(agent, box, *flags, **environ))
        return runs[-1]

    yield make
    for each in runs:
        each.close()


Make = Callable[..., Run]
SLEEPER: Final = process("a", "exec -a WORD sleep 600")


# -- Surroundings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"MESOS_FRAMEWORK_ID": "UNSET"}, ["MESOS_FRAMEWORK_ID"]),
        ({"MESOS_EXECUTOR_ID": ""}, ["MESOS_EXECUTOR_ID"]),
        ({"MESOS_DIRECTORY": "UNSET", "MESOS_SANDBOX": "UNSET"}, ["MESOS_DIRECTORY"]),
        ({"MESOS_AGENT_ENDPOINT": "UNSET"}, ["MESOS_SLAVE_PID or MESOS_AGENT_ENDPOINT"]),
        ({"MESOS_AGENT_ENDPOINT": "nowhere"}, ["MESOS_AGENT_ENDPOINT", "'nowhere' is not HOST:PORT"]),
        ({"MESOS_SLAVE_PID": "slave@1@x"}, ["MESOS_SLAVE_PID"]),
        ({"MESOS_RECOVERY_TIMEOUT": "soon"}, ["MESOS_RECOVERY_TIMEOUT"]),
        ({"MESOS_FRAMEWORK_ID": "", "MESOS_RECOVERY_TIMEOUT": "x"}, ["MESOS_FRAMEWORK_ID", "MESOS_RECOVERY_TIMEOUT"]),
    ],
)
def test_wrong_variables_are_all_named(run: Make, environ: Mapping[str, str], said: list[str]) -> None:
    made = run(**environ)
    assert made.exit_code() == ExitCode.USAGE
    for words in said:
        assert words in made.said
    assert "Traceback" not in made.said


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--runner-rotate-log-backups", "some", "should be a whole number, 0 or more: 'some'"),
        ("--runner-rotate-log-size-mb", "-1", "should be a whole number, 0 or more: '-1'"),
        ("--stop_timeout_in_secs", "soon", "should be a number of seconds, 0 or more: 'soon'"),
        ("--stop_timeout_in_secs", "nan", "should be a number of seconds, 0 or more: 'nan'"),
    ],
)
def test_a_flag_s_value_that_makes_no_sense(
    flag: str, value: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        options.parse([f"{flag}={value}"])
    assert ended.value.code == ExitCode.USAGE
    assert said in capsys.readouterr().err


def test_the_help_names_each_flag_once() -> None:
    shown = options.parser().format_help()
    assert "--nosetuid " in shown
    assert "--nosetuid, --nosetuid" not in shown


def test_a_wrong_flag(run: Make) -> None:
    made = run("--announcer-assemble", "x")
    assert made.exit_code() == ExitCode.USAGE
    assert "--announcer-assemble" in made.said


# -- Agents -----------------------------------------------------------------------------------------------------------

#: Without a single end of a line: a reader of lines would wait for one.
GARBAGE: Final = random.Random(0).randbytes(4096).replace(b"\n", b"")
AGENTS: Final[dict[str, tuple[bytes | tuple[bytes], str]]] = {
    "400": (answer(400, b"Expecting 'type' to be present"), "Expecting 'type' to be present"),
    "401": (answer(401, b"", b"WWW-Authenticate: Bearer\r\n"), "the agent answers 401"),
    "403": (answer(403, b"not yours"), "the agent answers 403 to SUBSCRIBE: not yours"),
    "500": (answer(500, b"Internal"), "the agent answers 500"),
    "503": (answer(503, b"Agent has not finished recovery"), "Agent has not finished recovery"),
    "garbage": ((GARBAGE,), "is no HTTP"),
    "garbage events": ((HEAD + b"1000\r\n" + GARBAGE + b"\r\n",), "the agent's stream cannot be read"),
    "no JSON": (HEAD + b"5\r\n2\n{]\r\n", "cannot be read"),
    "half a frame": ((HEAD + b"9\r\n100\n{\"typ\r\n",), "the agent"),
    "nothing": ((b"",), "the agent closed the connection"),
}  # fmt: skip


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_that_does_not_answer_as_it_should(name: str, run: Make, agent: FakeAgent) -> None:
    reply, said = AGENTS[name]
    agent.to_subscribe.extend([reply] * 1000)
    made = run(MESOS_RECOVERY_TIMEOUT="1secs", MESOS_SUBSCRIPTION_BACKOFF_MAX="200ms")
    assert made.exit_code() == ExitCode.TIMED_OUT
    assert time.monotonic() - made.began_s < 20
    assert said in made.log
    assert "the agent did not answer within 1 s" in made.log or "the agent did not come back" in made.log
    assert "Traceback" not in made.said
    assert len(agent.requests) < 100  # it backs off


def test_an_agent_that_has_no_task(run: Make) -> None:
    made = run()
    assert made.exit_code() == ExitCode.TIMED_OUT
    assert 9 < time.monotonic() - made.began_s < 20
    assert "no task came within 10 s" in made.log


def test_an_agent_that_says_nothing_for_ever(run: Make, agent: FakeAgent) -> None:
    agent.to_subscribe.extend([b""] * 100)
    made = run(MESOS_RECOVERY_TIMEOUT="15mins")
    assert made.exit_code() == ExitCode.TIMED_OUT
    assert time.monotonic() - made.began_s < 20
    assert "no task came within 10 s" in made.log


def test_an_agent_that_wants_it_ended(run: Make, agent: FakeAgent) -> None:
    made = run()
    until(lambda: agent.calls, "it subscribes")
    agent.say({"type": "SHUTDOWN"})
    assert made.exit_code() == ExitCode.OK


def test_an_agent_that_is_not_there(run: Make) -> None:
    made = run(MESOS_AGENT_ENDPOINT=f"127.0.0.1:{free_port()}")
    assert made.exit_code() == ExitCode.TIMED_OUT
    assert "Connection refused" in made.log


def test_an_agent_that_never_acknowledges(run: Make, agent: FakeAgent) -> None:
    made = run()
    made.launch(process("a", "true"))
    assert made.exit_code() == ExitCode.TIMED_OUT
    assert "TASK_FINISHED of t was not acknowledged" in made.log
    assert time.monotonic() - made.began_s < 20


@pytest.mark.parametrize("name", ["400", "403", "500", "garbage"])
def test_an_agent_that_takes_no_update(name: str, run: Make, agent: FakeAgent) -> None:
    agent.to_calls.extend([AGENTS[name][0]] * 1000)
    made = run()
    made.launch(SLEEPER)
    until(lambda: with_words(made.word), "the task runs all the same")
    made.process.send_signal(signal.SIGTERM)
    made.exit_code()
    assert not with_words(made.word)
    assert "TASK_KILLED" in made.log


def test_a_launch_that_cannot_be_read_is_no_end(run: Make, agent: FakeAgent) -> None:
    made = run()
    until(lambda: agent.calls, "it subscribes")
    agent.say({"type": "LAUNCH", "launch": {"task": {"task_id": 7}}})
    until(lambda: len(agent.calls) > 1, "it subscribes anew")
    made.launch(process("a", "true"))
    made.until("TASK_FINISHED")
    assert made.exit_code() == ExitCode.OK


# -- Disks ------------------------------------------------------------------------------------------------------------


def test_a_sandbox_that_is_not_there(run: Make, tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    made = run(MESOS_SANDBOX=nowhere, MESOS_DIRECTORY=nowhere)
    made.launch(SLEEPER)
    status = made.until("TASK_FAILED")
    assert status["message"] == f"The sandbox cannot be made: {nowhere}/sandbox: No such file or directory."
    assert status["reason"] == "REASON_CONTAINER_LAUNCH_FAILED"
    assert made.exit_code() == ExitCode.OK


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a tiny file system."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        path = tmp_path / "small"
        path.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
        if not IS_ROOT or subprocess.run(words, capture_output=True).returncode:
            pytest.skip("mounting takes root")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_sandbox_on_a_file_system_that_is_read_only(run: Make, small: Callable[[str], Path]) -> None:
    path = str(small("size=1m,ro"))
    made = run(MESOS_SANDBOX=path, MESOS_DIRECTORY=path)
    made.launch(SLEEPER)
    assert "Read-only file system" in made.until("TASK_FAILED")["message"]
    assert made.exit_code() == ExitCode.OK


def test_a_sandbox_without_a_byte_left(run: Make, small: Callable[[str], Path]) -> None:
    path = small("size=64k")
    with contextlib.suppress(OSError):
        (path / "full").write_bytes(b"x" * (1 << 20))
    made = run(MESOS_SANDBOX=str(path), MESOS_DIRECTORY=str(path))
    made.launch(SLEEPER)
    until(lambda: any(status["state"] in ("TASK_FAILED", "TASK_LOST") for status in made.statuses()), lambda: made.said)
    status = made.statuses()[-1]
    assert re.search("[Nn]o space left", status["message"])
    made.until(status["state"])
    assert made.exit_code() == ExitCode.OK


def test_one_that_fills_while_the_task_runs_ends_nothing(run: Make, small: Callable[[str], Path]) -> None:
    path = small("size=8m")
    made = run(MESOS_SANDBOX=str(path), MESOS_DIRECTORY=str(path))
    made.launch(process("a", "cat /dev/zero > big; touch went-on; exec -a WORD sleep 600"))
    made.until("TASK_RUNNING")
    until(lambda: with_words(made.word), "it goes on when the disk is full")
    made.kill()
    made.until("TASK_KILLED")
    assert made.exit_code() == ExitCode.OK


# -- Credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "is no JSON object"),
        ('{"auth": [{"scheme": "digest", "credential": "sesame"}]}', "auth[0].credential: is not USER:PASSWORD"),
        ('{"oauth": []}', "oauth: is unknown"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_of_credentials_that_makes_no_sense(run: Make, tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "auth.json"
    if content is not None:
        file.write_text(content)
    made = run("--announcer-ensemble", "127.0.0.1:1", "--announcer-zookeeper-auth-config", str(file))
    made.launch(SLEEPER, announce={}, ports={"aurora": 1})
    status = made.until("TASK_FAILED")
    assert str(file) in status["message"]
    assert said in status["message"]
    assert said in made.log
    assert "sesame" not in made.log
    assert made.exit_code() == ExitCode.OK


def test_a_task_that_is_not_announced_needs_no_credentials(run: Make, tmp_path: Path) -> None:
    flags = ["--announcer-ensemble", "127.0.0.1:1", "--announcer-zookeeper-auth-config", str(tmp_path / "none")]
    made = run(*flags)
    made.launch(process("a", "true"))
    made.until("TASK_FINISHED")
    assert made.exit_code() == ExitCode.OK


# -- Checks -----------------------------------------------------------------------------------------------------------


def shell(command: str, **more: object) -> dict[str, object]:
    checker = {"shell": {"shell_command": command}}
    return {"health_checker": checker, "initial_interval_secs": 0.1, "interval_secs": 0.1, "timeout_secs": 0.3, **more}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("exec -a WORD sleep 600", "did not end within 0.3 s"),
        (
            "trap '' TERM; for i in 1 2 3; do (setsid bash -c 'exec -a WORD sleep 600' &); done; sleep 600",
            "did not end",
        ),
        ("cat /dev/zero", "did not end within 0.3 s"),
        ("yes; exit 1", "did not end within 0.3 s"),
        ("for i in $(seq 50); do (exec -a WORD sleep 600) & done; exit 1", "ended with status 1"),
        ("kill -9 $$", "was ended by signal 9"),
        ("/does/not/exist", "ended with status 127"),
        ("kill -9 $PPID; sleep 600", "the check's warden died"),
    ],
)
def test_a_check_that_misbehaves_ends_its_task_and_leaves_nothing(run: Make, command: str, said: str) -> None:
    made = run()
    made.launch(SLEEPER, health_check_config=shell(command))
    status = made.until("TASK_FAILED")
    assert said in status["message"]
    assert len(status["message"]) < 4096
    assert made.exit_code() == ExitCode.OK
    until(lambda: not with_words(made.word), "nothing is left")


def moved(place: bytes) -> bytes:
    return answer(302, b"", b"Location: " + place + b"\r\n")


#: What a task's own server answers, each part after the other until nobody listens: and what is said of it.
SERVERS: Final[dict[str, tuple[tuple[bytes, ...], str]]] = {
    "a place that is no URL": ((moved(b"http://[bad"),), "which is no URL"),
    "a place in Latin-1": ((moved(b"/h\xfc"),), "is no path of a URL"),
    "a place on another host": ((moved(b"http://192.0.2.1/health"),), "answered '' instead of 'ok'"),
    "a place that leads back": ((moved(b"/health"),), "answered '' instead of 'ok'"),
    "a place of 15 KB": ((moved(b"/" + b"x" * 15_000),), "answered '' instead of 'ok'"),
    "huge headers": ((b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,), "what it answered is no HTTP"),
    "one huge header": ((b"HTTP/1.1 200 OK\r\nX: " + b"y" * (1 << 20),), "what it answered is no HTTP"),
    "an endless body": ((b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 65536] * 1000), "answered 'xxx"),
    "a slow drip": ((b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", *[b""] * 1000), "no answer within 0.3 s"),
    "interim answers without end": ((b"HTTP/1.1 100 Continue\r\n\r\n",) * 100_000, "no answer within 0.3 s"),
    "another protocol": ((b"HTTP/1.1 101 Switching Protocols\r\n\r\n",), "what it answered is no HTTP"),
    "a status line of garbage": ((b"HTTP/9.9 \xff\xfe OK\r\n\r\n",), "what it answered is no HTTP"),
    "a status of seven digits": ((b"HTTP/1.1 2000000 OK\r\n\r\n",), "what it answered is no HTTP"),
    "NULs": ((b"\0" * 100_000,), "what it answered is no HTTP"),
    "NULs in a header": ((answer(200, b"ok", b"X: a\0b\r\n"),), "what it answered is no HTTP"),
    "two lengths": ((answer(200, b"ok", b"Content-Length: 5\r\n"),), "what it answered is no HTTP"),
    "a length below zero": ((b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",), "what it answered is no HTTP"),
    "chunks without a size": (
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",),
        "what it answered is no HTTP",
    ),
    "UTF-16": ((answer(200, "ok".encode("utf-16")),), "instead of 'ok'"),
    "no text": ((answer(200, bytes(range(256))),), "instead of 'ok'"),
    "compressed": ((answer(200, b"\x1f\x8b\x08\0", b"Content-Encoding: gzip\r\n"),), "instead of 'ok'"),
    "TLS": ((b"\x15\x03\x01\x00\x02\x02\x46",), "what it answered is no HTTP"),
}


@contextlib.contextmanager
def serving(parts: Sequence[bytes], requests: list[bytes] | None = None) -> Iterator[int]:
    """A server that answers every connection with *parts*; yields its port. An empty one: a byte, and a pause."""
    listener = socket.create_server(("127.0.0.1", 0))
    is_over = threading.Event()

    def serve() -> None:
        while not is_over.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(5)
                    head = connection.recv(4096)
                    if requests is not None:
                        requests.append(head)
                    for part in parts:
                        if is_over.wait(0.02 if not part else 0):
                            break
                        connection.sendall(part or b"x")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        is_over.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_that_attacks_its_check_fails_its_task_alone(run: Make, name: str) -> None:
    parts, said = SERVERS[name]
    config = {"initial_interval_secs": 0, "interval_secs": 0.1, "timeout_secs": 0.3}
    with serving(parts) as port:
        made = run()
        made.launch(SLEEPER, ports={"health": port}, health_check_config=config)
        status = made.until("TASK_FAILED")
        assert made.exit_code() == ExitCode.OK
    assert status["message"].startswith(f"Failed health check! http://localhost:{port}/health")
    assert said in status["message"]
    assert len(status["message"]) < 400
    assert status["message"].isprintable()
    assert "Traceback" not in made.said


def test_a_page_that_is_no_page_is_refused_at_once(run: Make) -> None:
    made = run()
    made.launch(
        SLEEPER,
        ports={"health": 1},
        health_check_config={"health_checker": {"http": {"endpoint": "/gesund-\xfc"}}},
        lifecycle={"http": {"graceful_shutdown_endpoint": "/ende-\xfc", "shutdown_endpoint": "/a b"}},
    )
    message = made.until("TASK_FAILED")["message"]
    for path in ("http.endpoint", "http.graceful_shutdown_endpoint", "http.shutdown_endpoint"):
        assert path in message
    assert made.exit_code() == ExitCode.OK


def test_without_a_port_called_health_nothing_is_asked(run: Make) -> None:
    made = run()
    made.launch(SLEEPER, ports={"http": 1}, health_check_config={"health_checker": {"http": {}}})
    status = made.until("TASK_RUNNING")
    assert status["message"] == "No health-check defined, task is assumed healthy."
    assert status["labels"] == {"labels": [{"key": "org.apache.aurora.executor.health", "value": "unchecked"}]}
    made.kill()
    made.until("TASK_KILLED")


# -- Clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump_s", [-1e6, 1e6])
def test_wall_time_that_jumps_changes_nothing(run: Make, tmp_path: Path, jump_s: float) -> None:
    """Every look at the wall clock, after the first few, is a million seconds off: all waits count the other one."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import time\n"
        "real, looks = time.time, [0]\n"
        "def now():\n"
        "    looks[0] += 1\n"
        f"    return real() + ({jump_s} if looks[0] > 3 else 0)\n"
        "time.time = now\n"
    )
    made = run(PYTHONPATH=f"{site}:{PROJECT}")
    made.launch(SLEEPER, health_check_config=shell("true"))
    made.until("TASK_RUNNING")
    made.kill()
    made.until("TASK_KILLED")
    assert made.exit_code() == ExitCode.OK
    assert time.monotonic() - made.began_s < 20


# -- Faults of our own ------------------------------------------------------------------------------------------------

#: Where the executor breaks, for what is patched, and with which state the task ends; None: there is none to tell.
FAULTS: Final[dict[str, tuple[str, str | None]]] = {
    "while the task runs": ("thermos.health.checker Checker._count 3", "TASK_LOST"),
    "before it runs": ("thermos.executor.program Program._start_runner 1", "TASK_LOST"),
    "in the middle of a kill": ("thermos.executor.program Program._say_farewell 1", "TASK_KILLED"),
    "again and again": ("thermos.host.loop Loop._call_due 30", None),
    "in what tells Mesos": ("thermos.executor.agent Agent.update 2", None),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_ours_ends_the_task_and_is_told(run: Make, tmp_path: Path, name: str) -> None:
    (where, state), site = FAULTS[name], tmp_path / "site"
    module, path, count = where.split()
    owner = path.partition(".")[0]
    site.mkdir()
    (site / "sitecustomize.py").write_text(  # from the count-th call on, the method raises
        f"from {module} import {owner}\n"
        f"real, calls = {path}, [0]\n"
        "def broken(*args, **more):\n"
        "    calls[0] += 1\n"
        f"    if calls[0] >= {count}:\n"
        "        raise ZeroDivisionError('a test of\\nours')\n"
        "    return real(*args, **more)\n"
        f"{path} = broken\n"
    )
    made = run(PYTHONPATH=f"{site}:{PROJECT}")
    made.launch(
        SLEEPER, health_check_config=shell("true"), ports={"bye": free_port()}, lifecycle={"http": {"port": "bye"}}
    )
    if name == "in the middle of a kill":
        made.until("TASK_RUNNING")
        made.kill()
    if state is not None:
        status = made.until(state)
        assert status["message"] == "A fault of ours: ZeroDivisionError: a test of\\nours"
        assert not with_words(made.word)
    assert made.exit_code() == ExitCode.INTERNAL
    until(lambda: not with_words(made.word), "nothing of the task is left")
    assert "a fault of ours; please report it" in made.log
    assert "ZeroDivisionError" in made.log
    assert "Traceback" in made.log
    told = [status["state"] for status in made.statuses()]
    assert len(told) == len(set(told))


def test_a_fault_of_ours_before_there_is_a_task(run: Make, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text("from thermos.executor.program import Program\nProgram._from_agent = None\n")
    made = run(PYTHONPATH=f"{site}:{PROJECT}")
    assert made.exit_code() == ExitCode.INTERNAL
    assert "a fault of ours; please report it" in made.log
    assert not made.statuses()
