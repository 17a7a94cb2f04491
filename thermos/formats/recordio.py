r"""Mesos RecordIO: how the v1 APIs of master and agent frame the events of a stream.

A record is its payload's length in decimal digits, one line feed, then the payload; nothing stands between two
records. Source: mesos/docs/recordio.md. An empty payload is legal here, though Mesos sends none. Chunks of HTTP
have nothing to do with records: a record may come in many pieces, or many records in one.
"""

from __future__ import annotations

from typing import Final

#: Longest payload that is believed: a LAUNCH event carries its task's data, and nothing else is as long.
MAX_FRAME_BYTES: Final = 16 << 20
#: 2**64 - 1 has so many digits; a longer "number" is not one.
_MAX_DIGITS: Final = 20


class FrameError(ValueError):
    """The stream is no RecordIO; says why, and at which offset of the stream the bad record begins."""

    def __init__(self, offset: int, reason: str) -> None:
        self.offset = offset
        self.reason = reason
        super().__init__(f"no RecordIO at byte {offset} of the stream: {reason}")


class Decoder:
    """Bytes in, payloads out, any chunking. Never raises; what is wrong is in ``error``, and ends it."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self.offset = 0  # of the first byte of the record that is not complete yet
        self.error: FrameError | None = None
        self._max_frame_bytes = max_frame_bytes
        self._buffer = bytearray()
        self._end: int | None = None  # where in the buffer the first record ends; None: its length is not known yet
        self._head_bytes = 0  # of that length and its line feed

    @property
    def pending_bytes(self) -> int:
        """How many bytes of an incomplete record are held."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that *data* completes, in order; keeps the rest. After an error nothing comes any more."""
        payloads: list[bytes] = []
        if self.error is not None:
            return payloads
        self._buffer += data
        while self._knows_end() and self._end is not None and self._end <= len(self._buffer):
            payloads.append(bytes(memoryview(self._buffer)[self._head_bytes : self._end]))
            del self._buffer[: self._end]
            self.offset += self._end
            self._end = None
        return payloads

    def finish(self) -> FrameError | None:
        """What is wrong at the end of the stream: the error there was, a record that did not end, or nothing."""
        if self.error is None and self._buffer:
            reason = f"the stream ends within a record, of which {len(self._buffer)} bytes came"
            self.error = FrameError(self.offset, reason)
        return self.error

    def _knows_end(self) -> bool:
        """Whether the buffer holds the length of its first record."""
        if self._end is not None:
            return True
        line_end = self._buffer.find(b"\n", 0, _MAX_DIGITS + 1)
        digits = bytes(self._buffer[: _MAX_DIGITS + 1 if line_end < 0 else line_end])
        if line_end == 0:
            return self._fail("a record's length is empty")
        if not digits:
            return False
        if not digits.isdigit() or len(digits) > _MAX_DIGITS:
            return self._fail(f"a record's length begins with {digits!r}")
        if line_end < 0:
            return False
        size = int(digits)
        if size > self._max_frame_bytes:
            return self._fail(f"a record of {size} bytes is longer than the {self._max_frame_bytes} allowed")
        self._head_bytes = line_end + 1
        self._end = self._head_bytes + size
        return True

    def _fail(self, reason: str) -> bool:
        self.error = FrameError(self.offset, reason)
        self._buffer.clear()
        return False


def encode(payload: bytes) -> bytes:
    """The record of *payload*."""
    return b"%d\n%b" % (len(payload), payload)
