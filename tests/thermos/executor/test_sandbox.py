"""Sandboxes: a directory, Docker's view of one, and images; the commands for images by a recorder, and for real."""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.box import IS_ROOT, NOBODY
from thermos.executor.sandbox import Host, SandboxFailed, SandboxPlan, System, make, outcome, perform
from thermos.formats.assigned_task import Volume
from thermos.host.command import User

PROJECT: Final = Path(__file__).parents[3]
root_only = pytest.mark.skipif(not IS_ROOT, reason="giving files to another user takes root")
BOB: Final = User("bob", 4711, 4712, "/home/bob")


class Recorder:
    """A host on which every command does what the test says; it keeps them all."""

    def __init__(self, answers: dict[str, tuple[int, str]] | None = None, launch_info: bool = True) -> None:
        self.commands: list[list[str]] = []
        self._answers = answers or {}
        self._launch_info = launch_info

    def run(self, argv: Sequence[str]) -> tuple[int, str]:
        self.commands.append(list(argv))
        words = " ".join(argv)
        return next((answer for part, answer in self._answers.items() if part in words), (0, ""))

    def group_name(self, gid: int) -> str:
        return {BOB.gid: "builders"}[gid]

    def knows_launch_info(self, containerizer: str) -> bool:
        return self._launch_info


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "mesos"
    made.mkdir(mode=0o755)
    return made


def plan(directory: Path, **more: Any) -> SandboxPlan:
    return SandboxPlan(directory=str(directory), mounted=more.pop("mounted", str(directory)), **more)


def failure(plan: SandboxPlan, system: System | None = None) -> str:
    with pytest.raises(SandboxFailed) as caught:
        make(plan, system or Recorder())
    return str(caught.value)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- Directories ------------------------------------------------------------------------------------------------------


def test_a_directory_is_the_owner_s_alone(directory: Path) -> None:
    assert make(plan(directory), Recorder()) is False
    assert mode(directory / "sandbox") == 0o700
    assert (directory / "sandbox").stat().st_uid == os.geteuid()


@root_only
def test_it_and_what_mesos_calls_the_sandbox_are_the_role_s(directory: Path) -> None:
    make(plan(directory, user=User("nobody", NOBODY, NOBODY, "/")), Recorder())
    for path in (directory, directory / "sandbox"):
        assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)
    assert mode(directory / "sandbox") == 0o700
    assert mode(directory) == 0o755


