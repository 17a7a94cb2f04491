"""From checkpoints to what pages show."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import subprocess
import sys
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observer_static import layout, pages, parts
from observer_static.charts import LATEST_S
from observer_static.collect import task_pages, task_row
from observer_static.facts import MAX_TASK_FILE_BYTES, TaskFacts, read_facts
from observer_static.history import UsagePoint
from observer_static.options import AgentLinks, Options, RelativeLinks
from observer_static.secrets import MARK
from tests.thermos.cli.command import (
    GOLDEN,
    START_S,
    header,
    needs_golden,
    run_records,
    success,
    task_status,
    write_task,
)
from thermos.checkpoints import list_tasks
from thermos.core.state import RunnerState
from thermos.errors import IllegalMove
from thermos.executor.health_record import HealthRecord
from thermos.formats import paths
from thermos.formats.health_file import MAX_BYTES, Health, Verdict, encode
from thermos.host.usage import TaskUsage, Usage
from thermos.records import DeathCertificate, Note, ProcessStatus, Record, RunnerHeader, TaskStatus
from thermos.states import ProcessState, TaskState

OPTIONS = Options(writer="test", version="1", hostname="here")
NOW_S = START_S + 100


def definition(*names: str, order: tuple[str, ...] = (), **more: Any) -> str:
    processes = [{"name": name, "cmdline": f"run {name}", **more} for name in names]
    return json.dumps({"name": "t", "processes": processes, "constraints": [{"order": order}] if order else []})


def collect(
    root: Path, task_id: str = "t", is_active: bool = False, options: Options = OPTIONS, **more: Any
) -> list[pages.Page]:
    return list(task_pages(read_facts(str(root), task_id, is_active), options, NOW_S, **more))


def task_page(found: list[pages.Page]) -> pages.TaskPage:
    page = found[0]
    assert isinstance(page, pages.TaskPage)
    return page


def process_page(found: list[pages.Page], name: str) -> pages.ProcessPage:
    return next(page for page in found if isinstance(page, pages.ProcessPage) and page.row.name == name)


def write_logs(directory: Path, process: str, run: int, **streams: bytes) -> None:
    where = directory / process / str(run)
    where.mkdir(parents=True, exist_ok=True)
    for stream, data in streams.items():
        (where / stream).write_bytes(data)


# -- What is shown ----------------------------------------------------------------------------------------------------


def test_a_failed_task(tmp_path: Path) -> None:
    sandbox = tmp_path / "sandbox"
    write_logs(sandbox / ".logs", "build", 0, stdout=b"compiling\n", stderr=b"no room\n")
    certificate = DeathCertificate(user_cpu_s=1.0, peak_rss_bytes=4096, stderr_tail="no room\n")
    records: list[Record] = [
        task_status(TaskState.ACTIVE),
        header("t", sandbox=str(sandbox), log_dir=str(sandbox / ".logs"), ports={"http": 8080}),
        *run_records("build", ProcessState.FAILED, code=127, certificate=certificate),
        task_status(TaskState.CLEANING, 3, reason="failed: build"),
        task_status(TaskState.FINALIZING, 3),
        task_status(TaskState.FAILED, 4, reason="failed: build"),
    ]
    write_task(tmp_path, "t", records, task_json=definition("build", "deploy", order=("build", "deploy")))
    found = collect(tmp_path)
    page = task_page(found)
    assert page.headline == (
        "t ended FAILED at 2026-11-20 13:43:37 UTC, after 4 s: failed: build. "
        "build failed for good: exit code 127: the shell did not find a command (failure 1 of 1)."
    )
    assert (page.state, page.name, page.role, page.is_active, page.ended_at_s) == (
        "FAILED", "t", "root", False, START_S + 4,
    )  # fmt: skip
    assert [port.href for port in page.ports] == ["http://host:8080"]
    assert [change.state for change in page.history] == ["ACTIVE", "CLEANING", "FINALIZING", "FAILED"]
    build, deploy = page.processes
    assert (build.name, build.group, build.return_code, build.href) == ("build", "failed", 127, "process/build.html")
    assert build.stderr == parts.Link(text="stderr", href="process/build.html#stderr")
    assert (deploy.name, deploy.group, deploy.state, deploy.after) == ("deploy", "waiting", None, ("build",))
    assert deploy.words == "was not run: it waited for build"
    assert page.timeline is not None and [lane.name for lane in page.timeline.lanes] == ["build"]
    assert (page.browse_href, page.raw_href, page.index_href) == ("browse.html", "raw.html", None)
    shown = process_page(found, "build")
    assert shown.cmdline == "run build"
    assert [(log.stream, [span.text for span in log.spans]) for log in shown.logs] == [
        ("stdout", ["compiling\n"]),
        ("stderr", ["no room\n"]),
    ]
    assert shown.runs[0].certificate is not None
    assert [span.text for span in shown.runs[0].certificate.stderr] == ["no room\n"]
    assert any("as they were written" in notice.text for notice in shown.notices)
    assert {page.path for page in found} == {
        "index.html", "raw.html", "browse.html", "process/build.html", "process/deploy.html",
    }  # fmt: skip


def test_processes_stand_in_the_order_of_their_start(tmp_path: Path) -> None:
    records: list[Record] = [
        task_status(TaskState.ACTIVE),
        header("t"),
        *run_records("late", None, at_s=9.0),
        *run_records("early", None, at_s=2.0),
    ]
    write_task(tmp_path, "t", records, True, definition("never", "late", "early"))
    page = task_page(collect(tmp_path, is_active=True))
    assert [row.name for row in page.processes] == ["early", "late", "never"]
    assert [row.group for row in page.processes] == ["running", "running", "waiting"]


@pytest.mark.parametrize(
    ("state", "group"),
    [
        (ProcessState.SUCCESS, "success"),
        (ProcessState.FAILED, "failed"),
        (ProcessState.KILLED, "killed"),
        (ProcessState.LOST, "waiting"),
        (None, "running"),
    ],
)
def test_groups_are_those_of_auroras_observer(tmp_path: Path, state: ProcessState | None, group: str) -> None:
    write_task(tmp_path, "t", [task_status(TaskState.ACTIVE), header("t"), *run_records("p", state)], True)
    assert task_page(collect(tmp_path, is_active=True)).processes[0].group == group


def notices(page: pages.TaskPage) -> list[tuple[str, str]]:
    return [(notice.level, notice.text) for notice in page.notices]


def test_notices(tmp_path: Path) -> None:
    again: list[Record] = []
    for number in range(4):
        again += run_records("flaky", ProcessState.FAILED, seq=4 * number, code=1, at_s=float(number))
    note = Note(round(START_S * 1000), "survivors", "could not be killed: pid 7", "flaky")
    write_task(
        tmp_path, "t", [task_status(TaskState.ACTIVE), header("other"), *again, note], True,
        definition("flaky", max_failures=0),
    )  # fmt: skip
    stream = tmp_path / "checkpoints" / "t" / "runner"
    stream.write_bytes(stream.read_bytes() + b"\0\0")
    found = notices(task_page(collect(tmp_path, is_active=True)))
    assert [level for level, _ in found] == ["error", "warning", "error", "warning", "error"]
    damaged, other, dead, flaky, survivors = (text for _, text in found)
    assert str(stream) in damaged
    assert other == "The checkpoint says that it is of another task, other."
    assert dead.startswith("Its runner, pid 4000, is DEAD")
    assert flaky.startswith("flaky failed 4 times: runs again at 2026-11-20 ")
    assert survivors == "flaky: could not be killed: pid 7 (2026-11-20 13:43:33 UTC)"


def test_a_definition_that_cannot_be_read(tmp_path: Path) -> None:
    write_task(tmp_path, "t", success("t"), task_json='{"processes": 1, "password": "hunter2"')
    found = collect(tmp_path)
    assert notices(task_page(found))[0][1].startswith("What waits for what cannot be told: ")
    raw = next(page for page in found if isinstance(page, pages.RawPage))
    assert raw.text == f'{{"processes": 1, "password": "{MARK}"'
    assert raw.redacted == 1 and raw.note is not None


def test_secrets_go_from_commands_and_definitions_but_not_from_logs(tmp_path: Path) -> None:
    sandbox = tmp_path / "s"
    write_logs(sandbox / ".logs", "p", 0, stdout=b"TOKEN=hunter2\n")
    records = success("t", "p", sandbox=str(sandbox), log_dir=str(sandbox / ".logs"))
    task = {"name": "t", "processes": [{"name": "p", "cmdline": "TOKEN=hunter2 run"}]}
    write_task(tmp_path, "t", records, task_json=json.dumps(task))
    found = collect(tmp_path)
    shown = process_page(found, "p")
    assert (shown.cmdline, shown.redacted) == (f"TOKEN={MARK} run", 1)
    raw = next(page for page in found if isinstance(page, pages.RawPage))
    assert "hunter2" not in raw.text and raw.redacted == 1
    assert shown.logs[0].spans[0].text == "TOKEN=hunter2\n"


def test_secrets_go_from_sentences(tmp_path: Path) -> None:
    reason = "could not run: TOKEN=hunter2"
    note = Note(round(START_S * 1000), "log", reason, "p")
    failed = run_records("p", ProcessState.FAILED, code=1, reason=reason)
    records: list[Record] = [task_status(TaskState.ACTIVE, reason=reason), header("t"), *failed, note]
    write_task(tmp_path, "t", records, True, definition("p", max_failures=0))
    for page in collect(tmp_path, is_active=True):
        assert "hunter2" not in repr(page)


def test_a_name_that_is_no_file_name_leads_to_no_file(tmp_path: Path) -> None:
    records: list[Record] = [
        task_status(TaskState.ACTIVE),
        header("t"),
        *run_records("a/b", None),
        *run_records("..", None),
    ]
    facts = facts_of(replayed(records), str(tmp_path), "t")
    page = task_page(list(task_pages(facts, dataclasses.replace(OPTIONS, max_bytes=1), NOW_S)))
    assert [row.href for row in page.processes] == [None, None]
    assert [row.stdout.href for row in page.processes] == [None, None]


def test_references_of_thermos_are_filled_in(tmp_path: Path) -> None:
    task = {"name": "t", "processes": [{"name": "p", "cmdline": "serve {{thermos.ports[http]}}"}]}
    write_task(tmp_path, "t", success("t", "p", ports={"http": 31000}), task_json=json.dumps(task))
    assert process_page(collect(tmp_path), "p").cmdline == "serve 31000"


def test_older_runs_have_pages_where_their_logs_are(tmp_path: Path) -> None:
    logs = tmp_path / "s" / ".logs"
    records: list[Record] = [task_status(TaskState.ACTIVE), header("t", sandbox=str(tmp_path / "s"), log_dir=str(logs))]
    for number in range(9):
        records += run_records("p", ProcessState.FAILED, seq=4 * number, code=1, at_s=float(2 * number))
        if number != 7:
            write_logs(logs, "p", number, stderr=b"run %d\n" % number)
    write_task(tmp_path, "t", records, True, definition("p", max_failures=0))
    found = collect(tmp_path, is_active=True)
    older = [page for page in found if isinstance(page, pages.LogPage)]
    assert [page.run.number for page in older] == [6, 5, 4, 3, 2]
    assert older[0].path == "log/p/6.html"
    assert older[0].process.href == "../../process/p.html"
    assert [span.text for span in older[0].logs[1].spans] == ["run 6\n"]
    runs = process_page(found, "p").runs
    assert [run.number for run in runs] == list(range(8, -1, -1))
    assert runs[0].stderr.href == "#stderr"
    assert runs[2].stderr.href == "../log/p/6.html#stderr"
    assert runs[8].stderr.href == f"file://{logs}/p/0/stderr", "no page: the file"


def test_in_a_site(tmp_path: Path) -> None:
    write_task(tmp_path, "t", success("t"))
    found = collect(tmp_path, options=dataclasses.replace(OPTIONS, index_href=True), prefix="task/t/")
    assert {page.path for page in found} >= {"task/t/index.html", "task/t/process/hello.html"}
    assert task_page(found).index_href == "../../index.html"
    assert process_page(found, "hello").index_href == "../../../index.html"
    assert process_page(found, "hello").task.href == "../index.html"


def test_raw_links_through_an_agent_and_from_within_a_sandbox(tmp_path: Path) -> None:
    run = tmp_path / "slaves/S/frameworks/F/executors/thermos-t/runs/R"
    sandbox = run / "sandbox"
    write_logs(sandbox / ".logs", "p", 0, stdout=b"x\n")
    records: list[Record] = [
        task_status(TaskState.ACTIVE),
        header("t", sandbox=str(sandbox), log_dir=str(sandbox / ".logs")),
        *run_records("p", None),
    ]
    root = run / "checkpoints"
    write_task(root, "t", records, True, definition("p"))
    agent = "http://agent:5051"
    options = dataclasses.replace(OPTIONS, agent=agent, raw_links=AgentLinks(agent))
    log = process_page(collect(root, is_active=True, options=options), "p").logs[0]
    assert log.raw.href == f"{agent}/files/download?path={sandbox}/.logs/p/0/stdout"
    assert log.follow == parts.Follow(agent=agent, path=f"{sandbox}/.logs/p/0/stdout", offset=2)
    within = dataclasses.replace(OPTIONS, raw_links=RelativeLinks())
    log = process_page(collect(root, is_active=True, options=within), "p").logs[0]
    assert log.raw.href == "../../.logs/p/0/stdout", "from .thermos-pages/process/p.html"


def test_usage_history_and_health(tmp_path: Path) -> None:
    resources = {"cpu": 1.0, "ram": 1 << 20, "disk": 1 << 30}
    task = {"name": "t", "processes": [{"name": "p", "cmdline": "x"}], "resources": resources}
    write_task(
        tmp_path, "t", [task_status(TaskState.ACTIVE), header("t"), *run_records("p", None)], True, json.dumps(task)
    )
    used = Usage(
        NOW_S, float("nan"), 1 << 19, None, None, 1.0, 0.5, 3, 9, None, 10, 2, None, None
    )  # fmt: skip
    history = [UsagePoint(NOW_S - 60 + second, 0.5, 1 << 19, None) for second in range(60)]
    found = collect(tmp_path, is_active=True, usage=TaskUsage(used, {"p": used}, 77), history=history)
    page = task_page(found)
    assert page.usage is not None and page.health is None
    assert (page.usage.cpu, page.usage.ram_bytes, page.usage.disk_bytes, page.usage.read_bytes) == (
        None, 1 << 19, 77, None,
    )  # fmt: skip
    assert page.processes[0].usage is not None and page.processes[0].usage.disk_bytes is None
    assert process_page(found, "p").usage == page.processes[0].usage
    assert [chart.title for chart in page.charts] == ["CPU", "Memory"]
    assert page.reserved == parts.Reserved(cpu=1.0, ram_bytes=1 << 20, disk_bytes=1 << 30)


def test_a_row_of_the_index(tmp_path: Path) -> None:
    write_task(tmp_path, "t", success("t", ports={"http": 80, "admin": 81}))
    facts = read_facts(str(tmp_path), "t", False)
    row = task_row(facts, None, OPTIONS, "t~k", True, "finished/3.html")
    assert (row.href, row.browse_href) == ("../task/t~k/index.html", "../task/t~k/browse.html")
    assert (row.state, row.role, row.since_s) == ("SUCCESS", "root", START_S + 3)
    assert row.notice == "its definition cannot be read"
    assert [port.name for port in row.ports] == ["admin", "http"]
    assert task_row(facts, None, OPTIONS, "t~k", False).href is None
    gone = task_row(read_facts(str(tmp_path), "none", True), None, OPTIONS, None, True)
    assert (gone.state, gone.href, gone.notice) == (None, None, "nothing readable is recorded")


# -- What must not happen ---------------------------------------------------------------------------------------------


@needs_golden
@pytest.mark.parametrize("root", ["root", "root-damaged"])
def test_every_golden_task_has_pages(root: str) -> None:
    found = list(list_tasks(str(GOLDEN / root)))
    assert len(found) >= 4
    for where, task_id in found:
        for page in collect(GOLDEN / root, task_id, where == "active"):
            check(page)


HOSTS = ["javascript:alert(1)//", "a b", "x/../y", "\ud800", "h\n:1", "ü", "h@evil", '"><script>', "::1", "1.2.3.4"]


@pytest.mark.parametrize("host", HOSTS)
def test_a_port_leads_to_a_host_and_nowhere_else(host: str) -> None:
    from urllib.parse import urlsplit

    from observer_static.context import port_href

    href = port_href(host, 80)
    parts = urlsplit(href)
    assert parts.scheme == "http" and parts.port == 80 and not parts.path and parts.username is None
    assert parts.hostname in {"localhost", "::1", "1.2.3.4"}


@pytest.mark.parametrize(
    "name", ["../../etc", "..", "/etc/passwd", "a/b", "\0", "\ud800x", "n" * 10_000_000, "\n", "-rf"]
)
def test_hostile_names_of_processes_and_tasks(tmp_path: Path, name: str) -> None:
    state = replayed([task_status(TaskState.ACTIVE), header(name), *run_records(name, ProcessState.FAILED, code=1)])
    found = list(task_pages(facts_of(state, str(tmp_path), "t"), OPTIONS, NOW_S))
    for page in found:
        check(page)
    assert sum(len(repr(page)) for page in found) < 100_000
    row = task_page(found).processes[0]
    assert row.stdout.href is not None and row.stdout.href.startswith("process/")
    read_facts(str(tmp_path), name, True)


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 3000 + b"1" + b"}" * 3000,
        b"1" * 10_000,
        b'{"name": 1e999, "processes": []}',
        b'"\\ud800"',
        b"null",
        b" " * (MAX_TASK_FILE_BYTES + 1),
        b'{"processes": [{"name": "\\ud800", "cmdline": "\\u202e"}]}',
        b'{"name": "t", "processes": [], "resources": {"cpu": NaN, "ram": -1, "disk": 1' + b"0" * 400 + b"}}",
    ],
)  # fmt: skip
def test_hostile_definitions(tmp_path: Path, raw: bytes) -> None:
    write_task(tmp_path, "t", success("t"))
    (tmp_path / "tasks/finished/t").write_bytes(raw)
    for page in collect(tmp_path):
        check(page)


def test_hostile_places(tmp_path: Path) -> None:
    for place in ("/etc", "/", "relative", "", "\0", "/proc/self/root", str(tmp_path / "\ud800"), "x" * 100_000):
        state = replayed([task_status(TaskState.ACTIVE), header("t", sandbox=place, log_dir=place, hostname=place)])
        for page in task_pages(facts_of(state, str(tmp_path), "t"), OPTIONS, NOW_S):
            check(page)


def test_a_daemon_of_a_hundred_thousand_runs_stays_small(tmp_path: Path) -> None:
    records: list[Record] = [task_status(TaskState.ACTIVE), header("t")]
    for number in range(100_000):
        records += run_records("d", ProcessState.FAILED, seq=4 * number, code=1, at_s=2.0 * number)
    facts = facts_of(replayed(records), str(tmp_path), "t")
    found = list(task_pages(facts, OPTIONS, NOW_S + 200_000))
    timeline = task_page(found).timeline
    assert timeline is not None
    bars = timeline.lanes[0].bars
    assert 100 < len(bars) <= 500
    assert timeline.lanes[0].left_out == 100_000 - len(bars)
    assert "FAILED" in bars[0].text
    page = process_page(found, "d")
    assert len(page.runs) + page.left_out == 100_000


def facts_of(state: RunnerState, root: str, task_id: str, **more: Any) -> TaskFacts:
    fields: dict[str, Any] = {
        "is_active": True, "task": None, "raw": None, "trouble": None, "findings": (), "mtime_s": None,
        "has_runner": None,
    }  # fmt: skip
    return TaskFacts(root=root, task_id=task_id, state=state, **{**fields, **more})


def replayed(records: Iterable[Record]) -> RunnerState:
    """What the records come to; those that do not fit are passed over."""
    state = RunnerState()
    for record in records:
        try:
            state.apply(record)
        except IllegalMove:
            continue
    return state


# -- Every field has its type, whatever the records say --------------------------------------------------------------


@functools.cache
def hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def fits(value: Any, wanted: Any) -> bool:
    """Whether *value* is of the type that a field declares."""
    origin = typing.get_origin(wanted)
    if wanted is None or wanted is type(None):
        return value is None
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in typing.get_args(wanted))
    if origin is tuple:
        arguments = typing.get_args(wanted)
        if not isinstance(value, tuple):
            return False
        if arguments[-1] is Ellipsis:
            return all(fits(one, arguments[0]) for one in value)
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if wanted is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value - value == 0
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, wanted) and (not dataclasses.is_dataclass(value) or is_right(value))


def is_right(part: Any) -> bool:
    for name, wanted in hints(part.__class__).items():
        value = getattr(part, name)
        assert fits(value, wanted), f"{type(part).__name__}.{name} is {value!r:.200}"
        if name.endswith("_s") and value is not None and "cpu" not in name and "duration" not in name:
            assert 0 <= value <= LATEST_S, name
        if name.endswith("href") and value is not None:
            assert value.startswith(("http://", "https://", "file:///")) or ":" not in value.split("/")[0], value
            assert value.isascii() and value.isprintable() and '"' not in value
        if isinstance(value, str) and not isinstance(part, (parts.Span, pages.RawPage)) and name != "cmdline":
            assert value.isprintable(), (name, value)
    return True


def check(page: pages.Page) -> None:
    assert is_right(page)
    assert ".." not in page.path.split("/") and page.path.isascii() and len(page.path) < 400


I64 = st.integers(-(2**63), 2**63 - 1)
I32 = st.one_of(st.integers(-(2**31), 2**31 - 1), st.integers(0, 9))
TIMES = st.one_of(st.none(), st.floats(), st.floats(START_S, START_S + 1000), st.sampled_from([1e308, -1.0, 0.0]))
TEXTS = st.one_of(
    st.none(),
    st.text(st.characters(), max_size=12),
    st.sampled_from(["../../etc", "</script>", "password=x", "\ud800", "", "a" * 2000]),
)
NAMES = st.sampled_from(["a", "b", "../../etc", "é\u202e", "\ud800", "x" * 300, "", "final"])
BOOLS = st.one_of(st.none(), st.booleans())
CERTIFICATES = st.one_of(
    st.none(),
    st.builds(
        DeathCertificate,
        signal=st.one_of(st.none(), I32),
        core_dumped=BOOLS,
        oom_killed=BOOLS,
        peak_rss_bytes=st.one_of(st.none(), I64),
        user_cpu_s=TIMES,
        system_cpu_s=TIMES,
        run_s=TIMES,
        stderr_tail=TEXTS,
        stderr_note=TEXTS,
        killed_by=TEXTS,
    ),
)
MOVES = st.builds(
    ProcessStatus,
    seq=st.just(0), process=NAMES, state=st.sampled_from(ProcessState), start_time=TIMES,
    pid=st.one_of(st.none(), I32), stop_time=TIMES, return_code=st.one_of(st.none(), I32), fork_time=TIMES,
    certificate=CERTIFICATES, reason=TEXTS,
)  # fmt: skip
STATUSES = st.builds(
    TaskStatus,
    state=st.sampled_from(TaskState), timestamp_ms=I64, runner_pid=I32, runner_uid=I32, reason=TEXTS,
    forced_end=st.one_of(st.none(), st.sampled_from(TaskState)), deadline_ms=st.one_of(st.none(), I64),
)  # fmt: skip
NOTES = st.builds(
    Note, timestamp_ms=I64, kind=st.sampled_from(["survivors", "log", ""]), text=st.text(max_size=9), process=TEXTS
)
HEADERS = st.builds(
    RunnerHeader,
    task_id=NAMES, launch_time_ms=I64, sandbox=TEXTS, hostname=TEXTS, user=TEXTS,
    ports=st.one_of(st.none(), st.dictionaries(NAMES, I64, max_size=3)), log_dir=TEXTS, uid=st.one_of(st.none(), I32),
)  # fmt: skip
STREAMS = st.lists(st.one_of(MOVES, MOVES, MOVES, STATUSES, NOTES, HEADERS), max_size=40)
TASKS = st.one_of(
    st.none(),
    st.just({
        "name": "t\u202e", "constraints": [{"order": ["a", "b"]}, {"order": ["../../etc", "a"]}],
        "processes": [
            {"name": "a", "cmdline": "password=x", "daemon": True, "max_failures": 0},
            {"name": "b", "cmdline": "\ud800", "ephemeral": True, "logger": {"mode": "rotate", "rotate": {}}},
            {"name": "../../etc", "cmdline": "y" * 4000, "min_duration": 10**300},
            {"name": "final", "cmdline": "z", "final": True},
        ],
        "x_processes": {"a": {"backoff": {"max_s": 1e12, "factor": 1e12, "initial_s": 1e11}}},
    }),
)  # fmt: skip


def in_sequence(records: list[Record]) -> list[Record]:
    """*records*, the moves of each process numbered so that they follow each other."""
    at: dict[str, int] = {}
    found: list[Record] = []
    state = RunnerState()
    for record in records:
        if isinstance(record, ProcessStatus):
            record = record._replace(seq=at.get(record.process, 0))
        try:
            state.apply(record)
        except IllegalMove:
            continue
        if isinstance(record, ProcessStatus):
            at[record.process] = record.seq + 1
        found.append(record)
    return found


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None)
@given(STREAMS, TASKS, st.booleans(), BOOLS, st.sampled_from([5 << 20, 80_000, 1]))
def test_whatever_the_records_say_there_are_pages(
    tmp_path: Path, records: list[Record], task: Any, is_active: bool, has_runner: bool | None, max_bytes: int
) -> None:
    from thermos.formats import task_json

    raw = json.dumps(task).encode() if task is not None else None
    facts = facts_of(
        replayed(in_sequence(records)), str(tmp_path), "t", is_active=is_active, has_runner=has_runner, raw=raw,
        task=task_json.decode(raw, "t") if raw is not None else None,
    )  # fmt: skip
    options = dataclasses.replace(OPTIONS, max_bytes=max_bytes)
    found = list(task_pages(facts, options, NOW_S))
    assert isinstance(found[0], pages.TaskPage)
    for page in found:
        check(page)
    paths = [page.path for page in found]
    assert len(paths) == len(set(paths))
    is_right(task_row(facts, None, options, "k", True))


def test_links_lead_to_pages_that_are_there(tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(40)]
    records: list[Record] = [task_status(TaskState.ACTIVE), header("t")]
    for name in names:
        records += run_records(name, ProcessState.FAILED, code=1)
    write_task(tmp_path, "t", records, True, definition(*names))
    for max_bytes in (60_000, 300_000, 5 << 20):
        found = collect(tmp_path, is_active=True, options=dataclasses.replace(OPTIONS, max_bytes=max_bytes))
        there = {page.path for page in found}
        page = task_page(found)
        assert page.timeline is None or {lane.href for lane in page.timeline.lanes} <= {*there, None}
        assert {row.href for row in page.processes} - {None} == there - {layout.INDEX, layout.RAW, layout.BROWSE}
        assert {page.browse_href, page.raw_href} - {None} == there & {layout.RAW, layout.BROWSE}
        assert len(page.processes) + page.left_out == 40


def test_facts_of_what_is_no_file(tmp_path: Path) -> None:
    for name in ("tasks/active/t", "checkpoints/t/runner"):
        (tmp_path / name).parent.mkdir(parents=True)
        os.mkfifo(tmp_path / name)
    facts = read_facts(str(tmp_path), "t", True)
    assert facts.task is None and facts.findings and facts.trouble is not None
    for task_id in ("", ".", "..", "a/b", "\0", "x" * 300):
        assert read_facts(str(tmp_path), task_id, True).findings


# -- Health -----------------------------------------------------------------------------------------------------------

ILL = Health(Verdict.UNHEALTHY, "GET /health \u202e gave 503", NOW_S - 60)


#: Says it, and lives until it is killed.
EXECUTOR = """
import sys
from thermos.executor.health_record import HealthRecord
from thermos.formats.health_file import decode
record = HealthRecord(sys.argv[1], "t")
record.write(decode(sys.argv[2].encode()))
print("said", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def executor_that_said(health: Health, root: Path) -> Iterator[None]:
    command = [sys.executable, "-c", EXECUTOR, str(root), encode(health).decode()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"said\n"
        yield
        process.kill()


def health_of(root: Path) -> tuple[parts.Health | None, bool | None]:
    """What the page says of the active task, and what its row says."""
    facts = read_facts(str(root), "t", True)
    return task_page(list(task_pages(facts, OPTIONS, NOW_S))).health, task_row(
        facts, None, OPTIONS, "t", True
    ).is_healthy


def test_what_an_executor_says_of_health_holds_as_long_as_it_lives(tmp_path: Path) -> None:
    write_task(tmp_path, "t", [task_status(TaskState.ACTIVE), header("t")], True)
    assert health_of(tmp_path) == (None, None)
    with executor_that_said(ILL, tmp_path):
        text = "GET /health \\u202e gave 503"
        now = parts.Health(is_current=True, is_healthy=False, text=text, since_s=NOW_S - 60)
        assert health_of(tmp_path) == (now, False)
    assert health_of(tmp_path) == (replace(now, is_current=False), None), "it is the last that was known"


def test_a_task_that_nobody_checks_and_a_verdict_that_is_not_there_yet(tmp_path: Path) -> None:
    write_task(tmp_path, "t", [task_status(TaskState.ACTIVE), header("t")], True)
    record = HealthRecord(str(tmp_path), "t")
    record.write(Health(Verdict.UNCHECKED, "", None))
    page, row = health_of(tmp_path)
    assert page is not None and (page.is_checked, page.is_healthy, row) == (False, None, None)
    record.write(Health(Verdict.UNDECIDED, "Waits.", None))
    page, row = health_of(tmp_path)
    assert page is not None and (page.is_checked, page.is_healthy, page.text, row) == (True, None, "Waits.", None)
    record.close()


@pytest.mark.parametrize("how", ["link", "hard link", "fifo", "huge", "damaged", "open to all", "somebody else's"])
def test_a_health_file_that_cannot_be_believed_is_none(tmp_path: Path, how: str) -> None:
    write_task(tmp_path, "t", [task_status(TaskState.ACTIVE), header("t")], True)
    path = Path(paths.health_file(str(tmp_path), "t"))
    path.write_bytes(encode(ILL))
    assert health_of(tmp_path)[0] is not None
    other = tmp_path / "other"
    if how == "link":
        path.rename(other)
        path.symlink_to(other)
    elif how == "hard link":
        other.hardlink_to(path)
    elif how == "fifo":
        path.unlink()
        os.mkfifo(path)
    elif how == "huge":
        path.write_bytes(encode(ILL) + b" " * MAX_BYTES)
    elif how == "damaged":
        path.write_bytes(encode(ILL)[:-9])
    elif how == "open to all":
        path.chmod(0o666)
    elif os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    else:
        pytest.skip("giving a file away takes root")
    assert health_of(tmp_path) == (None, None)
