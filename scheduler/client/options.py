"""Options that several verbs have, named and preset as in Aurora's client (``aurora/client/cli/options.py``)."""

from __future__ import annotations

import argparse

from scheduler.client import keys


def add_job(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", type=keys.job, metavar="CLUSTER/ROLE/ENV/NAME", help="the job")


def add_instances(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "instances",
        type=keys.instances,
        metavar="CLUSTER/ROLE/ENV/NAME[/INSTANCES]",
        help="the instances, as numbers and ranges: 0-2,5",
    )


def add_one_instance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "instance", type=keys.one_instance, metavar="CLUSTER/ROLE/ENV/NAME/INSTANCE", help="one instance"
    )


def add_pattern(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pattern",
        type=keys.pattern,
        metavar="CLUSTER[/ROLE[/ENV[/NAME]]]",
        help="a job, or a pattern: parts may be * and the like, parts left out are *",
    )


def add_config_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config", metavar="CONFIG", help="configuration file: .aurora or .json; a program, so read it first"
    )
    _add_config_options(parser)


def add_optional_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="CONFIG", help="configuration file of the job; it is checked before anything is done"
    )
    _add_config_options(parser)


def _add_config_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bind", action="append", default=[], metavar="NAME=VALUE", help="give {{NAME}} a value; repeatable"
    )
    parser.add_argument("--read-json", action="store_true", help="the configuration is JSON, whatever its name")


def add_hooks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--skip-hooks", metavar="NAMES", help="hooks not to run: names with commas, or 'all'")


def add_browser(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--open-browser", action="store_true", help="open the job's page in the browser")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def add_write_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--write-json", action="store_true", help="print JSON in the form of Aurora's client")
    add_json(parser)


def add_wait_until(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait-until",
        choices=("PENDING", "RUNNING", "FINISHED"),
        default="PENDING",
        help="return when all instances are so far; default: PENDING, which they are at once",
    )


def add_batches(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batch-size", type=positive, default=1, metavar="N", help="instances at the same time; default: 1"
    )
    parser.add_argument(
        "--max-total-failures",
        type=int,
        default=0,
        metavar="N",
        help="go on while no more than N instances or batches failed; default: 0",
    )


def add_strict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--strict", action="store_true", help="do nothing if one of the instances is not active")


def positive(text: str) -> int:
    """A whole number above 0. For argparse."""
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number above 0")
    return number


def not_negative(text: str) -> int:
    """A whole number, 0 or above. For argparse."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number, 0 or above")
    return int(text)
