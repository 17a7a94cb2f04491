"""Reads tasks for a site: what lies on disk of each, and whether it is of the user whose tasks alone are shown."""

from __future__ import annotations

import os
import pwd
from typing import Final

from detectors.watch import TaskKey
from observer_static.facts import TaskFacts, read_facts
from thermos.checkpoints import TaskReading

#: A stream longer than this is worth the memory of what was read of it: any user can write one, and would hold up
#: everybody's pages if each of its changes cost all of it again.
LONG_BYTES: Final = 256 << 10


class Readings:
    """Reads tasks; a long stream that still grows is read on, and not from its beginning."""

    def __init__(self) -> None:
        self._long: dict[TaskKey, TaskReading] = {}

    def read(self, key: TaskKey, is_active: bool) -> TaskFacts:
        """What lies on disk of the task; never raises for that."""
        reading = self._long.pop(key, None) or TaskReading(key.root, key.task_id)
        facts = read_facts(key.root, key.task_id, is_active, reading)
        if is_active and reading.offset > LONG_BYTES:
            self._long[key] = reading
        return facts

    def is_of(self, owner: pwd.struct_passwd, key: TaskKey, is_active: bool) -> bool:
        """Whether the task belongs to *owner*: its records say so, and who wrote them may."""
        facts = self.read(key, is_active)
        header = facts.state.header
        is_said = header is not None and header.user == owner.pw_name
        return is_said and facts.author_uid in (0, os.geteuid(), owner.pw_uid)

    def forget(self, key: TaskKey) -> None:
        """The task is no more."""
        self._long.pop(key, None)
