"""An executor stands beside each task of a host: what it seldom needs is not imported before it does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

#: Each costs half a megabyte to twelve.
SELDOM = {
    "asyncio", "h2", "http.client", "jinja2", "kazoo", "psutil", "pystachio", "ssl", "subprocess", "threading",
    "urllib.parse",
}  # fmt: skip


def test_an_executor_that_has_just_started_has_little_in_it() -> None:
    program = "import json, sys, thermos.executor.main; print(json.dumps(sorted(sys.modules)))"
    root = str(Path(__file__).parents[3])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, timeout=60)
    assert done.returncode == 0, done.stderr
    assert not SELDOM & set(json.loads(done.stdout))
