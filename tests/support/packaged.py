"""What ``packaging/build`` makes, made once for these sources on this machine; and Pythons that have none of ours."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
#: Fetches pex and the packages, the first time on a machine.
BUILD_S: Final = 280.0
#: Exit code of a build that could not get what it needs from an index.
_UNAVAILABLE: Final = 3
_KEPT: Final = 3
_SOURCES: Final = ("thermos", "detectors", "observer_static", "scheduler")
_FILES: Final = ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "packaging/build", "packaging/header.py")


def key() -> str:
    """Of all that goes into it."""
    digest = hashlib.sha256(sys.version.encode())
    paths = [ROOT / name for name in _FILES]
    for top in _SOURCES:
        paths += (path for path in (ROOT / top).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    for path in sorted(paths):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def built() -> Path:
    """The directory with ``thermos_executor.pex``; skips the test where it cannot be built. Tried once."""
    directory, code, said = _build_once()
    if code == _UNAVAILABLE:
        pytest.skip(f"no pex to test: {said[-500:]}")
    assert code == 0, said
    return directory


@functools.cache
def _build_once() -> tuple[Path, int, str]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "thermos-tests"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "packaging.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        directory = cache / f"packaging-{key()}"
        if not (directory / "pythons").exists():
            code, said = _build(directory)
            if code:
                return directory, code, said
        os.utime(directory)
        all_built = sorted(cache.glob("packaging-*"), key=lambda path: path.stat().st_mtime)
        for old in all_built[:-_KEPT]:
            shutil.rmtree(old)
    return directory, 0, ""


def _build(directory: Path) -> tuple[int, str]:
    words = ["timeout", f"{BUILD_S:g}", str(ROOT / "packaging/build"), "--output", str(directory)]
    build = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if build.returncode:
        return build.returncode, build.stderr
    # "build: Python 3.11: /usr/bin/python3.11"
    lines = [line.split(": ") for line in build.stderr.splitlines() if line.startswith("build: Python ")]
    (directory / "pythons").write_text("\n".join(words[2] for words in lines if words[2].startswith("/")))
    return 0, build.stderr


def pythons() -> list[str]:
    """The interpreters that it was built for."""
    return (built() / "pythons").read_text().split()


def bare_python() -> str:
    """One of them that has none of our packages, for all users to execute where there is such."""
    ours = "import h11, jinja2, psutil, thermos"
    system = [f"/usr/bin/{os.path.basename(path)}" for path in pythons()]
    for python in (*system, *pythons()):
        if os.access(python, os.X_OK):
            has_ours = subprocess.run([python, "-I", "-c", ours], capture_output=True, cwd="/").returncode == 0
            if not has_ours:
                return python
    pytest.skip("every Python here has our packages")
