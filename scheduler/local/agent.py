"""The one real agent: executors as processes of this machine, in sandboxes where a Mesos agent would have them.

No containers: an executor is a process in a session of its own, as with Mesos' posix launcher, and what a task uses is
not limited. It is started in another thread, since copying what it needs may take a while.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import shutil
import signal
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

from scheduler.local.executors import shutdown_grace_s
from scheduler.local.model import Event, ExecutorExited, ExecutorKey, ExecutorStarted, Settings, StartExecutor
from scheduler.local.world import Executor
from thermos.host import proc
from thermos.host.loop import Loop
from thermos.mesos import Raw, Reason

log = logging.getLogger(__name__)

#: An agent's flag ``--recovery_timeout``, and what its executors are told of it.
RECOVERY_TIMEOUT: Final = "15mins"
SUBSCRIPTION_BACKOFF_MAX: Final = "2secs"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ARCHIVES: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
#: Rounds of looking for what is left of a tree that is being killed; each finds what the last one's forked.
_KILL_ROUNDS: Final = 20
_STARTERS: Final = 2


class CannotStart(Exception):
    """The executor cannot be started; says why, for the task's status."""


class _Running(NamedTuple):
    """An executor's process; *child* None: it was started by another process of ours, before this one."""

    pid: int
    start_ticks: int
    pidfd: int
    child: subprocess.Popen[bytes] | None


