"""A log's tail as the page shows it: text, notes, links, and how to read on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from observer_static.facts import TaskFacts
from observer_static.options import AgentLinks, Options
from observer_static.parts import Follow, Log
from observer_static.reach import own_claim
from observer_static.tails import LogTail, open_logs, read_log, to_log
from thermos.core.state import RunnerState
from thermos.records import RunnerHeader

OPTIONS = Options(writer="test", version="0", hostname="here")


def header_of(sandbox: Path | str) -> RunnerHeader:
    return RunnerHeader("t", 0, str(sandbox))


def facts_of(header: RunnerHeader, is_active: bool = True) -> TaskFacts:
    state = RunnerState()
    state.apply(header)
    return TaskFacts("/root", "t", is_active, state, None, None, None, (), None, None)


def shown(data: bytes, header: RunnerHeader | None = None, is_live: bool = False, **options: object) -> Log:
    header = header if header is not None else header_of("/sandbox")
    tail = LogTail(1000 + len(data), 1000, data, (), None, "/sandbox/.logs/web/0", ".logs/web/0")
    return to_log(tail, "stdout", replace(OPTIONS, **options), facts_of(header), is_live=is_live)  # type: ignore[arg-type]


def test_text_becomes_spans() -> None:
    log = shown(b"\x1b[31mred\x1b[0m <b>\n")
    assert [(span.text, span.classes) for span in log.spans] == [("red", "fg1"), (" <b>\n", "")]
    assert (log.size_bytes, log.from_byte, log.note, log.stream) == (1017, 1000, None, "stdout")


def test_binary_data_is_not_shown() -> None:
    log = shown(bytes(range(256)) * 10)
    assert log.spans == ()
    assert log.note is not None and "binary" in log.note and "00 01 02" in log.note
    assert log.raw.href is not None


def test_too_many_colours_are_told_of() -> None:
    log = shown(b"\x1b[1ma\x1b[mb" * 10_000)
    assert log.note is not None and "colours" in log.note


MESOS_SANDBOX = "/var/lib/mesos/agents/S1/frameworks/F1/executors/E1/runs/R1/sandbox"


def test_a_live_log_can_be_followed_where_an_agent_keeps_it() -> None:
    header = header_of(MESOS_SANDBOX)
    log = shown(b"one\n", header, True, agent="http://agent:5051", raw_links=AgentLinks("http://agent:5051"))
    assert log.follow == Follow(agent="http://agent:5051", path=f"{MESOS_SANDBOX}/.logs/web/0/stdout", offset=1004)
    assert log.raw.href is not None and log.raw.href.startswith("http://agent:5051/files/download?path=")


@pytest.mark.parametrize(
    "sandbox, is_live, agent",
    [(MESOS_SANDBOX, False, "http://agent:5051"), (MESOS_SANDBOX, True, None), ("/sandbox", True, "http://agent:5051")],
)
def test_what_cannot_be_followed(sandbox: str, is_live: bool, agent: str | None) -> None:
    assert shown(b"one\n", header_of(sandbox), is_live, agent=agent).follow is None


def test_a_finished_task_is_not_followed() -> None:
    tail = LogTail(4, 0, b"one\n", (), None, f"{MESOS_SANDBOX}/.logs/web/0", ".logs/web/0")
    options = replace(OPTIONS, agent="http://agent:5051")
    facts = facts_of(header_of(MESOS_SANDBOX), is_active=False)
    assert to_log(tail, "stdout", options, facts, is_live=True).follow is None


def test_names_in_links_are_encoded(tmp_path: Path) -> None:
    name = "we<b>\"' %#?\n"
    run = tmp_path / ".logs" / name / "0"
    run.mkdir(parents=True)
    (run / "stdout").write_text("one\n")
    header = header_of(tmp_path)
    logs = open_logs(header, own_claim())
    assert logs is not None
    with logs:
        tail = read_log(logs, name, 0, "stdout")
    log = to_log(tail, "stdout", OPTIONS, facts_of(header))
    assert log.raw.href == f"file://{tmp_path}/.logs/we%3Cb%3E%22%27%20%25%23%3F%0A/0/stdout"
