"""A running scheduler: its store, its API, its place in the election, and the loop while it leads."""

from __future__ import annotations

import contextlib
import gc
import logging
import queue
import random
import ssl
import threading
import time
import uuid
from collections.abc import Callable
from types import MappingProxyType
from typing import Final, TypeVar

from scheduler.api.app import create_app
from scheduler.api.backend import Leader, View
from scheduler.api.options import ApiOptions
from scheduler.api.server import Server
from scheduler.core.commands import Answer, Command, refused
from scheduler.core.engine import Engine
from scheduler.core.events import Accept, Elected, Event, Launch, Update
from scheduler.core.offers import OfferBook
from scheduler.core.state import State
from scheduler.framework import framework_info
from scheduler.mesos.connection import Credential, MasterConnection
from scheduler.mesos.election import Election, ElectionEvent, Endpoint, Failed, Lost, digest_auth
from scheduler.mesos.finder import finder_of
from scheduler.mesos.task_info import accept_of
from scheduler.options import Options
from scheduler.pages.site import Site
from scheduler.program import Mesos, Program
from scheduler.sla_coordinator import SlaCoordinators
from scheduler.store.backups import Backups, Recovery, is_due
from scheduler.store.interface import Misused, Store, StoreError
from scheduler.store.opening import open_store
from scheduler.turn import Ended
from scheduler.webhook import Webhook
from thermos.errors import ExitCode
from thermos.formats.aurora_api import ResponseCode

T = TypeVar("T")
log = logging.getLogger(__name__)

#: How often it is looked whether a backup is due.
_BACKUP_LOOK_S: Final = 60.0
#: What is not written to the store by then is told by Mesos again.
_STOP_S: Final = 5.0


