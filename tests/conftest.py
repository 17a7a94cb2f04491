"""What holds for every test: which are left out of the quick run, and that none leaves anything behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leaks import end_children, held, leaks

HERE = Path(__file__).parent

# Whoever starts us in the background has these ignored, and every program that a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

#: Directories whose tests start real processes.
PROCESS_DIRS = tuple(HERE / "thermos" / name for name in ("host", "runner", "executor", "health", "announce", "cli"))


def starts_processes(path: Path) -> bool:
    return any(path.is_relative_to(directory) for directory in PROCESS_DIRS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if starts_processes(item.path):
            item.add_marker(pytest.mark.process)


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves descriptors, children or threads behind, where tests deal in those."""
    if request.node.get_closest_marker("process") is None:
        yield
        return
    before = held()
    yield
    found = leaks(before)
    end_children(before)
    if found:
        pytest.fail("the test left behind:\n  " + "\n  ".join(found), pytrace=False)
