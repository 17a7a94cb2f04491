"""Updates through ``/api`` and ``/apibeta``, as gorealis, Aurora's client and Peloton's tool use them."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Response as HttpResponse

from scheduler.api.app import create_app
from scheduler.wire import thrift
from scheduler.wire.thrift import Protocol
from tests.support.engine_backend import EngineBackend, job, task_config
from tests.support.updates import batch, settings
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    JobUpdateKey,
    JobUpdatePulseStatus,
    JobUpdateQuery,
    JobUpdateRequest,
    JobUpdateStatus,
    JobUpdateStrategy,
    QueueJobUpdateStrategy,
    Range,
    Response,
    ResponseCode,
)

KEY = wire.JobKey("www", "prod", "hello")
MARK = wire.Metadata("org.apache.aurora.client.update_id", "5d1c")


class Api:
    """A client of one protocol over an application that has the job, with two instances."""

    def __init__(self, protocol: Protocol = Protocol.BINARY) -> None:
        self.protocol = protocol
        self.http = Client(create_app(EngineBackend()), HttpResponse)
        assert self.call("createJob", description=job(2)).response_code is ResponseCode.OK

    def call(self, name: str, **arguments: Any) -> Response:
        headers = {"Content-Type": self.protocol.value, "Accept": self.protocol.value}
        body = thrift.encode_call(name, 7, arguments, self.protocol)
        answer = self.http.post("/api", data=body, headers=headers)
        assert answer.status_code == 200
        return thrift.decode_reply(answer.data, name, 7, self.protocol)

    def beta(self, name: str, body: dict[str, Any]) -> Any:
        answer = self.http.post(f"/apibeta/{name}", json=body)
        assert answer.status_code == 200, answer.data
        return answer.json

    def start(self, **more: Any) -> Response:
        # gorealis sends every set, also empty ones, and an owner without a name.
        asked = JobUpdateRequest(
            task_config(priority=5, owner=wire.Identity(), constraints=(), metadata=()), 2, settings(**more), (MARK,)
        )
        return self.call("startJobUpdate", request=asked, message="")


def key_of(response: Response) -> JobUpdateKey:
    assert response.response_code is ResponseCode.OK, response
    assert response.result is not None
    assert response.result.start_job_update_result is not None
    key = response.result.start_job_update_result.key
    assert key is not None
    return key


@pytest.fixture(params=Protocol)
def api(request: pytest.FixtureRequest) -> Api:
    return Api(request.param)


def test_an_update_is_started_once(api: Api) -> None:
    first = api.start(block_if_no_pulses_after_ms=1000)
    key = key_of(first)
    assert first.details == ()
    assert key.job == KEY
    again = api.start(block_if_no_pulses_after_ms=1000)
    assert again.response_code is ResponseCode.INVALID_REQUEST
    assert again.result is not None
    found = again.result.start_job_update_result
    assert found is not None
    assert found.key == key
    assert found.update_summary is not None
    assert found.update_summary.metadata == (MARK,), "by which a client knows its own"
    assert found.update_summary.state is not None
    assert found.update_summary.state.status is JobUpdateStatus.ROLL_FORWARD_AWAITING_PULSE


def test_an_update_that_changes_nothing_says_so_and_has_no_result(api: Api) -> None:
    response = api.call("startJobUpdate", request=JobUpdateRequest(task_config(), 2, settings()), message=None)
    assert (response.response_code, response.result) == (ResponseCode.OK, None)
    assert [detail.message for detail in response.details or ()] == ["Job is unchanged by proposed update."]


def test_it_is_paused_resumed_pulsed_and_aborted(api: Api) -> None:
    key = key_of(api.start(block_if_no_pulses_after_ms=1000))
    for name in ("pauseJobUpdate", "resumeJobUpdate", "rollbackJobUpdate"):
        response = api.call(name, key=key, message="")
        assert (response.response_code, response.details, response.result) == (ResponseCode.OK, (), None), name
    found = api.call("pulseJobUpdate", key=key).result
    assert found is not None
    assert found.pulse_job_update_result is not None
    assert found.pulse_job_update_result.status is JobUpdatePulseStatus.OK
    late = api.call("abortJobUpdate", key=key, message="")
    assert late.response_code is ResponseCode.INVALID_REQUEST  # nothing was touched, so it is back already
    found = api.call("pulseJobUpdate", key=key).result
    assert found is not None
    assert found.pulse_job_update_result is not None
    assert found.pulse_job_update_result.status is JobUpdatePulseStatus.FINISHED
    response = api.call("pauseJobUpdate", key=JobUpdateKey(KEY), message=None)
    assert [detail.message for detail in response.details or ()] == ["the update's key has no id"]


def test_summaries_are_a_list_even_if_there_are_none(api: Api) -> None:
    def found(**query: Any) -> Any:
        result = api.call("getJobUpdateSummaries", job_update_query=JobUpdateQuery(**query)).result
        assert result is not None
        assert result.get_job_update_summaries_result is not None
        return result.get_job_update_summaries_result.update_summaries

    over = (JobUpdateStatus.ROLLED_FORWARD, JobUpdateStatus.FAILED)
    assert found(job_key=KEY) == ()
    key = key_of(api.start())
    assert found(key=key, limit=1, offset=0, update_statuses=over) == (), "keep polling"
    assert [one.key for one in found(role="www", key=key, job_key=KEY)] == [key]


def test_details_by_a_query_and_by_the_old_argument(api: Api) -> None:
    key = key_of(api.start(update_group_size=2))
    response = api.call("getJobUpdateDetails", key=key, query=JobUpdateQuery(key=key))
    assert response.details == ()
    assert response.result is not None
    assert response.result.get_job_update_details_result is not None
    (details,) = response.result.get_job_update_details_result.details_list or ()
    assert response.result.get_job_update_details_result.details is None
    assert details.update is not None
    assert details.update.instructions is not None
    assert details.update.instructions.settings is not None
    strategy = details.update.instructions.settings.update_strategy
    assert strategy == JobUpdateStrategy(queue_strategy=QueueJobUpdateStrategy(2))
    assert [one.instance_id for one in details.waits or ()] == [0, 1]

    response = api.call("getJobUpdateDetails", key=key, query=None)
    assert response.result is not None
    assert response.result.get_job_update_details_result is not None
    assert response.result.get_job_update_details_result.details == details
    assert "deprecated" in ((response.details or ())[0].message or "")
    assert api.call("getJobUpdateDetails", key=JobUpdateKey(KEY, "no"), query=None).response_code is (
        ResponseCode.INVALID_REQUEST
    )


def test_a_difference_says_in_which_order_where_the_request_does(api: Api) -> None:
    def groups(more: Any) -> Any:
        asked = JobUpdateRequest(task_config(priority=5), 3, more)
        result = api.call("getJobUpdateDiff", request=asked).result
        assert result is not None
        assert result.get_job_update_diff_result is not None
        return result.get_job_update_diff_result.groups

    assert groups(None) is None
    found = groups(settings(update_strategy=batch(2)))
    assert [group.instances for group in found] == [(Range(0, 0), Range(2, 2)), (Range(1, 1),)]
    assert not _summaries_of(api)


@pytest.mark.parametrize(
    "more, config, words",
    [
        ({"canary_promote_after_ms": 1000}, {}, [
            "canaryPromoteAfterMs is set, and canaryCount is not: how many canaries?",
        ]),
        ({"update_strategy": batch(0), "max_failed_instances": -1}, {"is_service": False}, [
            "groupSize of the batchStrategy must be 1 or more, not 0",
            "maxFailedInstances must be 0 or more, not -1",
            "only services can be updated: instances of this job end by themselves",
        ]),
    ],
)  # fmt: skip
def test_a_difference_says_why_the_update_would_be_refused(
    api: Api, more: dict[str, Any], config: dict[str, Any], words: list[str]
) -> None:
    """And is answered all the same: the original's client shows what differs of any job."""
    asked = JobUpdateRequest(task_config(priority=5, **config), 3, settings(**more))
    response = api.call("getJobUpdateDiff", request=asked)
    assert response.response_code is ResponseCode.OK
    assert response.result is not None and response.result.get_job_update_diff_result is not None
    assert response.result.get_job_update_diff_result.groups is None
    assert response.result.get_job_update_diff_result.update
    told = [detail.message for detail in response.details or ()]
    assert told == [f"An update would be refused: {problem}" for problem in words]
    started = api.call("startJobUpdate", request=asked, message=None)
    assert [detail.message for detail in started.details or ()] == words


