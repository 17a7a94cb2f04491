"""Commands for tasks in a file-system image: wrapped for ``mesos-containerizer launch``.

Two forms, as in Aurora (``thermos/core/process.py``): Mesos 1.1 and later take ``--launch_info``, older ones
single flags. Which one a binary knows is read from its usage text.
"""

from __future__ import annotations

import os
from typing import Final

from thermos.host.command import BASH

#: Where the agent mounts the image, below MESOS_DIRECTORY (``TASK_FILESYSTEM_MOUNT_POINT`` of api.thrift).
IMAGE_DIRECTORY: Final = "taskfs"


def knows_launch_info(containerizer: str) -> bool:
    """Whether *containerizer* takes ``--launch_info``: its usage, on stderr, says so. Raises OSError."""
    output = os.memfd_create("usage")
    try:
        pid = os.posix_spawn(
            containerizer,
            [containerizer, "launch", "--help"],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)],
        )
        os.waitpid(pid, 0)
        return b"launch_info" in os.pread(output, 1 << 20, 0)
    finally:
        os.close(output)


def wrap(containerizer: str, cmdline: str, user: str, working_directory: str, launch_info: bool) -> list[str]:
    """The words that run *cmdline* within the image of this container; *launch_info*: the newer form."""
    import json

    rootfs = os.path.join(os.environ.get("MESOS_DIRECTORY", "/"), IMAGE_DIRECTORY)
    arguments = [BASH, "-c", cmdline]
    if launch_info:
        info = {
            "rootfs": rootfs,
            "user": user,
            "working_directory": working_directory,
            "command": {"shell": False, "value": BASH, "arguments": arguments},
        }
        return [containerizer, "launch", "--unshare_namespace_mnt", f"--launch_info={json.dumps(info)}"]
    command = json.dumps({"shell": False, "value": BASH, "arguments": arguments})
    return [
        containerizer,
        "launch",
        "--unshare_namespace_mnt",
        f"--working_directory={working_directory}",
        f"--rootfs={rootfs}",
        f"--user={user}",
        f"--command={command}",
    ]