class Service:
    """One scheduler process. Also the API's backend: while another leads, everything is sent there."""

    def __init__(self, options: Options, began: Callable[[str], None] = lambda url: None) -> None:
        self.options = options
        #: Told our URL once it can be reached.
        self._began = began
        self._store: Store | None = None
        self._program: Program | None = None
        self._election: Election | None = None
        self._ends: queue.SimpleQueue[Ended | None] = queue.SimpleQueue()
        self._server: Server | None = None
        directory = options["backup_dir"]
        self._backups = Backups(directory, options["max_saved_backups"]) if directory is not None else None
        self._recovery: Recovery | None = None
        self._recovering = threading.Lock()
        self._empty = View(
            State(), OfferBook(options.settings, random.random), options.settings, MappingProxyType({}),
            MappingProxyType({"framework_registered": 0}), 0,
        )  # fmt: skip

    # -- the backend of the API ----------------------------------------------------------------------------------------

    def look(self, at: Callable[[View], T]) -> T:
        program = self._program
        if program is None:
            return at(self._empty._replace(wall_ms=int(time.time() * 1000)))
        return program.look(at)

    def command(self, command: Command) -> Answer:
        program = self._program
        if program is None:
            return refused("This scheduler does not lead (yet)", code=ResponseCode.ERROR_TRANSIENT)
        return program.command(command)

    def leader(self) -> Leader:
        if self._program is not None:
            return Leader(True, self.url)
        return Leader(False, None if self._election is None else self._election.leader_url())

    def backup(self) -> str:
        self._leading()
        return self._take_backup()

    def backups(self) -> tuple[str, ...]:
        self._leading()
        return self._backups_of().names()

    def snapshot(self) -> None:
        self._leading()
        assert self._store is not None
        self._store.compact()

    def recover(self, do: Callable[[Recovery], T]) -> T:
        self._leading()
        with self._recovering:
            return do(self._recovery_of())

    def commit_recovery(self) -> None:
        program = self._leading()
        with self._recovering:
            program.replace(self._recovery_of().changes)

    def _recovery_of(self) -> Recovery:
        self._recovery = self._recovery or Recovery(self._backups_of())
        return self._recovery

    def _leading(self) -> Program:
        if self._program is None:
            raise StoreError("this scheduler does not lead: ask the one that does")
        return self._program

    # -- life ----------------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where clients reach us."""
        assert self._server is not None
        scheme = "https" if self.options["tls_cert"] else "http"
        return f"{scheme}://{self.options['hostname']}:{self._server.port}"

    def stop(self, reason: str) -> None:
        """End it, from any thread or a signal's handler; tasks go on."""
        self._end(Ended(ExitCode.OK, reason))

    def _end(self, ended: Ended) -> None:
        self._ends.put(ended)
        if self._program is not None:
            self._program.tell(ended)

    def run(self) -> int:
        """Serve, wait to lead, lead; gives the exit code when that is over."""
        options = self.options
        api = self._api_options()
        store = self._store = open_store(options["store"], options["backup_dir"])
        with contextlib.ExitStack() as stack:
            stack.callback(store.close)
            tls = (options["tls_cert"], options["tls_key"]) if options["tls_cert"] else None
            self._server = Server(create_app(self, api), options["ip"], options["http_port"], tls)
            stack.callback(self._server.close)
            self._server.start()
            log.info("listening on %s", self.url)
            self._began(self.url)
            if options["zk_endpoints"]:
                self._election = self._stand()
                stack.callback(self._election.close)
                self._election.start()
                log.info("waiting to lead")
                ended = self._ends.get()
                if ended is not None:  # None: elected
                    return self._over(ended)
            return self._over(self._lead(store))

    def _stand(self) -> Election:
        """Be a candidate for the lead."""
        options = self.options
        port = self._server.port if self._server is not None else options["http_port"]
        return Election(
            ",".join(options["zk_endpoints"]) + (options["zk_chroot_path"] or ""),
            options["serverset_path"],
            Endpoint(options["hostname"], port, "https" if options["tls_cert"] else "http"),
            self._told,
            auth=digest_auth(options["zk_digest_credentials"]),
            session_s=options["zk_session_timeout"],
            say=lambda text: log.warning("%s", text),
        )

    def _over(self, ended: Ended) -> int:
        (log.info if ended.code == ExitCode.OK else log.error)("ending: %s", ended.reason)
        return ended.code

    def _tell_program(self, event: Event) -> None:
        """From any thread, while we lead."""
        if self._program is not None:
            self._program.tell(event)

    def _told(self, event: ElectionEvent) -> None:
        """From the election's thread."""
        if isinstance(event, Elected):
            self._ends.put(None)
        elif isinstance(event, Lost):
            self._end(Ended(ExitCode.REFUSED, f"this scheduler leads no more: {event.reason}"))
        elif isinstance(event, Failed):
            self._end(Ended(ExitCode.INTERNAL, event.reason))
        elif self._program is not None:
            self._program.tell(event)

    def _lead(self, store: Store) -> Ended:
        """Load everything, take the lead, and run the loop."""
        settings = self.options.settings
        began_s = time.monotonic()
        epoch = store.lead()
        state = State()
        gc.disable()  # it would look at a hundred thousand tasks again and again, of which none is garbage
        try:
            for change in store.load():
                state.apply(change)
        finally:
            gc.enable()
        log.info("leading (epoch %d), %d tasks loaded in %.2f s", epoch, len(state.tasks), time.monotonic() - began_s)
        engine = Engine(settings, lambda: str(uuid.uuid4()), random.random, state)
        webhook = Webhook(self.options.webhook) if self.options.webhook is not None else None
        coordinators = SlaCoordinators(settings.cluster_name, settings.sla_coordinator_timeout_s, self._tell_program)
        program = Program(
            engine,
            store,
            self._connect,
            self._accept,
            leads=self._election.leads if self._election is not None else lambda: True,
            moved=webhook.tell if webhook is not None else lambda transitions: None,
            ask=coordinators.ask,
            # Alone, ending would help nobody: whoever is started again waits for Mesos just so.
            max_registration_delay_s=self.options["max_registration_delay"] if self._election is not None else None,
        )
        self._program = program
        if not self._ends.empty():
            return self._ends.get() or Ended(ExitCode.OK, "it was asked to end")
        over = threading.Event()
        if webhook is not None:
            webhook.start()
            program.more_metrics.append(webhook.metrics)
        keeper = threading.Thread(target=self._keep_backups, args=(program, over), name="backups", daemon=True)
        keeper.start()
        try:
            return program.run()
        finally:
            self._program = None
            over.set()
            if webhook is not None:
                webhook.close()

    def _backups_of(self) -> Backups:
        if self._backups is None:
            raise Misused("no backup directory is set: start the scheduler with -backup_dir")
        return self._backups

    def _take_backup(self) -> str:
        assert self._store is not None
        return self._backups_of().take(self._store, int(time.time() * 1000))

    def _keep_backups(self, program: Program, over: threading.Event) -> None:
        """Every hour a backup; it has a connection of its own and holds up no decision."""
        if self._backups is None:
            return
        interval_s = self.options["backup_interval"]
        counts = {"scheduler_backup_success": 0, "scheduler_backup_failed": 0}
        program.more_metrics.append(lambda: dict(counts))
        while not over.wait(min(_BACKUP_LOOK_S, interval_s)):
            if is_due(self._backups.names(), int(time.time() * 1000), interval_s):
                try:
                    log.info("backup %s made", self._take_backup())
                    counts["scheduler_backup_success"] += 1
                except StoreError as error:
                    counts["scheduler_backup_failed"] += 1
                    log.error("no backup could be made: %s", error)
                except Exception:  # a fault of ours costs this backup, and none of those that follow
                    counts["scheduler_backup_failed"] += 1
                    log.exception("no backup could be made, for a fault of ours")

    # -- Mesos ---------------------------------------------------------------------------------------------------------

    def _connect(self, framework_id: str | None, tell: Callable[[Event], None]) -> Mesos:
        options = self.options
        credential = options.credential
        ca = options["mesos_tls_ca"]
        return MasterConnection(
            finder_of(options["mesos_master_address"], by_hostname=ca is not None),
            framework_info(options, framework_id, f"{self.url}/scheduler"),
            tell,
            lambda reason: self._end(Ended(ExitCode.INTERNAL, reason)),
            credential=Credential(*credential) if credential is not None else None,
            ssl_context=None if ca is None else ssl.create_default_context(cafile=ca),
            say=lambda text: log.info("%s", text),
        )

    def _accept(self, launch: Launch) -> tuple[Accept, tuple[Update, ...]]:
        return accept_of(launch, self.options.settings, has_discovery=self.options["populate_discovery_info"])

    # -- the API -------------------------------------------------------------------------------------------------------

    def _api_options(self) -> ApiOptions:
        options = self.options
        return ApiOptions(
            cluster_name=options.settings.cluster_name,
            stats_url_prefix=options["stats_url_prefix"],
            security=options.security,
            is_auth_required_for_reads=options["require_auth_for_reads"],
            pages=Site(options["task_page_url"]),
        )
