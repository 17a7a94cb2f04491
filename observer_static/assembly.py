"""The parts of a running ``thermos_observer``, put together as the command line says."""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import logging
import pwd
from collections.abc import Callable, Sequence
from dataclasses import replace

from detectors import plugins
from detectors.roots import DEFAULT_MESOS_ROOT, default_root
from detectors.watch import HostWatcher, TaskKey
from observer_static.command.flags import PROGRAM
from observer_static.disk import Agent, Walk
from observer_static.loop import Observer, Signals
from observer_static.measuring import Measuring
from observer_static.notify import notify
from observer_static.options import AgentLinks, Options, ServedLinks, file_links
from observer_static.output import Output
from observer_static.pagedir import PRIVATE, Modes
from observer_static.sampling import Sampling
from observer_static.secrets import DEFAULTS, Redactor
from observer_static.site import Site
from observer_static.sources import Sources
from observer_static.taskdir import code_digest
from observer_static.view import Shared
from thermos import __version__
from thermos.errors import ExitCode, code_of

log = logging.getLogger(PROGRAM)


def run(args: argparse.Namespace, *, owner: pwd.struct_passwd | None, group: int, hostname: str) -> int:
    """Observe until all is written (``--once``) or a signal comes; the exit code. Raises OSError, ThermosError."""
    modes = Modes(0o750, 0o640, group) if group != -1 else PRIVATE
    options = _options(args, hostname)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        watcher = stack.enter_context(
            HostWatcher(plugins.from_options(args), rescan_s=args.rescan_s, poll_s=args.polling_interval_secs)
        )
        watcher.scan()  # which names the roots, where no pages may lie
        output = stack.enter_context(contextlib.closing(Output(args.output, modes, watcher.roots)))
        measuring = _measuring(args)

        def notices() -> tuple[str, ...]:
            return (*watcher.notices, *options.redactor.notices)

        sources = Sources(places=lambda: _places(args), notices=notices)
        if measuring is not None:
            stack.callback(measuring.close)
            sources = replace(
                sources,
                usage=measuring.usage,
                history=measuring.history,
                told=measuring.told,
                wants_all=args.serve or args.textfile is not None,
            )
        site = stack.enter_context(
            Site(output, options, _salt(args), sources, owner=owner, finished_pages=args.finished_pages)
        )
        log.info("writing pages to %s", output.path)
        view = _view(args, options, watcher, output, site, measuring, notices)

        def ready() -> None:
            count = len(site.roster.tasks)
            status = f"{count} {'task' if count == 1 else 'tasks'} in {output.path}"
            log.info("the index is written: %s", status)
            if view is not None:
                from observer_static.serve import serve  # what only serves is only then imported

                server = stack.enter_context(serve(view, args.ip, args.port, args.allowed_host))
                log.info("listening on http://%s:%d", f"[{args.ip}]" if ":" in args.ip else args.ip, server.port)
            notify("READY=1", f"STATUS={status}")

        def changed() -> None:
            if view is not None:
                view.changed()

        def written() -> None:
            if measuring is not None:
                own = measuring.metrics.own
                own.roots, own.is_polling, own.pages_written = len(watcher.roots), watcher.is_polling, site.written

        observer = Observer(watcher, site, signals, measuring, notices, ready, changed, written)
        observer.begin()
        if args.once:
            observer.run_until_complete()
        else:
            observer.run()
        notify("STOPPING=1")
        textfile_trouble = measuring.textfile_trouble if measuring is not None else None
        return _ending(args, site, textfile_trouble, is_all_seen=not watcher.closed)


def _measuring(args: argparse.Namespace) -> Measuring | None:
    """What measures and counts; None: nobody asked for that."""
    intervals_s = args.task_process_collection_interval_secs, args.task_disk_collection_interval_secs
    is_for_file = args.once and args.textfile is not None
    is_measuring = not args.disable_task_resource_collection and (args.serve or any(intervals_s) or is_for_file)
    if not is_measuring and not args.serve and args.textfile is None:
        return None
    sampling: Sampling[TaskKey] | None = None
    if is_measuring:
        agent = Agent(args.agent_api_url, args.executor_id_json_path, args.disk_usage_json_path)
        disk = agent if args.enable_mesos_disk_collector else Walk()
        sampling = Sampling(*intervals_s, disk if not args.once else None)  # with --once nobody waits for its answer
    return Measuring(sampling, args.textfile, __version__, is_measured_first=is_for_file)


def _view(
    args: argparse.Namespace,
    options: Options,
    watcher: HostWatcher,
    output: Output,
    site: Site,
    measuring: Measuring | None,
    notices: Callable[[], Sequence[str]],
) -> Shared | None:
    if not args.serve or measuring is None:
        return None
    return Shared(
        options,
        site.roster.tasks,
        site=output.path,
        owner=args.owner,
        measures=not args.disable_task_resource_collection,
        notices=notices,
        roots=lambda: watcher.roots,
        page_key=site.roster.page_key,
        usage=measuring.looked_usage,
        history=measuring.history,
        variables=measuring.variables,
        metrics=measuring.exposition,
    )


def _ending(args: argparse.Namespace, site: Site, textfile_trouble: OSError | None, *, is_all_seen: bool) -> int:
    if not args.once:
        log.info("stopped")
        return ExitCode.OK
    trouble = site.trouble or textfile_trouble
    if trouble is not None:
        return ExitCode.NO_SPACE if trouble.errno in (errno.ENOSPC, errno.EDQUOT) else code_of(trouble)
    if site.complaints:
        return ExitCode.INTERNAL
    return ExitCode.OK if is_all_seen else ExitCode.PERMISSION


def _options(args: argparse.Namespace, hostname: str) -> Options:
    patterns = (*DEFAULTS, *args.redact)
    agent = args.agent_url
    return Options(
        writer=PROGRAM,
        version=__version__,
        hostname=hostname,
        redactor=Redactor(patterns, off=args.no_redact),
        index_href=True,
        agent=agent,
        raw_links=ServedLinks() if args.serve else AgentLinks(agent) if agent else file_links,
    )


def _salt(args: argparse.Namespace) -> str:
    """Stands for all that decides how pages look, besides the tasks."""
    chosen = (args.agent_url, args.redact, args.no_redact, args.serve, args.owner, args.group, code_digest())
    return hashlib.blake2b(repr(chosen).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _places(args: argparse.Namespace) -> list[str]:
    """Where tasks are looked for, in words."""
    named = [f"what --detector {each.name} finds" for each in args.detector]
    return [args.root or default_root(), args.mesos_root or DEFAULT_MESOS_ROOT, *named]
