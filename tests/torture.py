"""``./dev torture N``: N rounds of kill -9 at random moments, each of which must lose nothing.

A round is a random task whose runner, coordinators and commands are killed at random moments, one or all at
once; a dead runner is started again until the task is over. Then everything that must hold is checked
(``tests.support.invariants``). A round that fails prints its seed: ``./dev torture 1 --seed SEED`` repeats its
task and its deaths, if not the very moments.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.chaos import Outcome, play
from tests.support.parallel import map_in_processes

#: More than two cores: a round waits as well.
WORKERS = 3


def torture(rounds: int, seed: int, workers: int = WORKERS) -> list[Outcome]:
    """The outcomes of *rounds* rounds, with seeds from *seed* on."""
    return map_in_processes(play, range(seed, seed + rounds), min(workers, rounds))


def summary(outcomes: list[Outcome], took_s: float) -> str:
    """One line with all counts."""
    deeds = Counter(deed.rpartition(" (")[0] or deed for outcome in outcomes for deed in outcome.deeds)
    bad = sum(bool(outcome.problems) for outcome in outcomes)
    told = ", ".join(f"{count} × {deed}" for deed, count in sorted(deeds.items()))
    return f"{len(outcomes)} rounds in {took_s:.0f} s, {bad} bad; {told}"


def main(arguments: list[str]) -> int:
    """The exit code: 1 if a round was bad."""
    parser = argparse.ArgumentParser(prog="./dev torture", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("rounds", metavar="N", type=int, help="how many rounds")
    parser.add_argument("--seed", type=int, help="seed of the first; the others count on from it (default: random)")
    parser.add_argument("--workers", type=int, default=WORKERS, help=f"rounds at the same time ({WORKERS})")
    parser.add_argument("--verbose", action="store_true", help="print all records of a round that was bad")
    options = parser.parse_args(arguments)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**9)
    print(f"seeds {seed} to {seed + options.rounds - 1}")
    begun = time.monotonic()
    outcomes = torture(options.rounds, seed, options.workers)
    for outcome in outcomes:
        if outcome.problems:
            print(outcome if options.verbose else str(outcome)[:1500])
    print(summary(outcomes, time.monotonic() - begun))
    return int(any(outcome.problems for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
