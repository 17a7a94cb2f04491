"""A fork beside a thread, with warnings as errors, as in all tests."""

from __future__ import annotations

import os
import threading

from thermos.host.forking import fork


def test_a_thread_is_no_hindrance() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        pid = fork()
        if not pid:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    finally:
        over.set()
        thread.join()
