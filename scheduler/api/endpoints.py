"""What operators and dashboards ask over plain HTTP: health, figures, and how things stand, as JSON.

Shapes are Aurora's (``docs/reference/scheduler-endpoints.md``, and its servlets where that says little).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from werkzeug.wrappers import Request, Response

from scheduler.api.answers import as_json, packed, words
from scheduler.api.backend import Backend, View
from scheduler.api.counting import Counts
from scheduler.api.exposition import as_prometheus
from scheduler.api.failures import HttpFailure
from scheduler.api.options import ApiOptions
from scheduler.api.variables import Variables, as_text
from scheduler.core import queries
from scheduler.model import Config, JobKey, Mode, Resources, Task
from scheduler.states import ACTIVE, ScheduleStatus
from scheduler.wire.plain_json import plain
from thermos.formats.assigned_task import TASK_CONFIG
from thermos.formats.aurora_api import JOB_CONFIGURATION, SCHEDULED_TASK, MaintenanceMode

#: Ports under which a task may have a web server, the first that it has counts (Aurora's ``Mname``).
_WEB_PORTS: Final = ("health", "http", "HTTP", "web", "admin")
#: Kinds of ``/utilization``: what counts as one's own of all active tasks.
_KINDS: Final[dict[str, Callable[[Config], bool]]] = {
    "total_consumed": lambda config: True,
    "dedicated_consumed": lambda config: config.dedicated is not None,
    "quota_consumed": lambda config: config.is_production and config.dedicated is None,
    "free_pool_consumed": lambda config: not config.is_production and config.dedicated is None,
}


class Endpoints:
    """All of them, by the first name of their paths."""

    def __init__(self, backend: Backend, options: ApiOptions, counts: Counts) -> None:
        self._backend = backend
        self._options = options
        self._variables = Variables(backend, counts)
        self._routes: dict[str, Callable[[Request, list[str]], Response]] = {
            "health": self._health,
            "leaderhealth": self._leader_health,
            "vars": self._vars,
            "vars.json": self._vars_json,
            "metrics": self._metrics,
            "offers": self._looking(_offers),
            "pendingtasks": self._looking(_pending),
            "quotas": self._quotas,
            "agents": self._looking(_agents),
            "slaves": self._looking(_agents),
            "state": self._looking(_state),
            "tiers": self._looking(_tiers),
            "cron": self._looking(_cron),
            "maintenance": self._looking(_maintenance),
            "services": self._services,
            "utilization": self._utilization,
            "structdump": self._struct_dump,
            "mname": self._mname,
        }

    def serve(self, request: Request, first: str) -> Response | None:
        """The answer to *request*, or None where no endpoint has that name. Raises HttpFailure."""
        route = self._routes.get(first)
        return route(request, request.path.strip("/").split("/")[1:]) if route is not None else None

    def _looking(self, at: Callable[[View], Any]) -> Callable[[Request, list[str]], Response]:
        """A route that shows what *at* makes of the view: a value, or what makes one elsewhere."""

        def route(request: Request, rest: list[str]) -> Response:
            _no_more(rest)
            found = self._backend.look(at)
            return packed(request, as_json(found() if callable(found) else found))

        return route

    # -- health and figures --------------------------------------------------------------------------------------------

    def _health(self, request: Request, rest: list[str]) -> Response:
        _no_more(rest)
        return words(200, "OK")

    def _leader_health(self, request: Request, rest: list[str]) -> Response:
        _no_more(rest)
        leader = self._backend.leader()
        if leader.is_us:
            return words(200, "This scheduler leads")
        if leader.url is None:
            return words(502, "No scheduler leads, as far as this one knows")
        return words(503, f"{leader.url} leads")

    def _vars(self, request: Request, rest: list[str]) -> Response:
        figures = self._variables.all()
        if not rest:
            return words(200, as_text(figures))
        name = "/".join(rest)
        if name not in figures:
            raise HttpFailure(404, "there is no such variable")
        return words(200, str(figures[name]))

    def _vars_json(self, request: Request, rest: list[str]) -> Response:
        _no_more(rest)
        return as_json(self._variables.all(), is_pretty="pretty" in request.args)

    def _metrics(self, request: Request, rest: list[str]) -> Response:
        _no_more(rest)
        body = as_prometheus(self._variables.all())
        return Response(body, content_type="text/plain; version=0.0.4; charset=utf-8")

    # -- how things stand ----------------------------------------------------------------------------------------------

    def _quotas(self, request: Request, rest: list[str]) -> Response:
        _no_more(rest)
        role = request.args.get("role")
        quotas = self._backend.look(lambda view: dict(view.state.quotas))
        if role is not None:
            quotas = {role: quotas.get(role, Resources())}
        return as_json({
            name: {"cpu_cores": quota.cpus, "ram_mb": quota.ram_mb, "disk_mb": quota.disk_mb}
            for name, quota in sorted(quotas.items())
        })  # fmt: skip

    def _services(self, request: Request, rest: list[str]) -> Response:
        _no_more(rest)
        is_registered, held = self._backend.look(
            lambda view: (bool(view.metrics.get("framework_registered")), view.holds)
        )
        states = {"HttpServer": True, "Leader": self._backend.leader().is_us, "MesosConnection": is_registered}
        found = [{"name": name, "state": "RUNNING" if on else "NEW"} for name, on in states.items()]
        if held and not is_registered:
            found[-1]["failureCause"] = held[0]
        return as_json(found)

    def _utilization(self, request: Request, rest: list[str]) -> Response:
        kind = rest[0] if rest else None
        if len(rest) > 2 or (kind is not None and kind not in _KINDS):
            raise HttpFailure(404, f"there are /utilization, /utilization/KIND and …/ROLE, of {', '.join(_KINDS)}")
        used = self._backend.look(_used)
        totals: dict[str, Resources] = dict.fromkeys(_KINDS, Resources()) if kind is None else {}
        for config, times in used:
            for name in (name for name, counts in _KINDS.items() if counts(config)):
                if kind is None:
                    totals[name] = totals[name].plus(config.resources, times)
                elif name == kind and (len(rest) == 1 or config.job.role == rest[1]):
                    label = config.job.role if len(rest) == 1 else str(config.job)
                    totals[label] = totals.get(label, Resources()).plus(config.resources, times)
        return as_json({
            name: {"cpu_cores": one.cpus, "ram_mb": one.ram_mb, "disk_mb": one.disk_mb, "gpus": one.gpus}
            for name, one in totals.items()
        })  # fmt: skip

    def _struct_dump(self, request: Request, rest: list[str]) -> Response:
        match rest:
            case ["task", task_id]:
                task = self._backend.look(lambda view: view.state.tasks.get(task_id))
                if task is not None:
                    return as_json(plain(SCHEDULED_TASK, queries.to_wire(task)), is_pretty=True)
            case ["cron", role, environment, name]:
                job = self._backend.look(lambda view: view.state.cron_jobs.get(JobKey(role, environment, name)))
                if job is not None:
                    return as_json(plain(JOB_CONFIGURATION, job), is_pretty=True)
            case _:
                raise HttpFailure(400, "there are /structdump/task/TASK and /structdump/cron/ROLE/ENVIRONMENT/JOB")
        raise HttpFailure(404, "there is no such task or job")

    def _mname(self, request: Request, rest: list[str]) -> Response:
        """Sends the client to a running instance's own web server; a request's method goes with it (307)."""
        if len(rest) < 4 or not (rest[3].isascii() and rest[3].isdigit() and len(rest[3]) < 10):
            raise HttpFailure(400, "ask for /mname/ROLE/ENVIRONMENT/JOB/INSTANCE[/PATH]")
        job, instance = JobKey(*rest[:3]), int(rest[3])
        found = self._backend.look(
            lambda view: next((task for task in view.state.active_of(job) if task.instance == instance), None)
        )
        if found is None:
            raise HttpFailure(404, "there is no such live instance")
        if found.status is not ScheduleStatus.RUNNING:
            raise HttpFailure(404, f"the instance is {found.status.name}")
        ports = dict(found.ports)
        port = next((ports[name] for name in _WEB_PORTS if name in ports), None)
        if port is None or found.host is None:
            raise HttpFailure(404, "the instance has no port for a web server")
        path = quote("/".join(rest[4:]).encode("utf-8", "surrogateescape"), safe="/:@!$&'()*+,;=~-._")
        query = request.environ.get("QUERY_STRING", "")
        query = f"?{quote(query.encode('latin-1', 'replace'), safe='/:@!$&()*+,;=~-._?%')}" if query else ""
        response = Response(status=307, content_type="text/plain; charset=utf-8")
        response.headers["Location"] = f"http://{_bracketed(found.host)}:{port}/{path}{query}"
        response.autocorrect_location_header = False
        return response


def _no_more(rest: list[str]) -> None:
    if rest:
        raise HttpFailure(404, "there is no such page")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _offers(view: View) -> Any:
    """As Mesos sent them."""
    offers = list(view.offers)
    return lambda: [offer.raw for offer in offers]


def _pending(view: View) -> Any:
    return [
        {
            "penaltyMs": round(group.penalty_s * 1000),
            "taskIds": list(group.pending),
            "name": str(group.config.job),
            "reason": next((view.pending_reasons[one] for one in group.pending if one in view.pending_reasons), ""),
        }
        for group in view.groups.values()
    ]


def _agents(view: View) -> Any:
    hosts = list(view.state.hosts.values())
    return lambda: [
        {
            "host": host.name,
            "id": host.agent_id,
            "mode": MaintenanceMode(host.mode).name,
            "attributes": {name: sorted(values) for name, values in host.attributes},
        }
        for host in sorted(hosts, key=lambda host: host.name)
    ]


def _state(view: View) -> Any:
    """Which agents run which configurations. Each is written once, under a key of this answer only."""
    agents: dict[str, list[Task]] = {
        agent_id: [task for task in view.state.on_agent(agent_id) if task.status in ACTIVE]
        for agent_id in view.state.by_agent
    }

    def made() -> dict[str, Any]:
        keys: dict[Config, str] = {}
        for tasks in agents.values():
            for task in tasks:
                keys.setdefault(task.config, f"config-{len(keys)}")
        return {
            "taskConfigs": {key: plain(TASK_CONFIG, config.wire) for config, key in keys.items()},
            "agents": {agent: [keys[task.config] for task in tasks] for agent, tasks in agents.items() if tasks},
        }

    return made


def _tiers(view: View) -> Any:
    settings = view.settings
    return {
        "default": settings.default_tier,
        "tiers": {
            tier.name: {"preemptible": tier.is_preemptible, "revocable": tier.is_revocable} for tier in settings.tiers
        },
    }


def _cron(view: View) -> Any:
    return {"scheduled": {str(key): job.cron_schedule for key, job in sorted(view.state.cron_jobs.items())}}


def _maintenance(view: View) -> Any:
    by_mode: dict[int, list[str]] = {Mode.SCHEDULED: [], Mode.DRAINING: [], Mode.DRAINED: []}
    for host in sorted(view.state.hosts.values(), key=lambda host: host.name):
        if host.mode in by_mode:
            by_mode[host.mode].append(host.name)
    draining: dict[str, list[str]] = {name: [] for name in by_mode[Mode.DRAINING]}
    if draining:
        for task in view.state.with_status(ACTIVE):
            if task.host in draining:
                draining[task.host].append(task.task_id)
    return {"SCHEDULED": by_mode[Mode.SCHEDULED], "DRAINING": draining, "DRAINED": by_mode[Mode.DRAINED]}


def _used(view: View) -> list[tuple[Config, int]]:
    """How many active tasks have which configuration."""
    found: dict[Config, int] = {}
    for task in view.state.with_status(ACTIVE):
        found[task.config] = found.get(task.config, 0) + 1
    return list(found.items())
