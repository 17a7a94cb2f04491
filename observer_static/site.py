"""The site of a host: writes what a change makes due, what people look at first of all.

That is: the tasks that changed, the index, the newest finished tasks. The rest is a backlog that is worked off in
small steps, so that a change never waits for it. Of a task nothing is kept in memory but its row, and that only
while it stands on one of the two pages that change all the time.
"""

from __future__ import annotations

import logging
import os
import pwd
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from detectors.watch import Changes, TaskKey
from observer_static.collect import task_row
from observer_static.crew import Crew
from observer_static.facts import TaskFacts
from observer_static.indexes import Indexes
from observer_static.options import Options
from observer_static.output import Output
from observer_static.pagedir import NotOurs
from observer_static.paging import NEWEST
from observer_static.parts import TaskRow
from observer_static.readings import Readings
from observer_static.roster import Roster
from observer_static.sources import FINISHED_PAGES, Sources
from observer_static.taskdir import TaskPages, changed_ns
from observer_static.troubles import HOPELESS, Troubles

if TYPE_CHECKING:
    from thermos.host.usage import TaskUsage

log = logging.getLogger("thermos_observer")


def _never() -> bool:
    return False


class Site:
    """Keeps the pages in *output* as the tasks are; a context manager. Raises OSError, NotOurs.

    *salt* stands for all that decides how pages look. *owner*: the user whose tasks alone are shown. *finished_pages*:
    how many of the newest finished tasks have pages of their own.
    """

    def __init__(
        self,
        output: Output,
        options: Options,
        salt: str,
        sources: Sources,
        *,
        owner: pwd.struct_passwd | None = None,
        finished_pages: int = FINISHED_PAGES,
    ) -> None:
        self.roster = Roster(finished_pages)
        #: Pages written so far, by this process.
        self.written = 0
        self._troubles = Troubles(output.path)
        self._output = output
        self._options = options
        self._salt = salt
        self._sources = sources
        self._owner = owner
        self._pages = TaskPages(output, options, salt)
        self._indexes = Indexes(
            output, options, salt, sources, owner and owner.pw_name, self.roster, self._pages.renderer
        )
        self._rows: dict[TaskKey, TaskRow] = {}
        self._readings = Readings()
        self._step: Iterator[None] | None = None
        self._crew: Crew | None = None

    def close(self) -> None:
        """Stop writing; what lies there stays."""
        if self._crew is not None:
            self._crew.dismiss()
            self._crew = None
        self._indexes.close()

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def trouble(self) -> OSError | None:
        """Why nothing can be written; None: it can."""
        return self._troubles.whole

    @property
    def complaints(self) -> Mapping[TaskKey, str]:
        """Tasks whose pages cannot be written, and why."""
        return self._troubles.complaints

    # -- Changes -----------------------------------------------------------------------------------------------------

    def begin(self, tasks: Mapping[TaskKey, bool]) -> None:
        """Begin with these: everything is due."""
        shown = [key for key, is_active in tasks.items() if self._is_shown(key, is_active)]
        finished = [key for key in shown if not tasks[key]]
        finished.sort(key=lambda key: (changed_ns(key), key))
        self.roster.begin([key for key in shown if tasks[key]], finished)
        self._pages.settle()
        known = {self.roster.page_key(key) for key in self.roster.tasks}
        self.roster.gone.update(name for name in self._pages.names() if name not in known)

    def apply(self, changes: Changes, tasks: Mapping[TaskKey, bool]) -> None:
        """Note what *changes* make due; *tasks* is what there is now."""
        for key in changes.vanished:
            self._forget(key)
        for key in sorted(changes.appeared | changes.changed):
            is_active = tasks.get(key)
            if is_active is None or not self._is_shown(key, is_active):
                self._forget(key)
            else:
                self.roster.update(key, is_active)

    def refresh(self) -> None:
        """Look at everything again, believing nothing that was noted of pages."""
        self._troubles.is_stuck = False
        self._step = None
        self._pages.is_thorough = True
        self.roster.refresh()

    def look_again(self, keys: Iterable[TaskKey]) -> None:
        """Something is known of these tasks that stands in no file: what they use."""
        self.roster.due.update((key, None) for key in keys if key in self.roster.tasks)

    def _is_shown(self, key: TaskKey, is_active: bool) -> bool:
        return self._owner is None or self._readings.is_of(self._owner, key, is_active)

    def _forget(self, key: TaskKey) -> None:
        self.roster.forget(key)
        self._readings.forget(key)
        self._rows.pop(key, None)
        self._troubles.settled(key)

    def write(self, stop: Callable[[], bool] = _never) -> None:
        """Write the tasks that changed and the two pages that change all the time; what else is due is a backlog.

        Where the output cannot be written, that is told once, and all stays due. *stop* is asked between pages.
        """
        try:
            self._return_to_output()
            roster = self.roster
            for key in [key for key in roster.due if self._crew is None or roster.is_listed(key)]:
                self._write_task(key, stop)
                if stop():
                    return
                roster.due.pop(key, None)
            if roster.is_index_due:
                self._write_active()
                roster.is_index_due = False
            if NEWEST in roster.shelves_due:
                self._write_newest()
                roster.shelves_due.discard(NEWEST)
            self._finish()
        except OSError as error:
            self._troubles.get_stuck(error)

    def _return_to_output(self) -> None:
        if self._output.is_there():
            return
        log.warning("%s was removed or replaced: it is made anew", self._output.path)
        if self._crew is not None:
            self._crew.dismiss()
            self._crew = None
        self._indexes.close()
        self._output.reopen()
        self._indexes.open()
        self.refresh()

    def write_lists(self, stop: Callable[[], bool] = _never) -> None:
        """Write the lists of a site that is new before any task's pages: those of all tasks that will have some.

        To look at a task takes a tenth of what its pages take. *stop* is asked between tasks.
        """
        if self._indexes.made:
            return
        roster = self.roster
        try:
            for key in roster.due:
                _, _, self._rows[key] = self._look_at(key)
                if stop():
                    return
            self._write_active()
            self._write_newest()
            for number in filter(roster.shelf.kept, roster.shelf.numbers):
                digest = self._indexes.digest(number)
                rows = [self._look_at(key)[2] for key in roster.shelf.page(number)]
                self.written += self._indexes.write_finished(number, rows, digest)
                if stop():
                    return
        except OSError as error:
            self._troubles.get_stuck(error)

    def _look_at(self, key: TaskKey) -> tuple[TaskFacts, TaskUsage | None, TaskRow]:
        """What lies on disk of the task, what it uses, and its row."""
        facts = self._readings.read(key, self.roster.tasks[key])
        if self._sources.told is not None:
            self._sources.told(key, facts)
        usage = self._sources.usage(key)
        row = task_row(facts, usage, self._options, self.roster.page_key(key), self.roster.is_kept(key))
        return facts, usage, row

    def _write_task(self, key: TaskKey, stop: Callable[[], bool] = _never) -> TaskRow:
        """Bring the task's pages up to date; its row, which is kept if it stands on a page that changes often."""
        roster = self.roster
        name = roster.page_key(key)
        is_kept = roster.is_kept(key)
        facts, usage, row = self._look_at(key)
        if roster.is_listed(key) and self._rows.get(key) != row:
            self._rows[key] = row
            if facts.is_active:
                roster.is_index_due = True
            else:
                roster.shelves_due.add(NEWEST)
        if not is_kept:
            self._pages.remove(name)
            return row
        try:
            history = self._sources.history(key)
            self.written += self._pages.write(name, facts, usage, history, stop).written
            self._troubles.settled(key)
        except OSError as error:
            if error.errno in HOPELESS:
                raise
            self._troubles.complain(key, str(error))
        except NotOurs as error:
            self._troubles.complain(key, str(error))
        except Exception as error:  # noqa: BLE001 - what one task's files hold must not cost the others their pages
            self._troubles.complain(key, f"{type(error).__name__}: {error}", error)
        return row

    def _finish(self) -> None:
        self._troubles.is_stuck = False
        if self._crew is None:  # which may be adding to the marker
            self._indexes.finish()
            if not self.has_work:
                self._pages.is_thorough = False
                self._pages.is_first_round = False
        self._troubles.go_on()

    def _row(self, key: TaskKey) -> TaskRow:
        return self._rows.get(key) or self._write_task(key)

    def _write_active(self) -> None:
        rows = [self._row(key) for key, is_active in self.roster.tasks.items() if is_active]
        rows.sort(key=lambda row: (-(row.launched_at_s or 0.0), row.task_id))
        self.written += self._indexes.write_active(rows)

    def _write_newest(self) -> None:
        rows = []
        for key in self.roster.shelf.page(NEWEST):
            row = self._row(key)
            if row.href is not None and not self.roster.is_kept(key):
                row = self._write_task(key)  # which takes its pages away
            rows.append(row)
        self.written += self._indexes.write_finished(NEWEST, rows)

    # -- The backlog -------------------------------------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether there is a step to do; not while the output cannot be written."""
        if self._troubles.is_stuck:
            return False
        if self._crew is not None:
            return self._step is not None or self._crew.has_tickets
        roster = self.roster
        return bool(self._step or roster.gone or roster.shelves_due or roster.due or roster.is_index_due)

    @property
    def is_complete(self) -> bool:
        """Whether all pages are as they should be, or cannot be."""
        return not self.has_work and self._crew is None

    def helper_has_ended(self) -> bool:
        """Whether there is a helper whose work is to be taken over."""
        return self._crew is not None and self._crew.has_ended()

    @property
    def helper_fd(self) -> int | None:
        """Readable when ``helper_ended`` is to be called; None: nobody helps."""
        return self._crew.fd if self._crew is not None else None

    @property
    def helper_pid(self) -> int | None:
        """The helper's process; None: there is none."""
        return self._crew.pid if self._crew is not None else None

    def work(self) -> None:
        """One small step of the backlog."""
        if self._step is None:
            self._step = self._next_step()
        try:
            if next(self._step, self) is self:
                self._step = None
                if not self.has_work:
                    self._finish()
        except OSError as error:  # which has ended the step; what it was about is due again
            self._step = None
            self._troubles.get_stuck(error)

    def _next_step(self) -> Iterator[None]:
        roster = self.roster
        if self._crew is not None:
            number = self._crew.take()
            return self._write_shelf(number, is_whole=True) if number is not None else iter(())
        if roster.gone:
            return self._remove_gone()
        shelves = roster.shelves_due - {NEWEST}
        if shelves:
            number = max(shelves)
            roster.shelves_due.discard(number)
            return self._write_shelf(number, number in roster.whole)
        return self._write_rest()

    def _write_rest(self) -> Iterator[None]:
        self.write()
        yield

    def _remove_gone(self) -> Iterator[None]:
        while self.roster.gone:
            name = next(iter(self.roster.gone))
            self._pages.remove(name)
            self.roster.gone.discard(name)
            yield

    def _write_shelf(self, number: int, is_whole: bool) -> Iterator[None]:
        """Write a page of finished tasks, and if *is_whole* the pages of its tasks; due again if that fails."""
        roster = self.roster
        keys = roster.shelf.page(number)
        try:
            if not keys:
                self._indexes.remove(number)
                return
            digest = self._indexes.digest(number)
            is_kept = roster.shelf.kept(number)
            rows = []
            is_wanted = is_whole and (is_kept or self._sources.wants_all)
            if is_wanted or not self._indexes.is_as_made(number, digest):
                for key in keys:
                    if key not in roster.tasks:  # it vanished meanwhile, which makes this page due again
                        continue
                    row = self._rows.pop(key, None) if not is_whole else None
                    is_fit = row is not None and (row.href is not None) == is_kept
                    rows.append(row if row is not None and is_fit else self._write_task(key))
                    roster.due.pop(key, None)
                    yield
                self.written += self._indexes.write_finished(number, rows, digest)
            roster.whole.discard(number)
        except OSError:
            roster.shelves_due.add(number)
            raise

    # -- Help --------------------------------------------------------------------------------------------------------

    def call_help(self, processors: int | None = None) -> None:
        """Have a second process do its share of the backlog, if there is enough of it, and a processor for it."""
        numbers = sorted(self.roster.shelves_due - {NEWEST}, reverse=True)
        if (
            self._crew is not None
            or self._sources.wants_all
            or len(numbers) < 2
            or (processors or os.cpu_count() or 1) < 2
        ):
            return
        self._crew = Crew.hire(numbers, self._help, lambda: self._indexes.made)
        if self._crew is not None:
            self.roster.shelves_due.difference_update(numbers)

    def _help(self, number: int) -> None:
        for _ in self._write_shelf(number, is_whole=True):
            pass

    def helper_ended(self) -> None:
        """Take over what the helper did; what it did not do is due again."""
        if self._crew is None:
            return
        crew, self._crew = self._crew, None
        made = crew.result()
        if made is None:
            log.warning("the second process ended early: its share is done here")
            self.roster.shelves_due.update(crew.numbers)
            self.roster.whole.update(crew.numbers)
            return
        self._indexes.adopt(made)
        self.roster.whole.difference_update(crew.numbers)
        try:
            self._finish()
        except OSError as error:
            self._troubles.get_stuck(error)
