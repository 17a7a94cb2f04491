"""Servers that fail in every way: what is tried again, for how long, and how it ends."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.aurora_client import Client, Reply, Sent, Server, by_method, in_turn, ok, refused, server
from thermos.formats import aurora_api as api
from thermos.formats.aurora_api import ResponseCode

pytestmark = pytest.mark.process

QUOTA = api.Result(get_quota_result=api.GetQuotaResult(api.ResourceAggregate(())))
READ = ("quota", "get", "west/www")
#: A call that must not arrive twice; the killed instances are gone at once.
CHANGE = ("job", "killall", "west/www/prod/hello", "--no-batching")
NO_TASKS = api.Result(schedule_status_result=api.ScheduleStatusResult(()))
JSON = {"Content-Type": "text/html"}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def answers(*of_first: Any) -> Callable[[Sent], Any]:
    """The first call is answered with these, one after the other; then all goes well."""
    good = {"getQuota": QUOTA, "killTasks": ok(), "getTasksWithoutConfigs": NO_TASKS}
    left = list(of_first)
    return lambda sent: left.pop(0) if left else by_method(good)(sent)


TRANSIENT = refused(ResponseCode.ERROR_TRANSIENT, "storage is not ready")
UNAVAILABLE = Reply(503, b"<html>no leader</html>", JSON)
DROPPED = Reply(0)


@pytest.mark.parametrize("words", [READ, CHANGE])
def test_transient_is_tried_again_whatever_the_call(client: Client, words: tuple[str, ...]) -> None:
    with server(answers(TRANSIENT, TRANSIENT)) as scheduler:
        client.cluster(scheduler_uri=scheduler.url)
        done = client.aurora(*words)
    assert done.code == 0, done.err
    assert client.slept_s == [5, 5]
    assert len(set(scheduler.methods[:3])) == 1
    assert "storage is not ready; trying again in 5 s" in done.err.replace(":\n\t", ": ")


def test_transient_for_ever_is_given_up_after_ten_minutes(client: Client) -> None:
    with server(in_turn(TRANSIENT)) as scheduler:
        client.cluster(scheduler_uri=scheduler.url)
        done = client.aurora(*READ)
    assert done.code == 9
    assert sum(client.slept_s) == 600
    assert done.err.count("trying again") == 10  # told once a minute, tried every 5 s
    assert "given up after 600 s" in done.err


@pytest.mark.parametrize("fault", [UNAVAILABLE, DROPPED, Reply(502, b"bad gateway")])
def test_reads_are_tried_again(client: Client, fault: Reply) -> None:
    with server(answers(fault, fault)) as scheduler:
        client.cluster(scheduler_uri=scheduler.url)
        done = client.aurora(*READ)
    assert done.code == 0, done.err
    assert client.slept_s == [5, 5]


@pytest.mark.parametrize("fault", [UNAVAILABLE, DROPPED, Reply(502, b"bad gateway")])
def test_changes_are_not(client: Client, fault: Reply) -> None:
    """They may have been heard: once more could kill what was started meanwhile."""
    with server(answers(fault)) as scheduler:
        client.cluster(scheduler_uri=scheduler.url)
        done = client.aurora(*CHANGE)
    assert (done.code, client.slept_s, scheduler.methods) == (7, [], ["killTasks"])
    assert "killTasks may have been done or not: look before you repeat it" in done.err


def test_a_restart_may_arrive_twice() -> None:
    from scheduler.client.scheduler_api import may_repeat

    assert [may_repeat(name) for name in ("restartShards", "startJobUpdate", "getJobs", "getPendingReason")] == [
        True
    ] * 4
    changes = ("createJob", "killTasks", "addInstances", "scheduleCronJob", "startCronJob", "setQuota", "pruneTasks")
    assert not any(map(may_repeat, changes))


@pytest.mark.parametrize("words, code", [(READ, 7), (CHANGE, 7)])
def test_silence_has_an_end(client: Client, words: tuple[str, ...], code: int) -> None:
    client.timeouts_s = (0.2, 0.2)
    with server(answers(Reply(-1), Reply(404))) as scheduler:
        client.cluster(scheduler_uri=scheduler.url)
        done = client.aurora(*words)
    assert done.code == code
    assert "no answer within 0.2 s" in done.err


@pytest.mark.parametrize("words", [READ, CHANGE])
def test_a_refused_connection_is_tried_again_for_any_call(client: Client, words: tuple[str, ...]) -> None:
    """Nobody heard of it. For a change that ends soon, a read waits for the scheduler to come back."""
    port = free_port()
    client.cluster(scheduler_uri=f"http://127.0.0.1:{port}")
    done = client.aurora(*words)
    assert done.code == 9
    assert client.slept_s[:4] == [1, 1, 1, 1]
    assert client.slept_s[4:] == ([5] * 119 if words is READ else [])
    assert "nobody listens there" in done.err
    assert ("nothing was changed" in done.err) == (words is CHANGE)


def test_a_scheduler_that_comes_back_in_time(client: Client) -> None:
    servers: list[Server] = []

    def come_back() -> None:
        if not servers and len(client.slept_s) == 2:
            servers.append(Server(by_method({"killTasks": ok(), "getTasksWithoutConfigs": NO_TASKS})))
            client.cluster(scheduler_uri=servers[0].url)

    client.on_sleep = come_back
    found = iter([[("member_0", b"")], [("member_0", b"")]])

    def members(hosts: str, path: str) -> list[tuple[str, bytes]]:
        port = int(servers[0].url.rpartition(":")[2]) if servers else free_port()
        next(found, None)
        return [("member_0", b'{"additionalEndpoints": {"http": {"host": "127.0.0.1", "port": %d}}}' % port)]

    client.cluster(zk="zk.example", scheduler_zk_path="/aurora")
    try:
        done = client.aurora(*CHANGE, members=members)
    finally:
        for each in servers:
            each.close()
    assert done.code == 0, done.err
    assert client.slept_s == [1, 1]


@pytest.mark.parametrize(
    "status, code, word",
    [(401, 30, "~/.netrc"), (403, 30, "does not let you"), (404, 7, "HTTP 404"), (415, 7, "HTTP 415")],
)
def test_what_will_not_change_is_not_tried_again(client: Client, status: int, code: int, word: str) -> None:
    with server(in_turn(Reply(status, b"go away"))) as scheduler:
        client.cluster(scheduler_uri=scheduler.url)
        done = client.aurora(*READ)
    assert (done.code, client.slept_s, len(scheduler.sent)) == (code, [], 1)
    assert word in done.err


def test_a_redirect_takes_the_whole_call_along(client: Client) -> None:
    elsewhere: dict[str, str] = {}
    with server(answers()) as leading, server(in_turn(Reply(307, b"", elsewhere))) as standby:
        elsewhere["Location"] = f"{leading.url}/api"
        client.cluster(scheduler_uri=standby.url)
        done = client.aurora(*CHANGE)
    assert done.code == 0, done.err
    assert leading.sent[0].method == "killTasks"
    assert leading.sent[0].arguments == standby.sent[0].arguments
    assert leading.sent[0].headers == standby.sent[0].headers


def test_a_redirect_in_a_circle_ends(client: Client) -> None:
    with server(in_turn(Reply(307, b"", {"Location": "/api"}))) as standby:
        client.cluster(scheduler_uri=standby.url)
        done = client.aurora(*READ)
    assert (done.code, len(standby.sent)) == (7, 6)
    assert "circle" in done.err


def test_netrc(client: Client) -> None:
    (client.path / ".netrc").write_text("machine 127.0.0.1 login jane password secret\n")
    (client.path / ".netrc").chmod(0o600)
    with server(answers()) as scheduler:
        client.cluster(scheduler_uri=scheduler.url, auth_mechanism="UNAUTHENTICATED")
        assert client.aurora(*READ).code == 0
    assert scheduler.sent[0].headers["Authorization"] == "Basic amFuZTpzZWNyZXQ="


def test_a_page_instead_of_thrift(client: Client) -> None:
    with server(in_turn(Reply(200, b"<html>It works!</html>", JSON))) as scheduler:
        client.cluster(scheduler_uri=scheduler.url)
        done = client.aurora(*READ)
    assert (done.code, client.slept_s) == (7, [])
    assert "is the address right?" in done.err


def test_the_schedulers_words_are_shown(client: Client) -> None:
    with server(in_turn(refused(ResponseCode.INVALID_REQUEST, "no such role", "try again"))) as scheduler:
        client.cluster(scheduler_uri=scheduler.url)
        done = client.aurora(*READ)
    assert done.code == 10
    assert "The scheduler refused getQuota:\n\tno such role\n\ttry again\n" in done.err


def test_a_job_that_is_being_updated(client: Client) -> None:
    with server(in_turn(refused(ResponseCode.JOB_UPDATING_ERROR, "job is updating"))) as scheduler:
        client.cluster(scheduler_uri=scheduler.url)
        done = client.aurora(*CHANGE)
    assert done.code == 10
    assert "job is updating\n\twait for the update to end, or abort it" in done.err


def test_no_secret_goes_to_stderr_with_verbose(client: Client) -> None:
    (client.path / ".netrc").write_text("machine 127.0.0.1 login jane password secret\n")
    with server(answers()) as scheduler:
        client.cluster(scheduler_uri=scheduler.url)
        done = client.aurora(*READ)
    assert "secret" not in done.err


def test_bypassing_the_leader(client: Client) -> None:
    with server(
        by_method({"listBackups": api.Result(list_backups_result=api.ListBackupsResult(("b", "a")))})
    ) as scheduler:
        client.cluster(scheduler_uri=scheduler.url)
        done = client.admin("scheduler_list_backups", "--bypass-leader-redirect", "west")
    assert done.out == "2 available backups:\na\nb\n"
    assert scheduler.sent[0].headers["Bypass-Leader-Redirect"] == "true"
    assert scheduler.sent[0].headers["User-Agent"] == "Aurora Admin"


def test_a_way_of_logging_in_that_is_unknown(client: Client) -> None:
    client.cluster(scheduler_uri="http://127.0.0.1:1", auth_mechanism="KERBEROS")
    done = client.aurora(*READ)
    assert done.code == 3
    assert "auth_mechanism 'KERBEROS' is not known here" in done.err


def test_words_with_a_good_answer(client: Client) -> None:
    """They go to stderr, with what a terminal would act on made harmless."""
    with server(answers(ok(None, "No tasks to kill.\x1b[31m"))) as scheduler:
        client.cluster(scheduler_uri=scheduler.url)
        done = client.aurora(*CHANGE)
    assert (done.code, done.out) == (0, "Job killall succeeded\n")
    assert "Message from scheduler: No tasks to kill.\\x1b[31m\n" in done.err
