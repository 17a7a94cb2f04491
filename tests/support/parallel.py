"""The same work on many items in a few processes: one fork for each worker, no threads, results over pipes."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_processes(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, stop_at: Callable[[Result], bool] | None = None
) -> list[Result]:
    """The results of *work* on *items*, in no order. A worker takes each *workers*-th of them.

    With *stop_at*, a worker does no more after a result for which it is true. Raises RuntimeError with the
    traceback of a worker that failed.
    """
    started: list[tuple[int, int]] = []
    for number in range(workers):
        read_end, write_end = os.pipe()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                signal.signal(signal.SIGTERM, _leave)  # so that what a worker has started is ended by it
                os.close(read_end)
                code = _work(work, items[number::workers], write_end, stop_at)
            finally:
                os._exit(code)
        os.close(write_end)
        started.append((pid, read_end))
    results: list[Result] = []
    failures = []
    done = False
    try:
        for _, read_end in started:
            with os.fdopen(read_end, "rb") as stream:
                data = stream.read()
            if not data:
                failures.append("a worker died without a word")
                continue
            good, failure = pickle.loads(data)
            results += good
            if failure is not None:
                failures.append(failure)
        done = True
    finally:
        for pid, _ in started:
            if not done:
                os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
    if failures:
        raise RuntimeError("\n".join(failures))
    return results


def _leave(signum: int, frame: FrameType | None) -> None:
    raise SystemExit


def _work(
    work: Callable[[Item], Result], items: Sequence[Item], write_end: int, stop_at: Callable[[Result], bool] | None
) -> int:
    results = []
    failure = None
    try:
        for item in items:
            results.append(work(item))
            if stop_at is not None and stop_at(results[-1]):
                break
    except BaseException:  # noqa: BLE001 - told by the parent
        failure = traceback.format_exc()
    data = pickle.dumps((results, failure))
    while data:
        data = data[os.write(write_end, data) :]
    return 0
