"""Puts our lines into the shell script at the top of a pex: where it unpacks itself."""

from __future__ import annotations

import os
import sys
from typing import Final

#: The line of pex's own script that ours go after.
_AFTER: Final = b"\nset -eu\n"
_BEFORE: Final = b"VENV="
_OURS: Final = b"""\
# Thermos: a pex unpacks itself below PEX_ROOT, once, and starts from there. Where nobody said where:
# root's, for everybody to read and for root alone to write; else in the sandbox; else in the user's cache.
# Never pex's own way out, a new directory in /tmp for each start, which a kill leaves behind.
if [ -z "${PEX_ROOT:-}" ]; then
    PEX_ROOT=/var/lib/thermos/pex
    if [ ! -d "${PEX_ROOT}" ]; then (umask 022 && mkdir -p "${PEX_ROOT}") 2>/dev/null || :; fi
    if ! [ -O "${PEX_ROOT}" ] || ! [ -w "${PEX_ROOT}" ]; then
        PEX_ROOT="${MESOS_SANDBOX:-${MESOS_DIRECTORY:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/thermos}}/.pex"
    fi
    export PEX_ROOT
fi
"""


def with_ours(pex: bytes) -> bytes:
    """*pex* with our lines. Raises ValueError where they have no place."""
    place = pex.find(_AFTER, 0, 1000)
    end = place + len(_AFTER)
    if not pex.startswith(b"#!/bin/sh\n") or place < 0 or not pex[end : end + 20].lstrip().startswith(_BEFORE):
        raise ValueError("its shell script is not the one that we know: it was made by another version of pex")
    return pex[:end] + _OURS + pex[end:]


def main(plain: str, made: str) -> None:
    """Write *made*, executable, from *plain*."""
    with open(plain, "rb") as file:
        pex = with_ours(file.read())
    with open(made, "wb") as file:
        file.write(pex)
    os.chmod(made, 0o755)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ValueError as error:
        sys.exit(f"{sys.argv[1]}: {error}")
