"""Generated pages of ``docs/reference/``: ``python -m thermos.reference --write`` or ``--check``.

States, moves and the layout of checkpoints are tables in the code; these pages are drawn from them.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from thermos import generated, records
from thermos.formats import checkpoint, thrift_binary
from thermos.formats.thrift_binary import StructType
from thermos.records import ProcessStatus
from thermos.states import PROCESS_MOVES, TASK_MOVES, ProcessState, TaskState

#: Where the pages lie in a checkout.
DIRECTORY: Final = Path(__file__).parent.parent / "docs" / "reference"
#: Ids from here up are ours, in structs and unions that are Aurora's.
FIRST_ID_OF_OURS: Final = 100

_ProcessMoves: TypeAlias = Mapping[ProcessState | None, frozenset[ProcessState]]
_TaskMoves: TypeAlias = Mapping[TaskState | None, frozenset[TaskState]]

_GENERATED: Final = "<!-- Made by `python -m thermos.reference --write`; do not edit. -->\n"

_PROCESS_MEANINGS: Final = {
    ProcessState.WAITING: "A run that is to start.",
    ProcessState.FORKED: "Its coordinator lives and waits for leave to start the command.",
    ProcessState.RUNNING: "The command's shell was started.",
    ProcessState.SUCCESS: "The command ended with 0.",
    ProcessState.KILLED: "The command was ended by a signal, ours or another's. Does not count as a failure.",
    ProcessState.FAILED: "The command ended with another code than 0, or could not be started at all.",
    ProcessState.LOST: "Nobody saw how the run ended. Does not count as a failure.",
}
_TASK_MEANINGS: Final = {
    TaskState.ACTIVE: "Its ordinary processes run as planned.",
    TaskState.CLEANING: "What still runs was asked to end; its runner waits for that.",
    TaskState.FINALIZING: "The rest was killed; its final processes run.",
    TaskState.SUCCESS: "Over; it did what it should.",
    TaskState.FAILED: "Over; too many of its processes failed, or one that others need.",
    TaskState.KILLED: "Over; somebody asked for its end.",
    TaskState.LOST: "Over; nobody knows how it would have ended.",
}

#: Meanings of Aurora's fields; those of our own stand beside them in ``thermos/records.py``.
_AURORA_MEANINGS: Final = {
    "RunnerHeader.task_id": "Name of the task, unique under its root.",
    "RunnerHeader.launch_time_ms": "When its first runner started.",
    "RunnerHeader.sandbox": "Directory in which its processes run.",
    "RunnerHeader.log_dir": "Directory of their logs.",
    "RunnerHeader.hostname": "The host, as its runner calls it.",
    "RunnerHeader.user": "Name of the user that its processes run as.",
    "RunnerHeader.uid": "Number of that user.",
    "RunnerHeader.ports": "Name → number of every port that was assigned.",
    "ProcessStatus.seq": "Counts the records of a process, over all its runs, from 0 by 1.",
    "ProcessStatus.process": "Name of the process.",
    "ProcessStatus.state": "The state that the run is in now.",
    "ProcessStatus.start_time": "With RUNNING: when the shell was started.",
    "ProcessStatus.pid": "With RUNNING: the shell.",
    "ProcessStatus.stop_time": "With a terminal state: when the shell ended.",
    "ProcessStatus.return_code": "With a terminal state: exit code, or the negative number of the signal.",
    "ProcessStatus.coordinator_pid": "With FORKED: the coordinator.",
    "ProcessStatus.fork_time": "With FORKED: when the coordinator was forked.",
    "TaskStatus.state": "The state that the task is in now.",
    "TaskStatus.timestamp_ms": "Since when.",
    "TaskStatus.runner_pid": "The runner that says so.",
    "TaskStatus.runner_uid": "The user that runner runs as.",
    "Note.timestamp_ms": "When it was noticed.",
    "Note.kind": "What it is about, as one word for programs.",
    "Note.text": "What a person should know.",
    "Note.process": "The process it is about; absent: the whole task.",
    "DeathCertificate.signal": "The signal that ended the shell.",
    "DeathCertificate.core_dumped": "Whether it left a core.",
    "DeathCertificate.oom_killed": "Whether memory ran out.",
    "DeathCertificate.user_cpu_s": "Processor time of the run, in programs.",
    "DeathCertificate.system_cpu_s": "Processor time of the run, in the kernel.",
    "DeathCertificate.run_s": "How long the run took, by a clock that nobody sets.",
}

_TYPE_NAMES: Final = {
    thrift_binary.BOOL: "bool",
    thrift_binary.DOUBLE: "double",
    thrift_binary.I32: "i32",
    thrift_binary.I64: "i64",
    thrift_binary.STRING: "string",
    thrift_binary.MAP: "map<string, i64>",
}

#: The record of the worked example: small, and with one field of ours.
EXAMPLE: Final = ProcessStatus(
    2, "web", ProcessState.RUNNING, start_time=1700000000.5, pid=4242, pid_start_ticks=123456
)


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _diagram(moves: _ProcessMoves | _TaskMoves) -> str:
    lines = ["```mermaid", "stateDiagram-v2"]
    for old, targets in moves.items():
        for new in sorted(targets):
            lines.append(f"    {'[*]' if old is None else old.name} --> {new.name}")
        if not targets and old is not None:
            lines.append(f"    {old.name} --> [*]")
    return "\n".join([*lines, "```", ""])


_STATES_PAGE: Final = """\
{generated}
# States

