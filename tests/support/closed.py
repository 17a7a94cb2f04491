"""Directories that the program under test may not read, though the tests themselves may be root's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.box import IS_ROOT, NOBODY


def powerless() -> tuple[str, ...]:
    """Words that go before a command, so that permissions count for it as for everybody."""
    if not IS_ROOT:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root reads everything, and there is no setpriv")
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--")


def close(directory: Path) -> None:
    """Only somebody else may read *directory* now."""
    if IS_ROOT:
        os.chown(directory, NOBODY, -1)
    directory.chmod(0o700 if IS_ROOT else 0)


def reopen(directory: Path) -> None:
    """Everybody may read *directory* again."""
    directory.chmod(0o755)
