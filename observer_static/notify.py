"""Tells systemd how far the program is (sd_notify(3)), where it was started by it."""

from __future__ import annotations

import os
import socket


def notify(*assignments: str) -> bool:
    """Send ``READY=1``, ``STATUS=…`` and the like; whether somebody was there to be told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sender:
        try:
            sender.sendto("\n".join(line.replace("\n", " ") for line in assignments).encode(), address)
        except OSError:
            return False  # nobody listens any more; the pages matter more
    return True
