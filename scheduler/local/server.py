"""A Mesos for one machine: :func:`start_local` gives one that runs in a thread of this process.

It is for trying out and for tests: there is one agent, this machine, and nothing isolates tasks from each other. To go
to a cluster, start the scheduler with the address of its masters instead; nothing else changes for a job.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Final

from scheduler.local import files, keeping, wire
from scheduler.local.agent import Launcher
from scheduler.local.http import Exchange, Server
from scheduler.local.machine import machine
from scheduler.local.master import Master
from scheduler.local.model import (
    AgentSpec,
    Called,
    DestroyExecutor,
    EndStream,
    Event,
    ExecutorKey,
    ExecutorSaid,
    ExecutorSubscribed,
    ExecutorUpdated,
    MaintenancePlanned,
    Settings,
    StartExecutor,
    StreamClosed,
    SubscribeWanted,
    Tell,
    TellExecutor,
    Woke,
)
from scheduler.local.resources import Bag, parse, parse_attributes
from scheduler.local.state import agent_state, master_state
from scheduler.local.store import CannotOpen, Store
from thermos import mesos
from thermos.formats import recordio
from thermos.formats.mesos_v1 import CONTENT_TYPE
from thermos.formats.mesos_v1_scheduler import Subscribe
from thermos.host.loop import Loop

log = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
#: The version whose answers these are.
VERSION: Final = "1.11.0"
#: Aurora's limits ask for ``host`` and ``rack`` (``--attributes`` of its agents' documentation).
ATTRIBUTES: Final = f"host:{HOST};rack:local"
SETTINGS: Final = Settings(allocation_interval_s=0.2, has_images=False, is_kept=True)
#: For whoever starts one to say to its user; with ``url`` and ``work_dir``.
NOTICE: Final = (
    "this is a Mesos of one machine, at {url} with {work_dir}, for trying out: nothing isolates tasks from each other "
    "or keeps them to their resources, and no other machine takes over. For a cluster, name its masters instead "
    "(zk://HOST:PORT/mesos); jobs stay as they are"
)

_MASTER_PATHS: Final = ("/api/v1/scheduler", "/master/api/v1/scheduler")
_AGENT: Final = "/slave(1)"
_STREAM_ID: Final = "mesos-stream-id"
_STOP_S: Final = 30.0
_WAKE: Final = "wake"
_EXECUTOR_HEARTBEAT_S: Final = 1800.0  # DEFAULT_EXECUTOR_HEARTBEAT_INTERVAL, mesos/src/slave/constants.hpp


class Local:
    """A running one."""

    def __init__(
        self,
        work_dir: str | os.PathLike[str],
        agent_resources: Bag,
        attributes: tuple[dict[str, Any], ...],
        port: int,
        settings: Settings,
    ) -> None:
        self.work_dir = Path(os.path.abspath(work_dir))
        self._executor_streams: dict[ExecutorKey, Exchange] = {}
        self._streams: dict[str, Exchange] = {}
        #: Wall time that does not jump.
        self._epoch_s = time.time() - time.monotonic()
        #: Why it serves no more; None: it does.
        self.failure: BaseException | None = None
        self._store = Store(self.work_dir / "local-mesos")
        self._loop = Loop()
        try:
            rows = self._store.read()
            kept_port = next((content["port"] for key, content in rows if key[0] == "address"), 0)
            self._server = _listen(self._loop, port, kept_port, self._handle)
            self.port = self._server.port
            settings = settings._replace(address=(HOST, self.port), is_kept=True)
            self._master_id = str(uuid.uuid4())
            self.master = Master(self._master_id, lambda: uuid.uuid4().bytes, settings)
            self._launcher = Launcher(self._loop, self.work_dir, (HOST, self.port), settings, self._happen)
            self._store.write({("address",): {"port": self.port}})
            keeping.load(self.master, [row for row in rows if row[0][0] != "address"], self._now_s())
        except BaseException:
            self._store.close()
            self._loop.close()
            raise
        self._info = _master_info(self._master_id, self.port)
        self._recover(agent_resources, attributes)
        self._server.start()
        self._thread = threading.Thread(target=self._run, name="local-mesos", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """``http://HOST:PORT``: where a scheduler finds its master."""
        return f"http://{HOST}:{self.port}"

    def close(self) -> None:
        """Stop serving. Executors go on, and are found again by the next one in this directory and on this port."""
        self._loop.post(self._loop.stop)
        self._thread.join(_STOP_S)
        if self._thread.is_alive():
            raise TimeoutError(f"the Mesos of this machine has not stopped within {_STOP_S:g} s")
        self._server.close()
        self._launcher.close()
        self._store.close()
        self._loop.close()

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the loop's thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._loop.run()
        except BaseException as fault:
            self.failure = fault
            log.critical("the Mesos of this machine has failed", exc_info=True)
            self._server.close()  # so that everybody notices

    def _now_s(self) -> float:
        return self._epoch_s + time.monotonic()

    def _recover(self, agent_resources: Bag, attributes: tuple[dict[str, Any], ...]) -> None:
        agents = self.master.world.agents
        for agent in list(agents.values()):
            for executor in list(agent.executors.values()):
                self._launcher.recover(executor)
        agent_id = next(iter(agents), f"{self._master_id}-S0")
        spec = AgentSpec(agent_id, HOST, agent_resources, attributes, _AGENT)
        known = agents.get(agent_id)
        if known is None or (known.spec != spec and not known.executors):
            self.master.add(spec)
        elif known.spec != spec:
            log.warning("the agent keeps the resources and attributes that it had, since tasks run: %s", known.spec)
        self._happen(Woke())

    def _happen(self, event: Event) -> None:
        """Decide, write down, act."""
        if self.failure is not None:
            return  # connections that end with it
        actions = self.master.handle(event, self._now_s())
        self._store.write({key: keeping.row_of(self.master, key) for key in self.master.take_changes()})
        for action in actions:
            self._act(action)
        wake_at_s = self.master.wake_at_s
        if wake_at_s is not None:
            self._loop.call_later(_WAKE, wake_at_s - self._now_s(), self._wake)

    def _wake(self) -> None:
        self._happen(Woke())

    def _act(self, action: Any) -> None:
        match action:
            case Tell(stream, event):
                exchange = self._streams.get(stream)
                if exchange is not None:
                    exchange.send(recordio.encode(wire.encode_scheduler_event(event, self._info)))
            case EndStream(stream):
                exchange = self._streams.pop(stream, None)
                if exchange is not None:
                    exchange.end()
            case TellExecutor(key, event):
                exchange = self._executor_streams.get(key)
                if exchange is not None:
                    exchange.send(recordio.encode(wire.encode_agent_event(event)))
            case StartExecutor():
                self._launcher.start(action)
            case DestroyExecutor(key):
                self._launcher.destroy(key)

    # -- requests ------------------------------------------------------------------------------------------------------

    def _handle(self, exchange: Exchange) -> None:
        request = exchange.request
        path = request.path
        if path in _MASTER_PATHS:
            if _is_call(exchange) and _is_ours(exchange):
                self._scheduler_call(exchange)
        elif path in (f"{_AGENT}/api/v1/executor", "/api/v1/executor"):
            if _is_call(exchange):
                self._executor_call(exchange)
        elif path in ("/master/state", "/state", "/master/state.json"):
            exchange.answer(200, master_state(self.master, self._info, VERSION), CONTENT_TYPE)
        elif path in (f"{_AGENT}/state", f"{_AGENT}/state.json"):
            exchange.answer(200, agent_state(self.master, self._info, VERSION), CONTENT_TYPE)
        elif path in ("/health", "/master/health", f"{_AGENT}/health"):
            exchange.answer(200)
        elif path in ("/redirect", "/master/redirect"):
            exchange.answer(307, headers=[("Location", f"//{HOST}:{self.port}")])
        elif path in ("/maintenance/schedule", "/master/maintenance/schedule") and request.method == "POST":
            if _is_ours(exchange):
                self._plan(exchange)
        elif path.startswith("/files/show/"):
            files.show(exchange, path.removeprefix("/files/show/"), self.work_dir / "slaves")
        elif path.startswith("/files/") and path.removeprefix("/files/") in ("browse", "read", "download"):
            files.serve(exchange, path.removeprefix("/files/"), self.work_dir / "slaves")
        else:
            exchange.answer(404, "404 Not Found.")

    def _plan(self, exchange: Exchange) -> None:
        """When the machine is to go down: ``mesos/docs/maintenance.md``."""
        try:
            windows = wire.decode_schedule(exchange.request.body)
        except wire.CallRefused as refusal:
            exchange.answer(400, str(refusal))
            return
        self._happen(MaintenancePlanned(HOST, windows.get(HOST)))
        exchange.answer(200)

    def _scheduler_call(self, exchange: Exchange) -> None:
        try:
            said = wire.decode_scheduler_call(exchange.request.body)
        except wire.CallRefused as refusal:
            exchange.answer(400, str(refusal))
            return
        if isinstance(said.call, Subscribe):
            stream = str(uuid.uuid4())
            self._streams[stream] = exchange
            exchange.on_lost = lambda: self._scheduler_lost(stream)
            exchange.open_stream(CONTENT_TYPE, [("Mesos-Stream-Id", stream)])
            self._happen(SubscribeWanted(stream, said.call))
            return
        framework_id = said.framework_id or ""
        stream_id = exchange.request.headers.get(_STREAM_ID)
        if framework_id not in self.master.world.frameworks:
            exchange.answer(400, "Framework cannot be found")
        elif (current := self.master.is_connected(framework_id)) is None:
            exchange.answer(403, "Framework is not subscribed")
        elif stream_id is None:
            exchange.answer(400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header")
        elif stream_id != current:
            exchange.answer(
                400,
                f"The stream ID '{stream_id}' included in this request didn't match the stream ID currently "
                f"associated with framework ID {framework_id}",
            )
        else:
            self._happen(Called(framework_id, said.call))
            exchange.answer(202)

    def _scheduler_lost(self, stream: str) -> None:
        self._streams.pop(stream, None)
        self._happen(StreamClosed(stream))

    def _executor_call(self, exchange: Exchange) -> None:
        try:
            said = wire.decode_executor_call(exchange.request.body)
        except wire.CallRefused as refusal:
            exchange.answer(400, str(refusal))
            return
        key = self._find(said.framework_id, said.executor_id)
        if key is None:
            exchange.answer(400, "Executor cannot be found")
            return
        if not _is_ours(exchange, self._launcher.uid_of(key)):
            return
        call = said.call
        if isinstance(call, mesos.Subscribe):
            before = self._executor_streams.get(key)
            if before is not None:
                before.end()
            self._executor_streams[key] = exchange
            exchange.on_lost = lambda: self._executor_lost(key, exchange)
            exchange.open_stream(CONTENT_TYPE)
            self._beat(key, exchange)
            self._happen(ExecutorSubscribed(key, call.tasks, call.updates))
            return
        if key not in self._executor_streams:
            exchange.answer(403, "Executor is not subscribed")
            return
        if isinstance(call, mesos.Update):
            self._happen(ExecutorUpdated(key, call.status))
        elif isinstance(call, mesos.SendMessage):
            self._happen(ExecutorSaid(key, call.data))
        exchange.answer(202)

    def _find(self, framework_id: str, executor_id: str) -> ExecutorKey | None:
        for agent in self.master.world.agents.values():
            key = ExecutorKey(agent.spec.agent_id, framework_id, executor_id)
            if key in agent.executors:
                return key
        return None

    def _executor_lost(self, key: ExecutorKey, exchange: Exchange) -> None:
        if self._executor_streams.get(key) is exchange:
            del self._executor_streams[key]

    def _beat(self, key: ExecutorKey, exchange: Exchange) -> None:
        """Show the executor from time to time that we are there."""

        def beat() -> None:
            if self._executor_streams.get(key) is exchange:
                exchange.send(recordio.encode(wire.encode_agent_event(mesos.Heartbeat())))
                self._beat(key, exchange)

        self._loop.call_later(("beat", key), _EXECUTOR_HEARTBEAT_S, beat)


def _is_ours(exchange: Exchange, *others: int | None) -> bool:
    """Whether root, we ourselves or one of *others* asks; answered if not. Whoever may make calls may have anything run
    as us, and on loopback every user of the machine can knock."""
    uid = exchange.request.uid
    if uid is not None and uid in (0, os.geteuid(), *others):
        return True
    exchange.answer(403, f"The Mesos of one machine takes calls of the user that runs it, not of user {uid}")
    return False


def _is_call(exchange: Exchange) -> bool:
    """Whether it is a POST of JSON; answered if not."""
    request = exchange.request
    if request.method != "POST":
        words = f"405 Method Not Allowed. Expecting one of {{ 'POST' }}, but received '{request.method}'."
        exchange.answer(405, words, headers=[("Allow", "POST")])
        return False
    if request.headers.get("content-type", "").partition(";")[0].strip() != CONTENT_TYPE:
        exchange.answer(415, f"Expecting 'Content-Type' of {CONTENT_TYPE}")
        return False
    return True


def _listen(loop: Loop, port: int, kept_port: int, handle: Any) -> Server:
    """On *port*; if that is 0, where the one before was, since executors look for it there, or anywhere."""
    for candidate in (port,) if port else (kept_port, 0):
        try:
            return Server(loop, (HOST, candidate), handle)
        except OSError as error:
            if candidate == port:
                raise CannotOpen(f"cannot listen on {HOST}:{candidate}: {error.strerror}; name another port") from None
            log.warning("port %d is taken: executors from before will not find this Mesos, and end", candidate)
    raise AssertionError("0 is always a candidate")


def _master_info(master_id: str, port: int) -> dict[str, Any]:
    return {
        "id": master_id,
        "ip": int.from_bytes(socket.inet_aton(HOST), "little"),
        "port": port,
        "pid": f"master@{HOST}:{port}",
        "hostname": HOST,
        "version": VERSION,
        "address": {"hostname": HOST, "ip": HOST, "port": port},
    }


def start_local(
    work_dir: str | os.PathLike[str],
    *,
    resources: str | None = None,
    attributes: str = ATTRIBUTES,
    port: int = 0,
    settings: Settings = SETTINGS,
) -> Local:
    """A Mesos with this machine as its one agent. *resources* and *attributes* are written as for an agent's flags of
    these names; without the first, all of the machine. Where tasks from before still run, the agent stays as it was.

    Raises:
        ValueError: resources or attributes are not written like that.
        CannotOpen: another one uses the directory, or the port.
    """
    has = machine(work_dir) if resources is None else parse(resources)
    local = Local(work_dir, has, parse_attributes(attributes), port, settings)
    log.warning(NOTICE.format(url=local.url, work_dir=local.work_dir))
    return local
