"""A reader that we did not write, compiled by Debian's thrift from an IDL without our fields, reads what we write."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.golden.checkpoint import make
from thermos.formats import checkpoint
from thermos.records import Note, ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

IDL = Path(__file__).with_name("thermos_internal.thrift")

pytestmark = [
    pytest.mark.skipif(shutil.which("thrift") is None, reason="needs thrift (Debian package thrift-compiler)"),
    pytest.mark.skipif(importlib.util.find_spec("thrift") is None, reason="needs the Python package thrift"),
]

UNION: dict[Any, str] = {RunnerHeader: "runner_header", ProcessStatus: "process_status", TaskStatus: "task_status"}


@pytest.fixture(scope="module")
def independent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The module that thrift makes of the IDL."""
    directory = tmp_path_factory.mktemp("thrift")
    subprocess.run(["thrift", "-out", str(directory), "--gen", "py", str(IDL)], check=True, timeout=60)
    sys.path.insert(0, str(directory))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the generated code and its library
            yield importlib.import_module("independent.ttypes")
    finally:
        sys.path.remove(str(directory))
        for name in [name for name in sys.modules if name.partition(".")[0] == "independent"]:
            del sys.modules[name]


@pytest.fixture(params=["pure", "accelerated"])
def protocol(request: pytest.FixtureRequest) -> Any:
    """Maker of a protocol over a transport: in Python, or with the library's C."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module("thrift.protocol.TBinaryProtocol")
    return module.TBinaryProtocol if request.param == "pure" else module.TBinaryProtocolAccelerated


def read(independent: Any, protocol: Any, payload: bytes) -> Any:
    transport = importlib.import_module("thrift.transport.TTransport").TMemoryBuffer(payload)
    union = independent.RunnerCkpt()
    union.read(protocol(transport))
    assert transport.read(1) == b"", "it did not read to the end of the frame"
    return union


def write(independent: Any, protocol: Any, union: Any) -> bytes:
    transport = importlib.import_module("thrift.transport.TTransport").TMemoryBuffer()
    union.write(protocol(transport))
    payload: bytes = transport.getvalue()
    return struct.pack(">I", len(payload)) + payload


def frames(data: bytes) -> list[bytes]:
    """The payloads of a stream, cut without our decoder."""
    found, offset = [], 0
    while offset < len(data):
        (size,) = struct.unpack_from(">I", data, offset)
        found.append(data[offset + 4 : offset + 4 + size])
        offset += 4 + size
    return found


def known(record: Record, independent: Any) -> dict[str, Any]:
    """The fields of *record* that the independent reader knows too."""
    theirs = getattr(independent, type(record).__name__)
    names = [spec[2] for spec in theirs.thrift_spec if spec is not None]
    return {name: getattr(record, name) for name in names}


def spelled(record: Record) -> Record:
    """*record* without what only Python can spell: file names that are no UTF-8."""
    fields: dict[str, Any] = {
        k: v.encode("utf-8", "replace").decode() for k, v in record._asdict().items() if isinstance(v, str)
    }
    return record._replace(**fields)


RECORDS = [spelled(record) for case in make.CASES.values() for record in case.records]


@pytest.mark.parametrize("ours", [True, False], ids=["with checksum", "without"])
def test_it_reads_every_field_that_it_knows_and_skips_ours(independent: Any, protocol: Any, ours: bool) -> None:
    data = b"".join(make.frame(record, ours) for record in RECORDS)
    assert len(frames(data)) == len(RECORDS) > 50
    for payload, record in zip(frames(data), RECORDS, strict=True):
        union = read(independent, protocol, payload)
        if isinstance(record, Note):
            assert (union.runner_header, union.process_status, union.task_status) == (None, None, None)
            continue
        members = {name: getattr(union, name) for name in UNION.values()}
        value = members.pop(UNION[type(record)])
        assert vars(value) == known(record, independent)
        assert list(members.values()) == [None, None]


def test_the_records_tried_have_every_extension() -> None:
    for kind in UNION:
        mine = [record for record in RECORDS if isinstance(record, kind)]
        assert all(any(getattr(record, name) is not None for record in mine) for name in kind._fields)
    assert any(isinstance(record, Note) for record in RECORDS)


def test_its_idl_has_the_fields_of_the_original_and_none_of_ours(independent: Any) -> None:
    for struct_type in (checkpoint.HEADER, checkpoint.PROCESS_STATUS, checkpoint.TASK_STATUS):
        theirs = getattr(independent, struct_type.name).thrift_spec
        assert {(spec[0], spec[2]) for spec in theirs if spec is not None} == {
            (field.id, field.name) for field in struct_type.fields if field.id < 100
        }
    for states, name in ((ProcessState, "ProcessState"), (TaskState, "TaskState")):
        theirs = getattr(independent, name)._NAMES_TO_VALUES
        assert theirs == {state.name: state.value for state in states}


def test_what_it_writes_is_what_we_read_and_byte_for_byte_what_we_write(independent: Any, protocol: Any) -> None:
    for record in RECORDS:
        if isinstance(record, Note):
            continue
        kind = type(record)
        fields = known(record, independent)
        if isinstance(record, RunnerHeader) and record.ports:
            fields["ports"] = dict(sorted(record.ports.items()))  # it writes them in the order it has them
        member = getattr(independent, kind.__name__)(**fields)
        frame = write(independent, protocol, independent.RunnerCkpt(**{UNION[kind]: member}))
        plain = kind(**fields)
        assert checkpoint.decode(frame).records == [plain]
        assert frame == make.frame(plain, ours=False)