The numbers are Aurora's and lie on disk, see [checkpoint format](checkpoint-format.md).

## Processes

One run of a process goes through these; a move that is not drawn is refused. After a terminal state another
run may follow, which starts at WAITING.

{process_diagram}
{process_table}
## Tasks

A state may be recorded again: each runner that takes the task over does so. ACTIVE to KILLED or LOST, without
CLEANING, is what a forced kill leaves.

{task_diagram}
{task_table}"""


def states() -> str:
    """The page on states: a diagram and a table for processes, and for tasks."""

    def rows(meanings: Mapping[ProcessState, str] | Mapping[TaskState, str]) -> Iterator[tuple[str, ...]]:
        for state, meaning in meanings.items():
            yield state.name, str(state.value), "yes" if state.is_terminal else "", meaning

    head = ("state", "number on disk", "terminal", "meaning")
    return _STATES_PAGE.format(
        generated=_GENERATED,
        process_diagram=_diagram(PROCESS_MOVES),
        process_table=_table(head, rows(_PROCESS_MEANINGS)),
        task_diagram=_diagram(TASK_MOVES),
        task_table=_table(head, rows(_TASK_MEANINGS)),
    )


def meanings() -> dict[str, str]:
    """``Struct.field`` → what it means, of every field: comments in ``records.py``, and the list above."""
    found = dict(_AURORA_MEANINGS)
    source = inspect.getsource(records)
    lines = source.splitlines()
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                comment: list[str] = []
                line = item.lineno - 2
                while lines[line].strip().startswith("#:"):
                    comment.insert(0, lines[line].strip()[2:].strip())
                    line -= 1
                if comment:
                    text = " ".join(comment).removeprefix("*extension*").lstrip(" :")
                    text = text.removeprefix("(").replace("):", ":", 1) if text.startswith("(") else text
                    found[f"{node.name}.{item.target.id}"] = _code(text[:1].upper() + text[1:])
    return found


def _code(text: str) -> str:
    """*text* in Markdown: roles and double back quotes become plain code."""
    for role in (":data:", ":class:", "~"):
        text = text.replace(role, "")
    return text.replace("``", "`")


def _type_name(field: thrift_binary.Field) -> str:
    if field.convert is not None:
        return f"[{field.convert.__name__}](states.md)"
    if field.struct is not None:
        return f"[{field.struct.name}](#{field.struct.name.lower()})"
    return _TYPE_NAMES[field.type]


def _struct(struct: StructType, is_aurora: bool) -> str:
    known = meanings()

    def rows() -> Iterator[tuple[str, ...]]:
        for field in struct.fields:
            ours = "ours" if not is_aurora or field.id >= FIRST_ID_OF_OURS else ""
            meaning = known[f"{struct.name}.{field.name}"]
            yield str(field.id), f"`{field.name}`", _type_name(field), ours, meaning

    return _table(("id", "field", "type", "", "meaning"), rows())


def dissect(frame: bytes) -> list[tuple[bytes, str]]:
    """A frame as (bytes, what they are), in order and without a gap. For frames that we wrote."""
    parts = [(frame[:4], f"length of what follows: {len(frame) - 4}")]
    offset = 4

    def walk(struct: StructType | None, name: str) -> None:
        nonlocal offset
        while (kind := frame[offset]) != thrift_binary.STOP:
            field_id = int.from_bytes(frame[offset + 1 : offset + 3], "big", signed=True)
            head = frame[offset : offset + 3]
            offset += 3
            if struct is None and field_id == checkpoint.CHECKSUM_ID:
                parts.append((head, f"{name} field {field_id}: i32, the checksum of all bytes above"))
                parts.append((frame[offset : offset + 4], "its value"))
                offset += 4
                continue
            inner = checkpoint.UNION[field_id] if struct is None else struct.by_id[field_id][1].struct
            if inner is not None:
                parts.append((head, f"{name} field {field_id}: struct {inner.name}"))
                walk(inner, inner.name)
                continue
            assert struct is not None
            field = struct.by_id[field_id][1]
            parts.append((head, f"{name} field {field_id}: {thrift_name(kind)} {field.name}"))
            end = thrift_binary.skip(kind, frame, offset)
            value, _ = thrift_binary.decode_struct(struct, head + frame[offset:end] + b"\0", 0)
            shown = getattr(value, field.name)
            shown = shown.name if isinstance(shown, (ProcessState, TaskState)) else repr(shown)
            parts.append((frame[offset:end], f"its value: {shown}"))
            offset = end
        parts.append((frame[offset : offset + 1], f"end of {name}"))
        offset += 1

    walk(None, "RunnerCkpt")
    return parts


def thrift_name(kind: int) -> str:
    """What Thrift calls the type."""
    return _TYPE_NAMES[kind]


_CHECKPOINT_PAGE: Final = """\
{generated}
# Checkpoint format

