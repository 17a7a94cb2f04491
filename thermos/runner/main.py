"""``thermos_runner``: from flags to a task that runs, or goes on."""

from __future__ import annotations

import errno
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from thermos.checkpoints import read_task
from thermos.core.events import KillRequested, Recovered, Started
from thermos.core.machine import Identity, Machine
from thermos.core.state import is_repeat
from thermos.errors import (
    CheckpointCorrupt,
    CheckpointNewer,
    ExitCode,
    IllegalMove,
    NoSpace,
    NotPermitted,
    TaskDiffers,
    TaskInvalid,
    TaskNotFound,
    TaskOver,
    ThermosError,
)
from thermos.formats import checkpoint, paths, task_json
from thermos.host import cgroup, inherited, linux, proc
from thermos.host.command import find_user
from thermos.records import Record, RunnerHeader
from thermos.runner import sandbox
from thermos.runner.context import Context
from thermos.runner.home import Home
from thermos.runner.options import parse, parse_ports, parser
from thermos.runner.supervisor import SIGNALS, Supervisor
from thermos.schema import Logger, RotatePolicy, Task, problems
from thermos.states import TaskState

if TYPE_CHECKING:
    from types import SimpleNamespace

#: What runner and coordinators ask of the OOM killer: take others first (-1000 would be: never us).
OOM_SCORE_ADJ = -900
#: Descriptors a runner wants: it watches each coordinator that an earlier runner forked through one.
OPEN_FILES = 1 << 16


class MissingPort(TaskInvalid):
    """A port that the task refers to was not given; Aurora's runner exits 101 on it."""

    exit_code = ExitCode.INTERNAL


