"""As whom processes run, and where: other users, no rights at all, a sandbox that is the root directory."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.box import IS_ROOT, NOBODY, Box, process
from thermos.host import proc
from thermos.states import ProcessState, TaskState

P = ProcessState

as_root = pytest.mark.skipif(not IS_ROOT, reason="becoming another user takes root")

WHO = "grep -E '^(Uid|Gid|Groups|Cap(Eff|Prm|Amb)):' /proc/self/status"


def who(text: str) -> dict[str, list[str]]:
    return {line.split()[0].rstrip(":"): line.split()[1:] for line in text.splitlines()}


def nobody() -> pwd.struct_passwd:
    return pwd.getpwuid(NOBODY)


@as_root
def test_setuid_gives_away_user_groups_and_rights_and_the_coordinator_keeps_them(box: Box) -> None:
    name = nobody().pw_name
    cmdline = f"{WHO} >who; env >env; touch made; exec sleep 600"
    runner = box.start([process("p", cmdline)], f"--setuid={name}", env={"PATH": "/usr/bin:/bin"})
    box.until_running("p")
    box.until_file("env")
    found = who(box.until_file("who"))
    group = str(nobody().pw_gid)
    assert found["Uid"] == [str(NOBODY)] * 4
    assert found["Gid"] == [group] * 4
    assert found["Groups"] == [str(each) for each in os.getgrouplist(name, nobody().pw_gid)]
    assert [int(found[each][0], 16) for each in ("CapEff", "CapPrm", "CapAmb")] == [0, 0, 0]
    env = dict(re.findall(r"^(\w+)=(.*)$", Path(box.sandbox, "env").read_text(), re.MULTILINE))
    assert (env["USER"], env["LOGNAME"], env["HOME"]) == (name, name, box.sandbox)
    run = box.last("p")
    assert (proc.uid_of(run.coordinator_pid or 0), proc.uid_of(run.pid or 0)) == (0, NOBODY)
    assert proc.uid_of(runner.pid) == 0


@as_root
def test_setuid_gives_the_user_sandbox_and_logs_but_not_the_checkpoint(box: Box) -> None:
    rotate = {"destination": "file", "mode": "rotate"}
    task = [process("p", "echo x; id -u >mine"), process("q", "echo x", logger=rotate)]
    assert box.run(task, f"--setuid={nobody().pw_name}") == 0, box.story()
    assert box.task_state is TaskState.SUCCESS, box.story()
    for name in (".", "mine", ".logs", *(f".logs/{n}/0{end}" for n in "pq" for end in ("", "/stdout", "/stderr"))):
        info = os.stat(f"{box.sandbox}/{name}")
        assert (name, info.st_uid, info.st_gid) == (name, NOBODY, nobody().pw_gid)
    assert os.stat(f"{box.root}/checkpoints/task").st_mode & 0o077 == 0
    assert os.stat(f"{box.root}/checkpoints/task/runner").st_uid == 0
    header = box.state.header
    assert header is not None
    assert (header.user, header.uid) == (nobody().pw_name, 0)


@as_root
def test_a_kill_reaches_a_process_of_another_user(box: Box) -> None:

    task = [process("p", "trap '' TERM; setsid sleep 600 & echo >up; wait; sleep 600")]
    runner = box.start({"processes": task, "finalization_wait": 1}, f"--setuid={nobody().pw_name}", "--no_cgroup")
    box.until_file("up")
    pids = proc.children(box.last("p").pid or 0)
    runner.send_signal(signal.SIGUSR1)
    assert box.wait(runner) == 0
    assert box.task_state is TaskState.KILLED
    assert [pid for pid in pids if proc.is_alive(pid, None)] == []


@as_root
def test_the_tasks_user_cannot_stop_its_own_bookkeeping(box: Box) -> None:
    """It may not signal its coordinator nor read or write the checkpoint."""
    attack = (
        f"kill -9 $PPID 2>/dev/null; echo $?; echo x >>{box.root}/checkpoints/task/runner; echo $?;"
        f"cat {box.root}/checkpoints/task/coordinator.p; echo $?"
    )
    assert box.run([process("p", attack)], f"--setuid={nobody().pw_name}") == 0
    assert box.log("p") == "1\n1\n1\n"
    assert box.states("p") == [P.SUCCESS]


def test_without_any_rights_it_runs_in_directories_of_its_own(box: Box) -> None:
    assert box.run([process("p", WHO)], user=NOBODY) == 0, box.said()
    assert box.task_state is TaskState.SUCCESS
    assert who(box.log("p"))["Uid"] == [str(NOBODY)] * 4
    header = box.state.header
    assert header is not None
    assert (header.uid, header.user) == (NOBODY, nobody().pw_name)
    assert any(note.startswith("host: no control groups here") for note in box.notes) or header.cgroup


@as_root
def test_its_own_name_is_no_other_user(box: Box) -> None:
    assert box.run([process("p", "true")], f"--setuid={nobody().pw_name}", user=NOBODY) == 0, box.said()
    assert box.task_state is TaskState.SUCCESS


# -- chroot --------------------------------------------------------------------------------------------------------


def make_root(directory: str, *programs: str) -> None:
    """Copy *programs* and the libraries they are linked with."""
    for program in programs:
        found = shutil.which(program)
        if found is None or shutil.which("ldd") is None:
            pytest.skip(f"{program} or ldd is missing")
        linked = subprocess.run(["ldd", found], capture_output=True, text=True)
        if linked.returncode:
            pytest.skip(f"{found} is not linked as ldd knows it")
        libraries = re.findall(r"(?:=> )?(/\S+) \(0x", linked.stdout)
        for source, target in ((found, f"/bin/{os.path.basename(found)}"), *((each, each) for each in libraries)):
            os.makedirs(os.path.dirname(directory + target), exist_ok=True)
            shutil.copy(source, directory + target)


@as_root
@pytest.mark.parametrize("user", ["root", "nobody"])
def test_in_a_chroot_the_sandbox_is_the_root(box: Box, user: str) -> None:
    make_root(box.sandbox, "bash", "ls")
    Path(box.sandbox, ".thermos_profile").write_text("export FOUND=it\n")
    cmdline = "pwd; echo /*; echo $HOME $FOUND $BASH_ENV; ls -d /.logs; echo $EUID"
    assert box.run([process("p", cmdline)], "--enable_chroot", f"--setuid={user}") == 0
    assert box.states("p") == [P.SUCCESS], box.log("p", "stderr")
    entry = pwd.getpwnam(user)
    tops = " ".join(f"/{name}" for name in sorted(os.listdir(box.sandbox)) if not name.startswith("."))
    assert box.log("p").splitlines() == [
        "/",
        tops,
        f"{entry.pw_dir} it /.thermos_profile",
        "/.logs",
        str(entry.pw_uid),
    ]


@as_root
def test_a_chroot_without_a_shell_says_so(box: Box) -> None:
    os.mkdir(box.sandbox)
    assert box.run([process("p", "true")], "--enable_chroot") == 0
    run = box.last("p")
    assert (run.state, run.return_code) == (P.FAILED, 127)
    assert box.log("p", "stderr") == "thermos: cannot run process p: /bin/bash: No such file or directory\n"
    assert run.certificate is not None
    assert "/bin/bash" in (run.certificate.stderr_tail or "")