A task's checkpoint is a directory of streams, `ROOT/checkpoints/TASK_ID/`: `runner`, written by its runner,
and one `coordinator.PROCESS` for each process, written by the coordinators of its runs. All are of the format
below. The runner's stream is the whole story; the others are its inbox. A file `health` beside them is no stream: it is
JSON, what the task's executor says of its health, and may be missing.

The format is Aurora's (`thermos_internal.thrift`, framed as by `twitter.common.recordio`), extended by fields
whose ids are {first_id} or more, which Aurora's readers skip. They are marked *ours*. The version of our
extensions is {version}; it stands in the header.

## Frames

A stream is a sequence of frames. It has no magic number at its start and nothing at its end.

| bytes | what |
| --- | --- |
| 4 | length of the payload, unsigned, big-endian; at most {max_bytes} ({max_mib} MiB) |
| as many | payload: one RunnerCkpt in Thrift's binary protocol |

A field is its type (1 byte), its id (2 bytes) and its value; a struct is its fields, ended by a zero byte. A
reader skips fields that it does not know. Strings are UTF-8. Times are seconds since 1970 as doubles, or
milliseconds where the name ends in `_ms`.

## Checksum

Field {checksum_id} of RunnerCkpt is the CRC-32C (RFC 3720, Castagnoli) of all bytes of the frame before that
field, the length included, as a signed 32-bit number. It is the last field of each frame that we write:
nothing but the union's end may follow it, and all other fields of the union are structs. A frame without it
is legal, since the original writes such and may append to our streams.

## Damage

A last frame that is incomplete was torn by a crash: the owner of the stream cuts it off and says so. Any
other frame that makes no sense, a checksum that is wrong, and a length that its record does not agree with,
is damage: nothing behind it is believed. A runner stops at it; a reader shows what came before, and where it is.

Zeros from some sector to the end of a stream are what a loss of power leaves of a write that was never synced.
A last frame that reaches into them counts as torn.

## Records

RunnerCkpt is a union: each frame holds one of these.

{union_table}
{structs}
## Example

The process `{process}` is running:

{example_table}"""


def checkpoint_format() -> str:
    """The page on checkpoints: frames, the checksum, every struct, a worked example."""

    def union_rows() -> Iterator[tuple[str, ...]]:
        for union_id, struct in checkpoint.UNION.items():
            yield (
                str(union_id),
                f"[{struct.name}](#{struct.name.lower()})",
                "ours" if union_id >= FIRST_ID_OF_OURS else "",
                _code((struct.factory.__doc__ or "").splitlines()[0].replace(" (*extension*)", "")),
            )
        yield str(checkpoint.CHECKSUM_ID), "i32", "ours", "The checksum; in each frame the last field."

    def hex_rows() -> Iterator[tuple[str, ...]]:
        for raw, what in dissect(checkpoint.encode(EXAMPLE)):
            yield f"`{raw.hex(' ')}`", what

    structs = []
    for union_id, struct in checkpoint.UNION.items():
        structs += [f"### {struct.name}\n", _struct(struct, union_id < FIRST_ID_OF_OURS)]
    structs += [
        f"### {checkpoint.CERTIFICATE.name}\n",
        "What is known of how a run ended; a field that is absent is unknown.\n",
        _struct(checkpoint.CERTIFICATE, False),
    ]
    return _CHECKPOINT_PAGE.format(
        generated=_GENERATED,
        first_id=FIRST_ID_OF_OURS,
        version=checkpoint.VERSION,
        max_bytes=checkpoint.MAX_PAYLOAD_BYTES,
        max_mib=checkpoint.MAX_PAYLOAD_BYTES >> 20,
        checksum_id=checkpoint.CHECKSUM_ID,
        union_table=_table(("id", "type", "", "meaning"), union_rows()),
        structs="\n".join(structs),
        process=EXAMPLE.process,
        example_table=_table(("bytes", "what"), hex_rows()),
    )


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "states.md": states,
    "checkpoint-format.md": checkpoint_format,
}


def main(argv: list[str] | None = None) -> int:
    """Write the pages, or check that they are what would be written; the exit code."""
    return generated.main("thermos.reference", PAGES, DIRECTORY, argv)


if __name__ == "__main__":
    sys.exit(main())