def test_one_that_is_there_is_kept(directory: Path) -> None:
    (directory / "sandbox").mkdir(mode=0o755)
    (directory / "sandbox/fetched").write_text("data")
    make(plan(directory), Recorder())
    assert (directory / "sandbox/fetched").read_text() == "data"
    assert mode(directory / "sandbox") == 0o700


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_something_else_in_its_place(kind: str, directory: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    if kind == "file":
        (directory / "sandbox").touch()
    else:
        (directory / "sandbox").symlink_to(elsewhere)
        if kind == "link":
            elsewhere.mkdir(mode=0o755)
    assert "is there, and is no directory" in failure(plan(directory))
    if kind == "link":
        assert mode(elsewhere) == 0o755


def test_one_that_cannot_be_made_says_where_and_why(directory: Path) -> None:
    shutil.rmtree(directory)
    assert failure(plan(directory)) == f"{directory}/sandbox: No such file or directory"


def test_a_child_s_answer(directory: Path) -> None:
    assert outcome(perform(plan(directory), Recorder())) == (None, False)
    (directory / "sandbox").rmdir()
    (directory / "sandbox").touch()
    failed, _ = outcome(perform(plan(directory), Recorder()))
    assert failed == f"{directory}/sandbox is there, and is no directory"
    assert outcome("MemoryError: ") == ("MemoryError: ", False)
    assert outcome(None) == ("its maker died", False)


# -- Docker -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """Where Docker mounted the sandbox."""
    made = tmp_path / "mnt/mesos/sandbox"
    made.mkdir(parents=True, mode=0o700)
    return made


def docker(directory: Path, mounted: Path) -> SandboxPlan:
    return plan(directory, mounted=str(mounted), is_docker=True)


def test_in_docker_the_host_s_path_leads_to_the_mount(tmp_path: Path, mounted: Path) -> None:
    host = tmp_path / "var/lib/mesos/run"
    for _ in range(2):  # an executor that is started again finds it so
        make(docker(host, mounted), Recorder())
        assert os.readlink(host) == str(mounted)
        assert mode(mounted) == 0o755  # MESOS-8332
        assert (mounted / "sandbox").is_dir()


def test_in_docker_the_mount_may_lie_at_the_host_s_path(mounted: Path) -> None:
    make(docker(mounted, mounted), Recorder())
    assert (mounted / "sandbox").is_dir()
    assert not mounted.is_symlink()


@pytest.mark.parametrize("kind", ["file", "directory", "other link", "dangling link"])
def test_in_docker_something_else_at_the_host_s_path(kind: str, tmp_path: Path, mounted: Path) -> None:
    host = tmp_path / "run"
    if kind == "file":
        host.touch()
    elif kind == "directory":
        host.mkdir()
    else:
        host.symlink_to(tmp_path if kind == "other link" else tmp_path / "nowhere")
    said = failure(docker(host, mounted))
    assert str(host) in said
    assert "is not the sandbox" in said or "No such file" in said


def test_in_docker_a_path_that_cannot_be_made(tmp_path: Path, mounted: Path) -> None:
    (tmp_path / "file").touch()
    assert failure(docker(tmp_path / "file/run", mounted)) == f"{tmp_path}/file: File exists"


def test_in_docker_nobody_is_given_anything(tmp_path: Path, mounted: Path) -> None:
    make(docker(tmp_path / "run", mounted), Recorder())
    assert (mounted / "sandbox").stat().st_uid == os.geteuid()


# -- Images -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def containerizer(tmp_path: Path) -> Path:
    made = tmp_path / "mesos-containerizer"
    made.write_text("#!/bin/sh\necho '--launch_info=VALUE' >&2\n")
    made.chmod(0o755)
    return made


@pytest.fixture
def image(directory: Path, containerizer: Path) -> SandboxPlan:
    (directory / "taskfs/etc").mkdir(parents=True)
    # Nobody is given the directory here: as bob does not exist, only root could do that.
    return plan(directory, has_image=True, containerizer=str(containerizer))


def with_user(image: SandboxPlan) -> SandboxPlan:
    if not IS_ROOT:
        pytest.skip("giving files to another user takes root")
    return replace(image, user=BOB)


def test_an_image_gets_user_mounts_and_the_host_s_names(image: SandboxPlan, directory: Path) -> None:
    system = Recorder()
    assert make(with_user(image), system) is True
    fs = f"{directory}/taskfs"
    assert system.commands == [
        ["groupadd", "-R", fs, "-g", "4712", "builders"],
        ["useradd", "-R", fs, "-u", "4711", "-g", "4712", "bob"],
        ["mount", "-n", "--rbind", f"{directory}/sandbox", f"{fs}/mnt/mesos/sandbox"],
    ]
    assert Path(f"{fs}/mnt/mesos/sandbox").is_dir()
    for name in ("/etc/resolv.conf", "/etc/hosts", "/etc/hostname"):
        if os.path.exists(name):
            assert Path(f"{fs}{name}").read_bytes() == Path(name).read_bytes()
    assert image.container_root == "/mnt/mesos/sandbox"


def test_no_user_is_made_where_none_is_wanted(image: SandboxPlan) -> None:
    for each in (replace(with_user(image), creates_user=False), replace(image, user=None)):
        system = Recorder()
        make(each, system)
        assert [command[0] for command in system.commands] == ["mount"]


SAME_GROUP: Final = {"getent group builders": (0, "builders:x:4712:")}
SAME_USER: Final = {"id bob": (0, "uid=4711(bob) gid=4712(builders) groups=4712(builders),27(sudo)")}


@pytest.mark.parametrize("code", [4, 9])
def test_a_user_that_is_there_already_must_be_the_same(image: SandboxPlan, code: int) -> None:
    there = {"groupadd": (code, "exists"), "useradd": (code, "exists")}
    system = Recorder({**there, **SAME_GROUP, **SAME_USER})
    make(with_user(image), system)
    assert ["chroot", image.image, "getent", "group", "builders"] in system.commands
    assert ["chroot", image.image, "id", "bob"] in system.commands


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"groupadd": (4, ""), "getent": (2, "")}, "the image has another group builders or 4712"),
        ({"groupadd": (9, ""), "getent": (0, "builders:x:99:")}, "the image has another group builders or 4712"),
        ({"groupadd": (1, "no space")}, "groupadd builders in the image ended with 1: no space"),
        ({"useradd": (4, ""), " id ": (1, "no such user")}, "the image has another user bob or 4711"),
        ({"useradd": (9, ""), " id ": (0, "uid=4711(bob) gid=4712(buildersx)")}, "another user bob or 4711"),
        ({"useradd": (9, ""), " id ": (0, "uid=47(bob) gid=4712(builders)")}, "another user bob or 4711"),
        ({"useradd": (6, "no group")}, "useradd bob in the image ended with 6: no group"),
        ({"mount": (32, "permission denied")}, "/mnt/mesos/sandbox ended with 32: permission denied"),
    ],
)
def test_what_goes_wrong_in_an_image(image: SandboxPlan, answers: dict[str, tuple[int, str]], said: str) -> None:
    assert said in failure(with_user(image), Recorder(answers))


