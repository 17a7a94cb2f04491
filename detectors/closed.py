"""Directories that this user may not read: what lies there is unknown, which is not the same as nothing."""

from __future__ import annotations

import os
import stat
from typing import Final

#: What is said of one.
DENIED: Final = "may not be read: Permission denied"


def closed_at(path: str) -> str | None:
    """The directory that keeps us from what lies in *path*: itself or one above; None: it is open, or not there."""
    try:
        if os.access(path, os.R_OK | os.X_OK) or not stat.S_ISDIR(os.stat(path).st_mode):
            return None
    except PermissionError:
        return _lowest_seen(os.path.dirname(path))
    except (OSError, ValueError):  # ValueError: a NUL in it
        return None
    return path


def _lowest_seen(path: str) -> str:
    """The lowest directory at or above *path* that can be seen at all."""
    while True:
        try:
            os.stat(path)
        except PermissionError:
            path = os.path.dirname(path)
        except OSError:  # it went just now
            return path
        else:
            return path
