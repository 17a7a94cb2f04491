"""What an update promises, on a real Mesos, with the scheduler killed whenever something has happened to it.

One scenario for each promise of Aurora's updater; that nothing of it depends on the scheduler's life is what all of
them show.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster, cluster
from tests.support.cluster_updates import (
    QUICK,
    carry,
    create,
    events,
    priorities,
    start,
    states,
    until_state,
)
from tests.support.updates import batch, batches, only
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import JobUpdateKey, ResponseCode

# Not of the kind that leaves no process behind: the scheduler is the module's, and is started anew in each test.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: Promises hold for small jobs too, and who was refused asks again soon.
PROMPT = (
    "-min_required_instances_for_sla_check", "1", "-sla_aware_kill_non_prod", "true",
    "-sla_aware_kill_retry_min_delay", "1s", "-sla_aware_kill_retry_max_delay", "1s",
)  # fmt: skip
#: A version of which instance 1 is never healthy.
ONE_IS_BAD = "test {{mesos.instance}} != 1"


@pytest.fixture(scope="module")
def own() -> Iterator[Cluster]:
    with cluster(flags=(*QUICK, *PROMPT)) as made:
        yield made


def order(own: Cluster, update: JobUpdateKey, action: str) -> list[int | None]:
    """The instances to which that happened, in that order."""
    return [instance for instance, what in events(own, update) if what == action]


def end(own: Cluster, key: wire.JobKey) -> None:
    own.api.ok("killTasks", job=key)
    own.wait("all are over", lambda: not own.active(key))


def test_it_creates_then_changes_then_kills(own: Cluster) -> None:
    key = create(own, "order", 1)
    update = start(own, key, 2)
    assert carry(own, update, "ROLLED_FORWARD") >= 2
    assert order(own, update, "UPDATED") == [1, 0]
    assert priorities(own, key) == {0: 7, 1: 7}
    less = start(own, key, 1, priority=3)
    assert carry(own, less, "ROLLED_FORWARD") >= 2
    assert order(own, less, "UPDATED") == [0, 1]
    assert priorities(own, key) == {0: 3}
    end(own, key)


def test_the_way_back_takes_away_what_it_created_and_brings_back_what_was(own: Cluster) -> None:
    key = create(own, "back", 1)
    update = start(own, key, 3, ONE_IS_BAD, update_strategy=batch(3))
    carry(own, update, "ROLLED_BACK")
    assert states(own, update) == ["ROLLING_FORWARD", "ROLLING_BACK", "ROLLED_BACK"]
    own.wait_running(key, 1)
    assert priorities(own, key) == {0: 0}
    end(own, key)


def test_a_batch_is_whole_before_the_next_begins(own: Cluster) -> None:
    key = create(own, "batch", 3)
    update = start(own, key, 3, update_strategy=batch(2))
    assert carry(own, update, "ROLLED_FORWARD") >= 2
    happened = [what for _, what in events(own, update)]
    assert happened == ["UPDATING", "UPDATING", "UPDATED", "UPDATED", "UPDATING", "UPDATED"]
    assert priorities(own, key) == {0: 7, 1: 7, 2: 7}
    end(own, key)


def test_batches_of_several_sizes_pause_before_each_but_the_first(own: Cluster) -> None:
    key = create(own, "autopause", 3)
    update = start(own, key, 3, update_strategy=batches(1, 2, is_autopaused=True))
    assert carry(own, update, "ROLLED_FORWARD") >= 3  # the last two may be done at once
    assert states(own, update) == ["ROLLING_FORWARD", "ROLL_FORWARD_PAUSED", "ROLLING_FORWARD", "ROLLED_FORWARD"]
    happened = [what for _, what in events(own, update)]
    assert happened == ["UPDATING", "UPDATED", "UPDATING", "UPDATING", "UPDATED", "UPDATED"]
    end(own, key)


def test_several_failures_of_an_instance_and_several_instances_may_be_allowed(own: Cluster) -> None:
    key = create(own, "failures", 3)
    update = start(own, key, 3, ONE_IS_BAD, max_per_instance_failures=1, max_failed_instances=1)
    carry(own, update, "ROLLED_FORWARD")
    assert order(own, update, "UPDATED") == [0, 2]
    assert order(own, update, "UPDATE_FAILED") == [1]
    failed = [task for task in own.api.tasks(job_keys=(key,)) if str(task.status) == "FAILED"]
    assert len(failed) >= 2, "it was given a second try"
    end(own, key)


def test_without_a_way_back_it_has_failed(own: Cluster) -> None:
    key = create(own, "failed", 2)
    update = start(own, key, 2, "test ! -e /proc", rollback_on_failure=False)
    carry(own, update, "FAILED")
    assert states(own, update) == ["ROLLING_FORWARD", "FAILED"]
    own.wait("the other one is as it was", lambda: priorities(own, key).get(1) == 0)
    end(own, key)


def test_a_way_back_that_fails_too_has_failed(own: Cluster, tmp_path_factory: pytest.TempPathFactory) -> None:
    flag = tmp_path_factory.mktemp("old") / "is-well"
    flag.parent.chmod(0o755)
    flag.touch()
    key = create(own, "worse", 1, f"test -e {flag}")
    update = start(own, key, 1, "test ! -e /proc")
    carry(own, update, "FAILED", lambda: flag.unlink(missing_ok=True))
    assert states(own, update) == ["ROLLING_FORWARD", "ROLLING_BACK", "FAILED"]
    end(own, key)


def test_only_the_instances_that_were_named(own: Cluster) -> None:
    key = create(own, "scoped", 3)
    update = start(own, key, 3, update_only_these_instances=only(1))
    assert carry(own, update, "ROLLED_FORWARD") >= 1
    assert priorities(own, key) == {0: 0, 1: 7, 2: 0}
    end(own, key)


def test_one_that_is_aborted_stays_so(own: Cluster) -> None:
    key = create(own, "aborted", 2)
    update = start(own, key, 2)
    own.wait("the first is done", lambda: (0, "UPDATED") in events(own, update))
    own.api.ok("abortJobUpdate", key=update, message="enough")
    own.scheduler.kill()
    own.scheduler.start()
    until_state(own, update, "ABORTED")  # once what was taken is back
    refused = own.api.call("resumeJobUpdate", key=update, message=None)
    assert refused.response_code is ResponseCode.INVALID_REQUEST
    end(own, key)


def test_one_that_was_asked_to_go_back_goes_back(own: Cluster) -> None:
    key = create(own, "asked", 2)
    update = start(own, key, 2)
    own.wait("the first is done", lambda: (0, "UPDATED") in events(own, update))
    own.api.ok("rollbackJobUpdate", key=update, message="no")
    assert carry(own, update, "ROLLED_BACK") >= 1
    own.wait_running(key, 2)
    assert priorities(own, key) == {0: 0, 1: 0}
    end(own, key)


def test_pulses_are_waited_for_after_each_start(own: Cluster) -> None:
    key = create(own, "pulsed", 2)
    update = start(own, key, 2, block_if_no_pulses_after_ms=60_000)
    assert carry(own, update, "ROLLED_FORWARD") >= 3
    assert states(own, update)[:2] == ["ROLL_FORWARD_AWAITING_PULSE", "ROLLING_FORWARD"]
    assert priorities(own, key) == {0: 7, 1: 7}
    end(own, key)


def test_canaries_go_first_and_the_others_when_it_is_resumed(own: Cluster) -> None:
    key = create(own, "canary", 3)
    update = start(own, key, 3, update_strategy=batch(2), canary_count=1)
    assert carry(own, update, "ROLLED_FORWARD") >= 3
    assert states(own, update) == ["ROLLING_FORWARD", "ROLL_FORWARD_PAUSED", "ROLLING_FORWARD", "ROLLED_FORWARD"]
    assert [what for _, what in events(own, update)][:2] == ["UPDATING", "UPDATED"]
    assert priorities(own, key) == {0: 7, 1: 7, 2: 7}
    end(own, key)


def test_an_instance_that_does_not_get_there_in_time_has_failed(own: Cluster) -> None:
    key = create(own, "deadline", 1)
    update = start(own, key, 1, "sleep 4; false", progress_deadline_ms=3000)
    carry(own, update, "ROLLED_BACK")
    assert (0, "UPDATE_FAILED") in events(own, update)
    own.wait_running(key, 1)
    assert priorities(own, key) == {0: 0}
    end(own, key)


def test_promises_are_kept_and_the_others_wait(own: Cluster) -> None:
    policy = wire.SlaPolicy(count_sla_policy=wire.CountSlaPolicy(2, 0))
    key = create(own, "promised", 3, sla_policy=policy)
    update = start(own, key, 3, update_strategy=batch(3), sla_aware=True, sla_policy=policy)
    fewest = 3

    def look() -> None:
        nonlocal fewest
        fewest = min(fewest, sum(str(task.status) == "RUNNING" for task in own.active(key)))

    assert carry(own, update, "ROLLED_FORWARD", look) >= 3
    assert fewest >= 2, "of three, two run at any time"
    assert priorities(own, key) == {0: 7, 1: 7, 2: 7}
    end(own, key)
