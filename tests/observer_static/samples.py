"""Pages as they look on a night when something is wrong: realistic values for every template and for the browser."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from observer_static.charts import usage_charts
from observer_static.history import UsagePoint
from observer_static.pages import BrowsePage, IndexPage, LogPage, Page, ProcessPage, RawPage, TaskPage
from observer_static.parts import (
    Bar,
    Certificate,
    Entry,
    Follow,
    Health,
    Lane,
    Link,
    Log,
    Notice,
    Port,
    ProcessRow,
    Reserved,
    RunRow,
    Span,
    Stamp,
    StateChange,
    TaskRow,
    Tick,
    Timeline,
    Usage,
)

#: 2026-11-21 01:40:11 UTC.
NOW_S: Final = 1795225211.0
HOST: Final = "rack7-node42.example.com"
TASK: Final = "1795215600123-www-data-prod-checkout-3-6f1c2f0a"
SANDBOX: Final = (
    "/var/lib/mesos/slaves/8a1d2c3e-S12/frameworks/20261101-000001/executors/"
    "thermos-1795215600123-www-data-prod-checkout-3-6f1c2f0a/runs/5b6b/sandbox"
)
AGENT: Final = "http://127.0.0.1:5051"
STAMP: Final = Stamp(written_at_s=NOW_S, writer="thermos_observer", version="0.1.0", hostname=HOST)
MIB: Final = 1 << 20
NOWHERE: Final = Link(text="stdout", href=None)
NO_USAGE: Final = Reserved(cpu=None, ram_bytes=None, disk_bytes=None)


def usage(cpu: float, mib: float, disk_mib: float | None = None) -> Usage:
    return Usage(
        at_s=NOW_S - 4,
        cpu=cpu,
        ram_bytes=int(mib * MIB),
        disk_bytes=int(disk_mib * MIB) if disk_mib is not None else None,
        processes=3,
        threads=41,
        descriptors=212,
        read_bytes=91_226_112,
        written_bytes=4_512_331_008,
        user_cpu_s=5210.42,
        system_cpu_s=312.9,
    )


def process_row(name: str, group: str, state: str | None, words: str, **fields: object) -> ProcessRow:
    has_run = state not in (None, "WAITING")
    href = f"process/{name}.html"
    row = ProcessRow(
        name=name,
        href=href,
        group=group,
        state=state,
        words=words,
        run=0 if state is not None else None,
        runs=1 if state is not None else 0,
        failures=0,
        max_failures=1,
        return_code=None,
        start_s=NOW_S - 9600 if has_run else None,
        stop_s=None,
        due_at_s=None,
        after=(),
        waits_for=(),
        traits=(),
        usage=None,
        stdout=Link(text="stdout", href=f"{href}#stdout" if has_run else None),
        stderr=Link(text="stderr", href=f"{href}#stderr" if has_run else None),
    )
    return replace(row, **fields)  # type: ignore[arg-type]


PROCESSES: Final = (
    process_row("fetch-artifact", "success", "SUCCESS", "finished", return_code=0, stop_s=NOW_S - 9588.3),
    process_row(
        "migrate-schema", "success", "SUCCESS", "finished after 1 failure", run=1, runs=2, failures=1, max_failures=3,
        return_code=0, start_s=NOW_S - 9580, stop_s=NOW_S - 9411.7, after=("fetch-artifact",),
    ),
    process_row(
        "server", "running", "RUNNING", "runs since 2 h 36 min", start_s=NOW_S - 9400, usage=usage(1.284, 1890.4),
        after=("migrate-schema",),
    ),
    process_row(
        "log-shipper", "running", "RUNNING", "runs since 12 s", run=7, runs=8, failures=7, max_failures=0,
        start_s=NOW_S - 12, usage=usage(0.031, 38.2), traits=("daemon", "ephemeral"),
    ),
    process_row(
        "cache-warmer", "failed", "FAILED",
        "failed with exit code 137: a command of it was ended by SIGKILL: somebody killed it, or the kernel did when "
        "memory ran out; starts again in 25 s",
        run=4, runs=5, failures=5, max_failures=10, return_code=137, start_s=NOW_S - 65, stop_s=NOW_S - 5.2,
        due_at_s=NOW_S + 25, after=("server",),
    ),
    process_row("metrics-relay", "waiting", "LOST", "lost: nobody saw how it ended; starts again", run=2, runs=3,
                max_failures=0, start_s=NOW_S - 4000, traits=("daemon",)),
    process_row("report", "waiting", None, "waits for cache-warmer to succeed", after=("server", "cache-warmer"),
                waits_for=("cache-warmer",)),
    process_row("upload-core-dumps", "waiting", None, "runs when the others are over", traits=("final",)),
    process_row("deregister", "killed", "KILLED", "killed with SIGTERM", return_code=-15, stop_s=NOW_S - 3000,
                traits=("final",)),
)  # fmt: skip


def _bar(start_s: float, stop_s: float, state: str, number: int) -> Bar:
    scale = 1000 / 9600
    return Bar(
        x=round((start_s + 9600) * scale, 1),
        width=max(round((stop_s - start_s) * scale, 1), 1),
        state=state,
        text=f"Run {number}: {state}, from 2026-11-21 00:00:00 UTC, for {stop_s - start_s:.1f} s",
        href="process/cache-warmer.html",
    )


TIMELINE: Final = Timeline(
    width=1000,
    lane_height=18,
    lanes=(
        Lane(name="fetch-artifact", href="process/fetch-artifact.html", bars=(_bar(-9600, -9588, "SUCCESS", 0),),
             left_out=0),
        Lane(name="migrate-schema", href="process/migrate-schema.html",
             bars=(_bar(-9580, -9500, "FAILED", 0), _bar(-9490, -9411, "SUCCESS", 1)), left_out=0),
        Lane(name="server", href="process/server.html", bars=(_bar(-9400, 0, "RUNNING", 0),), left_out=0),
        Lane(name="log-shipper", href="process/log-shipper.html",
             bars=(*(_bar(-9400 + 1100 * n, -8600 + 1100 * n, "FAILED", n) for n in range(8)),
                   _bar(-12, 0, "RUNNING", 8)), left_out=212),
        Lane(name="cache-warmer", href="process/cache-warmer.html",
             bars=(_bar(-6100, -5500, "FAILED", 0), _bar(-4000, -3700, "FAILED", 1), _bar(-900, -65, "FAILED", 2)),
             left_out=0),
        Lane(name="metrics-relay", href="process/metrics-relay.html",
             bars=(_bar(-9400, -5000, "LOST", 0), _bar(-4900, -4100, "KILLED", 1), _bar(-4000, -3900, "LOST", 2)),
             left_out=0),
    ),
    ticks=(
        Tick(at=31.2, text="23:05"), Tick(at=218.7, text="23:35"), Tick(at=406.2, text="00:05"),
        Tick(at=593.7, text="00:35"), Tick(at=781.2, text="01:05"), Tick(at=968.7, text="01:35"),
    ),
    begin_s=NOW_S - 9600,
    end_s=NOW_S,
    summary="231 runs of 6 processes from 2026-11-20 23:00:11 UTC to 2026-11-21 01:40:11 UTC.",
)  # fmt: skip

RESERVED: Final = Reserved(cpu=2.0, ram_bytes=2048 * MIB, disk_bytes=8192 * MIB)
HISTORY: Final = [
    UsagePoint(
        at_s=NOW_S - 3600 + 30 * n,
        cpu=1.2 + 0.5 * math.sin(n / 7) + 0.1 * (n % 5),
        ram_bytes=int((900 + 8 * n + 40 * math.sin(n / 3)) * MIB),
        disk_bytes=int((3000 + 9 * n) * MIB),
    )
    for n in range(121)
]

TASK_PAGE: Final = TaskPage(
    path=f"task/{TASK}/index.html",
    stamp=STAMP,
    index_href="../../index.html",
    task_id=TASK,
    name="checkout",
    role="www-data",
    hostname=HOST,
    root=f"{SANDBOX}/checkpoints",
    sandbox=SANDBOX,
    is_active=True,
    has_runner=True,
    state="ACTIVE",
    since_s=NOW_S - 9600,
    headline="checkout is ACTIVE since 2 h 40 min; cache-warmer fails again and again: 5 of at most 10 failures, "
    "the last one 5.2 s ago for want of memory. It starts again in 25 s; report waits for it.",
    launched_at_s=NOW_S - 9600,
    ended_at_s=None,
    notices=(
        Notice(level="error", text="The sandbox has used 96 % of its disk; at 100 % the agent kills the task."),
        Notice(level="warning", text="cache-warmer failed 5 times: killed by the kernel: memory ran out."),
        Notice(level="info", text="2 processes survived an earlier run of log-shipper: pids 20117, 20119."),
    ),
    health=Health(is_healthy=False, text="3 of the last 3 checks failed: GET /health gave 503", since_s=NOW_S - 61),
    ports=(
        Port(name="http", number=31_811, href=f"http://{HOST}:31811"),
        Port(name="admin", number=31_812, href=f"http://{HOST}:31812"),
        Port(name="aurora", number=31_811, href=f"http://{HOST}:31811"),
    ),
    usage=usage(1.315, 1928.6, 7864.3),
    reserved=RESERVED,
    charts=usage_charts(HISTORY, RESERVED),
    history=(
        StateChange(state="ACTIVE", at_s=NOW_S - 9600, runner_pid=20_001, reason=None),
        StateChange(state="LOST", at_s=NOW_S - 5000, runner_pid=20_001, reason="the runner came back after a crash"),
        StateChange(state="ACTIVE", at_s=NOW_S - 4990, runner_pid=23_117, reason=None),
    ),
    timeline=TIMELINE,
    processes=PROCESSES,
    left_out=0,
    browse_href="browse.html",
    raw_href="raw.html",
    files=(
        Link(text=f"{SANDBOX}/checkpoints/checkpoints/{TASK}/runner", href=f"file://{SANDBOX}/runner"),
        Link(text=f"{SANDBOX}/checkpoints/tasks/active/{TASK}", href=f"file://{SANDBOX}/task"),
        Link(text=f"{SANDBOX}/.logs", href=None),
    ),
)

MINIMAL_TASK: Final = replace(
    TASK_PAGE,
    path="index.html",
    index_href=None,
    name=TASK,
    role="",
    sandbox=None,
    has_runner=None,
    state=None,
    since_s=None,
    headline="Nothing readable is recorded.",
    launched_at_s=None,
    notices=(),
    health=None,
    ports=(),
    usage=None,
    reserved=NO_USAGE,
    charts=(),
    history=(),
    timeline=None,
    processes=(),
    browse_href=None,
    raw_href=None,
    files=(),
)

STDERR: Final = (
    Span(text="2026-11-21T01:39:06Z ", classes="d"),
    Span(text="INFO ", classes="fg2"),
    Span(text=" warming 212 004 keys from redis-7.example.com:6379\n", classes=""),
    Span(text="2026-11-21T01:39:41Z ", classes="d"),
    Span(text="WARN ", classes="fg3 b"),
    Span(text=" heap at 91 %, collecting (3rd time within 10 s)\n", classes=""),
    Span(text="2026-11-21T01:40:05Z ", classes="d"),
    Span(text=" ERROR ", classes="fg15 bg1 b"),
    Span(text=" allocation of 268 435 456 bytes failed\n", classes="fg1"),
    Span(text="Traceback (most recent call last):\n", classes=""),
    Span(text='  File "/opt/checkout/warm.py", line 118, in load\n', classes="fg6"),
    Span(text="    pages = [fetch(key) for key in keys]\n", classes="fg8"),
    Span(text="MemoryError", classes="fg9 u"),
    Span(text=": <class 'redis.Page'> & others\nKilled\n", classes=""),
)

CERTIFICATE: Final = Certificate(
    signal="SIGKILL",
    is_core_dumped=False,
    is_oom_killed=True,
    peak_ram_bytes=2046 * MIB,
    user_cpu_s=58.21,
    system_cpu_s=3.02,
    killed_by=None,
    stderr=STDERR[9:],
    stderr_note=None,
)


KILLED: Final = replace(
    CERTIFICATE,
    signal="SIGTERM",
    is_oom_killed=None,
    peak_ram_bytes=None,
    killed_by="thermos kill, by alice",
    stderr=(),
    stderr_note="stderr was not kept",
)


def run_row(number: int, state: str = "FAILED", **fields: object) -> RunRow:
    start = NOW_S - 65 - 900 * (4 - number)
    log = f"../log/cache-warmer/{number}.html"
    row = RunRow(
        number=number,
        state=state,
        words="killed by the kernel: memory ran out (exit code 137)",
        pid=24_000 + 17 * number,
        start_s=start,
        stop_s=start + 59.8,
        return_code=137,
        stdout=Link(text="stdout", href="#stdout" if number == 4 else f"{log}#stdout"),
        stderr=Link(text="stderr", href="#stderr" if number == 4 else f"{log}#stderr"),
        certificate=CERTIFICATE,
    )
    return replace(row, **fields)  # type: ignore[arg-type]


RUNS: Final = (
    run_row(4),
    run_row(3),
    run_row(2, "LOST", words="lost: nobody saw how it ended", stop_s=None, return_code=None, certificate=None),
    run_row(1, "KILLED", words="killed with SIGTERM", return_code=-15, certificate=KILLED),
    run_row(0, "FAILED", words="exit code 127: the shell did not find a command", return_code=127, certificate=None),
)

LOGS: Final = (
    Log(
        stream="stdout",
        size_bytes=104_857_600,
        from_byte=104_595_456,
        spans=(Span(text="".join(f"key {n:06d} warmed in {n % 97} ms\n" for n in range(160)), classes=""),),
        note="The last 256 KiB of it.",
        raw=Link(text="stdout", href=f"{AGENT}/files/download?path=/sandbox/stdout"),
        rotated=(Link(text="stdout.1", href=f"{AGENT}/files/download?path=/sandbox/stdout.1"),
                 Link(text="stdout.2.gz", href=None)),
        follow=Follow(agent=AGENT, path=f"{SANDBOX}/.logs/cache-warmer/4/stdout", offset=104_857_600),
    ),
    Log(
        stream="stderr",
        size_bytes=1893,
        from_byte=0,
        spans=STDERR,
        note=None,
        raw=Link(text="stderr", href=f"{AGENT}/files/download?path=/sandbox/stderr"),
        rotated=(),
        follow=None,
    ),
)  # fmt: skip

PROCESS_PAGE: Final = ProcessPage(
    path=f"task/{TASK}/process/cache-warmer.html",
    stamp=STAMP,
    index_href="../../../index.html",
    task=Link(text=TASK, href="../index.html"),
    task_is_active=True,
    has_runner=True,
    row=replace(PROCESSES[4], waits_for=("server",)),
    cmdline="export REDIS_PASSWORD=[redacted]\n"
    "exec /opt/checkout/bin/warm --from redis://warm:[redacted]@redis-7.example.com:6379/0 \\\n"
    "     --batch 4096 --parallel 8 --until-warm 0.98 --memory-limit 1g",
    redacted=2,
    min_duration_s=30,
    facts=(("logger", "file, rotate"), ("rotated at", "104857600 bytes, 5 files are kept")),
    usage=usage(0.4, 20.5),
    runs=RUNS,
    left_out=0,
    logs=LOGS,
    notices=(Notice(level="warning", text="It failed 5 times: killed by the kernel: memory ran out."),),
)

MINIMAL_PROCESS: Final = replace(
    PROCESS_PAGE,
    index_href=None,
    task=Link(text=TASK, href=None),
    task_is_active=False,
    has_runner=False,
    row=process_row("report", "waiting", None, "never ran", max_failures=None, href=None),
    cmdline=None,
    redacted=0,
    min_duration_s=None,
    facts=(),
    usage=None,
    runs=(),
    logs=(),
    notices=(),
)

LOG_PAGE: Final = LogPage(
    path=f"task/{TASK}/log/cache-warmer/3.html",
    stamp=STAMP,
    index_href="../../../../index.html",
    task=Link(text=TASK, href="../../index.html"),
    process=Link(text="cache-warmer", href="../../process/cache-warmer.html"),
    run=RUNS[1],
    logs=(replace(LOGS[0], follow=None), replace(LOGS[1], size_bytes=None, spans=(), note="It was removed.")),
)

MINIMAL_LOG: Final = replace(
    LOG_PAGE,
    index_href=None,
    run=replace(RUNS[2], start_s=None, pid=None),
    logs=(
        Log(stream="stdout", size_bytes=0, from_byte=0, spans=(), note=None, raw=NOWHERE, rotated=(), follow=None),
        Log(stream="stderr", size_bytes=MIB, from_byte=MIB, spans=(), note="Left out to save space.", raw=NOWHERE,
            rotated=(), follow=None),
    ),
)  # fmt: skip


def entry(path: str, kind: str = "file", size: int = 4096, target: str | None = None) -> Entry:
    mode = {"directory": "drwxr-x---", "link": "lrwxrwxrwx", "fifo": "prw-------"}.get(kind, "-rw-r-----")
    return Entry(
        path=path,
        name=path.rpartition("/")[2],
        depth=path.count("/"),
        kind=kind,
        mode=mode,
        links=2 if kind == "directory" else 1,
        owner="www-data:www-data",
        size_bytes=size,
        changed_at_s=NOW_S - 12 * size % 90_000,
        target=target,
        href=f"file://{SANDBOX}/{path}" if kind == "file" else None,
    )


BROWSE_PAGE: Final = BrowsePage(
    path=f"task/{TASK}/browse.html",
    stamp=STAMP,
    index_href="../../index.html",
    task=Link(text=TASK, href="index.html"),
    sandbox=SANDBOX,
    below="",
    parent_href=None,
    entries=(
        entry(".logs", "directory"),
        entry(".logs/cache-warmer", "directory"),
        entry(".logs/cache-warmer/4", "directory"),
        entry(".logs/cache-warmer/4/stderr", size=1893),
        entry(".logs/cache-warmer/4/stdout", size=104_857_600),
        entry("checkout-2.114.0.tar.gz", size=412_331_008),
        entry("conf", "directory"),
        entry("conf/checkout.yaml", size=2217),
        entry("current", "link", 17, "checkout-2.114.0"),
        entry("etc-passwd", "link", 11, "/etc/passwd"),
        entry("control", "fifo", 0),
        entry("größe & <b>maß \u65e5\u672c.txt", size=0),
    ),
    left_out=311,
    is_gone=False,
)

MINIMAL_BROWSE: Final = replace(
    BROWSE_PAGE, index_href=None, below="a/b", parent_href="../browse.html", entries=(), left_out=0, note="a link"
)

RAW_PAGE: Final = RawPage(
    path=f"task/{TASK}/raw.html",
    stamp=STAMP,
    index_href="../../index.html",
    task=Link(text=TASK, href="index.html"),
    text='{\n  "name": "checkout",\n  "processes": [\n    {\n      "name": "server",\n'
    '      "cmdline": "exec ./bin/server --port {{thermos.ports[http]}} --token [redacted]"\n    }\n  ],\n'
    '  "resources": {"cpu": 2.0, "ram": 2147483648, "disk": 8589934592}\n}',
    redacted=1,
    note=None,
)

MINIMAL_RAW: Final = replace(RAW_PAGE, index_href=None, text="", redacted=0, note="This is no JSON.")


def task_row(number: int, state: str | None, **fields: object) -> TaskRow:
    job = ("checkout", "search-index", "thumbnailer", "mail-out", "ad-server")[number % 5]
    role = ("www-data", "search", "media", "mail", "ads")[number % 5]
    task_id = f"{1795215600123 - 86_400_000 * number}-{role}-prod-{job}-{number}-6f1c2f0a"
    row = TaskRow(
        task_id=task_id,
        name=job,
        role=role,
        href=f"task/{task_id}/index.html",
        browse_href=f"task/{task_id}/browse.html",
        root=f"/var/lib/mesos/slaves/S1/frameworks/F/executors/thermos-{task_id}/runs/latest/sandbox/checkpoints",
        is_active=state in (None, "ACTIVE", "CLEANING", "FINALIZING"),
        state=state,
        since_s=NOW_S - 3 * 4.7**number % 4_000_000,
        launched_at_s=NOW_S - 10 - 5 * 4.7**number % 4_000_000,
        usage=usage(0.021 + (number * 0.313) % 2, 20 + 317.3 * number, 100 + 931.1 * number),
        ports=(
            Port(name="http", number=31_000 + number, href=f"http://{HOST}:{31_000 + number}"),
            Port(name="admin", number=31_500 + number, href=f"http://{HOST}:{31_500 + number}"),
            Port(name="gossip", number=31_700 + number, href=f"http://{HOST}:{31_700 + number}"),
        )[: number % 4],
        is_healthy=None,
        has_runner=True,
        notice=None,
    )
    return replace(row, **fields)  # type: ignore[arg-type]


INDEX_PAGE: Final = IndexPage(
    path="index.html",
    stamp=STAMP,
    kind="active",
    rows=(
        task_row(0, "ACTIVE", notice="fails again and again: cache-warmer", is_healthy=False),
        task_row(1, "ACTIVE", is_healthy=True),
        task_row(2, "FINALIZING"),
        task_row(3, "ACTIVE", has_runner=False, notice="no runner"),
        task_row(4, "CLEANING", usage=None),
        task_row(5, None, usage=None, name="garbage", role="", launched_at_s=None, since_s=None, ports=(),
                 browse_href=None, notice="nothing readable is recorded"),
        task_row(6, "ACTIVE"),
        task_row(7, "ACTIVE", is_healthy=True),
        task_row(8, "ACTIVE"),
    ),
    active=9,
    finished=1012,
    first=1,
    newer=None,
    older=None,
    active_href="index.html",
    finished_href="finished.html",
    roots=("/var/run/thermos", "/var/lib/mesos"),
    owner=None,
    notices=(
        Notice(level="warning", text="The limit of inotify watches is reached: 12 tasks are looked at each 5 s."),
    ),
)  # fmt: skip

FINISHED_PAGE: Final = replace(
    INDEX_PAGE,
    path="finished/9.html",
    kind="finished",
    rows=tuple(
        task_row(n, ("SUCCESS", "FAILED", "KILLED", "SUCCESS", "LOST")[n % 5], has_runner=None, usage=None,
                 notice="processes survived it" if n == 1 else None)
        for n in range(12)
    ),
    first=101,
    newer="../finished.html",
    older="8.html",
    active_href="../index.html",
    finished_href="../finished.html",
    notices=(),
)  # fmt: skip

MINIMAL_INDEX: Final = replace(
    INDEX_PAGE, rows=(), active=0, finished=0, first=0, roots=(), owner="www-data", notices=()
)

#: Every kind of page as full as it gets, by a name for its file.
MAXIMAL: Final[dict[str, Page]] = {
    "index": INDEX_PAGE, "finished": FINISHED_PAGE, "task": TASK_PAGE, "process": PROCESS_PAGE, "log": LOG_PAGE,
    "browse": BROWSE_PAGE, "raw": RAW_PAGE,
}  # fmt: skip
#: Every kind with as little in it as there can be.
MINIMAL: Final[dict[str, Page]] = {
    "index": MINIMAL_INDEX, "task": MINIMAL_TASK, "process": MINIMAL_PROCESS, "log": MINIMAL_LOG,
    "browse": MINIMAL_BROWSE, "raw": MINIMAL_RAW,
}  # fmt: skip
