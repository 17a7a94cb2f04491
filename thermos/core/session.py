"""What an executor and its agent owe each other: events in, actions out. Pure: no clock, socket or random source.

The shell has two connections to the agent: the *stream*, which a SUBSCRIBE opens and events come in by, and one for
*calls*, of which one is under way at a time. It reports what happens to them, and does what comes out, in order.

What is promised:

- A task is *unacknowledged* until one of its updates is acknowledged, an update until it is itself. Both are sent
  again with every SUBSCRIBE, in order, under the same uuid: the agent counts an update once.
- An update is sent after all those before it, and none follows a terminal one of its task.
- Each task is launched once, killed once and, if a later kill gives it less time, hurried; the shutdown comes once.
- Back within half of ``backoff_max_s``: a restarted agent waits so long (2 s by default) for its executors.
- An agent that is gone for longer than ``recovery_timeout_s``, or at all when the framework does not checkpoint, means
  shutdown. Source: mesos/docs/executor-http-api.md, "Disconnections", and mesos/src/executor/executor.cpp.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import Final, assert_never

from thermos.core.session_events import (
    Action,
    Answered,
    CallLost,
    CallRefused,
    Close,
    Deliver,
    Disconnect,
    Disconnected,
    Event,
    Failed,
    HurryKill,
    KillTask,
    LaunchTask,
    MessageWanted,
    OpenStream,
    Registered,
    Reregistered,
    Send,
    Settings,
    ShutDown,
    Started,
    StopWanted,
    StreamLost,
    SubscribeRefused,
    Told,
    UpdateAcknowledged,
    UpdateWanted,
    Woke,
)
from thermos.mesos import (
    Acknowledged,
    AgentEvent,
    Error,
    Heartbeat,
    Kill,
    Launch,
    LaunchGroup,
    Message,
    SendMessage,
    Shutdown,
    Subscribe,
    Subscribed,
    TaskInfo,
    TaskStatus,
    Unknown,
    Update,
)

#: Messages have no guarantee; this many wait for a connection, later ones are dropped.
MAX_MESSAGES: Final = 100
#: What an agent answers while it recovers, or before its routes exist: nothing is wrong.
RECOVERING: Final = frozenset({404, 503})
#: Answers to a call that the same call will get again: it is not the agent's state but the call.
_REFUSED_FOR_GOOD: Final = frozenset({400, 405, 406, 413, 415, 422})


class Phase(Enum):
    """Where a session stands."""

    IDLE = "not started"
    WAITING = "disconnected"
    SUBSCRIBING = "subscribing"
    SUBSCRIBED = "subscribed"
    CLOSED = "closed"


class _Launched:
    """A task that this executor was given."""

    __slots__ = ("info", "is_acknowledged", "is_killed", "kill_grace_s")

    def __init__(self, info: TaskInfo) -> None:
        self.info = info
        self.is_acknowledged = False  # one of its updates is
        self.is_killed = False
        self.kill_grace_s: float | None = None


class Session:
    """One executor's side. The owner feeds it every event, does what comes out, and wakes it at ``wake_at_s``.

    *chance* in ``decide`` is a number in [0, 1), a new one each time.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.phase = Phase.IDLE
        self.is_shutting_down = False
        self._actions: list[Action] = []
        self._now_s = 0.0
        self._chance = 0.0

        self._tasks: dict[str, _Launched] = {}
        self._unacknowledged: dict[bytes, TaskStatus] = {}  # by uuid, in order
        self._seen: set[bytes] = set()  # every uuid that was asked for
        self._over: set[str] = set()  # tasks whose terminal update was asked for
        self._outbox: deque[Update | SendMessage] = deque()
        self._under_way: Update | SendMessage | None = None
        self._calls_lost = 0  # in a row

        self._was_subscribed = False
        self._told_reason: str | None = None  # why the last attempts did not work
        self._retry_at_s: float | None = None
        self._give_up_at_s: float | None = None
        self._answer_by_s: float | None = None
        self._heard_by_s: float | None = None
        self._linger_s: float | None = None  # stop is wanted
        self._stop_at_s: float | None = None

    # -- questions -----------------------------------------------------------------------------------------------------

    @property
    def wake_at_s(self) -> float | None:
        """When ``Woke`` is wanted next; None: never, as things stand."""
        times = (self._retry_at_s, self._give_up_at_s, self._answer_by_s, self._heard_by_s, self._stop_at_s)
        return min((at_s for at_s in times if at_s is not None), default=None)

    @property
    def unacknowledged_updates(self) -> tuple[TaskStatus, ...]:
        """Updates the agent has not acknowledged, in the order in which they were asked for."""
        return tuple(self._unacknowledged.values())

    @property
    def unacknowledged_tasks(self) -> tuple[TaskInfo, ...]:
        """Tasks of which the agent has acknowledged no update."""
        return tuple(task.info for task in self._tasks.values() if not task.is_acknowledged)

    # -- the door ------------------------------------------------------------------------------------------------------

    def decide(self, event: Event, now_s: float, chance: float) -> list[Action]:
        """What to do about *event*, in order. *now_s* counts monotonic seconds."""
        self._actions, self._now_s, self._chance = [], now_s, chance
        if self.phase is Phase.CLOSED:
            return []
        match event:
            case Started():
                if self.phase is Phase.IDLE:
                    self._give_up_at_s = now_s + (
                        self.settings.recovery_timeout_s if self.settings.checkpoint else self.settings.first_contact_s
                    )
                    self._subscribe()
            case StreamLost():
                self._lost(event.reason)
            case SubscribeRefused():
                self._subscribe_refused(event)
            case Answered():
                self._under_way = None
                self._calls_lost = 0
                self._answer_by_s = None
            case CallRefused():
                self._call_refused(event)
            case CallLost():
                self._call_lost(event.reason)
            case UpdateWanted():
                self._update(event.status)
            case MessageWanted():
                self._message(event.data)
            case StopWanted():
                if self._linger_s is None:
                    self._linger_s = event.linger_s
                    self._start_lingering()
            case Woke():
                self._woke()
            case (
                Subscribed()
                | Launch()
                | LaunchGroup()
                | Kill()
                | Acknowledged()
                | Message()
                | Shutdown()
                | Error()
                | Heartbeat()
                | Unknown()
            ):
                self._received(event)
            case _:
                assert_never(event)
        self._advance()
        return self._actions

    # -- the connection ------------------------------------------------------------------------------------------------

    def _subscribe(self) -> None:
        self.phase = Phase.SUBSCRIBING
        self._retry_at_s = None
        self._answer_by_s = self._now_s + self.settings.answer_s
        # All that is unacknowledged goes with SUBSCRIBE, so no UPDATE of it need be made any more.
        self._outbox = deque(call for call in self._outbox if isinstance(call, SendMessage))
        self._act(OpenStream(Subscribe(self.unacknowledged_tasks, self.unacknowledged_updates)))

    def _lost(self, reason: str) -> None:
        """The stream is gone, or must go: try again later, or end."""
        if self.phase not in (Phase.SUBSCRIBING, Phase.SUBSCRIBED):
            return
        was_subscribed = self.phase is Phase.SUBSCRIBED
        self._act(Disconnect())
        self.phase = Phase.WAITING
        self._under_way = None
        self._calls_lost = 0
        self._answer_by_s = self._heard_by_s = None
        if was_subscribed:
            self._stop_at_s = None
            self._act(Disconnected(reason))
            if not self.settings.checkpoint:
                self._end_of_agent(f"the agent is gone ({reason}), and the framework does not checkpoint")
                return
            self._give_up_at_s = self._now_s + self.settings.recovery_timeout_s
        elif reason != self._told_reason:
            self._told_reason = reason
            self._act(Told(f"cannot subscribe: {reason}; trying again until it works"))
        # Twice within the time that a restarted agent waits, and not all executors of a host at once.
        self._retry_at_s = self._now_s + self.settings.backoff_max_s * (0.1 + 0.4 * self._chance)

    def _end_of_agent(self, reason: str) -> None:
        """The agent did not come back in time. Should it yet do so while the tasks are ended, it gets the updates."""
        self._give_up_at_s = None
        if not self.settings.checkpoint:
            self._retry_at_s = None
        if self._linger_s is not None:
            self._close(reason)
        else:
            self._shut_down(reason)

    def _subscribe_refused(self, event: SubscribeRefused) -> None:
        if self.phase is not Phase.SUBSCRIBING:
            return
        told = f"the agent answers {event.status} to SUBSCRIBE: {event.reason}"
        if event.status not in RECOVERING and told != self._told_reason:
            self._act(Failed(told))
        self._lost(told)

    def _call_refused(self, event: CallRefused) -> None:
        call, self._under_way = self._under_way, None
        self._answer_by_s = None
        if call is None:
            return
        told = f"the agent answers {event.status} to {_name(call)}: {event.reason}"
        if event.status in _REFUSED_FOR_GOOD:
            # It would be refused for ever, and SUBSCRIBE with it.
            if isinstance(call, Update):
                self._unacknowledged.pop(call.status.uuid, None)
            self._act(Failed(f"{told}; it is dropped"))
            return
        if event.status not in RECOVERING:
            self._act(Failed(told))
        if isinstance(call, SendMessage):
            self._outbox.appendleft(call)
        self._lost(told)

    def _call_lost(self, reason: str) -> None:
        call, self._under_way = self._under_way, None
        self._answer_by_s = None
        if call is None:
            return
        self._outbox.appendleft(call)
        self._calls_lost += 1
        if self._calls_lost > 1:  # once is an idle connection that the agent had closed
            self._lost(f"{_name(call)} does not get through: {reason}")

    def _woke(self) -> None:
        now_s = self._now_s
        if self._stop_at_s is not None and now_s >= self._stop_at_s:
            self._close("updates were not acknowledged in time")
        elif self._give_up_at_s is not None and now_s >= self._give_up_at_s:
            what = "come back" if self._was_subscribed else "answer"
            limit_s = self.settings.recovery_timeout_s if self.settings.checkpoint else self.settings.first_contact_s
            self._end_of_agent(f"the agent did not {what} within {limit_s:g} s")
        elif self._answer_by_s is not None and now_s >= self._answer_by_s:
            what = "SUBSCRIBE" if self._under_way is None else _name(self._under_way)
            self._lost(f"the agent did not answer {what} within {self.settings.answer_s:g} s")
        elif self._heard_by_s is not None and now_s >= self._heard_by_s:
            self._lost(f"nothing was heard from the agent for {self.settings.heartbeat_s:g} s")
        elif self._retry_at_s is not None and now_s >= self._retry_at_s:
            self._subscribe()

    # -- what the agent says -------------------------------------------------------------------------------------------

    def _received(self, event: AgentEvent) -> None:
        if isinstance(event, Subscribed):
            self._subscribed(event)
            return
        # SHUTDOWN is all that an agent sends which has no use for this executor any more.
        if self.phase is not Phase.SUBSCRIBED and not isinstance(event, Shutdown | Error | Heartbeat | Unknown):
            self._lost(f"the agent sent {type(event).__name__} before SUBSCRIBED")
            return
        if self._heard_by_s is not None:
            self._heard_by_s = self._now_s + self.settings.heartbeat_s
        match event:
            case Launch():
                self._launch((event.task,))
            case LaunchGroup():
                self._launch(event.tasks)
            case Kill():
                self._kill(event)
            case Acknowledged():
                self._acknowledged(event)
            case Message():
                if not self.is_shutting_down:
                    self._act(Deliver(event.data))
            case Shutdown():
                self._shut_down("the agent asked for it")
            case Error():
                self._act(Failed(f"the agent reports an error: {event.message}"))
                if self.settings.checkpoint:  # else it would end the task, for what may be nothing
                    self._lost("the agent reported an error")
            case Heartbeat():  # from now on, silence means something: agents before 1.10 send none
                self._heard_by_s = self._now_s + self.settings.heartbeat_s
            case Unknown():
                self._act(Told(f"an event of the unknown type {event.type!r} is ignored"))
            case _:
                assert_never(event)

    def _subscribed(self, event: Subscribed) -> None:
        if self.phase is not Phase.SUBSCRIBING:
            self._lost("the agent sent SUBSCRIBED again")
            return
        self.phase = Phase.SUBSCRIBED
        self._told_reason = None
        self._answer_by_s = self._give_up_at_s = None
        again, self._was_subscribed = self._was_subscribed, True
        self._act(Reregistered(event) if again else Registered(event))
        self._start_lingering()

    def _launch(self, tasks: Iterable[TaskInfo]) -> None:
        for task in tasks:
            if task.task_id in self._tasks:
                self._act(Told(f"task {task.task_id} was launched before; ignored"))
            elif self.is_shutting_down or self._linger_s is not None:
                # It stays unknown here, and the agent reports it when this executor ends.
                self._act(Told(f"task {task.task_id} comes after the end; ignored"))
            else:
                self._tasks[task.task_id] = _Launched(task)
                self._act(LaunchTask(task))

    def _kill(self, event: Kill) -> None:
        task = self._tasks.get(event.task_id)
        is_over = event.task_id in self._over
        if task is None or is_over or self.is_shutting_down:
            why = "unknown here" if task is None else "over" if is_over else "being shut down"
            self._act(Told(f"kill of task {event.task_id} is ignored: it is {why}"))
        elif not task.is_killed:
            task.is_killed = True
            task.kill_grace_s = event.grace_s if event.grace_s is not None else task.info.kill_grace_s
            self._act(KillTask(event.task_id, task.kill_grace_s))
        elif event.grace_s is not None and (task.kill_grace_s is None or event.grace_s < task.kill_grace_s):
            task.kill_grace_s = event.grace_s
            self._act(HurryKill(event.task_id, event.grace_s))

    def _acknowledged(self, event: Acknowledged) -> None:
        status = self._unacknowledged.pop(event.uuid, None)
        if status is None:
            return  # acknowledged before: the update was sent twice
        if (task := self._tasks.get(status.task_id)) is not None:
            task.is_acknowledged = True
        self._act(UpdateAcknowledged(status))
        # One that is acknowledged before it was sent again need not be.
        self._outbox = deque(call for call in self._outbox if not _is_update(call, event.uuid))

    # -- what the executor wants ---------------------------------------------------------------------------------------

    def _shut_down(self, reason: str) -> None:
        if not self.is_shutting_down and self._linger_s is None:
            self._act(ShutDown(reason))
        self.is_shutting_down = True

    def _update(self, status: TaskStatus) -> None:
        if status.uuid in self._seen:
            return
        if status.task_id in self._over:
            self._act(Told(f"{status.state.value} of task {status.task_id} comes after its terminal update; dropped"))
            return
        self._seen.add(status.uuid)
        if status.state.is_terminal:
            self._over.add(status.task_id)
        self._unacknowledged[status.uuid] = status
        self._outbox.append(Update(status))

    def _message(self, data: bytes) -> None:
        waiting = sum(isinstance(call, SendMessage) for call in self._outbox)
        if waiting >= MAX_MESSAGES:
            self._act(Told(f"a message of {len(data)} bytes is dropped: {waiting} are waiting already"))
        else:
            self._outbox.append(SendMessage(data))

    def _start_lingering(self) -> None:
        """The time for the last acknowledgements runs only while an agent is there that has answered all calls, or none

        is hoped for any more. One that does not answer has its time for that, and is waited for as if it restarted.
        """
        if self._linger_s is None or self._stop_at_s is not None:
            return
        is_there = self.phase is Phase.SUBSCRIBED
        has_answered = self._under_way is None and not self._outbox
        if (is_there and has_answered) or (not is_there and self._give_up_at_s is None):
            self._stop_at_s = self._now_s + self._linger_s

    def _advance(self) -> None:
        """Whatever can be done next."""
        if self.phase is Phase.CLOSED:
            return
        if self._linger_s is not None:
            if not self._unacknowledged:
                self._close("the executor is done")
                return
            if self.phase in (Phase.IDLE, Phase.WAITING) and self._retry_at_s is None:
                self._close("there is no agent")
                return
        if self.phase is Phase.SUBSCRIBED and self._under_way is None and self._outbox:
            self._under_way = self._outbox.popleft()
            self._answer_by_s = self._now_s + self.settings.answer_s
            self._act(Send(self._under_way))
        self._start_lingering()

    def _close(self, reason: str) -> None:
        self.phase = Phase.CLOSED
        self._retry_at_s = self._give_up_at_s = self._answer_by_s = self._heard_by_s = self._stop_at_s = None
        self._act(Close(reason, self.unacknowledged_updates))

    def _act(self, action: Action) -> None:
        self._actions.append(action)


def _name(call: Update | SendMessage) -> str:
    if isinstance(call, Update):
        return f"the update {call.status.state.value} of task {call.status.task_id}"
    return "a message"


def _is_update(call: Update | SendMessage, uuid: bytes) -> bool:
    return isinstance(call, Update) and call.status.uuid == uuid
