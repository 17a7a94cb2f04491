"""Job keys, instances and patterns on the command line."""

from __future__ import annotations

import argparse

import pytest

from scheduler.client import keys
from scheduler.client.keys import JobRef, Pattern

JOB = JobRef("west", "www-data", "prod", "hello.1")


def test_jobs() -> None:
    assert keys.job("west/www-data/prod/hello.1") == JOB
    assert str(JOB) == "west/www-data/prod/hello.1"


def test_instances() -> None:
    assert keys.instances("west/www-data/prod/hello.1") == (JOB, None)
    assert keys.instances("west/www-data/prod/hello.1/5,0-2,1") == (JOB, (0, 1, 2, 5))
    assert keys.one_instance("west/www-data/prod/hello.1/7") == (JOB, (7,))


def test_ranges() -> None:
    assert keys.ranges([5, 1, 0, 2, 9, 10]) == "0-2,5,9-10"
    assert keys.ranges([]) == ""


@pytest.mark.parametrize(
    "text", ["", "west", "a/b/c", "a/b/c/d/e", "a/b/c/", "a/b/c/d!", "a/b/c/é", "a//c/d", "a/b/*/d"]
)
def test_what_is_no_job(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        keys.job(text)


@pytest.mark.parametrize("numbers", ["", "a", "1-", "-1", "3-1", "1,,2", "0-9999999999", "1-2-3", "٣"])
def test_what_are_no_instances(numbers: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        keys.instances(f"a/b/c/d/{numbers}")


@pytest.mark.parametrize("text", ["a/b/c/d", "a/b/c/d/1-2"])
def test_what_is_not_one_instance(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        keys.one_instance(text)


def test_patterns() -> None:
    assert keys.pattern("west") == Pattern("west", "*", "*", "*")
    assert keys.pattern("west/www-data/p*/hello.?").matches(JOB)
    assert not keys.pattern("west/www-data/devel").matches(JOB)
    assert not keys.pattern("west/www-data/PROD").matches(JOB)
    assert keys.pattern("a/b/c/d").is_exact
    assert not keys.pattern("a/b/c/d?").is_exact
    for text in ("a/b/c/d/e", "", "a//c"):
        with pytest.raises(argparse.ArgumentTypeError):
            keys.pattern(text)


def test_roles() -> None:
    assert keys.role("west/www-data") == ("west", "www-data")
    for text in ("west", "a/b/c", "a/"):
        with pytest.raises(argparse.ArgumentTypeError):
            keys.role(text)