def _summaries_of(api: Api) -> Any:
    result = api.call("getJobUpdateSummaries", job_update_query=JobUpdateQuery()).result
    assert result is not None
    assert result.get_job_update_summaries_result is not None
    return result.get_job_update_summaries_result.update_summaries


def test_while_it_is_updated_a_job_is_left_alone(api: Api) -> None:
    key_of(api.start())
    response = api.call("killTasks", job=KEY, instances=(), message="")
    assert response.response_code is ResponseCode.JOB_UPDATING_ERROR


def test_json_has_our_fields_only_where_they_say_something() -> None:
    api = Api()
    key = key_of(api.start())
    query = {"query": {"key": {"id": key.id, "job": KEY._asdict()}}}
    (details,) = api.beta("getJobUpdateDetails", query)["result"]["getJobUpdateDetailsResult"]["detailsList"]
    assert details["waits"][0]["instanceId"] == 0
    found = details["update"]["instructions"]["settings"]
    assert not {"progressDeadlineMs", "canaryCount", "canaryPromoteAfterMs"} & found.keys()
    api.call("abortJobUpdate", key=key, message=None)
    (details,) = api.beta("getJobUpdateDetails", query)["result"]["getJobUpdateDetailsResult"]["detailsList"]
    assert "waits" not in details
