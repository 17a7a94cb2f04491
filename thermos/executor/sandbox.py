"""The task's sandbox: a directory, the view of it within Docker, or one inside a file system image.

Layouts and commands are Aurora's (``aurora/executor/common/sandbox.py``). It is made in a child of its own, which
can be given up at any moment: mounts and a full disk may take their time.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from thermos.executor.assignment import Assignment
from thermos.executor.options import Options
from thermos.formats.assigned_task import Volume
from thermos.host.command import User
from thermos.host.containerizer import knows_launch_info
from thermos.host.linux import die_with_parent

#: Directory of the sandbox within what Mesos calls one, beside ``checkpoints`` and pages.
SANDBOX_NAME: Final = "sandbox"
#: Where Mesos puts the image of a task.
IMAGE_NAME: Final = "taskfs"
#: Exit codes of groupadd and useradd (their manual pages): the id, or the name, is there already.
_ID_EXISTS: Final = 4
_NAME_EXISTS: Final = 9
#: What a task in an image needs from the host to find others.
_HOST_FILES: Final = ("/etc/resolv.conf", "/etc/hosts", "/etc/hostname")
#: No command that prepares a sandbox takes longer.
_COMMAND_S: Final = 300.0
#: Where groupadd and useradd are; an agent's PATH may lack it.
_SYSTEM_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
#: Of one path (the kernel: MAXSYMLINKS).
_MAX_LINKS: Final = 40


class SandboxFailed(Exception):
    """It cannot be made; says why, in words for the task's owner."""


@dataclass(frozen=True, kw_only=True)
class SandboxPlan:
    """What is to be made."""

    #: What Mesos calls the sandbox, as the host names it and as this process sees it.
    directory: str
    mounted: str
    user: User | None = None
    is_docker: bool = False
    has_image: bool = False
    volumes: tuple[Volume, ...] = ()
    mount_point: str = "/mnt/mesos/sandbox"
    creates_user: bool = True
    containerizer: str = ""

    @property
    def root(self) -> str:
        """The task's sandbox."""
        return os.path.join(self.directory, SANDBOX_NAME)

    @property
    def container_root(self) -> str:
        """The same as its processes see it."""
        return self.mount_point if self.has_image else self.root

    @property
    def image(self) -> str:
        """Root of the image."""
        return os.path.join(self.directory, IMAGE_NAME)


def plan_of(assignment: Assignment, directory: str, mounted: str, user: User | None, options: Options) -> SandboxPlan:
    """What *assignment* needs. *user*: who owns it; None: whoever we are."""
    return SandboxPlan(
        directory=directory,
        mounted=mounted,
        user=None if assignment.is_docker else user,
        is_docker=assignment.is_docker,
        has_image=assignment.has_image,
        volumes=assignment.volumes,
        mount_point=options.sandbox_mount_point,
        creates_user=not options.no_create_user,
        containerizer=options.mesos_containerizer_path,
    )


class System(Protocol):
    """What making a sandbox does to the host; tests record it instead."""

    def run(self, argv: Sequence[str]) -> tuple[int, str]:
        """Exit code and output of a command. Raises OSError."""
        ...

    def group_name(self, gid: int) -> str:
        """Raises KeyError."""
        ...

    def knows_launch_info(self, containerizer: str) -> bool:
        """Which form of its command line it takes. Raises OSError."""
        ...


