"""``/api`` as Aurora's clients know it."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Response as HttpResponse

from scheduler.api.app import ApiOptions, create_app
from scheduler.api.backend import NotBegun, OutcomeUnknown
from scheduler.core.commands import Answer
from scheduler.states import ScheduleStatus
from scheduler.wire import thrift
from scheduler.wire.thrift import Protocol
from tests.support.engine_backend import NOW_MS, EngineBackend, job
from thermos.formats import assigned_task as wire
from thermos.formats.aurora_api import (
    InstanceKey,
    JobStats,
    ResourceAggregate,
    Response,
    ResponseCode,
    ResponseDetail,
    RoleSummary,
    ServerInfo,
    TaskQuery,
)

BINARY = Protocol.BINARY.value
JSON = Protocol.JSON.value


class Api:
    """A client over the application, without a network."""

    def __init__(self) -> None:
        self.backend = EngineBackend()
        options = ApiOptions(cluster_name="west", stats_url_prefix="http://stats")
        self.http = Client(create_app(self.backend, options), HttpResponse)

    def call(self, name: str, protocol: Protocol = Protocol.BINARY, **arguments: Any) -> Response:
        body = thrift.encode_call(name, 7, arguments, protocol)
        headers = {"Content-Type": protocol.value, "Accept": protocol.value}
        answer = self.http.post("/api", data=body, headers=headers)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, protocol.value)
        return thrift.decode_reply(answer.data, name, 7, protocol)


@pytest.fixture
def api() -> Api:
    return Api()


KEY = wire.JobKey("www", "prod", "hello")


@pytest.mark.parametrize("protocol", Protocol)
def test_a_job_lives_and_dies(api: Api, protocol: Protocol) -> None:
    def call(name: str, **arguments: Any) -> Response:
        return api.call(name, protocol, **arguments)

    done = Response(ResponseCode.OK, ServerInfo("west", "http://stats"), None, ())
    assert call("createJob", description=job(3)) == done
    again = call("createJob", description=job(3))
    assert again.response_code is ResponseCode.INVALID_REQUEST
    assert again.details == (ResponseDetail("Job www/prod/hello already exists"),)

    found = call("getTasksStatus", query=TaskQuery(job_keys=(KEY,))).result
    assert found is not None and found.schedule_status_result is not None
    tasks = found.schedule_status_result.tasks
    assert tasks is not None
    assert [task.assigned_task and task.assigned_task.instance_id for task in tasks] == [0, 1, 2]
    assert tasks[0].status is ScheduleStatus.PENDING
    assert tasks[0].task_events and tasks[0].task_events[0].timestamp
    config = tasks[0].assigned_task and tasks[0].assigned_task.task
    assert config and config.executor_config == wire.ExecutorConfig("AuroraExecutor", '{"task": "hello"}')

    lean = call("getTasksWithoutConfigs", query=TaskQuery(role="www", statuses=(ScheduleStatus.PENDING,))).result
    assert lean is not None and lean.schedule_status_result is not None
    assigned = (lean.schedule_status_result.tasks or ())[0].assigned_task
    assert assigned is not None
    assert assigned.task.executor_config is None

    roles = call("getRoleSummary").result
    assert roles is not None and roles.role_summary_result is not None
    assert roles.role_summary_result.summaries == (RoleSummary("www", 1, 0),)
    jobs = call("getJobSummary", role="www").result
    assert jobs is not None and jobs.job_summary_result is not None and jobs.job_summary_result.summaries
    assert jobs.job_summary_result.summaries[0].stats == JobStats(0, 0, 0, 3)

    # Killed with a word: any detail would make Go's client say that nothing was.
    assert call("killTasks", job=KEY, instances=(1,), message="") == done
    assert call("killTasks", job=KEY, instances=(), message="") == done  # an empty set: all of them
    nothing = call("getTasksStatus", query=TaskQuery(job_keys=(KEY,))).result
    assert nothing is not None and nothing.schedule_status_result is not None
    assert nothing.schedule_status_result.tasks == ()


def test_all_that_is_wrong_with_a_job_is_said(api: Api) -> None:
    wrong = job(0)._replace(task_config=job().task_config._replace(tier="none", resources=()))  # type: ignore[union-attr]
    answer = api.call("createJob", description=wrong)
    assert answer.response_code is ResponseCode.INVALID_REQUEST
    assert len(answer.details or ()) >= 3


def test_what_can_be_done_to_a_job(api: Api) -> None:
    api.call("createJob", description=job(2))
    api.backend.move(api.backend.engine.state.tasks.values(), ScheduleStatus.ASSIGNED, ScheduleStatus.RUNNING)
    instance = InstanceKey(KEY, 0)
    assert api.call("addInstances", key=instance, count=2).response_code is ResponseCode.OK
    assert api.call("restartShards", job=KEY, shard_ids=(0,)).response_code is ResponseCode.OK
    assert api.call("restartShards", job=KEY, shard_ids=(9,)).response_code is ResponseCode.INVALID_REQUEST
    statuses = sorted(task.status.name for task in api.backend.engine.state.tasks.values())
    assert statuses == ["PENDING", "PENDING", "RESTARTING", "RUNNING"]
    forced = api.backend.engine.state.active_of(api.backend.engine.state.tasks[next(iter(
        api.backend.engine.state.tasks))].job)[1]  # fmt: skip
    answer = api.call("forceTaskState", task_id=forced.task_id, status=ScheduleStatus.LOST)
    assert answer.response_code is ResponseCode.OK
    assert api.call("pruneTasks", query=TaskQuery(role="www")).response_code is ResponseCode.OK
    assert not api.backend.engine.state.with_status([ScheduleStatus.LOST])


def test_quota(api: Api) -> None:
    amounts = (wire.Resource(num_cpus=4.5), wire.Resource(ram_mb=1024), wire.Resource(disk_mb=2048))
    assert api.call("setQuota", owner_role="www", quota=ResourceAggregate(amounts)).response_code is ResponseCode.OK
    assert api.call("setQuota", owner_role="www", quota=None).response_code is ResponseCode.INVALID_REQUEST
    found = api.call("getQuota", owner_role="www").result
    assert found is not None and found.get_quota_result is not None
    assert found.get_quota_result.quota == ResourceAggregate(amounts)
    assert None not in found.get_quota_result  # the Go client dereferences all of them
    assert api.call("getQuota", owner_role=None).response_code is ResponseCode.INVALID_REQUEST


def test_an_administrator(api: Api) -> None:
    assert api.call("performBackup").response_code is ResponseCode.OK
    found = api.call("listBackups").result
    assert found is not None and found.list_backups_result is not None
    assert found.list_backups_result.backups == ("scheduler-backup-0",)
    assert api.call("snapshot").response_code is ResponseCode.OK
    assert api.backend.compactions == 1
    for name in ("triggerExplicitTaskReconciliation", "triggerImplicitTaskReconciliation"):
        assert api.call(name).response_code is ResponseCode.OK


def test_what_else_is_read(api: Api) -> None:
    tiers = api.call("getTierConfigs").result
    assert tiers is not None and tiers.get_tier_config_result is not None
    settings = {tier.name: tier.settings for tier in tiers.get_tier_config_result.tiers or ()}
    assert settings["preemptible"] == {"preemptible": "true", "revocable": "false"}
    populated = api.call("populateJobConfig", description=job()).result
    assert populated is not None and populated.populate_job_result is not None
    api.call("createJob", description=job(2))
    groups = api.call("getConfigSummary", job=KEY).result
    assert groups is not None and groups.config_summary_result is not None and groups.config_summary_result.summary
    (group,) = groups.config_summary_result.summary.groups or ()
    assert group.config == populated.populate_job_result.task_config
    jobs = api.call("getJobs", owner_role="www").result
    assert jobs is not None and jobs.get_jobs_result is not None and len(jobs.get_jobs_result.configs or ()) == 1
    reasons = api.call("getPendingReason", query=TaskQuery(role="www")).result
    assert reasons is not None and reasons.get_pending_reason_result is not None
    assert len(reasons.get_pending_reason_result.reasons or ()) == 2


def test_a_cron_job_is_scheduled_and_its_next_run_is_told(api: Api) -> None:
    made = job()
    assert made.task_config is not None
    batch = made._replace(task_config=made.task_config._replace(is_service=False), cron_schedule="0 0 * * *")
    assert api.call("replaceCronTemplate", config=batch).response_code is ResponseCode.INVALID_REQUEST
    wrong = api.call("scheduleCronJob", description=batch._replace(cron_schedule="0 0 * * 7"))
    assert wrong.response_code is ResponseCode.INVALID_REQUEST
    assert "day of week: 7 is not within 0-6" in ((wrong.details or ())[0].message or "")
    for method, arguments in (
        ("scheduleCronJob", {"description": batch}), ("replaceCronTemplate", {"config": batch}),
        ("startCronJob", {"job": made.key}),
    ):  # fmt: skip
        assert api.call(method, **arguments).response_code is ResponseCode.OK
    result = api.call("getJobSummary", role="www").result
    assert result is not None and result.job_summary_result is not None
    (summary,) = result.job_summary_result.summaries or ()
    assert summary.next_cron_run_ms == (NOW_MS // 86_400_000 + 1) * 86_400_000
    assert summary.stats is not None and summary.stats.pending_task_count == 1
    assert api.call("descheduleCronJob", job=made.key).response_code is ResponseCode.OK
    assert api.call("startCronJob", job=made.key).response_code is ResponseCode.INVALID_REQUEST


# -- HTTP --------------------------------------------------------------------------------------------------------------

ROLES_JSON = b'[1,"getRoleSummary",1,0,{}]'
ROLES_BINARY = bytes.fromhex("80010001 0000000e") + b"getRoleSummary" + bytes.fromhex("00000001 00")


@pytest.mark.parametrize(
    "content_type",
    [None, "application/x-thrift", "application/json", "application/vnd.apache.thrift.json",
     "application/vnd.apache.thrift.json; charset=utf-8", "APPLICATION/VND.APACHE.THRIFT.JSON;CHARSET=UTF-8"],
)  # fmt: skip
def test_json_is_taken(api: Api, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type is not None else {}
    answer = api.http.post("/api", data=ROLES_JSON, headers=headers)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, JSON)
    assert answer.data.startswith(b'[1,"getRoleSummary",2,0,{"0":{"rec":{"1":{"i32":1}')


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/vnd.apache.thrift.binary; x=1",
        "nonsense",
        "application/json; charset=utf-8",
        "application/vnd.apache.thrift.json; charset=latin-1",
    ],
)
def test_other_types_are_not(api: Api, content_type: str) -> None:
    answer = api.http.post("/api", data=ROLES_JSON, headers={"Content-Type": content_type})
    assert answer.status_code == 415
    assert answer.text.startswith("Unsupported Content-Type: ")


@pytest.mark.parametrize("padding", [b"", bytes(100)])
@pytest.mark.parametrize("accept", [None, "*/*", f"{BINARY}, {JSON}", "nonsense"])
def test_binary_is_answered_with_json_unless_just_binary_is_accepted(
    api: Api, accept: str | None, padding: bytes
) -> None:
    headers = {"Content-Type": BINARY} | ({"Accept": accept} if accept is not None else {})
    answer = api.http.post("/api", data=ROLES_BINARY + padding, headers=headers)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, JSON)
    answer = api.http.post("/api", data=ROLES_BINARY + padding, headers=headers | {"Accept": BINARY})
    assert answer.headers["Content-Type"] == BINARY
    # The same method, type 2, the same sequence number.
    assert answer.data.startswith(bytes.fromhex("80010002 0000000e") + b"getRoleSummary" + bytes.fromhex("00000001"))


def test_gzip_for_who_takes_it(api: Api) -> None:
    plain = api.http.post("/api", data=ROLES_JSON)
    packed = api.http.post("/api", data=ROLES_JSON, headers={"Accept-Encoding": "gzip, deflate"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    refused = api.http.post("/api", data=ROLES_JSON, headers={"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in refused.headers


def test_get_is_the_same(api: Api) -> None:
    assert api.http.get("/api", data=ROLES_JSON).status_code == 200


def test_an_unknown_method(api: Api) -> None:
    answer = api.http.post("/api", data=b'[1,"getNothing",1,5,{}]')
    assert answer.status_code == 200
    with pytest.raises(thrift.ApplicationError) as caught:
        thrift.decode_reply(answer.data, "getNothing", 5, Protocol.JSON)
    assert caught.value.kind == thrift.Fault.UNKNOWN_METHOD


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"\x00" * 5, ROLES_BINARY, b'[1,"createJob",1,0,{"1":{"rec":[]}}]', b'[1,"x",1,0', b"[" * 9999]
)
def test_what_is_no_call(api: Api, body: bytes) -> None:
    answer = api.http.post("/api", data=body)
    assert answer.status_code == 500
    assert answer.text.startswith("the body is no call of a method: ")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods(api: Api, method: str) -> None:
    answer = api.http.open("/api", method=method, data=ROLES_JSON)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")


@pytest.mark.parametrize(
    "error, code",
    [
        (NotBegun("nothing of it was done"), ResponseCode.ERROR_TRANSIENT),
        (OutcomeUnknown("look before you repeat it"), ResponseCode.ERROR),
    ],
)
def test_clients_are_told_to_repeat_only_what_was_not_done(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception, code: ResponseCode
) -> None:
    """They repeat what is transient by themselves, addInstances too."""

    def command(asked: object) -> Answer:
        raise error

    monkeypatch.setattr(api.backend, "command", command)
    answer = api.call("addInstances", key=InstanceKey(KEY, 0), count=1)
    assert answer.response_code is code
    assert str(error) in " ".join(detail.message or "" for detail in answer.details or ())
