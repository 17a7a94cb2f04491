"""The generated page on the command line is what the code says."""

from __future__ import annotations

import argparse

import pytest

from observer_static.command import flags, reference
from thermos.errors import ExitCode


def test_the_page_is_current() -> None:
    assert reference.main(["--check"]) == 0


def test_every_flag_stands_on_it() -> None:
    page = reference.command()
    for action in flags.build_parser()._actions:
        long = [flag for flag in action.option_strings if flag.startswith("--")]
        assert long[0] in page
        assert action.help and action.help in page.replace("\\|", "|")


def test_both_spellings_of_a_flag_are_one() -> None:
    args = flags.parse(["--finished-pages", "7", "--task-disk-collection-interval-secs=60"])
    assert (args.finished_pages, args.task_disk_collection_interval_secs) == (7, 60.0)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x", "", "1e10"])
def test_a_time_is_above_0_and_finite(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        flags.seconds(text)


@pytest.mark.parametrize(
    "url, is_one",
    [
        ("http://agent:5051", True),
        ("https://[::1]:5051/", True),
        ("http://agent", True),
        ("javascript:alert(1)", False),
        ("http://agent:5051/x", False),
        ("http://a'b", False),
        ("agent:5051", False),
        ("http://user:secret@agent", False),
    ],
)
def test_an_agents_address(url: str, is_one: bool) -> None:
    if is_one:
        assert flags.parse([f"--agent_url={url}"]).agent_url == url.rstrip("/")
    else:
        with pytest.raises(SystemExit) as end:
            flags.parse([f"--agent_url={url}"])
        assert end.value.code == ExitCode.USAGE
