"""File systems whose changes this kernel does not see when another host makes them: they can only be polled."""

from __future__ import annotations

from typing import Final

from thermos.host.linux import filesystem_type

#: ``f_type`` of statfs(2) → name. Source: linux/magic.h and the file systems' own headers.
REMOTE: Final[dict[int, str]] = {
    0x00006969: "NFS",
    0x0000517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x65735546: "FUSE",
    0x01021997: "9P",
    0x00C36400: "Ceph",
    0x5346414F: "AFS",
    0x6B414653: "AFS",
    0x73757245: "Coda",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x19830326: "BeeGFS",
    0x01161970: "GFS2",
    0x7461636F: "OCFS2",
    0x786F4256: "VirtualBox shared folders",
}


def remote_name(fd: int) -> str | None:
    """What a remote file system is called in which *fd* lies; None: it is local, or cannot be told."""
    try:
        return REMOTE.get(filesystem_type(fd))
    except OSError:
        return None
