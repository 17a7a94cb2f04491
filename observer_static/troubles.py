"""What of a site cannot be written, and why: each is told once, and not with every change."""

from __future__ import annotations

import errno
import logging
from typing import Final

from detectors.watch import TaskKey

#: With one of these the output as a whole cannot be written: no reason to try the next page.
HOPELESS: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.EACCES}
)
#: So many tasks are named that have the same trouble.
_MAX_SAME: Final = 5

log = logging.getLogger("thermos_observer")


class Troubles:
    """Those of the site in the directory *output*."""

    def __init__(self, output: str) -> None:
        self._output = output
        #: Why nothing can be written; None: it can.
        self.whole: OSError | None = None
        #: It could not be written the last time: no reason to try before something changes.
        self.is_stuck = False
        #: Tasks whose pages cannot be written, and why.
        self.complaints: dict[TaskKey, str] = {}

    def complain(self, key: TaskKey, text: str, error: Exception | None = None) -> None:
        """The task's pages cannot be written. Of the same thing with many tasks not all are told."""
        if self.complaints.get(key) == text:
            return
        same = sum(other == text for other in self.complaints.values())
        self.complaints[key] = text
        if same < _MAX_SAME:
            more = "; the same with other tasks is not told any more" if same == _MAX_SAME - 1 else ""
            log.error(
                "pages of task %s cannot be written: %s%s", ascii(key.task_id), text, more, exc_info=same == 0 and error
            )

    def settled(self, key: TaskKey) -> None:
        """There is no trouble with the task, or no such task."""
        self.complaints.pop(key, None)

    def get_stuck(self, error: OSError) -> None:
        """Nothing can be written."""
        self.is_stuck = True
        if self.whole is None or self.whole.errno != error.errno:
            log.error(
                "pages cannot be written to %s: %s; those there stay, and the next change tries again",
                self._output,
                error.strerror or error,
            )
        self.whole = error

    def go_on(self) -> None:
        """All was written that was due."""
        self.is_stuck = False
        if self.whole is not None:
            self.whole = None
            log.info("pages are written to %s again", self._output)
