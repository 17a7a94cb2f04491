"""The scheduler's one loop: takes what happened, decides, makes it durable, then acts and answers.

One thread owns the engine and the store. Mesos, ZooKeeper and clients are other threads', which only put things into
the queue; everything that waits there is decided about together, with one commit for all of it.
"""

from __future__ import annotations

import gc
import logging
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from scheduler.api.backend import Leader, View
from scheduler.core.changes import Change
from scheduler.core.commands import Answer, Command, refused
from scheduler.core.decision import Transition
from scheduler.core.engine import Engine
from scheduler.core.events import (
    Action,
    AskCoordinator,
    Call,
    Disconnected,
    DiskFull,
    DiskHasRoom,
    Elected,
    Event,
    Failure,
    Launch,
    MasterError,
    Now,
    Resumed,
    Suspended,
    Woke,
)
from scheduler.core.state import State
from scheduler.store.interface import Fenced, NoSpace, Store, StoreError
from thermos.errors import ExitCode
from thermos.formats.aurora_api import ResponseCode

T = TypeVar("T")
log = logging.getLogger(__name__)

#: So many events share one commit (Aurora: max_status_update_batch_size).
MAX_BATCH: Final = 1000
#: How often a full disk is tried again.
RETRY_DISK_S: Final = 5.0
#: While it is not sure that we lead, it is asked so often.
ASK_LEASE_S: Final = 0.5
#: With hundreds of thousands of tasks, a collection of all objects would stop everything for a good part of a second:
#: young ones are collected as ever, old ones only when nobody waits.
GC_THRESHOLDS: Final = (50_000, 20, 1_000_000)
GC_INTERVAL_S: Final = 600.0
#: After a backup was put back, the server still answers for so long.
REPLACED_S: Final = 1.0
#: A client that got no answer for so long is told so.
ANSWER_S: Final = 60.0


