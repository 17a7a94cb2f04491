"""A scheduler's life with its file store, of all that touches the disk: played by processes that are killed, on disks
that fail."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from scheduler.core.changes import Change, DropTask, PutFramework, PutHost, PutQuota, PutTask
from scheduler.model import Host, JobKey, Resources
from scheduler.states import ScheduleStatus
from scheduler.store.interface import NoSpace
from scheduler.store.sqlite import SqliteStore
from tests.scheduler.store.values import config, picture, state_of, task, update

_WEB, _DB = config("web"), config("db")
_LONG: Final = "because " * 400

#: What is committed, one after the other; a word is something else that is done in between.
STEPS: Final[tuple[list[Change] | str, ...]] = (
    [PutFramework("framework-1"), PutHost(Host("h1", "agent-1", (("rack", frozenset({"r1"})),)))],
    [PutTask(task(f"web-{number}", _WEB)) for number in range(20)],
    [PutTask(task(f"web-{number}", _WEB, ScheduleStatus.ASSIGNED, agent_id="agent-1")) for number in range(0, 20, 3)],
    "backup",
    [DropTask("web-1"), DropTask("web-2"), PutQuota("www", Resources(1000, 2, 3)), PutTask(task("db-0", _DB))],
    [update(JobKey("www", "prod", "web"), "u1", _LONG)],
    "compact",
    [PutTask(task(f"db-{number}", _DB, ancestor_id=_LONG)) for number in range(10)],
    "reopen",
    [DropTask(f"db-{number}") for number in range(10)],
    [PutTask(task("web-0", config("web", priority=2), ScheduleStatus.RUNNING)), PutQuota("www", Resources(7))],
    "reopen",
    [DropTask("web-0"), PutQuota("other", Resources(1))],
)
COMMITS: Final = tuple(step for step in STEPS if not isinstance(step, str))
#: What is kept after so many commits.
PICTURES: Final = tuple(
    picture(state_of(change for changes in COMMITS[:count] for change in changes)) for count in range(len(COMMITS) + 1)
)
#: After how many commits the backup is made.
BACKED_UP: Final = 3

STORE: Final = "scheduler.db"
BACKUP: Final = "a-backup"


def play(directory: str, note: Callable[[str], None], is_stubborn: bool = False) -> None:
    """All steps, in *directory*; *note* hears of each lead and commit once it is durable. A full disk ends it, or, if
    *is_stubborn*, is tried once more. Raises StoreError."""
    path = os.path.join(directory, STORE)
    store = SqliteStore(path)
    note(f"lead {store.lead()}")
    done = 0
    for step in STEPS:
        if step == "reopen":
            store.close()
            store = SqliteStore(path)
            note(f"lead {store.lead()}")
        elif step == "compact":
            store.compact()
        elif step == "backup":
            store.backup(os.path.join(directory, BACKUP))
            note("backup")
        else:
            assert not isinstance(step, str)
            try:
                store.commit(step)
            except NoSpace:
                if not is_stubborn:
                    raise
                note("full")
                store.commit(step)
            done += 1
            note(f"commit {done}")
    store.close()
