"""The runner's loop: one thread that owns the state. It sleeps until something happens, and never looks whether.

What can happen: a child ends (SIGCHLD), a coordinator that is not our child ends (its pidfd), a coordinator has
written something (the announce pipe), a signal, the leash breaks, a wait is over. Each becomes an event; the
core answers; records are made durable; then it is done what the core said.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from typing import Final

from thermos.core.events import (
    Action,
    CoordinatorGone,
    Due,
    Event,
    Finish,
    KillRequested,
    KillRun,
    Launch,
    LaunchDelayed,
    Noted,
    Release,
    Reported,
    SweepOrphans,
    Terminate,
    Wake,
)
from thermos.core.machine import Machine
from thermos.core.state import Run
from thermos.host import linux, proc
from thermos.host.journal import Journal
from thermos.records import Note, Record
from thermos.runner import finish, signals
from thermos.runner.context import Context
from thermos.runner.inbox import Inbox
from thermos.runner.launch import Launcher
from thermos.runner.timers import Timers
from thermos.states import ProcessState, TaskState

#: Forks between two writes to disk: more would let the first wait, fewer would wait for the disk more often.
BATCH: Final = 32
#: A stream that does not take records is tried again this often, and so is a fork that failed.
RETRY_S: Final = 1.0
#: A trouble that lasts is told again after this time.
REPEAT_S: Final = 600.0
#: How soon a recovered run that is still FORKED is read again: it announces itself to a pipe that is gone.
REREAD_S: Final = 0.05
REREAD_MOST_S: Final = 1.0

SIGNALS: Final = (
    signal.SIGCHLD,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
)
_JOURNAL: Final = "journal"
_REREAD: Final = "reread"
_ALIVE: Final = "alive"


class Supervisor:
    """Runs one task to its end, given its machine and its stream."""

    def __init__(self, context: Context, machine: Machine, journal: Journal) -> None:
        self.context = context
        self.machine = machine
        self.journal = journal
        self.finished: TaskState | None = None
        self._signal_fd = linux.signal_fd(SIGNALS)
        self._epoll = select.epoll()
        self._report_fd = context.report_fd
        #: Descriptors of ours that no coordinator may keep.
        self._own_fds = {journal.fd, self._epoll.fileno(), context.home.active_fd, context.home.finished_fd}
        if self._report_fd is not None:
            os.set_blocking(self._report_fd, False)
            self._own_fds.add(self._report_fd)
        self._inbox = Inbox(context.home.checkpoint_fd)
        self._launcher = Launcher(context, self._inbox, self._signal_fd, self._own_fds)
        self._timers = Timers()
        self._events: deque[Event] = deque()
        self._records: list[Record] = []
        self._actions: list[Action] = []
        self._launches: deque[Launch] = deque()
        self._finish: Finish | None = None
        self._coordinators: dict[int, str] = {}  # pid → process: children of ours, and adopted ones
        users = {context.owner_uid, context.user.uid}
        uids = users if users != {0} else None
        self._live = signals.Task(uids, context.header.cgroup, self._coordinators)
        self._adopted: dict[int, int] = {}  # pidfd → pid of a coordinator that is no child of ours
        self._unwatched: set[int] = set()  # pids of such, where no descriptor was left
        self._reread: set[str] = set()
        self._reread_s = REREAD_S
        self._leaky = False  # a coordinator died: what it watched over may be anywhere
        self._interrupts = 0
        self._in_trouble = False
        self._tell_refusal_at_s = 0.0
        self._entered = False  # the task's control group
        self._epoll.register(self._signal_fd, select.EPOLLIN)
        self._epoll.register(self._launcher.announce_fd, select.EPOLLIN)
        if context.leash_fd is not None:
            self._epoll.register(context.leash_fd, 0)  # its end is told unasked

    # -- the loop ------------------------------------------------------------------------------------------------

    def run(self) -> TaskState:
        """Go on until the task is over; how it ended."""
        self._settle()
        while self.finished is None:
            next_at_s = self._timers.next_at_s()
            timeout_s = None if next_at_s is None else max(next_at_s - time.monotonic(), 0.0) + 0.0005
            for fd, _ in self._epoll.poll(timeout_s):
                self._ready(fd)
            for key in self._timers.expired(time.monotonic()):
                self._due(key)
            self._settle()
        return self.finished

    def put(self, event: Event) -> None:
        """Add an event; it is answered in the next turn of the loop."""
        self._events.append(event)

    def note(self, kind: str, text: str, process: str | None = None) -> None:
        """Write down something worth telling."""
        self.put(Noted(Note(int(time.time() * 1000), kind, text, process)))

    def _settle(self) -> None:
        """Answer all events, and those that follow from acting on them, until nothing is left to do."""
        while self._events or self._launches or self._actions or self._records:
            self._answer()
            if self._launches:
                self._enter_group()
                if self.journal.held:
                    self._delay_launches("records cannot be written")
                    continue
                self._launch_batch()
                self._answer()  # FORKED and Release, in one write with all that came before
            self._commit()

    def _enter_group(self) -> None:
        """Before the first fork, join the task's control group.

        Its name is written before it is made: if we died between, nobody would know whose it is.
        """
        if self._entered or self.context.header.cgroup is None:
            return
        self._entered = True
        records, self._records = self._records, []
        self._report(self.journal.append(records))  # made durable with the record of the fork
        if not self._launcher.enter_group():
            self.note("host", "cannot join its control group: what leaves its session is found by its environment")

    def _answer(self) -> None:
        while self._events:
            decision = self.machine.handle(self._events.popleft(), time.time())
            self._records += decision.records
            for action in decision.actions:
                if isinstance(action, Launch):
                    self._launches.append(action)
                else:
                    self._actions.append(action)

    def _commit(self) -> None:
        """Make what was decided durable, then do it."""
        records, self._records = self._records, []
        actions, self._actions = self._actions, []
        if records:
            written = self.journal.append(records)
            if written and actions:
                self.journal.sync()
            self._report(written)
            self._tell_trouble()
        if self.journal.held:
            self._timers.set(_JOURNAL, time.monotonic() + RETRY_S)
            self._launcher.release(0)
        else:
            self._launcher.release(sum(isinstance(action, Release) for action in actions))
        for action in actions:
            self._perform(action)

    # -- acting --------------------------------------------------------------------------------------------------

    def _launch_batch(self) -> None:
        taken = [self._launches.popleft() for _ in range(min(BATCH, len(self._launches)))]
        # Where a kill came in between, its run stays WAITING, for good.
        batch = [action for action in taken if self.machine.may_launch(action.process)]
        launched, refused = self._launcher.launch(batch)
        for event in launched:
            self._coordinators[event.coordinator_pid] = event.process
            self.put(event)
        if refused is not None:
            reason = f"cannot start a coordinator: {refused.strerror}"
            self._launches.extendleft(reversed(batch[len(launched) :]))
            if time.monotonic() >= self._tell_refusal_at_s:  # it is tried every second, and may last
                self.note("launch", reason, self._launches[0].process)
                self._tell_refusal_at_s = time.monotonic() + REPEAT_S
            self._delay_launches(reason)

    def _delay_launches(self, reason: str) -> None:
        while self._launches:
            self.put(LaunchDelayed(self._launches.popleft().process, reason, RETRY_S))

    def _perform(self, action: Action) -> None:
        if isinstance(action, Wake):
            self._timers.set(action.key, time.monotonic() + action.in_s)
        elif isinstance(action, Terminate):
            run = self.machine.run_of(action.process)
            if run is not None:
                self._live.terminate(run)
        elif isinstance(action, KillRun):
            run = self.machine.run_of(action.process)
            if run is not None:
                self._kill(action.process, run)
        elif isinstance(action, SweepOrphans):
            self._sweep(signal.SIGKILL if action.kill else signal.SIGTERM)
        elif isinstance(action, Finish):
            self._finish = action
            self._end_if_written()

    def _kill(self, process: str, run: Run) -> None:
        has_coordinator = run.coordinator_pid in self._coordinators
        if not has_coordinator:
            self._leaky = True
            if self.is_of_other_boot(run):
                return  # nothing of it can be running, and its pids are others' now
        self._live.kill(run, self._launcher.cookie_of(process), has_coordinator)
        if not has_coordinator:
            self._sweep(signal.SIGKILL)

    def _orphans(self) -> list[int]:
        """What a dead coordinator left to us, their sub-reaper: our children, whose pids are theirs until we reap."""
        return [pid for pid in proc.children(os.getpid()) if pid not in self._coordinators]

    def _sweep(self, signum: int) -> None:
        """Signal orphans; with SIGKILL, until there are none: a dying one leaves its own children to us."""
        if not self._leaky:
            return
        for _ in range(signals.PASSES):
            orphans = self._orphans()
            for pid in orphans:
                os.kill(pid, signum)
            if not orphans or signum != signal.SIGKILL:
                return
            signals.wait_gone(orphans, signals.DYING_S)
            for pid in orphans:
                os.waitpid(pid, os.WNOHANG)

    def end(self) -> None:
        """Do what is left of a task that is over: its runner died between the last record and the end."""
        self._leaky = True
        self._finish = Finish(self.machine.state.statuses[-1].state)
        self._end_if_written()

    def _end_if_written(self) -> None:
        """Leave, once the task's last record is on disk."""
        if self._finish is None or self.journal.held:
            return
        names = finish.clear_away(self.context, self._live, search=self._leaky)
        if names:
            record = Note(int(time.time() * 1000), "survivors", "could not be killed: " + "; ".join(names))
            self._report(self.journal.append([record]))
            self.journal.sync()
        self.context.home.finish()
        self.journal.close()
        self.finished = self._finish.end

    def _report(self, written: bytes) -> None:
        if self._report_fd is None or not written:
            return
        try:
            sent = os.write(self._report_fd, written)
        except OSError:
            sent = 0
        if sent < len(written):  # the reader is gone or too slow: it can read the stream itself
            self._own_fds.discard(self._report_fd)
            os.close(self._report_fd)
            self._report_fd = None

    def _tell_trouble(self) -> None:
        """Say once that room runs out, while there is still reserve to say it in."""
        trouble = self.journal.trouble
        if trouble is not None and not self._in_trouble:
            self.note("disk", f"{self.journal.path}: {trouble.strerror}; going on with what was reserved")
        self._in_trouble = trouble is not None

    # -- what happened -------------------------------------------------------------------------------------------

    def _ready(self, fd: int) -> None:
        if fd == self._signal_fd:
            self._signals()
        elif fd == self._launcher.announce_fd:
            self._announced()
        elif fd in self._adopted:
            self._epoll.unregister(fd)
            self._own_fds.discard(fd)
            os.close(fd)
            self._ended(self._adopted.pop(fd))
        elif fd == self.context.leash_fd:
            self._epoll.unregister(fd)
            self.put(KillRequested(TaskState.LOST, "the executor died", 0.0))

    def _signals(self) -> None:
        for signum, pid, uid in linux.read_signals(self._signal_fd):
            if signum == signal.SIGCHLD:
                continue
            name = signal.Signals(signum).name
            sender = f"pid {proc.describe(pid)} of uid {uid}" if pid else "the kernel or a terminal"
            reason = f"{name} from {sender}"
            if signum == signal.SIGUSR2:
                self.put(KillRequested(TaskState.LOST, reason, 0.0))
            elif signum == signal.SIGUSR1:
                self.put(KillRequested(TaskState.KILLED, reason, self.context.preemption_wait_s))
            else:
                self._interrupts += 1
                again = self._interrupts > 1
                budget_s = 0.0 if again else self.context.preemption_wait_s
                self.put(KillRequested(TaskState.KILLED, reason, budget_s))
        self._reap()

    def _reap(self) -> None:
        """Hear of children that ended. A coordinator is reaped last: until then its group's number is its own."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            pid = ended.si_pid
            if pid in self._coordinators and not self._ended(pid):
                try:
                    os.killpg(pid, signal.SIGKILL)
                except (ProcessLookupError, PermissionError):
                    pass  # it died before it had a group
            os.waitpid(pid, 0)

    def _ended(self, pid: int) -> bool:
        """A coordinator is dead: take what it wrote, then tell that it is gone; whether it told its end itself."""
        process = self._coordinators.pop(pid)
        self._unwatched.discard(pid)
        told = self._read_inbox(process)
        run = self.machine.run_of(process)
        if run is None or run.coordinator_pid != pid or run.state.is_terminal:
            return True
        self.put(CoordinatorGone(process))  # which says nothing new if what it told was to be believed
        return told

    def _announced(self) -> None:
        try:
            data = os.read(self._launcher.announce_fd, 1 << 16)
        except BlockingIOError:
            return
        pids = {int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)}
        if len(data) == 1 << 16:  # it was full: some may have found no room
            pids.update(run.coordinator_pid or 0 for _, run in self.machine.live_runs())
        for pid in pids:
            if pid in self._coordinators:
                self._read_inbox(self._coordinators[pid])

    def _read_inbox(self, process: str) -> bool:
        """Pass on what is new from *process*; whether its newest run is over by that."""
        over = False
        run = self.machine.run_of(process)
        for record in self._inbox.read(process):
            if isinstance(record, Note):
                self.put(Noted(record))
            else:
                self.put(Reported(record))
                over = record.state.is_terminal and (run is None or record.seq > run.seq)
        return over

    def _due(self, key: str) -> None:
        if key == _JOURNAL:
            written = self.journal.append([])
            if self.journal.held:
                self._timers.set(_JOURNAL, time.monotonic() + RETRY_S)
                return
            self.journal.sync()
            self._report(written)
            self._tell_trouble()
            self._end_if_written()
        elif key == _REREAD:
            self._reread_forked()
        elif key == _ALIVE:
            self._look_for_unwatched()
        else:
            self.put(Due(key))

    def is_of_other_boot(self, run: Run) -> bool:
        """True if *run* was forked before this boot, or in another pid namespace: its pids mean nothing here."""
        me = self.context.identity
        boot = run.boot
        if boot is None or boot.boot_id is None:
            return run.fork_time is not None and run.fork_time < proc.boot_time_s()
        return boot.boot_id != me.boot_id or boot.pid_namespace != me.pid_namespace

    # -- after a recovery ----------------------------------------------------------------------------------------

    def adopt(self, process: str, run: Run) -> None:
        """Take over a run that an earlier runner forked: watch its coordinator, or say that it is gone."""
        pid = run.coordinator_pid
        self._leaky = True
        other_boot = self.is_of_other_boot(run)
        if other_boot or pid is None:
            if not self._read_inbox(process):
                self.put(CoordinatorGone(process, "the host was restarted" if other_boot else None))
            return
        try:
            fd: int | None = os.pidfd_open(pid) if pid > 1 else None
        except ProcessLookupError:
            fd = None
        except OSError:
            self._adopt_without_descriptor(process, run, pid)
            return
        if fd is None or not signals.coordinator_lives(run, self.context.owner_uid):
            if fd is not None:
                os.close(fd)
            self._coordinators[pid] = process
            self._ended(pid)
            return
        self._coordinators[pid] = process
        self._adopted[fd] = pid
        self._own_fds.add(fd)
        self._epoll.register(fd, select.EPOLLIN)
        self._wait_for_running(process, run)

    def kill_left_behind(self) -> None:
        """Once all that live are adopted: kill what an earlier runner had recorded as LOST, and not yet killed.

        By cookie alone: a member of the control group may be a coordinator that has told its end and is leaving.
        """
        self._leaky = True
        if self.context.cookie:
            self._live.kill_strays(f"{self.context.cookie}.".encode(), members=False)

    def _wait_for_running(self, process: str, run: Run) -> None:
        if run.state is ProcessState.FORKED:
            self._read_inbox(process)
            self._reread.add(process)
            self._timers.set(_REREAD, time.monotonic() + self._reread_s)

    def _adopt_without_descriptor(self, process: str, run: Run, pid: int) -> None:
        """No descriptor is left to wait on: look once a second, and say so."""
        if not self._unwatched:
            self.note("limit", "too few file descriptors to watch all coordinators; looking at them every second")
        self._coordinators[pid] = process
        self._unwatched.add(pid)
        self._timers.set(_ALIVE, time.monotonic() + RETRY_S)
        self._wait_for_running(process, run)

    def _look_for_unwatched(self) -> None:
        for pid in list(self._unwatched):
            run = self.machine.run_of(self._coordinators[pid])
            if run is None or not signals.coordinator_lives(run, self.context.owner_uid):
                self._ended(pid)
        if self._unwatched:
            self._timers.set(_ALIVE, time.monotonic() + RETRY_S)

    def _reread_forked(self) -> None:
        for process in list(self._reread):
            run = self.machine.run_of(process)
            if run is None or run.state is not ProcessState.FORKED:
                self._reread.discard(process)
            else:
                self._read_inbox(process)
        if self._reread:
            self._reread_s = min(self._reread_s * 2, REREAD_MOST_S)
            self._timers.set(_REREAD, time.monotonic() + self._reread_s)
