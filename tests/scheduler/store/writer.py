"""``python writer.py URL NAME COMMITS``: leads, commits one change after the other, says so when each is durable.

It says that it is ready, and begins when its input ends. What it writes shows whether something was lost or done twice:
task ``t-N`` comes with commit N, whoever made it, and the task ``count`` says how many there were. Whoever is fenced
loads anew and leads again.
"""

from __future__ import annotations

import sys

from scheduler.core.changes import PutTask
from scheduler.store.interface import Fenced
from scheduler.store.opening import open_store
from tests.scheduler.store.values import config, state_of, task


def main(url: str, name: str, commits: str) -> None:
    web = config()
    left = int(commits)
    print("ready", flush=True)
    sys.stdin.read()
    while left:
        store = open_store(url)
        try:
            store.lead()
            counted = state_of(store.load()).tasks.get("count")
            number = 0 if counted is None else counted.failure_count
            while left:
                number += 1
                new = task(f"t-{number}", web, host=name)
                store.commit([PutTask(new), PutTask(task("count", web, failure_count=number))])
                print(number, flush=True)
                left -= 1
        except Fenced:
            print("fenced", flush=True)
        finally:
            store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