class Launcher:
    """Starts, watches and ends executors. Events about them are told in the loop."""

    def __init__(
        self, loop: Loop, work_dir: Path, address: tuple[str, int], settings: Settings, tell: Callable[[Event], object]
    ) -> None:
        self._loop = loop
        self._work_dir = work_dir
        self._address = address
        self._settings = settings
        self._tell = tell
        self._running: dict[ExecutorKey, _Running] = {}
        #: Those that are to be destroyed before they have been started.
        self._starting: dict[ExecutorKey, bool] = {}
        self._starters = ThreadPoolExecutor(_STARTERS, thread_name_prefix="local-mesos-start")

    # -- starting ------------------------------------------------------------------------------------------------------

    def start(self, wanted: StartExecutor) -> None:
        """Start it; ``ExecutorStarted`` or ``ExecutorExited`` tells how that went."""
        self._starting[wanted.key] = False
        self._starters.submit(self._start, wanted)

    def _start(self, wanted: StartExecutor) -> None:
        """In a thread of its own."""
        try:
            child = self._spawn(wanted)
        except CannotStart as problem:
            text = str(problem)
            self._loop.post(lambda: self._failed(wanted.key, text))
        except Exception as fault:  # a thread's top: the task must hear of it
            log.exception("executor %s cannot be started", wanted.key.executor_id)
            text = f"Failed to launch container: {fault!r}"
            self._loop.post(lambda: self._failed(wanted.key, text))
        else:
            self._loop.post(lambda: self._started(wanted.key, child))

    def _failed(self, key: ExecutorKey, message: str) -> None:
        self._starting.pop(key, None)
        self._tell(ExecutorExited(key, signal.SIGKILL, Reason.REASON_CONTAINER_LAUNCH_FAILED, message))

    def _started(self, key: ExecutorKey, child: subprocess.Popen[bytes]) -> None:
        ticks = proc.start_ticks(child.pid) or 0  # a zombie of ours has its start time still
        self._watch(key, _Running(child.pid, ticks, os.pidfd_open(child.pid), child))
        is_unwanted = self._starting.pop(key, False)
        self._tell(ExecutorStarted(key, child.pid, ticks))
        if is_unwanted:
            self.destroy(key)

    def _spawn(self, wanted: StartExecutor) -> subprocess.Popen[bytes]:
        command = wanted.info.get("command") or {}
        user = _user(str(command.get("user") or wanted.user))
        sandbox = self.sandbox(wanted.key, wanted.container_id)
        self._make_sandbox(sandbox, user)
        for uri in command.get("uris") or ():
            _fetch(uri, sandbox)
        value = str(command.get("value") or "")
        if command.get("shell", True):
            argv, program = ["sh", "-c", value], "/bin/sh"
        else:
            argv, program = [str(one) for one in command.get("arguments") or (value,)], value
        as_user: dict[str, Any] = {}
        if user is not None:
            groups = os.getgrouplist(user.pw_name, user.pw_gid)
            as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": groups}
        with open(sandbox / "stdout", "ab") as stdout, open(sandbox / "stderr", "ab") as stderr:
            if user is not None:
                os.fchown(stdout.fileno(), user.pw_uid, user.pw_gid)
                os.fchown(stderr.fileno(), user.pw_uid, user.pw_gid)
            try:
                return subprocess.Popen(
                    argv,
                    executable=program,
                    cwd=sandbox,
                    env=self._environment(wanted, sandbox),
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                    umask=0o022,
                    **as_user,
                )
            except OSError as error:
                raise CannotStart(f"Failed to launch container: {program}: {error.strerror}") from None

    def sandbox(self, key: ExecutorKey, container_id: str) -> Path:
        """Where an executor runs; as an agent of Mesos has it (``mesos/src/slave/paths.hpp``)."""
        executors = self._work_dir / "slaves" / key.agent_id / "frameworks" / key.framework_id / "executors"
        return executors / key.executor_id / "runs" / container_id

    def _make_sandbox(self, sandbox: Path, user: pwd.struct_passwd | None) -> None:
        try:
            sandbox.parent.mkdir(parents=True, exist_ok=True)
            sandbox.mkdir(mode=0o750)
            if user is not None:
                os.chown(sandbox, user.pw_uid, user.pw_gid)
            latest = sandbox.with_name(f"latest.{sandbox.name}")
            latest.symlink_to(sandbox)
            latest.rename(sandbox.with_name("latest"))
        except OSError as error:
            raise CannotStart(f"Failed to create executor directory '{sandbox}': {error.strerror}") from None

    def _environment(self, wanted: StartExecutor, sandbox: Path) -> dict[str, str]:
        """What an agent tells its executor (``mesos/src/slave/slave.cpp``, ``executorEnvironment``)."""
        host, port = self._address
        key = wanted.key
        grace_s = shutdown_grace_s(wanted.info, self._settings.executor_shutdown_grace_s)
        environ = {
            "PATH": _PATH,
            "LIBPROCESS_IP": host,
            "LIBPROCESS_PORT": "0",
            "MESOS_AGENT_ENDPOINT": f"{host}:{port}",
            "MESOS_CHECKPOINT": "1" if wanted.checkpoint else "0",
            "MESOS_DIRECTORY": str(sandbox),
            "MESOS_EXECUTOR_ID": key.executor_id,
            "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": f"{grace_s:g}secs",
            "MESOS_FRAMEWORK_ID": key.framework_id,
            "MESOS_HTTP_COMMAND_EXECUTOR": "0",
            "MESOS_SANDBOX": str(sandbox),
            "MESOS_SLAVE_ID": key.agent_id,
            "MESOS_SLAVE_PID": f"slave(1)@{host}:{port}",
        }
        if wanted.checkpoint:
            environ["MESOS_RECOVERY_TIMEOUT"] = RECOVERY_TIMEOUT
            environ["MESOS_SUBSCRIPTION_BACKOFF_MAX"] = SUBSCRIPTION_BACKOFF_MAX
        command: Raw = wanted.info.get("command") or {}
        variables: Mapping[str, Any] = command.get("environment") or {}
        environ |= {str(one["name"]): str(one.get("value", "")) for one in variables.get("variables") or ()}
        return environ

    # -- watching ------------------------------------------------------------------------------------------------------

    def recover(self, executor: Executor) -> None:
        """An executor that ran before we were restarted: watch it, or tell that it is gone."""
        pid, ticks = executor.pid, executor.start_ticks
        if pid is None:  # it may have been started, and we ended before that was written down
            pid = self._find(self.sandbox(executor.key, executor.container_id))
            ticks = (proc.start_ticks(pid) or 0) if pid is not None else 0
        with contextlib.suppress(OSError):
            if pid is not None:
                pidfd = os.pidfd_open(pid)
                if proc.is_alive(pid, ticks):  # looked at with the descriptor in hand: it is no stranger's
                    self._watch(executor.key, _Running(pid, ticks, pidfd, None))
                    self._tell(ExecutorStarted(executor.key, pid, ticks))
                    return
                os.close(pidfd)
        self._tell(ExecutorExited(executor.key, None))

    def _find(self, sandbox: Path) -> int | None:
        wanted = os.fsencode(sandbox)
        for stat in proc.snapshot():
            if stat.session == stat.pid and proc.environ_value(stat.pid, b"MESOS_DIRECTORY") == wanted:
                return stat.pid
        return None

    def _watch(self, key: ExecutorKey, running: _Running) -> None:
        self._running[key] = running
        self._loop.watch(running.pidfd, lambda: self._ended(key))

    def _ended(self, key: ExecutorKey) -> None:
        running = self._running.pop(key)
        self._loop.unwatch(running.pidfd)
        os.close(running.pidfd)
        status = None
        if running.child is not None:
            code = running.child.wait()  # it has ended: this does not wait
            status = -code if code < 0 else code << 8
        self._tell(ExecutorExited(key, status))

    def uid_of(self, key: ExecutorKey) -> int | None:
        """Whom an executor runs as; None where that is not known."""
        running = self._running.get(key)
        return None if running is None else proc.uid_of(running.pid)

    # -- ending --------------------------------------------------------------------------------------------------------

    def destroy(self, key: ExecutorKey) -> None:
        """End its whole tree with SIGKILL; ``ExecutorExited`` follows."""
        if key in self._starting:
            self._starting[key] = True
        running = self._running.get(key)
        if running is not None:
            kill_tree(running.pid)

    def close(self) -> None:
        """Watch nothing any more; executors go on."""
        self._starters.shutdown(wait=True)
        for running in self._running.values():
            self._loop.unwatch(running.pidfd)
            os.close(running.pidfd)
            if running.child is not None:
                running.child.returncode = 0  # it lives on; nobody is to warn of that
        self._running.clear()


