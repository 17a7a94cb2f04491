"""Configurations: ``.thermos`` and ``.aurora`` files, JSON and TOML → tasks and jobs, or all problems at once."""

from thermos.config.loader import Binder, Config, load
from thermos.errors import ConfigError

__all__ = ["Binder", "Config", "ConfigError", "load"]
