"""What a process finds when it starts: its environment, directory, descriptors, signals and limits."""

from __future__ import annotations

import os
import pwd
import resource
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.box import Box, box, process, until
from thermos.host import proc
from thermos.states import ProcessState, TaskState

P = ProcessState

#: Words that write down all that a process can see of itself, one file each.
PROBE = """
env -0 >env; pwd >pwd; umask >umask; ulimit -Sn >soft; ulimit -Hn >hard; cat /proc/self/oom_score_adj >oom
readlink /proc/$$/fd/* >fds; ls /proc/$$/fd >numbers; grep ^Sig /proc/self/status >signals
readlink /proc/$$/fd/0 >stdin; echo $PPID >parent; ps -o sid=,pgid= $$ >session
cat /proc/$PPID/oom_score_adj >coordinator-oom; cat /proc/$PPID/status >coordinator
ulimit -Hc >core; nice >nice
"""


class Seen:
    """What PROBE wrote."""

    def __init__(self, of: Box) -> None:
        self.box = of

    def __getitem__(self, name: str) -> str:
        return Path(self.box.sandbox, name).read_text()

    @property
    def env(self) -> dict[str, str]:
        pairs = (pair.partition("=") for pair in self["env"].split("\0") if pair)
        return {key: value for key, _, value in pairs}

    def signals(self, name: str) -> set[int]:
        lines = dict(line.split(":\t") for line in self["signals"].splitlines())
        mask = int(lines[name], 16)
        return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def _hostile() -> None:
    """What whoever starts a runner may have done to its signals."""
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE, signal.SIGQUIT, signal.SIGUSR1):
        signal.signal(signum, signal.SIG_IGN)


@pytest.fixture(scope="module", name="seen")
def _seen() -> Iterator[Seen]:
    """A probe run by a runner that inherited odd things: ignored signals, an open descriptor, a low limit."""
    ours, theirs = os.pipe()
    env = {"PATH": "/usr/bin:/bin", "ODD": "inherited", "HOME": "/nowhere", "LANG": "C.UTF-8", "TERM": "vt100"}

    def prepare() -> None:
        _hostile()
        os.umask(0o027)
        resource.setrlimit(resource.RLIMIT_NOFILE, (777, 1500))

    with box() as made:
        code = made.run(
            [process("p", PROBE)], "--port=http:8080", env=env, pass_fds=(theirs,), prepare=prepare, timeout_s=20
        )
        os.close(ours)
        os.close(theirs)
        assert code == 0
        yield Seen(made)


# -- environment ---------------------------------------------------------------------------------------------------

#: bash sets these itself.
OF_BASH = {"PWD", "SHLVL", "_", "OLDPWD"}


def test_the_environment_is_these_variables_and_no_others(seen: Seen) -> None:
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert seen.box.state.header is not None
    assert {key: value for key, value in seen.env.items() if key not in OF_BASH} == {
        "HOME": seen.box.sandbox,
        "LOGNAME": me,
        "USER": me,
        "PATH": "/usr/bin:/bin",
        "THERMOS_COOKIE": f"{seen.box.state.header.cookie}.0",
    }


def test_the_working_directory_is_the_sandbox(seen: Seen) -> None:
    assert seen["pwd"] == f"{seen.box.sandbox}\n"


def test_only_three_descriptors_are_open(seen: Seen) -> None:
    assert set(seen["numbers"].split()) - {"255"} == {"0", "1", "2"}  # 255: bash's own
    logs = f"{seen.box.sandbox}/.logs/p/0"
    assert seen["fds"].split()[:3] == ["/dev/null", f"{logs}/stdout", f"{logs}/stderr"]


def test_no_signal_is_blocked_or_ignored_whatever_the_runner_inherited(seen: Seen) -> None:
    assert seen.signals("SigBlk") == set()
    assert seen.signals("SigIgn") == set()


def test_limits_of_open_files_are_those_before_the_runner_raised_its_own(seen: Seen) -> None:
    assert (seen["soft"], seen["hard"]) == ("777\n", "1500\n")


def test_umask_is_the_runners(seen: Seen) -> None:
    assert seen["umask"] == "0027\n"
    assert stat.S_IMODE(os.stat(f"{seen.box.sandbox}/.logs/p/0/stdout").st_mode) == 0o640


def test_the_oom_killer_takes_the_process_before_its_coordinator(seen: Seen) -> None:
    own = Path("/proc/self/oom_score_adj").read_text()
    lowered = subprocess.run(["sh", "-c", "echo -900 >/proc/self/oom_score_adj"], stderr=subprocess.DEVNULL)
    assert seen["oom"] == own
    assert seen["coordinator-oom"] == (own if lowered.returncode else "-900\n")


def test_the_shell_is_in_the_session_and_group_of_its_coordinator(seen: Seen) -> None:
    run = seen.box.last("p")
    assert seen["parent"].split() == [str(run.coordinator_pid)]
    assert seen["session"].split() == [str(run.coordinator_pid)] * 2


def test_a_runner_that_inherited_ignored_signals_still_sees_its_children_end(seen: Seen) -> None:
    assert (seen.box.states("p"), seen.box.task_state) == ([P.SUCCESS], TaskState.SUCCESS)


# -- one runner each -----------------------------------------------------------------------------------------------


def test_preserve_env_hands_on_the_runners_environment_below_ours(box: Box) -> None:
    env = {"PATH": "/usr/bin:/bin", "ODD": "inherited", "HOME": "/nowhere"}
    assert box.run([process("p", PROBE)], "--preserve_env", env=env) == 0
    found = Seen(box).env
    assert (found["ODD"], found["HOME"]) == ("inherited", box.sandbox)


