"""The command line is read in two ways: without argparse where nothing is wrong, with it where there is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thermos.runner import options
from thermos.runner.options import FLAGS, parser

VALUES = st.sampled_from(["", "1", "0", "-1", "x", "file", "rotate", "KILLED", "http:80", "a=b", "2.5", "--kill"])
WORDS = st.one_of(
    st.sampled_from([f"--{flag.name}" for flag in FLAGS]),
    st.builds(lambda flag, value: f"--{flag.name}={value}", st.sampled_from(FLAGS), VALUES),
    VALUES,
    st.sampled_from(["--no_such", "-h", "--takeover=1", "--"]),
)


@settings(deadline=None)
@given(st.lists(WORDS, max_size=5))
def test_what_is_read_without_argparse_is_what_argparse_reads(words: list[str]) -> None:
    quick = options._parse_faultless(words)
    if quick is not None:
        assert vars(quick) == vars(parser().parse_args(words))


@pytest.mark.parametrize(
    "words",
    [["--task_id", "t"], ["--task_id=t"], ["--port", "a:1", "--port=b:2"], ["--no_cgroup"], ["--kill_budget=0"], []],
)
def test_a_command_line_without_fault_needs_no_argparse(words: list[str]) -> None:
    assert options._parse_faultless(words) is not None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--no_such"], "--no_such"),
        (["--task_id"], "expected one argument"),
        (["--kill_budget", "soon"], "should be a number of seconds"),
        (["--rotate_log_size_mb=0"], "should be a whole number, 1 or more"),
        (["--process_logger_mode=loud"], "invalid choice: 'loud'"),
        (["task.json"], "unrecognized arguments: task.json"),
    ],
)
def test_what_is_wrong_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options.parse(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
