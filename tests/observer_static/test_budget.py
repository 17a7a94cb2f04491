"""All pages of a task stay within their room, as they are really rendered."""

from __future__ import annotations

import dataclasses
import gzip
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observer_static import pages, parts
from observer_static.budget import LEAST_BYTES, SMALL_BYTES, OlderRun, plan, room_bytes
from observer_static.collect import task_pages
from observer_static.facts import HealthClaim, read_facts
from observer_static.history import UsagePoint
from observer_static.options import Options, RawLinks
from observer_static.render import Renderer
from observer_static.sizes import page_bytes
from tests.thermos.cli.command import (
    GOLDEN,
    START_MS,
    START_S,
    header,
    needs_golden,
    run_records,
    task_status,
    write_task,
)
from thermos.checkpoints import list_tasks
from thermos.formats.health_file import Verdict
from thermos.host.usage import TaskUsage, Usage
from thermos.records import DeathCertificate, Note, Record
from thermos.states import ProcessState, TaskState

OPTIONS = Options(writer="test", version="1", hostname="here")
NOW_S = START_S + 1000
MB = 1 << 20


@cache
def renderer() -> Renderer:
    return Renderer()


def rendered(root: Path, task_id: str = "t", is_active: bool = True, **more: Any) -> dict[str, bytes]:
    """Every page's content, each no longer than was counted."""
    found = {}
    options = more.pop("options", OPTIONS)
    facts = replace(read_facts(str(root), task_id, is_active), health=more.pop("health", None))
    resources = facts.task.resources if facts.task is not None else None
    left = room_bytes(options.max_bytes, resources.disk if resources is not None else None)
    for page in task_pages(facts, options, NOW_S, **more):
        content = renderer().render(page).content
        counted = page_bytes(page)
        assert len(content) <= counted, f"{page.path}: {len(content)} bytes, {counted} were counted"
        left -= counted
        assert left >= 0, f"{page.path}: {counted} bytes were counted, {-left} too many"
        found[page.path] = content
    return found


def write_big_task(
    root: Path, processes: int, disk_bytes: int | None, log: bytes = b"", runs: int = 1, name: str = "process-{}"
) -> None:
    """A task in which everything is there: ports, notes, failures, logs, certificates."""
    sandbox = root / "sandbox"
    names = [name.format(number) for number in range(processes)]
    records: list[Record] = [
        task_status(TaskState.ACTIVE),
        header(
            "t", sandbox=str(sandbox), log_dir=str(sandbox / ".logs"),
            ports={f"port{number}": 31000 + number for number in range(5)},
        ),
        Note(START_MS, "log", "cannot be written: No space left on device", names[0]),
    ]  # fmt: skip
    certificate = DeathCertificate(
        signal=9, core_dumped=True, oom_killed=False, peak_rss_bytes=MB, user_cpu_s=1.0, system_cpu_s=2.0, run_s=1.0,
        stderr_tail="<b>&\x1b[31mred\x1b[0m\n" * 100, stderr_note="cut", killed_by="somebody",
    )  # fmt: skip
    for place, each in enumerate(names):
        for number in range(runs):
            state = ProcessState.FAILED if (place + number) % 2 else ProcessState.SUCCESS
            if number == runs - 1 and place % 3 == 0:
                records += run_records(each, None, 4 * number, at_s=float(place + 3 * number))
            else:
                records += run_records(
                    each, state, 4 * number, code=1, at_s=float(place + 3 * number), certificate=certificate
                )
            if log:
                where = sandbox / ".logs" / each / str(number)
                where.mkdir(parents=True)
                for stream in ("stdout", "stderr", "stderr.1"):
                    (where / stream).write_bytes(log)
    resources = {"cpu": 2.0, "ram": 128 * MB, "disk": disk_bytes} if disk_bytes is not None else None
    task = {
        "name": "t",
        "processes": [
            {"name": each, "cmdline": f"TOKEN=x run '{each}' && echo <done>", "max_failures": 0, "daemon": True}
            for each in names
        ],
        "constraints": [{"order": names[-3:]}],
    }
    write_task(root, "t", records, True, json.dumps({**task, "resources": resources} if resources else task))


USED = Usage(
    NOW_S, 1.234, MB, MB, MB, 12.5, 3.5, 7, 99, 12345678, 2345678, 3, 0, "sleeping"
)  # fmt: skip


def everything(processes: int) -> dict[str, Any]:
    """All that is measured."""
    names = [f"process-{number}" for number in range(processes)]
    return {
        "usage": TaskUsage(USED, dict.fromkeys(names, USED), 5 * MB),
        "history": [
            UsagePoint(NOW_S - 3600 + n, (n * 7919 % 100) / 37, n * 7919 % 1000 * MB, n * MB) for n in range(3600)
        ],
        "health": HealthClaim(Verdict.UNHEALTHY, "<" * 300, START_S, None),
    }  # fmt: skip


