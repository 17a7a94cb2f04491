"""All measurements, or some: ``./dev bench [--quick] [--only NAME] [--json FILE]``.

Each stands in a module of its own, beside a peer measured in the same run. Times are those of this machine at
this moment: nothing fails because it is slow, the table says which targets were missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import (
    chain,
    executor,
    idle,
    latency,
    maintenance,
    memory,
    observer,
    one,
    parallel,
    placement,
    preemption,
    replay,
    scheduler,
    scheduler_mesos,
    start_rate,
    status,
    store,
    thousands,
    updates,
)
from benchmarks.harness import Bench, Row, Skipped

MEASUREMENTS: Final[dict[str, Callable[[Bench], list[Row]]]] = {
    "one": one.measure,
    "chain": chain.measure,
    "parallel": parallel.measure,
    "latency": latency.measure,
    "memory": memory.measure,
    "idle": idle.measure,
    "thousands": thousands.measure,
    "start-rate": start_rate.measure,
    "status": status.measure,
    "replay": replay.measure,
    "observer": observer.measure,
    "executor": executor.measure,
    "store": store.measure,
    "placement": placement.measure,
    "preemption": preemption.measure,
    "maintenance": maintenance.measure,
    "updates": updates.measure,
    "scheduler": scheduler.measure,
    "scheduler-mesos": scheduler_mesos.measure,
}

_UNITS: Final = {"s": (1.0, 3), "ms": (1e3, 2), "MB": (1e-6, 2), "kB": (1e-3, 0), "/s": (1.0, 0), "": (1.0, 0)}


def shown(value: float | None, unit: str) -> str:
    """*value*, which is in seconds, bytes or a number, in *unit*."""
    if value is None:
        return ""
    factor, digits = _UNITS[unit]
    return f"{value * factor:,.{digits}f} {unit}".rstrip()


def table(rows: list[Row]) -> str:
    """The rows, for people."""
    lines = [("measurement", "ours", "target", "", "peer", "peer's", "ours/peer's", "")]
    for row in rows:
        met = {None: "", True: "met", False: "MISSED"}[row.is_met]
        bound = "≥" if row.is_rate else "≤"
        lines.append(
            (
                row.name,
                shown(row.ours, row.unit),
                f"{bound} {shown(row.target, row.unit)}" if row.target is not None else "",
                met,
                row.peer,
                shown(row.peer_value, row.unit),
                f"{row.ratio:.2f}" if row.ratio is not None else "",
                row.note,
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = {1, 2, 5, 6}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def main() -> int:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=MEASUREMENTS, help="only this; may be repeated")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller: minutes become a minute")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there too")
    parser.add_argument("--dir", metavar="DIR", help="where to put checkpoints and sandboxes (default: TMPDIR)")
    args = parser.parse_args()
    rows: list[Row] = []
    failed = False
    for name in args.only or MEASUREMENTS:
        directory = Path(tempfile.mkdtemp(prefix=f"thermos-bench-{name}-", dir=args.dir))
        start = time.perf_counter()
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            rows += MEASUREMENTS[name](Bench(args.quick, directory))
        except Skipped as reason:
            print(f"  skipped: {reason}", file=sys.stderr)
        except (OSError, RuntimeError, TimeoutError) as error:  # TimeoutExpired is none of them: a bug, so let it out
            print(f"  failed: {error}", file=sys.stderr)
            failed = True
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        print(f"  {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
    print(table(rows))
    if args.json is not None:
        machine = {"cpus": os.cpu_count(), "kernel": os.uname().release, "python": sys.version.split()[0]}
        found = [asdict(row) | {"ratio": row.ratio, "is_met": row.is_met} for row in rows]
        args.json.write_text(json.dumps({"machine": machine, "quick": args.quick, "rows": found}, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
