"""How long a leader may be unknown to Mesos before another candidate is to lead in its place."""

from __future__ import annotations


class Registration:
    """Of one term. *delay_s*: how long Mesos may take (None: as long as it likes, since nobody else could lead);
    *began_s*: when the term began, in the seconds of a monotonic clock."""

    def __init__(self, delay_s: float | None, began_s: float) -> None:
        self._delay_s = delay_s
        #: When it is to be looked at; None: no more.
        self.due_s = None if delay_s is None else began_s + delay_s

    def is_overdue(self, is_registered: bool, now_s: float) -> bool:
        """Whether the lead is to be given up. Who was registered once has time for as long as the term lasts: Mesos
        knows the framework, and a connection that broke is made again."""
        if is_registered:
            self.due_s = None
        return self.due_s is not None and self.due_s <= now_s

    @property
    def reason(self) -> str:
        """What is said of it."""
        return f"Mesos has not registered this scheduler within {self._delay_s:g} s (-max_registration_delay)"