class Host:
    """This host. *say* hears of each command before it is run, as some never end."""

    def __init__(self, say: Callable[[str], object] = lambda text: None) -> None:
        self._say = say

    def run(self, argv: Sequence[str]) -> tuple[int, str]:
        """Run it; output is stdout and stderr together. It ends with us."""
        import subprocess  # in the child alone: the executor itself need not have it

        path = os.pathsep.join(filter(None, (os.environ.get("PATH"), _SYSTEM_PATH)))
        self._say(f"running `{' '.join(argv)}`")
        try:
            done = subprocess.run(
                list(argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=_COMMAND_S, errors="replace", env={**os.environ, "PATH": path, "LC_ALL": "C"},
                preexec_fn=die_with_parent,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise SandboxFailed(f"`{' '.join(argv)}` did not end within {_COMMAND_S:.0f} s") from None
        return done.returncode, done.stdout.strip()

    def group_name(self, gid: int) -> str:
        """From the host's groups."""
        import grp

        return grp.getgrgid(gid).gr_name

    def knows_launch_info(self, containerizer: str) -> bool:
        """Asks it for its usage."""
        return knows_launch_info(containerizer)


def perform(plan: SandboxPlan, system: System) -> str:
    """Make it; what came of it, for ``outcome``. For a child."""
    try:
        return json.dumps([None, make(plan, system)])
    except SandboxFailed as error:
        return json.dumps([str(error), False])


def outcome(answer: str | None) -> tuple[str | None, bool]:
    """(why it cannot be made, or None; whether the containerizer takes the newer form of its command line)."""
    try:
        failure, launch_info = json.loads(answer or "")
    except ValueError:
        return answer or "its maker died", False
    return failure, bool(launch_info)


def make(plan: SandboxPlan, system: System) -> bool:
    """Make it; what is there already is kept. True: the containerizer takes ``--launch_info``. Raises SandboxFailed."""
    try:
        if plan.is_docker:
            _link_docker(plan)
        _make_directory(plan)
        if not plan.has_image:
            return False
        launch_info = _ask_containerizer(plan.containerizer, system)
        _prepare_image(plan, system)
        return launch_info
    except OSError as error:
        where = error.filename if error.filename is not None else plan.root
        raise SandboxFailed(f"{where}: {error.strerror or error}") from None


def _make_directory(plan: SandboxPlan) -> None:
    try:
        os.mkdir(plan.root, 0o700)
    except FileExistsError:
        if not stat.S_ISDIR(os.lstat(plan.root).st_mode):
            raise SandboxFailed(f"{plan.root} is there, and is no directory") from None
    directory = os.open(plan.root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if plan.user is not None:
            os.chown(plan.directory, plan.user.uid, plan.user.gid, follow_symlinks=False)
            os.fchown(directory, plan.user.uid, plan.user.gid)
        if not plan.is_docker:
            os.fchmod(directory, 0o700)
    finally:
        os.close(directory)


def _link_docker(plan: SandboxPlan) -> None:
    """The host's path of the sandbox leads to where Docker mounted it, and others may enter it (MESOS-8332)."""
    if plan.directory == plan.mounted:
        return
    os.makedirs(os.path.dirname(plan.directory), exist_ok=True)
    try:
        os.symlink(plan.mounted, plan.directory)
    except FileExistsError:
        if not os.path.samefile(plan.directory, plan.mounted):
            raise SandboxFailed(f"{plan.directory} is there, and is not the sandbox {plan.mounted}") from None
    os.chmod(plan.mounted, 0o755)


# -- Images -----------------------------------------------------------------------------------------------------------


def _prepare_image(plan: SandboxPlan, system: System) -> None:
    import shutil

    if not os.path.isdir(plan.image):
        raise SandboxFailed(f"Mesos has put no image at {plan.image}: is the agent's image provider set up?")
    if plan.creates_user and plan.user is not None:
        _make_user(plan, plan.user, system)
    for volume in plan.volumes:
        path = volume.container_path
        if path is not None and os.path.abspath(path) != os.path.abspath(plan.image):
            _mount(path, _inside(plan, path), system)
    _mount(plan.root, _inside(plan, plan.mount_point), system)
    for path in _HOST_FILES:
        if os.path.exists(path):
            target = _inside(plan, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(path, target)


def _ask_containerizer(path: str, system: System) -> bool:
    if not os.path.isfile(path) or not os.access(path, os.X_OK):
        raise SandboxFailed(
            f"the containerizer {path} is not there or cannot be executed, and a task in an image needs it: "
            "see --mesos-containerizer-path"
        )
    return system.knows_launch_info(path)


def _inside(plan: SandboxPlan, path: str) -> str:
    """Where *path* is below the image, its links followed as a process in it would: never out. Raises SandboxFailed."""
    image = os.path.realpath(plan.image)
    parts = path.split("/")[::-1]
    found = image
    links = 0
    while parts:
        part = parts.pop()
        if part in ("", "."):
            continue
        if part == "..":
            found = os.path.dirname(found) if found != image else image
            continue
        below = os.path.join(found, part)
        try:
            target = os.readlink(below)
        except OSError:  # it is no link, or not there yet
            found = below
            continue
        links += 1
        if links > _MAX_LINKS:
            raise SandboxFailed(f"{path} in the image: too many links")
        if target.startswith("/"):
            found = image
        parts += target.split("/")[::-1]
    return found


def _make_user(plan: SandboxPlan, user: User, system: System) -> None:
    try:
        group = system.group_name(user.gid)
    except KeyError:
        raise SandboxFailed(f"the group {user.gid} of user {user.name} has no name on this host") from None
    code, output = system.run(["groupadd", "-R", plan.image, "-g", str(user.gid), group])
    if code in (_ID_EXISTS, _NAME_EXISTS):
        _expect(plan, system, ["getent", "group", group], lambda text: text.split(":")[:3:2] == [group, str(user.gid)],
                f"the image has another group {group} or {user.gid}")  # fmt: skip
    elif code:
        raise SandboxFailed(f"groupadd {group} in the image ended with {code}: {output}")
    code, output = system.run(["useradd", "-R", plan.image, "-u", str(user.uid), "-g", str(user.gid), user.name])
    if code in (_ID_EXISTS, _NAME_EXISTS):
        wanted = f"uid={user.uid}({user.name}) gid={user.gid}({group})"
        _expect(plan, system, ["id", user.name], lambda text: text.startswith(wanted),
                f"the image has another user {user.name} or {user.uid}")  # fmt: skip
    elif code:
        raise SandboxFailed(f"useradd {user.name} in the image ended with {code}: {output}")


def _expect(
    plan: SandboxPlan, system: System, argv: Sequence[str], is_same: Callable[[str], bool], otherwise: str
) -> None:
    code, output = system.run(["chroot", plan.image, *argv])
    if code or not is_same(output):
        raise SandboxFailed(f"{otherwise}: `{' '.join(argv)}` in it says {output!r}")


def _mount(source: str, target: str, system: System) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "ab"):
            pass
    code, output = system.run(["mount", "-n", "--rbind", source, target])
    if code:
        raise SandboxFailed(f"mounting {source} at {target} ended with {code}: {output}")