def settle_memory() -> None:
    """Collect what is garbage now, and look at nothing of what is left again: tasks go by their last reference."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


class Looking(NamedTuple):
    """Somebody wants to see something."""

    at: Callable[[View], Any]
    result: Future[Any]


class Asked(NamedTuple):
    """Somebody wants something done."""

    command: Command
    result: Future[Answer]


class Doing(NamedTuple):
    """Something for the thread that owns the store: a backup, say."""

    what: Callable[[], Any]
    result: Future[Any]


class Replacing(NamedTuple):
    """Everything that is kept is to become something else, by these changes; after that nothing here is true."""

    changes: Callable[[State], Sequence[Change]]
    result: Future[None]


class Ended(NamedTuple):
    """The program is to end, and why; *code* is its exit code."""

    code: int
    reason: str


Item = Event | Looking | Asked | Doing | Replacing | Ended


class Mesos(Protocol):
    """The connection to the master."""

    def start(self) -> None: ...

    def call(self, call: Call) -> None: ...

    def close(self) -> None: ...


class Program:
    """A scheduler that leads.

    *accept* makes the call that launches tasks, with a status for each that cannot be; *connect* makes the connection
    to Mesos, from the framework's id (None: we have none yet) and where its events go. *moved* is told of every task
    that came into another state, once that is durable; *ask* asks an SLA coordinator, and puts what comes of that into
    the queue. Both run within the loop, and are to return at once.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        connect: Callable[[str | None, Callable[[Event], None]], Mesos],
        accept: Callable[[Launch], tuple[Call, Sequence[Event]]],
        *,
        leader: Callable[[], Leader],
        leads: Callable[[], bool] | None = None,
        backup: Callable[[], str],
        backups: Callable[[], tuple[str, ...]],
        moved: Callable[[Sequence[Transition]], None] = lambda transitions: None,
        ask: Callable[[AskCoordinator], None] = lambda question: None,
        wall: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine = engine
        self._store = store
        self._connect = connect
        self._accept = accept
        self._leader = leader
        #: Whether it is sure, now, that we lead: a process that was stopped for a while hears of its loss only later.
        self._leads = leads or (lambda: True)
        self._is_unsure = False
        self._is_replaced = False
        self._settled_at_s = 0.0
        self._backup = backup
        self._backups = backups
        self._moved = moved
        self._ask = ask
        self._wall = wall
        self._mono = mono
        self._queue: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._mesos: Mesos | None = None
        self._retry_disk_at_s: float | None = None
        self._leading_since_ms = int(wall() * 1000)
        self.commits = 0
        self.commit_s = 0.0
        #: More figures, of whoever has them: name → number.
        self.more_metrics: list[Callable[[], Mapping[str, float]]] = []

    # -- from other threads --------------------------------------------------------------------------------------------

    def tell(self, item: Item) -> None:
        """Put something into the queue."""
        self._queue.put(item)

    def look(self, at: Callable[[View], T]) -> T:
        """What *at* makes of the state, on the thread that owns it."""
        result: Future[T] = Future()
        self._queue.put(Looking(at, result))
        return result.result(ANSWER_S)

    def command(self, command: Command) -> Answer:
        """Do it; durable when this returns."""
        result: Future[Answer] = Future()
        self._queue.put(Asked(command, result))
        return result.result(ANSWER_S)

    def leader(self) -> Leader:
        return self._leader()

    def backup(self) -> str:
        return self._backup()

    def backups(self) -> tuple[str, ...]:
        return self._backups()

    def snapshot(self) -> None:
        self._do(self._store.compact)

    def replace(self, changes: Callable[[State], Sequence[Change]]) -> None:
        """Commit the changes that *changes* makes of the state, and end: the next leader loads what is kept then.
        Raises StoreError: nothing is changed."""
        result: Future[None] = Future()
        self._queue.put(Replacing(changes, result))
        result.result(ANSWER_S)

    def _do(self, what: Callable[[], T]) -> T:
        result: Future[T] = Future()
        self._queue.put(Doing(what, result))
        return result.result(ANSWER_S)

    # -- the loop ------------------------------------------------------------------------------------------------------

    def run(self) -> Ended:
        """Lead, until something ends that; says what."""
        self._mesos = self._connect(self.engine.state.framework_id, self.tell)
        settle_memory()
        self._settled_at_s = self._mono()
        try:
            self._turn([Elected()])
            self._mesos.start()
            while True:
                ended = self._turn(self._take())
                if ended is not None:
                    return ended
                if self._is_replaced:
                    return self._replaced()
        except Fenced as error:
            return Ended(error.exit_code, str(error))
        except StoreError as error:
            return Ended(error.exit_code, f"{error}: what was not yet written will be told by Mesos again")
        finally:
            self._mesos.close()
            self._turn_away()

    def _replaced(self) -> Ended:
        """Nothing here is true any more: let whoever asked for it have the answer, and end."""
        assert self._mesos is not None
        self._mesos.close()
        self._turn_away(REPLACED_S)
        return Ended(ExitCode.OK, "a backup was put in the place of the store; whoever leads next loads it")

    def _turn_away(self, for_s: float = 0.0) -> None:
        """Whoever still waits for something is told that nothing comes of it any more; within *for_s*, all who come."""
        until_s = self._mono() + for_s
        try:
            while True:
                item = self._queue.get(timeout=max(0.0, until_s - self._mono()))
                if isinstance(item, (Looking, Asked, Doing, Replacing)):
                    item.result.set_exception(StoreError("this scheduler has just ended: ask the one that leads now"))
        except queue.Empty:
            pass

    def _take(self) -> list[Item]:
        """What waits, at least one thing; Woke if nothing came before it was time."""
        wake_at_s = self.engine.wake_at_s
        soon = [at_s for at_s in (wake_at_s, self._retry_disk_at_s) if at_s is not None]
        if self._is_unsure:
            soon.append(self._mono() + ASK_LEASE_S)
        wake_at_s = min(soon, default=None)
        items: list[Item] = []
        if self._queue.empty() and self._mono() - self._settled_at_s > GC_INTERVAL_S:
            settle_memory()
            self._settled_at_s = self._mono()
        try:
            items.append(self._queue.get(timeout=None if wake_at_s is None else max(0.0, wake_at_s - self._mono())))
            while len(items) < MAX_BATCH:
                items.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        wake_at_s = self.engine.wake_at_s
        if wake_at_s is not None and wake_at_s <= self._mono():
            items.append(Woke())
        return items

    def _now(self) -> Now:
        return Now(int(self._wall() * 1000), self._mono())

    def _turn(self, items: list[Item]) -> Ended | None:
        """Decide about *items*, make that durable, act. Who only looks sees what is durable."""
        changes: list[Any] = []
        actions: list[Action] = []
        transitions: list[Transition] = []
        answers: list[tuple[Future[Answer], Answer]] = []
        lookers: list[Looking] = []
        doers: list[Doing] = []
        replacings: list[Replacing] = []
        ended: Ended | None = None
        if self._retry_disk_at_s is not None and self._retry_disk_at_s <= self._mono():
            items.append(DiskHasRoom())
            self._retry_disk_at_s = None
        if self._is_unsure is self._leads():
            self._is_unsure = not self._is_unsure
            items.insert(0, Suspended() if self._is_unsure else Resumed())
        for item in items:
            if isinstance(item, Looking):
                lookers.append(item)
            elif isinstance(item, Asked):
                answer, decision = self.engine.command(item.command, self._now())
                answers.append((item.result, answer))
                changes += decision.changes
                actions += decision.actions
                transitions += decision.transitions
            elif isinstance(item, Doing):
                doers.append(item)
            elif isinstance(item, Replacing):
                replacings.append(item)
            elif isinstance(item, Ended):
                ended = ended or item
            else:
                self._note(item)
                decision = self.engine.handle(item, self._now())
                changes += decision.changes
                actions += decision.actions
                transitions += decision.transitions
        if changes:
            began_s = self._mono()
            try:
                self._store.commit(changes)
            except NoSpace as error:
                self._no_space(error, answers)
                actions, answers, transitions = list(self.engine.undo(self._now()).actions), [], []
            self.commits += 1
            self.commit_s += self._mono() - began_s
        self.engine.committed()
        for words in self.engine.take_notes():
            log.warning("%s", words)
        for action in actions:
            self._act(action)
        for future, answer in answers:
            future.set_result(answer)
        if transitions:
            self._moved(transitions)
        for doer in doers:
            self._answer(doer.result, doer.what)
        for looker in lookers:
            view = self.view()
            self._answer(looker.result, lambda looker=looker, view=view: looker.at(view))  # type: ignore[misc]
        for replacing in replacings:
            self._replace(replacing)
        return ended

    def _replace(self, replacing: Replacing) -> None:
        """Only once, and after all else that came with it: the state is not what is kept any more."""
        if self._is_replaced:
            replacing.result.set_exception(StoreError("this scheduler has just ended: ask the one that leads now"))
            return
        try:
            changes = replacing.changes(self.engine.state)
        except StoreError as error:
            replacing.result.set_exception(error)
            return
        try:
            self._store.commit(changes)
        except StoreError as error:
            replacing.result.set_exception(error)
            if not isinstance(error, NoSpace):
                raise
        else:
            self._is_replaced = True
            replacing.result.set_result(None)

    def _no_space(self, error: NoSpace, answers: list[tuple[Future[Answer], Answer]]) -> None:
        log.error("%s", error)
        self.engine.handle(DiskFull(), self._now())
        self._retry_disk_at_s = self._mono() + RETRY_DISK_S
        for future, _ in answers:
            future.set_result(refused(str(error), code=ResponseCode.ERROR_TRANSIENT))

    def _act(self, action: Action) -> None:
        assert self._mesos is not None
        if isinstance(action, AskCoordinator):
            self._ask(action)
            return
        if not isinstance(action, Launch):
            self._mesos.call(action)
            return
        call, failures = self._accept(action)
        self._mesos.call(call)
        for failure in failures:  # tasks that cannot be described to Mesos: as if it had said so
            self.tell(failure)

    @staticmethod
    def _answer(future: Future[Any], what: Callable[[], Any]) -> None:
        try:
            result = what()
        except Exception as error:  # noqa: BLE001  # whoever asked gets it, and goes on from there
            future.set_exception(error)
        else:
            future.set_result(result)

    def _note(self, event: Event) -> None:
        """Write what an operator would want to find in the log."""
        if isinstance(event, Suspended):
            log.warning("ZooKeeper cannot be reached: nothing is launched until it is back")
        elif isinstance(event, Disconnected):
            log.warning("Mesos is not heard any more: %s", event.reason)
        elif isinstance(event, MasterError):
            log.error("Mesos refuses this framework, and will not be asked again: %s", event.message)
        elif isinstance(event, Failure):
            # Of executors each one that ends, well or not: their tasks say more.
            level = logging.DEBUG if event.executor_id is not None else logging.WARNING
            log.log(level, "gone: agent %s, executor %s, status %s", event.agent_id, event.executor_id, event.status)

    # -- looking -------------------------------------------------------------------------------------------------------

    def view(self) -> View:
        """All there is to see, now; for the thread of the loop."""
        return View(
            state=self.engine.state,
            offers=self.engine.offers,
            settings=self.engine.settings,
            pending_reasons=_Lazily(self.engine.pending_reasons),
            metrics=_Lazily(self._metrics),
            wall_ms=int(self._wall() * 1000),
            groups=self.engine.groups.groups,
            holds=self.engine.held,
            leading_since_ms=self._leading_since_ms,
        )

    def _metrics(self) -> Mapping[str, float]:
        found = dict(self.engine.metrics())
        found["scheduler_log_native_append_events"] = self.commits
        found["scheduler_log_native_append_nanos_total"] = int(self.commit_s * 1e9)
        for more in self.more_metrics:
            found.update(more())
        return found


class _Lazily(Mapping[str, Any]):
    """A mapping that is only made when somebody looks into it."""

    def __init__(self, make: Callable[[], Mapping[str, Any]]) -> None:
        self._make = make
        self._made: Mapping[str, Any] | None = None

    def _get(self) -> Mapping[str, Any]:
        if self._made is None:
            self._made = self._make()
        return self._made

    def __getitem__(self, key: str) -> Any:
        return self._get()[key]

    def __iter__(self) -> Any:
        return iter(self._get())

    def __len__(self) -> int:
        return len(self._get())
