"""Code that Debian's thrift makes of Aurora's interface: a reader, writer and client that knows nothing of ours."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scheduler.wire.thrift import Protocol

IDL = Path(__file__).parents[1] / "interop" / "aurora_api.thrift"
#: Of its backups, whose tasks and jobs are those of the API.
STORAGE_IDL = IDL.with_name("aurora_storage.thrift")
#: Why there is none here; None: there is one.
MISSING = (
    "needs thrift (Debian package thrift-compiler)"
    if shutil.which("thrift") is None
    else "needs the Python package thrift"
    if importlib.util.find_spec("thrift") is None
    else None
)


class Independent:
    """The generated code and the library below it."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the generated code and its library
            self.types = importlib.import_module("aurora_api.ttypes")
            self.service = importlib.import_module("aurora_api.AuroraAdmin")
            self.bases = [self.service, *map(importlib.import_module, (
                "aurora_api.AuroraSchedulerManager", "aurora_api.ReadOnlyScheduler"))]  # fmt: skip
            self.transport = importlib.import_module("thrift.transport.TTransport")
            self.protocols = {
                Protocol.BINARY: importlib.import_module("thrift.protocol.TBinaryProtocol").TBinaryProtocol,
                Protocol.JSON: importlib.import_module("thrift.protocol.TJSONProtocol").TJSONProtocol,
            }
        for made in vars(self.types).values():
            if isinstance(made, type) and "__eq__" in vars(made):
                made.__hash__ = object.__hash__  # type: ignore[assignment]  # else no set can hold it

    def named(self, name: str) -> Any:
        """A class of the generated code."""
        return next(found for one in [self.types, *self.bases] if (found := getattr(one, name, None)) is not None)

    def read(self, name: str, body: bytes, protocol: Protocol) -> tuple[tuple[str, int, int], Any]:
        """(name, type, sequence number) of a message, and the struct in it."""
        reader = self.protocols[protocol](self.transport.TMemoryBuffer(body))
        head = reader.readMessageBegin()
        value = self.named(name)()
        value.read(reader)
        reader.readMessageEnd()
        return head, value

    def write(self, head: tuple[str, int, int], value: Any, protocol: Protocol, **more: Any) -> bytes:
        """A message with that struct in it."""
        buffer = self.transport.TMemoryBuffer()
        writer = self.protocols[protocol](buffer, **more)
        writer.writeMessageBegin(*head)
        value.write(writer)
        writer.writeMessageEnd()
        body = buffer.getvalue()
        assert isinstance(body, bytes)
        return body

    def struct(self, value: Any) -> bytes:
        """Only that struct, binary: as Aurora's scheduler writes it into a file."""
        buffer = self.transport.TMemoryBuffer()
        value.write(self.protocols[Protocol.BINARY](buffer))
        body = buffer.getvalue()
        assert isinstance(body, bytes)
        return body

    @property
    def storage(self) -> Any:
        """What backups are made of, beside ``types``."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("aurora_storage.ttypes")


@contextlib.contextmanager
def compiled(directory: Path) -> Iterator[Independent]:
    """The code, made in *directory*, which must be there, and imported while this lasts."""
    make = ["thrift", "-r", "-I", str(IDL.parent), "-out", str(directory), "--gen", "py", str(STORAGE_IDL)]
    subprocess.run(make, check=True, timeout=60)
    sys.path.insert(0, str(directory))
    try:
        yield Independent()
    finally:
        sys.path.remove(str(directory))
        for name in [name for name in sys.modules if name.partition(".")[0] in ("aurora_api", "aurora_storage")]:
            del sys.modules[name]
