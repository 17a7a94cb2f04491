"""The job of a configuration file that a command is about: loaded, checked, images looked up, its tier filled in."""

from __future__ import annotations

import argparse

from scheduler.client import conversion
from scheduler.client.docker import any_image, image_binder
from scheduler.client.errors import InvalidConfiguration
from scheduler.client.hooks import JobConfig
from scheduler.client.keys import JobRef
from scheduler.client.printing import clean
from scheduler.client.session import Session
from scheduler.client.world import say
from thermos.config import Config, ConfigError, load
from thermos.config.job_schema import Job


def read_file(path: str, args: argparse.Namespace, session: Session, cluster: str | None) -> Config:
    """What the file at *path* says, with the options of the command line; warnings go to stderr.

    Images are looked up at *cluster*'s registry; None: they are not looked up, only their references allowed.

    Raises:
        InvalidConfiguration: with all of its problems.
    """
    binder = any_image if cluster is None else image_binder(session.clusters[cluster])
    try:
        config = load(path, args.bind, args.read_json, [binder])
    except ConfigError as error:
        raise InvalidConfiguration(f"Error loading configuration: {error}") from None
    for warning in config.warnings:
        say(f"{path}: warning: {clean(warning)}")
    return config


def read_job(path: str, job: JobRef, args: argparse.Namespace, session: Session) -> Job:
    """*job*, as the file at *path* has it."""
    config = read_file(path, args, session, job.cluster)
    try:
        found = config.job(str(job))
    except ConfigError as error:
        raise InvalidConfiguration(f"Error loading configuration: {error}") from None
    session.config = JobConfig(config, found)
    return found


def read_job_with_tier(path: str, job: JobRef, args: argparse.Namespace, session: Session) -> Job:
    """As `read_job`, with its tier from the scheduler."""
    found = read_job(path, job, args, session)
    tiers = session.scheduler(job.cluster).result("getTierConfigs", "get_tier_config_result")
    return conversion.with_tier(found, tiers)


def check_optional(job: JobRef, args: argparse.Namespace, session: Session) -> None:
    """Load the file that ``--config`` names, if it does, so that its faults are known before anything is done."""
    if args.config is not None:
        read_job(args.config, job, args, session)