def main(arguments: list[str]) -> int:
    """Run a task; the exit code."""
    try:
        options = parse(arguments)
        try:
            ports = parse_ports(options.port)
        except ValueError as error:
            parser().error(str(error))
        return _run(options, ports)
    except ThermosError as error:
        print(f"thermos_runner: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        failure = _system_error(error)
        print(f"thermos_runner: {failure}", file=sys.stderr)
        return failure.exit_code
    except Exception:  # noqa: BLE001 - the top: whatever it is, it must be told and end in a code
        import traceback

        print(f"thermos_runner: a fault of ours; please report this:\n{traceback.format_exc()}", file=sys.stderr)
        return ExitCode.INTERNAL


def _system_error(error: OSError) -> ThermosError:
    where = f"{error.filename}: " if error.filename is not None else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(f"{where}{error.strerror}; free some space and start again, nothing is lost")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return NotPermitted(f"{where}{error.strerror}; run as its owner, or choose another directory")
    return ThermosError(f"{where}{error.strerror or error}")


def _run(options: SimpleNamespace, ports: dict[str, int]) -> int:
    linux.require_kernel()
    inherited.settle()
    _block_signals()
    linux.set_name("thermos-runner")
    if options.checkpoint_root is None:
        options.checkpoint_root = paths.DEFAULT_ROOT
    root = os.path.abspath(options.checkpoint_root)
    if options.takeover:
        task, header = _from_disk(root, paths.check_task_id(options.task_id or ""))
    else:
        task = _load(options)
        task_id = paths.check_task_id(options.task_id or new_task_id(task.name))
        user = find_user(options.setuid)
        task = _bind(task, task_id, user.name, ports)
        if options.sandbox is None:
            raise TaskInvalid("command line", ["--sandbox is missing: the directory the task's processes run in"])
        directory = os.path.abspath(options.sandbox)
        header = RunnerHeader(
            task_id=task_id,
            launch_time_ms=int(time.time() * 1000),
            sandbox=directory,
            hostname=options.hostname or os.uname().nodename,
            user=user.name,
            ports=ports,
            log_dir=paths.default_log_dir(directory),
            uid=os.geteuid(),
            format_version=checkpoint.VERSION,
            cookie=os.urandom(8).hex(),
        )
        sandbox.check(directory)
    home = Home(root, header.task_id)
    if home.is_finished:
        raise TaskOver(f"task {header.task_id} is over; `thermos status {header.task_id}` says how it ended")
    journal = home.own_stream()
    stream = journal.read()
    records = stream.records
    header = _first_header(records, header, journal.path)
    if header.cgroup is None and not records and not options.no_cgroup:
        base = cgroup.find_base()
        if base is not None:
            header = header._replace(cgroup=f"{base}/{cgroup.PARENT_NAME}/{header.cookie}")
    task = _agree_on_task(home, header, task)
    context = _context(options, home, header, task)
    machine = Machine(task, header, context.identity)
    try:
        for record in records:
            if not is_repeat(machine.state, record):
                machine.replay(record)
    except IllegalMove as error:
        raise CheckpointCorrupt(journal.path, journal.size, str(error)) from None
    supervisor = Supervisor(context, machine, journal)
    if machine.is_over:
        supervisor.end()
        return ExitCode.OK
    if not records:
        supervisor.put(Started())
        if header.cgroup is None and not options.no_cgroup:
            supervisor.note("host", "no control groups here: what leaves its session is found by its environment")
    else:
        supervisor.put(Recovered())
        for name, run in machine.live_runs():
            supervisor.adopt(name, run)
        supervisor.kill_left_behind()
    if stream.damage is not None:
        supervisor.note("torn", f"{journal.path}: cut off at byte {stream.damage.offset}: {stream.damage.detail}")
    if options.kill is not None:
        supervisor.put(KillRequested(TaskState[options.kill], options.kill_reason, options.kill_budget))
    del records, stream
    gc.collect()
    gc.freeze()
    gc.disable()
    supervisor.run()
    return ExitCode.OK


def new_task_id(name: str) -> str:
    """Aurora's automatic task id: name, local time, microseconds."""
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    return f"{name}-{stamp}.{int(now * 1e6) % 1_000_000:06d}"


# -- the task ----------------------------------------------------------------------------------------------------


def _load(options: SimpleNamespace) -> Task:
    path = options.thermos_json
    if path is None:
        raise TaskInvalid("command line", ["--thermos_json is missing: the file that holds the task"])
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        detail = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise TaskInvalid(path, [f"cannot be read: {detail}"]) from None
    try:
        return task_json.decode(text, path)
    except ValueError as error:  # a number of more digits than Python converts
        raise TaskInvalid(path, [str(error)]) from None


def _bind(task: Task, task_id: str, user: str, ports: Mapping[str, int]) -> Task:
    found = problems(task)
    missing = sorted(task_json.ports_wanted(task) - set(ports))
    if missing and not found:
        raise MissingPort(
            f"task {task.name}", [f"port {name!r} is missing: give --port {name}:NUMBER" for name in missing]
        )
    if found:
        raise TaskInvalid(f"task {task.name}", problems(task, ports))
    bound = task_json.bind_thermos(task, task_id, user, ports)
    if bound != task:
        # Names and lengths are others now. Braces that are still there are the text that {{&these}} stood for.
        found = problems(task_json.decode(task_json.encode(bound).replace("{{", "(("), "task"))
        if found:
            raise TaskInvalid(f"task {task.name}", found)
    return bound


def _as_it_ran(task: Task, header: RunnerHeader) -> Task:
    """A task that lies on disk. The original's older versions left references in it; other braces are its text."""
    try:
        return task_json.bind_thermos(task, header.task_id, header.user or "", header.ports or {})
    except TaskInvalid:
        return task


def _from_disk(root: str, task_id: str) -> tuple[Task, RunnerHeader]:
    """Task and header of a task that has run before. Raises TaskNotFound, TaskInvalid, CheckpointCorrupt."""
    found = read_task(root, task_id, keep_runs=1)
    header = found.state.header
    if header is None or header.sandbox is None:
        detail = str(found.findings[0]) if found.findings else "its checkpoint holds no header"
        raise TaskNotFound(f"task {task_id} cannot be taken over: {detail}")
    for where in (paths.ACTIVE, paths.FINISHED):
        path = paths.task_path(root, task_id, where)
        try:
            with open(path, encoding="utf-8") as file:
                task = task_json.decode(file.read(), path)
        except FileNotFoundError:
            continue
        return _as_it_ran(task, header), header
    raise TaskNotFound(f"task {task_id} cannot be taken over: its task file under {root}/tasks is gone")


def _agree_on_task(home: Home, header: RunnerHeader, task: Task) -> Task:
    """The task as it lies on disk, written if it is not there yet. Raises TaskDiffers."""
    path = paths.task_path(home.root, header.task_id, paths.ACTIVE)
    text = home.read_task_file()
    if text is None:
        home.write_task_file(task_json.encode(task))
        return task
    there = _as_it_ran(task_json.decode(text, path), header)
    if not task_json.same_task(there, task):
        raise TaskDiffers(
            f"task id {header.task_id} belongs to a task with another definition ({path}); "
            "choose another id, or start it with the definition it has"
        )
    return there


# -- the checkpoint ----------------------------------------------------------------------------------------------


def _first_header(records: list[Record], header: RunnerHeader, path: str) -> RunnerHeader:
    """The header on disk, if there is one: a task stays what its first runner made it. Raises CheckpointNewer."""
    for record in records:
        if isinstance(record, RunnerHeader):
            if record.format_version is not None and record.format_version > checkpoint.VERSION:
                raise CheckpointNewer(
                    f"{path} was written by a newer version (format {record.format_version}, this one knows "
                    f"{checkpoint.VERSION}); upgrade, nothing was changed"
                )
            if record.task_id != header.task_id:
                raise CheckpointCorrupt(path, 0, f"it is the stream of task {record.task_id!r}")
            return record._replace(sandbox=record.sandbox or header.sandbox)
    return header


# -- the host ----------------------------------------------------------------------------------------------------


def _block_signals() -> None:
    """Signals come by descriptor from here on; those that are ignored (nohup, a shell's &) stay so."""
    ours = [signum for signum in SIGNALS if signal.getsignal(signum) is not signal.SIG_IGN]
    signal.pthread_sigmask(signal.SIG_BLOCK, ours)


def _context(options: SimpleNamespace, home: Home, header: RunnerHeader, task: Task) -> Context:
    assert header.sandbox is not None
    user = find_user(header.user)
    sandbox_fd = sandbox.open_or_make(header.sandbox, header.task_id, user.uid, user.gid)
    chroot = bool(options.enable_chroot)
    container_sandbox = options.container_sandbox or ("/" if chroot else header.sandbox)
    linux.become_subreaper()
    pid = os.getpid()
    logger = Logger(options.process_logger_destination, options.process_logger_mode)
    if options.rotate_log_size_mb is not None or options.rotate_log_backups is not None:
        policy = RotatePolicy()
        if options.rotate_log_size_mb is not None:
            policy = replace(policy, log_size=options.rotate_log_size_mb << 20)
        if options.rotate_log_backups is not None:
            policy = replace(policy, backups=options.rotate_log_backups)
        logger = replace(logger, rotate=policy)
    return Context(
        home=home,
        task=task,
        header=header,
        identity=Identity(pid, os.geteuid(), proc.start_ticks(pid), proc.boot_id(), proc.pid_namespace()),
        user=user,
        owner_uid=os.fstat(home.checkpoint_fd).st_uid,
        sandbox_fd=sandbox_fd,
        container_sandbox=container_sandbox,
        log_directory=_log_directory(header),
        chroot=chroot,
        preserve_env=bool(options.preserve_env),
        default_logger=logger,
        environment=dict(os.environ),
        open_files=_raise_open_files(),
        oom_score_adj=_ask_mercy(),
        mesos_containerizer=options.mesos_containerizer_path,
        oom_counter=cgroup.find_oom_counter(),
        leash_fd=options.leash_fd,
        report_fd=options.report_fd,
        preemption_wait_s=options.preemption_wait,
    )


def _log_directory(header: RunnerHeader) -> str:
    """The log directory, relative to the sandbox. Raises TaskInvalid if it is elsewhere."""
    log_dir = header.log_dir or paths.default_log_dir(header.sandbox or "")
    relative = os.path.relpath(log_dir, header.sandbox)
    if relative.startswith(".."):
        raise TaskInvalid(f"task {header.task_id}", [f"its log directory {log_dir} is outside its sandbox"])
    return relative


def _raise_open_files() -> tuple[int, int] | None:
    """Raise the limit of open files as far as we may; the limits before, which children get back."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    for hard in (max(before[1], OPEN_FILES), before[1]):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            return before
        except (ValueError, OSError):
            continue
    return None


def _ask_mercy() -> str | None:
    """Lower our score with the OOM killer; what it was, which children get back. None: not permitted."""
    path = "/proc/self/oom_score_adj"
    try:
        with open(path, encoding="ascii") as file:
            before = file.read().strip()
        if int(before) <= OOM_SCORE_ADJ:
            return None
        with open(path, "w", encoding="ascii") as file:
            file.write(str(OOM_SCORE_ADJ))
        return before
    except (OSError, ValueError):
        return None