#: Logs as they may be: each byte becomes many on a page.
LOGS = {
    "plain": b"a line of a log like any other\n" * 20_000,
    "markup": b"<&\"'>" * 100_000,
    "colours": b"".join(b"\x1b[3%dmx" % (number % 8) for number in range(100_000)),
    "no text": bytes(range(256)) * 2000,
    "wrong utf-8": b"\xff\xc3a\n" * 100_000,
    "turned around": "\u202e\u2066a\n".encode() * 60_000,
}


@pytest.mark.parametrize("disk_bytes", [8 * MB, 64 * MB, 300 * MB, None])
@pytest.mark.parametrize("kind", LOGS)
def test_all_pages_of_a_task_stay_within_their_room(tmp_path: Path, disk_bytes: int | None, kind: str) -> None:
    write_big_task(tmp_path, 12, disk_bytes, LOGS[kind], runs=3)
    found = rendered(tmp_path, **everything(12))
    total = sum(map(len, found.values()))
    assert total <= min(5 * MB, (disk_bytes or 1000 * MB) // 100)
    assert next(iter(found)) == "index.html"
    if disk_bytes is None:
        assert len(found) == 1 + 12 + 24 + 2, "everything fits"
        assert total > MB or kind in ("no text", "wrong utf-8")


@pytest.mark.parametrize("processes", [1, 100, 3000])
@pytest.mark.parametrize("disk_bytes", [0, 1 * MB, 8 * MB, 64 * MB, None])
def test_a_task_page_is_always_written_and_useful(tmp_path: Path, processes: int, disk_bytes: int | None) -> None:
    write_big_task(tmp_path, processes, disk_bytes)
    found = rendered(tmp_path, **everything(processes))
    assert sum(map(len, found.values())) <= max(min(5 * MB, (disk_bytes or 1000 * MB) // 100), LEAST_BYTES)
    text = found["index.html"].decode()
    assert "ACTIVE" in text and "process-0" in text
    if disk_bytes == 64 * MB and processes == 100:
        assert text.count("process-99") and len(found) > 4


def test_what_failed_comes_first(tmp_path: Path) -> None:
    records: list[Record] = [
        task_status(TaskState.ACTIVE),
        header("t", sandbox=str(tmp_path / "s"), log_dir=str(tmp_path / "s/.logs")),
    ]
    names = [f"fine{number}" for number in range(30)]
    for name in names:
        records += run_records(name, ProcessState.SUCCESS, code=0)
    records += run_records("runs", None)
    records += run_records("fails", ProcessState.FAILED, code=1, at_s=0.5)
    for name in ("fails", "fine0"):
        where = tmp_path / "s/.logs" / name / "0"
        where.mkdir(parents=True)
        (where / "stderr").write_bytes(b"this is why\n" * 20_000)
    task = {"processes": [{"name": name, "cmdline": "x"} for name in [*names, "runs", "fails"]]}
    write_task(tmp_path, "t", records, True, json.dumps({"name": "t", **task}))
    found = rendered(tmp_path, options=dataclasses.replace(OPTIONS, max_bytes=140_000))
    assert list(found)[:3] == ["index.html", "process/fails.html", "process/runs.html"]
    assert found["process/fails.html"].count(b"this is why") > 100
    assert "process/fine29.html" not in found


@pytest.mark.parametrize("kind", LOGS)
def test_one_process_takes_no_more_than_there_is(tmp_path: Path, kind: str) -> None:
    write_big_task(tmp_path, 1, None, LOGS[kind])
    found = rendered(tmp_path, options=dataclasses.replace(OPTIONS, max_bytes=400_000))
    assert sum(map(len, found.values())) <= 400_000
    assert len(found["process/process-0.html"]) > 60_000 or kind in ("no text", "wrong utf-8")


def test_of_thousands_of_processes_as_many_stand_in_the_table_as_fit(tmp_path: Path) -> None:
    write_big_task(tmp_path, 3000, 64 * MB)
    page = next(task_pages(read_facts(str(tmp_path), "t", True), OPTIONS, NOW_S))
    assert isinstance(page, pages.TaskPage)
    assert 100 < len(page.processes) < 1000 and len(page.processes) + page.left_out == 3000
    assert {row.group for row in page.processes} == {"failed"}, "those matter most"


def test_a_page_of_a_hundred_processes_is_small(tmp_path: Path) -> None:
    write_big_task(tmp_path, 100, None, runs=5)
    found = rendered(tmp_path, **everything(100))
    assert len(gzip.compress(found["index.html"])) <= 150 << 10


def test_a_huge_log_costs_no_more_than_its_end(tmp_path: Path) -> None:
    write_big_task(tmp_path, 1, None, b"x\n")
    log = tmp_path / "sandbox/.logs/process-0/0/stdout"
    with log.open("r+b") as file:
        file.truncate(1 << 40)
        file.seek((1 << 40) - 3)
        file.write(b"\nz\n")
    page = rendered(tmp_path)["process/process-0.html"]
    assert len(page) < 3 * (256 << 10)


@needs_golden
@pytest.mark.parametrize("root", ["root", "root-damaged"])
def test_golden_tasks_are_counted_right(root: str) -> None:
    for where, task_id in list_tasks(str(GOLDEN / root)):
        assert rendered(GOLDEN / root, task_id, where == "active")


NASTY = st.text(st.sampled_from("<>&\"'a\u202e\0é\U0001f600\n\ud800"), min_size=1, max_size=150)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], deadline=None)
@given(NASTY, NASTY, st.integers(1, 5), st.booleans())
def test_nasty_texts_are_counted_right(tmp_path: Path, name: str, reason: str, count: int, link: bool) -> None:
    names = [f"{name}{number}" for number in range(count)]
    records: list[Record] = [
        task_status(TaskState.ACTIVE, reason=reason),
        header(
            "t", user=reason, hostname=reason, sandbox="/" + reason, log_dir="/" + reason, ports={reason: 1, name: 2}
        ),
        *[Note(START_MS, "survivors", reason, name)] * count,
    ]
    certificate = DeathCertificate(stderr_tail=reason, killed_by=reason, stderr_note=reason)
    for each in names:
        records += run_records(each, ProcessState.FAILED, code=1, reason=reason, certificate=certificate)
    task = {
        "name": name,
        "processes": [{"name": each, "cmdline": reason} for each in names],
        "constraints": [{"order": names}],
    }
    write_task(tmp_path, "t", records, True, json.dumps(task))
    options = dataclasses.replace(OPTIONS, index_href=link)
    rendered(tmp_path, options=options, prefix="task/t/" if link else "")


STAMP = parts.Stamp(written_at_s=NOW_S, writer="w", version="1", hostname="h")
TASK = parts.Link(text="THETASK", href="index.html")


@pytest.mark.parametrize("text", ["<", "&", '"', "'", "\u202e", "\0", "\ud800", "é", "\U0001f600", "a", "\u2066<"])
def test_each_character_is_counted_for_what_it_becomes(text: str) -> None:
    page = pages.RawPage(
        path="raw.html", stamp=STAMP, index_href=None, task=TASK, text=text * 20_000, redacted=0, note=None
    )
    assert len(renderer().render(page).content) <= page_bytes(page)


def test_texts_stand_on_a_page_no_more_often_than_is_counted(tmp_path: Path) -> None:
    write_big_task(tmp_path, 1, None, b"x\n", runs=2, name="THENAME")
    options = dataclasses.replace(OPTIONS, raw_links=RawLinks())  # paths hold names too
    found = list(task_pages(read_facts(str(tmp_path), "t", True), options, NOW_S))

    def often(kind: type[pages.Page], **texts: str) -> None:
        page = next(page for page in found if isinstance(page, kind))
        for field, text in texts.items():
            marked = _with_text(page, field, text)
            plain = _with_text(page, field, "")
            assert renderer().render(marked).content.count(text.encode()) <= (
                page_bytes(marked) - page_bytes(plain)
            ) / len(text), field

    often(pages.TaskPage, name="ANAME", task_id="ANID", headline="AHEAD", hostname="AHOST", role="AROLE", root="AROOT")
    often(pages.ProcessPage, **{"row.name": "ANAME", "row.words": "WORDS", "task.text": "ATASK", "cmdline": "ACMD"})
    often(pages.LogPage, **{"process.text": "ANAME", "task.text": "ATASK", "run.words": "WORDS"})
    often(pages.BrowsePage, **{"task.text": "ATASK", "sandbox": "ABOX"})
    often(pages.RawPage, **{"task.text": "ATASK", "text": "ATEXT"})


def _with_text(page: Any, field: str, text: str) -> Any:
    name, _, below = field.partition(".")
    value = _with_text(getattr(page, name), below, text) if below else text
    return dataclasses.replace(page, **{name: value})


def test_the_room_is_that_of_the_options_or_of_the_disk() -> None:
    assert room_bytes(5 * MB, None) == 5 * MB
    assert room_bytes(5 * MB, 0) == 5 * MB
    assert room_bytes(5 * MB, 200 * MB) == 2 * MB
    assert room_bytes(5 * MB, 1 << 50) == 5 * MB
    assert room_bytes(5 * MB, 1) == LEAST_BYTES


def test_plans() -> None:
    names = [f"p{number}" for number in range(5)]
    older = [OlderRun("p0", number, float(number)) for number in range(20)]
    whole = plan(5 * MB, 30_000, True, names, older)
    assert list(whole.processes) == names and whole.has_raw and whole.browse_bytes
    assert list(whole.logs) == [("p0", number) for number in (19, 18, 17, 16, 15)]
    none = plan(SMALL_BYTES - 1, 30_000, True, names, older)
    assert not none.processes and not none.logs and not none.browse_bytes
    one = plan(SMALL_BYTES, 25_000, True, names, older)
    assert list(one.processes) == ["p0"] and not one.has_raw and not one.browse_bytes and not one.logs
    for left in range(0, 2 * MB, 9973):
        made = plan(left, 30_000, True, names, older)
        taken = SMALL_BYTES * (len(made.processes) + len(made.logs)) + made.spare_bytes + made.browse_bytes
        assert taken + 30_000 * made.has_raw <= max(left, 0)
