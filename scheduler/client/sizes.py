"""Amounts of resources on the command line of ``aurora_admin``: ``4.5`` cores, ``2048MB``, ``10g``."""

from __future__ import annotations

import argparse
import math
import re
from typing import Final

_SIZE: Final = re.compile(r"(-?[0-9]{1,12})\s*([KMGT])B?", re.IGNORECASE)
_KB: Final = {"K": 1, "M": 1024, "G": 1024**2, "T": 1024**3}


def megabytes(text: str) -> int:
    """A size with its unit, in megabytes. For argparse."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no size: write a whole number and K, M, G or T, such as 2048MB")
    kilobytes = int(found[1]) * _KB[found[2].upper()]
    if kilobytes % 1024:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number of megabytes, in which quotas are counted")
    return kilobytes // 1024


def cores(text: str) -> float:
    """A number of processor cores. For argparse."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of cores")
    return number
