"""In the pages' writer: from the checkpoint to files. Imports all that pages need."""

from __future__ import annotations

import os
import socket
from typing import Final

from observer_static.as_owner import become
from observer_static.collect import task_pages
from observer_static.facts import HealthClaim, TaskFacts
from observer_static.options import Options
from observer_static.pages import File, Page, TaskPage
from observer_static.publish import publish
from observer_static.render import Renderer
from thermos import __version__
from thermos.checkpoints import Finding, fold, has_owner
from thermos.core.state import RunnerState
from thermos.executor.links import PAGES_NAME, RunLinks, at_the_top
from thermos.executor.pages import PagesOrder, is_ours
from thermos.formats import checkpoint, paths, task_json
from thermos.formats.health_file import Health
from thermos.host.beneath import open_dir, open_regular
from thermos.host.usage import Sampler

_READ_BYTES: Final = 1 << 20
_TOP: Final = "index.html"


class Writer:
    """Reads what is new in the checkpoint and writes what is different of the pages."""

    def __init__(self, order: PagesOrder) -> None:
        self._order = order
        self._path = paths.runner_checkpoint(order.root, order.task_id)
        # Opened with the rights we have now; whoever we become may read on.
        self._directory = open_dir(order.directory)
        root = open_dir(order.root)
        try:
            self._stream = open_regular(root, self._path[len(order.root) + 1 :], os.O_RDONLY)
        finally:
            os.close(root)
        if order.owner is not None and os.geteuid() == 0:
            become(order.owner)
        self._decoder = checkpoint.Decoder()
        self._state = RunnerState()
        self._findings: list[Finding] = []
        self._sampler: Sampler[str] = Sampler()
        self._renderer = Renderer()
        self._options = Options(
            writer="thermos_executor",
            version=__version__,
            hostname=order.hostname or socket.gethostname(),
            agent=order.agent,
            raw_links=RunLinks(order.directory),
        )

    def write(self, health: Health | None, now_s: float) -> None:
        """Bring the pages up to date. Raises OSError, ThermosError."""
        facts = self._facts(health)
        usage = self._sampler.sample({"": self._state}).get("") if facts.is_active else None
        wanted = list(task_pages(facts, self._options, now_s, usage))
        publish((self._renderer.render(page) for page in wanted), self._directory, below=PAGES_NAME)
        self._write_top(wanted[0])

    def _facts(self, health: Health | None) -> TaskFacts:
        order = self._order
        while data := os.read(self._stream, _READ_BYTES):
            fold(checkpoint.Stream(self._decoder.feed(data), 0, None), self._path, self._state, self._findings)
        state = self._state.task_state
        raw = order.task_json.encode()
        task = task_json.decode(raw, self._path)
        header = self._state.header
        if header is not None:
            task = task_json.bind_thermos(task, header.task_id, header.user or "", header.ports or {})
        is_active = state is None or not state.is_terminal
        info = os.fstat(self._stream)
        return TaskFacts(
            root=order.root,
            task_id=order.task_id,
            is_active=is_active,
            state=self._state,
            task=task,
            raw=raw,
            trouble=None,
            findings=tuple(self._findings),
            mtime_s=info.st_mtime,
            has_runner=has_owner(self._stream) if is_active else False,
            author_uid=info.st_uid,
            health=HealthClaim(*health, is_current=True) if health is not None else None,
        )

    def _write_top(self, page: Page) -> None:
        """The task's own page, where somebody who opens the sandbox sees it first."""
        if not isinstance(page, TaskPage):
            return
        file: File = self._renderer.render(at_the_top(page, _TOP))
        try:
            old = open_regular(self._directory, _TOP, os.O_RDONLY)
        except FileNotFoundError:
            pass
        else:
            try:
                if not is_ours(old):
                    return  # what the task's owner had fetched; the pages are in their directory
                if os.fstat(old).st_size == len(file.content) and os.pread(old, len(file.content), 0) == file.content:
                    return
            finally:
                os.close(old)
        temporary = f".{_TOP}.new"
        try:
            os.unlink(temporary, dir_fd=self._directory)
        except FileNotFoundError:
            pass
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600, dir_fd=self._directory)
        with os.fdopen(fd, "wb") as new:
            new.write(file.content)
        os.rename(temporary, _TOP, src_dir_fd=self._directory, dst_dir_fd=self._directory)
