"""Pages of the scheduler as HTML: each with its style and script inside, in the look of the observer's pages.

A template sees ``page``, a dataclass of :mod:`scheduler.pages.pages`, the filters, and where the other lists are.
Everything is escaped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from observer_static.filters import FILTERS, UNKNOWN
from observer_static.marks import sentence
from observer_static.render import DIRECTORY, DocumentedEnvironment, assets, visible
from scheduler.pages import pages, parts, paths
from scheduler.pages.marks import MARKS
from scheduler.pages.pages import Page

#: The template of each kind of page.
TEMPLATES: Final[dict[type[Page], str]] = {
    pages.RolesPage: "roles.html",
    pages.RolePage: "role.html",
    pages.JobPage: "job.html",
    pages.InstancePage: "instance.html",
    pages.UpdatePage: "update.html",
    pages.AgentsPage: "agents.html",
    pages.AgentPage: "agent.html",
    pages.OffersPage: "offers.html",
    pages.PendingPage: "pending.html",
    pages.CronPage: "cron.html",
    pages.MaintenancePage: "maintenance.html",
    pages.MissingPage: "missing.html",
}
_OURS: Final = Path(__file__).parent / "templates"
#: Sections of the observer's style and script that these pages need: its lists and its facts.
_SECTIONS: Final = frozenset({"index", "task"})


class Renderer:
    """Turns pages into HTML; keeps the compiled templates."""

    def __init__(self, templates: Path = _OURS) -> None:
        self._environment = DocumentedEnvironment([pages, parts], templates, DIRECTORY)
        css = (DIRECTORY / "page.css").read_text("utf-8") + (templates / "scheduler.css").read_text("utf-8")
        js = (DIRECTORY / "page.js").read_text("utf-8") + (templates / "again.js").read_text("utf-8")
        self._assets = {again: assets(css, js, _SECTIONS | ({"again"} if again else set())) for again in (False, True)}
        self._environment.filters |= {
            **FILTERS,
            **MARKS,
            "policy": self._policy,
            "script": lambda page: self._assets[_is_shown_again(page)].script,
            "sentence": sentence,
            "style": lambda page: self._assets[_is_shown_again(page)].style,
        }
        self._environment.globals = {
            "UNKNOWN": UNKNOWN,
            "ROLES": paths.ROLES,
            "AGENTS": paths.AGENTS,
            "OFFERS": paths.OFFERS,
            "PENDING": paths.PENDING,
            "CRON": paths.CRON,
            "MAINTENANCE": paths.MAINTENANCE,
        }
        self._templates = {kind: self._environment.get_template(name) for kind, name in TEMPLATES.items()}

    def _policy(self, page: Page) -> str:
        again = _is_shown_again(page)
        return self._assets[again].policy() + ("; connect-src 'self'" if again else "")

    def render(self, page: Page) -> str:
        """The HTML that shows *page*."""
        return visible(self._templates[type(page)].render(page=page))


def _is_shown_again(page: Page) -> bool:
    """Whether it shows itself anew, for which it has to ask us."""
    return isinstance(page, pages.UpdatePage) and page.is_active
