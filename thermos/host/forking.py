"""A fork beside threads: ZooKeeper's client has some, and Python 3.12 warns of any."""

from __future__ import annotations

import os
import warnings


def fork() -> int:
    """As ``os.fork``, without that warning: for children that take no lock which a thread could hold."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()
