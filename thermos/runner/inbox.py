"""What coordinators have written: their streams, read from where they were left."""

from __future__ import annotations

import os

from thermos.formats import checkpoint
from thermos.formats.paths import coordinator_name
from thermos.host.beneath import open_regular
from thermos.records import Note, ProcessStatus


class Inbox:
    """The coordinators' streams of one task. Reads; writes and locks nothing."""

    def __init__(self, checkpoint_dir_fd: int) -> None:
        self._dir_fd = checkpoint_dir_fd
        self._offsets: dict[str, int] = {}

    def offset(self, process: str) -> int:
        """Up to where the stream of *process* has been read: a place between two frames."""
        return self._offsets.get(process, 0)

    def read(self, process: str) -> list[ProcessStatus | Note]:
        """The records of *process* that are new. What is torn is left for later; what is damaged ends the stream."""
        try:
            fd = open_regular(self._dir_fd, coordinator_name(process), os.O_RDONLY)
        except OSError:
            return []  # not made yet
        try:
            decoder = checkpoint.Decoder(self._offsets.get(process, 0))
            records: list[ProcessStatus | Note] = []
            while decoder.damage is None and (data := os.pread(fd, 1 << 16, decoder.fed_to)):
                for entry in decoder.feed(data):
                    if isinstance(entry.record, (ProcessStatus, Note)):
                        records.append(entry.record)
            self._offsets[process] = decoder.offset
            return records
        finally:
            os.close(fd)
