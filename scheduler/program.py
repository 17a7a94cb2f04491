"""The scheduler's one loop: takes what happened, decides, makes it durable, then acts and answers.

One thread owns the engine and the store. Mesos, ZooKeeper and clients are other threads', which only put things into
the queue; everything that waits there is decided about together, with one commit for all of it.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, Protocol, TypeVar

from scheduler.api.backend import View
from scheduler.core.changes import Change
from scheduler.core.commands import Answer, Command
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
from scheduler.core.registration import Registration
from scheduler.core.state import State
from scheduler.memory import INTERVAL_S, settle_memory
from scheduler.requests import ANSWER_S, Asked, Looking, Replacing, Request, answer_of, turn_away
from scheduler.store.interface import Fenced, Misused, NoSpace, Store, StoreError
from scheduler.turn import Ended, Item, Turn, carry_out
from thermos.errors import ExitCode

T = TypeVar("T")
log = logging.getLogger(__name__)

#: So many events share one commit (Aurora: max_status_update_batch_size).
MAX_BATCH: Final = 1000
#: How often a full disk is tried again.
RETRY_DISK_S: Final = 5.0
#: While it is not sure that we lead, it is asked so often.
ASK_LEASE_S: Final = 0.5
#: Where clients waited when the loop ended, the server goes on for so long: they are to get their answers.
LAST_ANSWERS_S: Final = 1.0


class Mesos(Protocol):
    """The connection to the master."""

    def start(self) -> None: ...

    def call(self, call: Call) -> None: ...

    def metrics(self) -> Mapping[str, float]: ...

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
        leads: Callable[[], bool] = lambda: True,
        moved: Callable[[Sequence[Transition]], None] = lambda transitions: None,
        ask: Callable[[AskCoordinator], None] = lambda question: None,
        wall: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
        max_registration_delay_s: float | None = None,
    ) -> None:
        self.engine = engine
        self._store = store
        self._connect = connect
        self._accept = accept
        #: Whether it is sure, now, that we lead: a process that was stopped for a while hears of its loss only later.
        self._leads = leads
        self._is_unsure = False
        self._is_replaced = False
        self._is_over = False
        #: Clients were told in the last moment how it ended.
        self._has_last_answers = False
        self._settled_at_s = 0.0
        self._moved = moved
        self._ask = ask
        #: Who got no answer for so long is told so.
        self.answer_s = ANSWER_S
        self._wall = wall
        self._mono = mono
        self._queue: queue.SimpleQueue[Item] = queue.SimpleQueue()
        self._mesos: Mesos | None = None
        self._retry_disk_at_s: float | None = None
        self._leading_since_ms = int(wall() * 1000)
        self._registration = Registration(max_registration_delay_s, mono())
        self.commits = 0
        self.commit_s = 0.0
        #: More figures, of whoever has them: name → number.
        self.more_metrics: list[Callable[[], Mapping[str, float]]] = []

    # -- from other threads --------------------------------------------------------------------------------------------

    def tell(self, item: Item) -> None:
        """Put something into the queue."""
        self._queue.put(item)

    def look(self, at: Callable[[View], T]) -> T:
        """What *at* makes of the state, on the thread that owns it. Raises NotBegun, OutcomeUnknown."""
        result: Future[T] = Future()
        return self._answer_of(Looking(at, result), result)

    def command(self, command: Command) -> Answer:
        """Do it; durable when this returns. Raises NotBegun, OutcomeUnknown, StoreError: it was not done."""
        result: Future[Answer] = Future()
        return self._answer_of(Asked(command, result), result)

    def replace(self, changes: Callable[[State], Sequence[Change]]) -> None:
        """Commit the changes that *changes* makes of the state, and end: the next leader loads what is kept then.
        Raises StoreError: nothing is changed; NotBegun, OutcomeUnknown."""
        result: Future[None] = Future()
        self._answer_of(Replacing(changes, result), result)

    def _answer_of(self, request: Request, result: Future[T]) -> T:
        self._queue.put(request)
        if self._is_over:  # nobody takes anything any more
            self._turn_away()
        return answer_of(result, self.answer_s)

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
                if self._registration.is_overdue(self.engine.is_registered, self._mono()):
                    return Ended(ExitCode.TIMED_OUT, f"{self._registration.reason}: another one may lead")
                if self._is_replaced:
                    return Ended(ExitCode.OK, "a backup was put in the place of the store; whoever leads next loads it")
        except Fenced as error:
            return Ended(error.exit_code, str(error))
        except StoreError as error:
            return Ended(error.exit_code, f"{error}: what was not yet written will be told by Mesos again")
        finally:
            self._mesos.close()
            self._has_last_answers |= self._turn_away()
            if self._has_last_answers:
                self._turn_away(LAST_ANSWERS_S)
            self._is_over = True
            self._turn_away()

    def _turn_away(self, for_s: float = 0.0) -> bool:
        """Whoever still waits for something is told that nothing comes of it any more; within *for_s*, all who come.
        Whether there was anybody."""
        until_s = self._mono() + for_s
        was_anybody = False
        try:
            while True:
                item = self._queue.get(timeout=max(0.0, until_s - self._mono()))
                if isinstance(item, Request):
                    turn_away(item)
                    was_anybody = True
        except queue.Empty:
            return was_anybody

    def _take(self) -> list[Item]:
        """What waits; nothing if nothing came before it was time for something. Who wants to replace everything comes
        last."""
        times = (self.engine.wake_at_s, self._retry_disk_at_s, self._registration.due_s)
        soon = [at_s for at_s in times if at_s is not None]
        if self._is_unsure:
            soon.append(self._mono() + ASK_LEASE_S)
        wake_at_s = min(soon, default=None)
        items: list[Item] = []
        if self._queue.empty() and self._mono() - self._settled_at_s > INTERVAL_S:
            settle_memory()
            self._settled_at_s = self._mono()
        try:
            items.append(self._queue.get(timeout=None if wake_at_s is None else max(0.0, wake_at_s - self._mono())))
            while len(items) < MAX_BATCH and not isinstance(items[-1], Replacing):
                items.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return items

    def _doubts(self) -> Iterator[Event]:
        """Whether it is not sure any more, or again, that we lead: before anything else is decided."""
        if self._is_unsure is self._leads():
            self._is_unsure = not self._is_unsure
            yield Suspended() if self._is_unsure else Resumed()

    def _due(self) -> Iterator[Event]:
        """What it is time for."""
        wake_at_s = self.engine.wake_at_s
        if wake_at_s is not None and wake_at_s <= self._mono():
            yield Woke()
        if self._retry_disk_at_s is not None and self._retry_disk_at_s <= self._mono():
            self._retry_disk_at_s = None
            yield DiskHasRoom()

    def _now(self) -> Now:
        return Now(int(self._wall() * 1000), self._mono())

    def _turn(self, items: list[Item]) -> Ended | None:
        """Decide about *items*, make that durable, act, answer. Who only looks sees what is durable."""
        turn = Turn([*self._doubts(), *items, *self._due()])
        try:
            for item in turn.items:
                _note(item)
            turn.decide(self.engine, self._now)
            self._carry_out(turn)
            turn.answer(self.view)
            if turn.replacing is not None:
                self._replace(turn.replacing)
        except BaseException as error:
            self._has_last_answers = turn.give_up(error)
            raise
        return turn.ended

    def _carry_out(self, turn: Turn) -> None:
        try:
            carry_out(self.engine, turn.decisions, self._commit, self._act)
        except NoSpace as error:
            log.error("%s", error)
            turn.refuse(str(error))
            self._retry_disk_at_s = self._mono() + RETRY_DISK_S
            self.engine.handle(DiskFull(), self._now())
            carry_out(self.engine, [self.engine.undo(self._now())], self._commit, self._act)
        for words in self.engine.take_notes():
            log.warning("%s", words)
        if turn.transitions:
            self._moved(turn.transitions)

    def _commit(self, changes: Sequence[Change]) -> None:
        began_s = self._mono()
        try:
            self._store.commit(changes)
        finally:
            self.commits += 1
            self.commit_s += self._mono() - began_s

    def _replace(self, replacing: Replacing) -> None:
        try:
            self._store.commit(replacing.changes(self.engine.state))
        except (Misused, NoSpace) as error:  # nothing was written, and we go on
            replacing.result.set_exception(error)
        else:
            self._is_replaced = self._has_last_answers = True
            replacing.result.set_result(None)

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
        if self._mesos is not None:
            found.update(self._mesos.metrics())
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


def _note(item: Item) -> None:
    """Write what an operator would want to find in the log."""
    if isinstance(item, Suspended):
        log.warning("ZooKeeper cannot be reached: nothing is launched until it is back")
    elif isinstance(item, Disconnected):
        log.warning("Mesos is not heard any more: %s", item.reason)
    elif isinstance(item, MasterError):
        log.error("Mesos refuses this framework, and will not be asked again: %s", item.message)
    elif isinstance(item, Failure):
        # Of executors each one that ends, well or not: their tasks say more.
        level = logging.DEBUG if item.executor_id is not None else logging.WARNING
        log.log(level, "gone: agent %s, executor %s, status %s", item.agent_id, item.executor_id, item.status)
