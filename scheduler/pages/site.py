"""Which page an address means, and the page: what the API serves to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from observer_static.context import shown
from observer_static.parts import Link
from scheduler.api.options import Look, Shown
from scheduler.model import JobKey
from scheduler.pages import (
    collect_cluster,
    collect_cron,
    collect_job,
    collect_maintenance,
    collect_roles,
    collect_updates,
    paths,
)
from scheduler.pages.collect import common
from scheduler.pages.pages import MissingPage, Page
from scheduler.pages.render import Renderer

#: No instance has a longer number.
_MAX_DIGITS: Final = 9


class Site:
    """The pages. *task_page_url*: where a task's page is on its agent, see ``paths.task_url``; empty: nowhere."""

    def __init__(self, task_page_url: str = "") -> None:
        self._task_page_url = task_page_url
        self._renderer = Renderer()

    def __call__(self, path: str, query: Mapping[str, str], look: Look) -> Shown | None:
        """The page at *path*; None: there can be none. What may have been there has a page that says so."""
        match path.rstrip("/").split("/")[1:]:
            case ["scheduler"] | ["cluster"]:
                page: Page = collect_roles.roles_page(look(collect_roles.pick_cluster))
            case ["cluster", "agents"]:
                page = collect_cluster.agents_page(look(collect_cluster.pick_agents), query)
            case ["cluster", "agents", host]:
                agent = look(lambda view: collect_cluster.pick_agent(view, host))
                page = (
                    collect_cluster.agent_page(agent, query, self._task_page_url)
                    if agent is not None
                    else _missing_from(look, f"agent on {shown(host)}", Link(text="all agents", href=paths.AGENTS))
                )
            case ["cluster", "offers"]:
                page = collect_cluster.offers_page(look(collect_cluster.pick_offers), query)
            case ["cluster", "pending"]:
                page = collect_cluster.pending_page(look(collect_cluster.pick_pending), query)
            case ["cluster", "cron"]:
                page = collect_cron.cron_page(look(collect_cron.pick_cron), query)
            case ["cluster", "maintenance"]:
                page = collect_maintenance.maintenance_page(
                    look(lambda view: collect_maintenance.pick_maintenance(view, query))
                )
            case ["scheduler", _, _, _, *rest] if len(rest) == 2 and rest[0] != paths.UPDATE:
                page = _missing([], look)
            case ["scheduler", *names] if len(names) <= 5:
                page = self._of_jobs(names, query, look) or _missing(names, look)
            case ["scheduler" | "cluster", *_]:
                page = _missing([], look)
            case _:
                return None
        return Shown(self._renderer.render(page), 404 if isinstance(page, MissingPage) else 200)

    def _of_jobs(self, names: list[str], query: Mapping[str, str], look: Look) -> Page | None:
        """The page of what *names* name: a role, an environment, a job, an instance or an update."""
        match names:
            case [role] | [role, _]:
                of_role = look(lambda view: collect_roles.pick_role(view, role))
                environment = names[1] if len(names) > 1 else None
                return collect_roles.role_page(of_role, environment, query) if of_role is not None else None
        job = JobKey(*names[:3])
        if len(names) == 5:
            update = look(lambda view: collect_updates.pick_update(view, job, names[4]))
            return collect_updates.update_page(update, query) if update is not None else None
        of_job = look(lambda view: collect_job.pick_job(view, job))
        if of_job is None:
            return None
        if len(names) == 3:
            return collect_job.job_page(of_job, query, self._task_page_url)
        number = names[3]
        if not (number.isascii() and number.isdigit() and len(number) <= _MAX_DIGITS):
            return None
        return collect_job.instance_page(of_job, int(number), query, self._task_page_url)


def _missing(names: list[str], look: Look) -> MissingPage:
    """That nothing of these *names* is there; leads back to what they begin with."""
    links = [Link(text="all roles", href=paths.ROLES)]
    if len(names) > 1:
        links.append(Link(text=f"the role {shown(names[0])}", href=paths.role_path(names[0])))
    if len(names) > 2:
        environment = shown("/".join(names[:2]))
        links.append(Link(text=f"the environment {environment}", href=paths.role_path(names[0], names[1])))
    if len(names) > 3:
        links.append(Link(text=f"the job {shown('/'.join(names[:3]))}", href=paths.job_path(JobKey(*names[:3]))))
    kind = ("page", "role", "environment", "job", "instance", "update")[len(names)]
    return _missing_from(look, f"{kind} {shown('/'.join(names))}".strip(), *links)


def _missing_from(look: Look, what: str, *links: Link) -> MissingPage:
    seen = look(common)
    return MissingPage(
        stamp=seen.stamp(),
        cluster=seen.cluster,
        notices=seen.notices(),
        what=f"There is no {what}, or nothing of it is remembered any more.",
        links=links,
    )
