"""A fork beside a thread: Python 3.12 and later warn of it, and swallow the warning where it is an error."""

from __future__ import annotations

import os
import threading

import pytest

from thermos.host.forking import fork


def test_a_thread_is_no_hindrance_and_nobody_is_warned(recwarn: pytest.WarningsRecorder) -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        pid = fork()
        if not pid:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert not recwarn.list
    finally:
        over.set()
        thread.join()
