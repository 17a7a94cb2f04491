"""A running scheduler: its store, its API, its place in the election, and the loop while it leads."""

from __future__ import annotations

import logging
import os
import queue
import random
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from scheduler.api.app import ApiOptions, create_app
from scheduler.api.backend import Leader, View
from scheduler.api.server import Server
from scheduler.core.commands import Answer, Command, refused
from scheduler.core.engine import Engine
from scheduler.core.events import Event, Launch
from scheduler.core.state import State
from scheduler.framework import credential_of, framework_info
from scheduler.mesos.connection import MasterConnection
from scheduler.mesos.election import Election, Lost
from scheduler.mesos.finder import finder_of
from scheduler.mesos.task_info import Launcher
from scheduler.options import Options
from scheduler.program import Ended, Mesos, Program
from scheduler.store.backups import Backups
from scheduler.store.interface import Store
from scheduler.store.opening import open_store
from thermos.errors import ExitCode
from thermos.formats.aurora_api import ResponseCode

T = TypeVar("T")
log = logging.getLogger(__name__)
#: Backups are looked at so often; they are made by the hour.
_MINUTE_S: Final = 60.0
__all__ = ["Service"]