def test_without_a_path_there_is_none(box: Box) -> None:
    assert box.run([process("p", "/usr/bin/env -0 >env")], env={}) == 0
    assert "PATH" not in Seen(box).env


def test_a_profile_that_an_earlier_process_wrote_is_read_first(box: Box) -> None:
    first = process("first", "echo 'export FOUND=it' >.thermos_profile; echo ${FOUND:-nothing}")
    second = process("second", "echo $FOUND $BASH_ENV")
    assert box.run({"processes": [first, second], "constraints": [{"order": ["first", "second"]}]}) == 0
    assert box.log("first") == "nothing\n"
    assert box.log("second") == f"it {box.sandbox}/.thermos_profile\n"


def test_references_to_ports_task_id_and_user_are_bound(box: Box) -> None:
    cmdline = "echo {{thermos.ports[http]}} {{thermos.ports[admin]}} {{thermos.task_id}} {{thermos.user}}"
    assert box.run([process("p", cmdline)], "--port=http:8080", "--port", "admin:9090") == 0
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert box.log("p") == f"8080 9090 task {user}\n"
    header = box.state.header
    assert header is not None
    assert header.ports == {"http": 8080, "admin": 9090}


def test_literal_braces_reach_the_command_also_after_a_restart(box: Box) -> None:
    tasks = [process("p", "echo '{{&docker}}' >>said; echo >>said; [ -e again ]", max_failures=0)]
    runner = box.start(tasks)
    box.until_file("said")
    runner.kill()
    runner.wait()
    again = box.start(tasks)
    Path(box.sandbox, "again").touch()
    assert box.wait(again) == 0, box.story()
    assert "{{docker}}" in Path(box.sandbox, "said").read_text()


def test_what_the_runner_can_read_its_processes_can(box: Box) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"some words\n")
    os.close(theirs)
    assert box.run([process("p", "cat")], stdin=ours) == 0
    os.close(ours)
    assert box.log("p") == "some words\n"


def test_a_runner_without_stdin_stdout_and_stderr_works(box: Box) -> None:
    def prepare() -> None:
        os.closerange(0, 3)

    console = {"destination": "console"}
    task = [process("p", PROBE), process("q", "cat; echo words; echo words >&2", logger=console)]
    assert box.run(task, prepare=prepare) == 0, box.story()
    assert Seen(box)["stdin"] == "/dev/null\n"
    assert box.states("q") == [P.SUCCESS], box.story()
    for stream in ("runner", "coordinator.q"):
        assert b"words" not in Path(box.root, "checkpoints/task", stream).read_bytes()


@pytest.mark.parametrize("cmdline, code", [("nonexistent-command", 127), ("./plain", 126), ("exit 3", 3)])
def test_exit_codes_of_the_shell_are_failures(box: Box, cmdline: str, code: int) -> None:
    os.makedirs(box.sandbox)
    Path(box.sandbox, "plain").write_text("")
    assert box.run([process("p", cmdline)]) == 0
    run = box.last("p")
    assert (run.state, run.return_code, box.task_state) == (P.FAILED, code, TaskState.FAILED)


def test_a_signal_to_the_shell_is_killed_and_one_to_its_command_is_failed(box: Box) -> None:
    itself = process("itself", "[ -e once ] || { touch once; kill -KILL $$; }")
    child = process("child", "bash -c 'kill -TERM $$'; exit $?")
    assert box.run({"processes": [itself, child], "max_failures": 0}) == 0
    assert [(run.state, run.return_code) for run in box.state.processes["itself"].runs] == [
        (P.KILLED, -9),
        (P.SUCCESS, 0),
    ]
    assert (box.last("child").state, box.last("child").return_code) == (P.FAILED, 128 + 15)


# -- the runner itself ---------------------------------------------------------------------------------------------


def test_the_runner_imports_none_of_what_makes_coordinators_heavy() -> None:
    words = (
        "import sys; sys.path[0:0] = [sys.argv[1]]; import thermos.runner.main, thermos.runner.supervisor, pwd;"
        "print(*sorted(sys.modules))"
    )
    here = str(Path(__file__).parents[3])
    done = subprocess.run(["python3", "-S", "-E", "-c", words, here], capture_output=True, text=True, check=True)
    heavy = {"threading", "logging", "subprocess", "asyncio", "typing_extensions", "socket", "pystachio", "gzip"}
    assert heavy & set(done.stdout.split()) == set()


def test_it_is_idle_while_its_processes_are(box: Box) -> None:
    """Not one context switch of runner and coordinators while processes sleep, whatever they log to."""
    loggers = {
        "plain": {"destination": "file"},
        "rotating": {"destination": "file", "mode": "rotate"},
        "both": {"destination": "both"},
        "none": {"destination": "none"},
    }
    runner = box.start([process(name, "exec sleep 600", logger=logger) for name, logger in loggers.items()])
    box.until_running(*loggers)
    pids = [runner.pid, *(box.last(name).coordinator_pid or 0 for name in loggers)]

    def switches() -> dict[int, list[str]]:
        lines = {pid: Path(f"/proc/{pid}/status").read_text().splitlines() for pid in pids}
        return {pid: [line for line in of if "ctxt_switches" in line] for pid, of in lines.items()}

    seen = [switches()]

    def settled() -> bool:
        seen.append(switches())
        return seen[-20:].count(seen[-1]) == 20

    until(settled, "coordinators have come to rest")
    before = switches()
    done = subprocess.run(["sleep", "3"])
    assert done.returncode == 0
    assert switches() == before
    assert all(proc.is_alive(pid, None) for pid in pids)
