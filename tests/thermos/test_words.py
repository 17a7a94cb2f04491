"""The words that the command line and the pages share; ``tests/thermos/cli/test_why.py`` has most of them."""

from __future__ import annotations

import math
import re

import pytest

from thermos.core.explain import Explanation, ProcessView, Stage
from thermos.states import ProcessState, TaskState
from thermos.words import Clock, local, moment, process_words, runner_words, some_names, task_words

AT_S = 1795182213.0


def explanation(state: TaskState | None, **more: object) -> Explanation:
    fields = {
        "since_s": AT_S, "reason": None, "forced_end": None, "deadline_s": None, "processes": (), "culprits": (),
        "notes": (), **more,
    }  # fmt: skip
    return Explanation(state=state, **fields)  # type: ignore[arg-type]


def test_a_page_says_moments_where_the_command_line_says_how_long_ago() -> None:
    why = explanation(TaskState.CLEANING, deadline_s=AT_S + 30, forced_end=TaskState.KILLED, reason="asked to")
    assert task_words(why, None, Clock(AT_S + 10)) == (
        "is CLEANING since 10 s: asked to. It is to end KILLED. What is left is killed in 20 s."
    )
    assert task_words(why, None, Clock(AT_S + 60)).endswith("Its time is up.")
    assert task_words(why, None, Clock()) == (
        "is CLEANING since 2026-11-20 13:43:33 UTC: asked to. It is to end KILLED. "
        "What is left is killed at 2026-11-20 13:44:03 UTC."
    )
    ended = explanation(TaskState.SUCCESS)
    assert task_words(ended, AT_S - 5, Clock()) == "ended SUCCESS at 2026-11-20 13:43:33 UTC, after 5 s."
    assert task_words(ended, AT_S - 5, Clock(AT_S + 1)).startswith("ended SUCCESS 1 s ago (")
    assert task_words(explanation(None), None, Clock()) == "nothing readable is recorded of it."


def view(stage: Stage, **more: object) -> ProcessView:
    fields = {
        "final": False, "runs": 1, "failures": 0, "max_failures": 1, "run": 0, "state": ProcessState.RUNNING, "pid": 7,
        "start_time_s": AT_S, "stop_time_s": None, "ending": None, "certificate": None, "reason": None, **more,
    }  # fmt: skip
    return ProcessView(name="p", stage=stage, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stage", "more", "said", "written"),
    [
        (Stage.RUNNING, {}, "runs, for 10 s, pid 7", "runs, since {33}, pid 7"),
        (
            Stage.THROTTLED, {"due_at_s": AT_S + 15},
            "runs again in 5 s; last time: ", "runs again at {48}; last time: ",
        ),
        (
            Stage.THROTTLED, {"due_at_s": AT_S + 5},
            "runs again now; last time: ", "runs again at {38}; last time: ",
        ),
        (Stage.THROTTLED, {}, "runs again soon; last time: ", "runs again soon; last time: "),
        (Stage.BLOCKED, {"waits_for": tuple("abcdefg")}, *["waits for a, b, c, d, e and 2 more"] * 2),
    ],
)  # fmt: skip
def test_processes(stage: Stage, more: dict[str, object], said: str, written: str) -> None:
    assert process_words(view(stage, **more), Clock(AT_S + 10)) == said
    written = re.sub(r"\{(\d+)\}", r"2026-11-20 13:43:\1 UTC", written)
    assert process_words(view(stage, **more), Clock()) == written


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_has_words(stage: Stage) -> None:
    assert process_words(view(stage), Clock()) or stage is Stage.ENDED


@pytest.mark.parametrize("at_s", [math.nan, math.inf, -math.inf, 1e30, -1e30])
def test_absurd_times(at_s: float) -> None:
    assert moment(at_s) == "an unknown time"
    assert local(at_s) == "None"
    assert Clock().ended(at_s) == "at an unknown time"
    assert Clock(AT_S).ended(at_s)


def test_runners() -> None:
    assert runner_words(7, True) == "Its runner, pid 7, lives."
    assert "DEAD" in runner_words(7, False)
    assert "cannot be told" in runner_words(None, None)
    assert some_names(()) == ""
