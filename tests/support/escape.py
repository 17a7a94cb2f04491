"""Run as a program by tests: leaves what started it in one of the ways that take more than a shell.

``escape.py WAY OUT MARK``: writes a line to the file OUT once it is out, and then sleeps; MARK is in the command
line of all that must not live on.
"""

import ctypes
import os
import sys
import time

PR_SET_CHILD_SUBREAPER = 36


def told(out: str) -> None:
    with open(out, "w") as file:
        file.write("out\n")


def main(way: str, out: str, mark: str) -> None:
    out = os.path.abspath(out)
    if way == "closes":
        os.setsid()
        os.chdir("/")
        told(out)
        os.closerange(0, 1024)
    elif way == "group":
        os.setpgrp()
        told(out)
    elif way == "reaper":
        os.setsid()
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        os.system(f"(setsid sleep {mark} & setsid sleep {mark} &)")
        told(out)
        time.sleep(900)
    elif way == "bomb":
        ours, theirs = os.pipe()
        for _ in range(7):
            os.fork()
        if os.getpid() % 2:
            os.setsid()
        os.write(theirs, b".")
        os.close(theirs)
        count = 0
        while data := os.read(ours, 128):  # whoever reads the last one tells
            count += len(data)
        told(f"{out}")
        time.sleep(900)
    os.execvp("sleep", ["sleep", mark])


if __name__ == "__main__":
    main(*sys.argv[1:])
