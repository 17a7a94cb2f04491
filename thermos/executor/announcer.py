"""The executor's side of announcing: threads of ZooKeeper's client become events of the loop.

kazoo is imported only for a task that is announced: it costs 4 MB (docs/decisions/0015).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from thermos.core.lifetime_events import AnnounceFailed, Event, Withdrawn
from thermos.executor.assignment import Announcement
from thermos.executor.log import Log
from thermos.host.loop import Loop

if TYPE_CHECKING:
    from thermos.announce.auth import Auth
    from thermos.announce.member import Member, MemberEvent

#: When the executor ends, the announcer's thread may take so long.
CLOSE_S = 3.0


class Announcer:
    """One task's entry. *tell* hears AnnounceFailed and Withdrawn, from the loop."""

    def __init__(
        self,
        loop: Loop,
        hosts: str,
        announcement: Announcement,
        auth: Auth | None,
        tell: Callable[[Event], object],
        log: Log,
    ) -> None:
        self._loop = loop
        self._hosts = hosts
        self._announcement = announcement
        self._auth = auth
        self._tell = tell
        self._log = log
        self._member: Member | None = None
        self._lost_since_s: float | None = None
        self._trouble: str | None = None

    @property
    def disconnected_s(self) -> float:
        """How long the task has been missing in ZooKeeper since it was last there; 0: it is there."""
        return self._loop.now_s() - self._lost_since_s if self._lost_since_s is not None else 0.0

    def announce(self) -> None:
        """Have it there, from now on."""
        if self._member is not None:
            self._member.join()
            return
        from thermos.announce.member import Member

        announcement = self._announcement
        self._log.info(f"announcing at {announcement.path}")
        self._lost_since_s = self._loop.now_s()
        self._member = Member(
            self._hosts,
            announcement.path,
            announcement.member.encode(),
            lambda event: self._loop.post(lambda: self._heard(event)),
            self._auth,
        )
        self._loop.call_later(self, announcement.timeout_s, self._too_late)
        self._member.start()

    def withdraw(self) -> None:
        """Have it there no more; Withdrawn follows."""
        if self._member is None:
            self._tell(Withdrawn())
        else:
            self._loop.cancel(self)
            self._member.leave()

    def _too_late(self) -> None:
        within = f"{self._announcement.timeout_s:g} s"
        last = f" What went wrong last: {self._trouble}." if self._trouble is not None else ""
        failed = f"Creating the announcement timed out: no session with {self._hosts} in {within}.{last}"
        self._tell(AnnounceFailed(failed))

    def _heard(self, event: MemberEvent) -> None:
        from thermos.announce import member

        match event:
            case member.Connected():
                self._loop.cancel(self)
                self._log.info("connected with ZooKeeper")
            case member.Joined(node):
                self._lost_since_s = None
                self._log.info(f"announced as {node}")
            case member.Parted(reason):
                self._lost_since_s = self._loop.now_s()
                self._log.warning(f"not announced any more: {reason}")
            case member.Trouble(reason, traceback):
                self._trouble = reason
                self._log.warning(f"ZooKeeper: {reason}; it is tried again")
                if traceback is not None:
                    self._log.error(f"a fault of ours; please report it with this log\n{traceback}")
            case member.Gone(is_sure):
                self._log.info("withdrawn" if is_sure else "withdrawn by giving the session up")
                self._tell(Withdrawn())

    def close(self) -> None:
        """End it; waits for its thread, a few seconds at most."""
        self._loop.cancel(self)
        if self._member is not None:
            self._member.close()
            if not self._member.wait(CLOSE_S):
                self._log.warning("ZooKeeper's client does not end; it ends with this program")