def test_a_group_without_a_name(image: SandboxPlan) -> None:
    nameless = replace(with_user(image), user=replace(BOB, gid=99))
    assert "the group 99 of user bob has no name on this host" in failure(nameless)


def test_volumes_are_mounted_before_the_sandbox_and_files_get_a_file(image: SandboxPlan, tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "secret.txt"
    data.mkdir()
    file.write_text("x")
    paths = [str(data), str(file), image.image, None]
    volumes = tuple(Volume(container_path=path) for path in paths)
    system = Recorder()
    make(replace(image, volumes=volumes), system)
    assert [command[3:] for command in system.commands] == [
        [str(data), f"{image.image}{data}"],
        [str(file), f"{image.image}{file}"],
        [image.root, f"{image.image}/mnt/mesos/sandbox"],
    ]
    assert Path(f"{image.image}{data}").is_dir()
    assert Path(f"{image.image}{file}").is_file()


@pytest.mark.parametrize("target", ["/outside", "../../../../../../outside", "up/outside"])
def test_links_in_an_image_lead_nowhere_else(image: SandboxPlan, target: str, tmp_path: Path) -> None:
    Path(image.image, "up").symlink_to("..")
    Path(image.image, "mnt").symlink_to(target)
    system = Recorder()
    make(image, system)
    ((*_, mounted),) = system.commands
    assert mounted == f"{image.image}/outside/mesos/sandbox"  # as a process in the image sees it


def test_names_of_the_host_are_written_through_an_image_s_own_link(image: SandboxPlan) -> None:
    # As in Debian's and Fedora's images; on the host it would be the host's own file.
    if not os.path.exists("/etc/hosts"):
        pytest.skip("this host has no /etc/hosts")
    Path(image.image, "etc/hosts").symlink_to("/run/names/hosts")
    make(image, Recorder())
    assert Path(image.image, "run/names/hosts").read_bytes() == Path("/etc/hosts").read_bytes()


def test_links_that_go_round(image: SandboxPlan) -> None:
    Path(image.image, "mnt").symlink_to("mnt")
    assert "too many links" in failure(image)


def test_an_image_that_mesos_has_not_provided(image: SandboxPlan) -> None:
    shutil.rmtree(image.image)
    assert "Mesos has put no image" in failure(image)


@pytest.mark.parametrize("kind", ["missing", "not executable", "directory"])
def test_a_containerizer_that_cannot_be_used(image: SandboxPlan, containerizer: Path, kind: str) -> None:
    containerizer.unlink()
    if kind == "not executable":
        containerizer.touch(mode=0o644)
    elif kind == "directory":
        containerizer.mkdir()
    system = Recorder()
    said = failure(image, system)
    assert str(containerizer) in said
    assert "--mesos-containerizer-path" in said
    assert system.commands == []


def test_one_that_is_no_program_for_this_host(image: SandboxPlan, containerizer: Path) -> None:
    containerizer.write_text("no program")
    assert "Exec format error" in failure(image, Host())


# -- The recorder, and this host: the same answers to the same questions ---------------------------------------------


@pytest.fixture(params=["recorder", "host"])
def system(request: pytest.FixtureRequest) -> System:
    if request.param == "host":
        return Host()
    return Recorder({"sh -c": (3, "out\nerr")})


def test_a_command_s_exit_code_and_output(system: System) -> None:
    assert system.run(["true"]) == (0, "")
    assert system.run(["sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, "out\nerr")


def test_a_group_s_name() -> None:
    mine = grp.getgrgid(pwd.getpwnam("root").pw_gid)
    assert Host().group_name(mine.gr_gid) == mine.gr_name
    for each, gid in ((Host(), 4711 << 8), (Recorder(), 99)):
        with pytest.raises(KeyError):
            each.group_name(gid)


def test_which_form_a_containerizer_takes(containerizer: Path) -> None:
    assert Host().knows_launch_info(str(containerizer)) is True
    containerizer.write_text("#!/bin/sh\necho '--command=VALUE' >&2; exit 1\n")
    assert Host().knows_launch_info(str(containerizer)) is False


def test_commands_of_the_system_are_found_without_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    said: list[str] = []
    assert Host(said.append).run(["true", "x"])[0] == 0
    assert said == ["running `true x`"]  # before it: some commands never end


# -- For real: a small image in a mount namespace of its own ----------------------------------------------------------


@pytest.fixture
def unshared() -> Iterator[Callable[[str, dict[str, Any]], Any]]:
    """Runs Python in a mount namespace of its own; what it prints as JSON."""
    tools = ("unshare", "groupadd", "useradd", "chroot", "mount")
    missing = [name for name in tools if shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is None]
    if not IS_ROOT or missing or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip(f"takes root, mount namespaces and the tools for users (missing: {missing})")

    def run(script: str, arguments: dict[str, Any]) -> Any:
        words = ["unshare", "-m", "--propagation", "private", sys.executable, "-c", script, json.dumps(arguments)]
        done = subprocess.run(words, capture_output=True, text=True, cwd=PROJECT, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    yield run


def small_image(path: Path, *programs: str) -> None:
    """A root file system with these programs, and nobody in its files of users."""
    files = set(programs)
    for program in programs:
        said = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
        files |= {word for word in said.split() if word.startswith("/")}
    # What the C library loads by itself to look users up.
    files |= {str(library) for library in Path("/lib/x86_64-linux-gnu").glob("libnss_files*")}
    for file in files:
        target = Path(f"{path}{file}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(file), target)
    (path / "etc").mkdir(exist_ok=True)
    for name, text in {
        "passwd": "root:x:0:0::/:/bin/sh\n", "group": "root:x:0:\n", "shadow": "root:*:::::::\n",
        "gshadow": "root:*::\n", "nsswitch.conf": "passwd: files\ngroup: files\n", "login.defs": "CREATE_HOME no\n",
    }.items():  # fmt: skip
        (path / "etc" / name).write_text(text)


REAL: Final = """
import json, subprocess, sys
from thermos.executor.sandbox import Host, SandboxPlan, perform, outcome
from thermos.formats.assigned_task import Volume
from thermos.host.command import User
given = json.loads(sys.argv[1])
plan = SandboxPlan(directory=given["directory"], mounted=given["directory"], has_image=True,
    user=User(**given["user"]), containerizer="/bin/true",
    volumes=tuple(Volume(container_path=path) for path in given["volumes"]))
results = [outcome(perform(plan, Host()))[0] for _ in range(given.get("times", 1))]
seen = subprocess.run(["chroot", plan.image, given["program"], *given["arguments"]], capture_output=True, text=True)
print(json.dumps({"failures": results, "said": seen.stdout + seen.stderr}))
"""


def test_a_real_image(unshared: Callable[[str, dict[str, Any]], Any], tmp_path: Path) -> None:
    id_, getent, cat = "/usr/bin/id", "/usr/bin/getent", "/bin/cat"
    if not all(os.path.exists(program) for program in (id_, getent, cat)):
        pytest.skip("programs for a small image are missing")
    nobody = pwd.getpwnam("nobody")
    directory, volume = tmp_path / "mesos", tmp_path / "volume"
    small_image(directory / "taskfs", id_, getent, cat)
    volume.mkdir()
    (volume / "data").write_text("from the volume")
    user = {"name": "nobody", "uid": nobody.pw_uid, "gid": nobody.pw_gid, "home": "/"}
    given = {"directory": str(directory), "user": user, "volumes": [str(volume)], "program": cat}
    # Twice: the second time the user is there already, and is the same.
    found = unshared(REAL, {**given, "times": 2, "arguments": [f"{volume}/data", "/etc/passwd"]})
    assert found["failures"] == [None, None]
    assert "from the volume" in found["said"]
    assert f"nobody:x:{nobody.pw_uid}:{nobody.pw_gid}:" in found["said"]
    assert not list((directory / "taskfs/mnt/mesos/sandbox").iterdir())  # the mounts went with the namespace

    passwd = directory / "taskfs/etc/passwd"
    passwd.write_text(passwd.read_text().replace(f":{nobody.pw_uid}:", ":4242:"))
    found = unshared(REAL, {**given, "arguments": ["/etc/hostname"]})
    assert "the image has another user nobody" in found["failures"][0]