def kill_tree(pid: int) -> None:
    """SIGKILL for *pid*, its descendants and its session, until none is left; *pid* itself is its owner's to reap."""
    for _ in range(_KILL_ROUNDS):
        table = {stat.pid: stat for stat in proc.snapshot() if stat.state not in "ZX"}
        tree = {one.pid for one in table.values() if one.pid == pid or one.session == pid}
        grown = True
        while grown:
            more = {one.pid for one in table.values() if one.ppid in tree} - tree
            tree |= more
            grown = bool(more)
        if not tree:
            return
        for one in tree:
            _kill(table[one])


def _kill(stat: proc.Stat) -> None:
    """End just this process, and no stranger that has its pid by now."""
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(stat.pid)
        try:
            if proc.start_ticks(stat.pid) == stat.start_ticks:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)


def _user(name: str) -> pwd.struct_passwd | None:
    """Whom to become; None: as we are, which is all that an ordinary user can do."""
    if os.geteuid() != 0 or not name:
        return None
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise CannotStart(f"Failed to launch container: No such user '{name}'") from None


def _fetch(uri: Mapping[str, Any], sandbox: Path) -> None:
    """Bring a ``CommandInfo.URI`` into the sandbox, if it is a path."""
    value = str(uri.get("value") or "")
    source = Path(value.removeprefix("file://"))
    words = f"Failed to launch container: Failed to fetch '{value}'"
    if not source.is_absolute():
        raise CannotStart(f"{words}: the Mesos of one machine fetches absolute paths of this machine only")
    name = str(uri.get("output_file") or source.name)
    target = sandbox / name
    if os.path.isabs(name) or ".." in Path(name).parts:
        raise CannotStart(f"{words}: '{name}' does not lie in the sandbox")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if uri.get("executable"):
            shutil.copyfile(source, target)
            target.chmod(0o755)
        elif uri.get("extract", True) and source.name.endswith(_ARCHIVES):
            _extract(source, sandbox)
        else:
            shutil.copyfile(source, target)
            target.chmod(0o644)
    except (OSError, zipfile.BadZipFile) as error:
        raise CannotStart(f"{words}: {error}") from None


def _extract(archive: Path, sandbox: Path) -> None:
    """Raises OSError."""
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(sandbox)
        return
    # GNU tar, which an agent calls too, knows every compression and leaves out what would lie outside
    words = ["tar", "-C", str(sandbox), "--no-same-owner", "-xf", str(archive)]
    ran = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if ran.returncode:
        raise OSError(ran.stderr.decode("utf-8", "replace").strip()[:200])
