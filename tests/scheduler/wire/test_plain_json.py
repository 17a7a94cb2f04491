"""JSON as people write it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from scheduler.wire.plain_json import parsed, plain
from scheduler.wire.schema import ARGUMENTS, WireError
from tests.support.api_values import values
from thermos.formats import assigned_task as wire
from thermos.formats.assigned_task import TASK_CONFIG
from thermos.formats.aurora_api import JOB_CONFIGURATION, RESPONSE, TASK_QUERY, CronCollisionPolicy, JobConfiguration


def test_names_enums_and_unions() -> None:
    config = wire.TaskConfig(
        is_service=False,
        resources=(wire.Resource(num_cpus=0.0), wire.Resource(named_port="http")),
        sla_policy=wire.SlaPolicy(count_sla_policy=wire.CountSlaPolicy(0, 60)),
        container=wire.Container(mesos=wire.MesosContainer(volumes=(wire.Volume("/a", "/b", 2),))),
    )
    job = JobConfiguration(cron_collision_policy=CronCollisionPolicy.KILL_EXISTING, task_config=config)
    written = {
        "cronCollisionPolicy": "KILL_EXISTING",
        "taskConfig": {
            "isService": False,
            "resources": [{"numCpus": 0.0}, {"namedPort": "http"}],
            "slaPolicy": {"countSlaPolicy": {"count": 0, "durationSecs": 60}},
            "container": {"mesos": {"volumes": [{"containerPath": "/a", "hostPath": "/b", "mode": "RO"}]}},
        },
    }
    assert plain(JOB_CONFIGURATION, job) == written
    assert parsed(JOB_CONFIGURATION, written) == job


@settings(max_examples=50, deadline=None)
@given(response=values(RESPONSE))
def test_there_and_back(response: Any) -> None:
    assert parsed(RESPONSE, json.loads(json.dumps(plain(RESPONSE, response), allow_nan=False))) == response


def test_null_is_not_set() -> None:
    assert parsed(TASK_QUERY, {"role": None}) == parsed(TASK_QUERY, {})


@pytest.mark.parametrize(
    "struct, written, words",
    [
        (TASK_QUERY, [], "the body: an object should be here, not an array"),
        (TASK_QUERY, {"rôle": "x"}, "the body: 'rôle' is unknown; there are environment, instanceIds, jobKeys"),
        (TASK_QUERY, {"role": 7}, "role: a string should be here, not 7"),
        (TASK_QUERY, {"limit": True}, "limit: a whole number of 32 bits should be here, not True"),
        (TASK_QUERY, {"limit": 1 << 31}, "limit: a whole number of 32 bits"),
        (TASK_QUERY, {"taskIds": "x"}, "taskIds: an array should be here, not 'x'"),
        (TASK_QUERY, {"taskIds": ["x", None]}, r"taskIds\[1\]: a string should be here, not None"),
        (TASK_QUERY, {"statuses": ["RUNNING", 2]}, r"statuses\[1\]: one of PENDING, .* should be here, not 2"),
        (TASK_QUERY, {"jobKeys": [{"role": {}}]}, r"jobKeys\[0\]\.role: a string should be here, not an object"),
        (
            TASK_CONFIG,
            {"resources": [{}]},
            r"resources\[0\]: exactly one of diskMb, namedPort, numCpus, numGpus, ramMb",
        ),
        (TASK_CONFIG, {"resources": [{"ramMb": 1, "diskMb": 1}]}, r"resources\[0\]: exactly one of"),
        (TASK_CONFIG, {"resources": [{"numCpus": 10**400}]}, "numCpus: inf is no amount"),
        (TASK_CONFIG, {"isService": 0}, "isService: true or false should be here, not 0"),
        (TASK_CONFIG, {"taskLinks": []}, "taskLinks: an object should be here, not an array"),
        (TASK_CONFIG, {"taskLinks": {"a": 1}}, r"taskLinks\.a: a string should be here"),
        (ARGUMENTS["getTierConfigs"], {"x": 1}, "'x' is unknown; there are no fields"),
    ],
)
def test_what_is_wrong_is_said(struct: Any, written: Any, words: str) -> None:
    with pytest.raises(WireError, match=words):
        parsed(struct, written)
