"""Record what a real master sends, one event a line, for the tests beside it. By hand, from the checkout's root:

.venv/bin/python -m tests.golden.mesos_scheduler.record

Ids, times and ports are replaced, each by the same one everywhere.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import secrets
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.box import until
from tests.support.mesos import Mesos, mesos
from tests.support.mini_executor import tell
from thermos.formats import recordio

HERE = Path(__file__).parent
EXECUTOR = str(HERE.parents[1] / "support" / "mini_executor.py")
PATH = "/master/api/v1/scheduler"


class Recorder:
    """One subscription, kept as it comes."""

    def __init__(self, cluster: Mesos, framework_id: str | None = None, roles: tuple[str, ...] = ("*",), *more: str):
        self.cluster = cluster
        self.events: list[dict[str, Any]] = []
        capabilities = ["MULTI_ROLE", "PARTITION_AWARE", *more]
        info: dict[str, Any] = {
            "user": "root", "name": "Aurora", "checkpoint": True, "failover_timeout": 600.0, "roles": list(roles),
            "capabilities": [{"type": one} for one in capabilities],
        }  # fmt: skip
        call: dict[str, Any] = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
        if framework_id:
            info["id"] = call["framework_id"] = {"value": framework_id}
        self.link = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=60)
        self.link.request("POST", PATH, json.dumps(call), {"Content-Type": "application/json"})
        self.answer = self.link.getresponse()
        self.head = f"{self.answer.status} {sorted(self.answer.headers.keys())}"
        self.stream_id = self.answer.headers["Mesos-Stream-Id"]
        threading.Thread(target=self._read, daemon=True).start()
        self.used: set[str] = set()
        self.framework_id = ""
        self.framework_id = self.next("SUBSCRIBED")["subscribed"]["framework_id"]["value"]

    def _read(self) -> None:
        decoder = recordio.Decoder()
        with contextlib.suppress(http.client.HTTPException):  # the master ends it in the middle of nothing
            self._read_all(decoder)

    def _read_all(self, decoder: recordio.Decoder) -> None:
        while data := self.answer.read1(1 << 16):
            for event in map(json.loads, decoder.feed(data)):
                self.events.append(event)
                if "uuid" in (status := event.get("update", {}).get("status", {})):
                    self.call("ACKNOWLEDGE", {key: status[key] for key in ("agent_id", "task_id", "uuid")})

    def next(self, kind: str, fits: Callable[[dict[str, Any]], bool] = lambda event: True) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            return [one for one in self.events if one["type"] == kind and fits(one)]

        until(found, lambda: f"{kind}; there was {self.events}")
        return found()[-1]

    def status(self, task_id: str, state: str) -> dict[str, Any]:
        def fits(event: dict[str, Any]) -> bool:
            status = event["update"]["status"]
            return bool(status["task_id"]["value"] == task_id and status["state"] == state)

        status: dict[str, Any] = self.next("UPDATE", fits)["update"]["status"]
        return status

    def call(self, kind: str, body: Any = None) -> None:
        link = http.client.HTTPConnection("127.0.0.1", self.cluster.port, timeout=60)
        call = {"type": kind, "framework_id": {"value": self.framework_id}}
        if body is not None:
            call[kind.lower()] = body
        headers = {"Content-Type": "application/json", "Mesos-Stream-Id": self.stream_id}
        link.request("POST", PATH, json.dumps(call), headers)
        answer = link.getresponse()
        assert answer.status == 202, answer.read()
        link.close()

    def large_offer(self) -> dict[str, Any]:
        """One that was not used yet: what a task gave back comes as a small one of its own."""

        def found() -> list[dict[str, Any]]:
            offers = [offer for event in self.events for offer in event.get("offers", {}).get("offers", ())]
            return [
                offer
                for offer in offers
                if offer["id"]["value"] not in self.used
                and any(one["name"] == "cpus" and one["scalar"]["value"] > 1 for one in offer["resources"])
            ]

        until(found, "a large offer")
        offer = found()[-1]
        self.used.add(offer["id"]["value"])
        return offer

    def launch(self, task_id: str) -> str:
        offer = self.large_offer()
        control = f"mini-{secrets.token_hex(8)}"
        variables = [
            {"name": "MINI_CONTROL", "value": control},
            {"name": "PYTHONPATH", "value": str(HERE.parents[2])},
        ]
        resources = [
            {**one, "scalar": {"value": 0.1 if one["name"] == "cpus" else 32.0}}
            for one in offer["resources"]
            if one["name"] in ("cpus", "mem")
        ]
        command = {
            "shell": False, "value": sys.executable, "arguments": [sys.executable, EXECUTOR],
            "environment": {"variables": variables},
        }  # fmt: skip
        info = {
            "name": task_id, "task_id": {"value": task_id}, "agent_id": offer["agent_id"], "resources": resources,
            "executor": {
                "type": "CUSTOM", "executor_id": {"value": f"thermos-{task_id}"}, "command": command,
                "resources": resources,
            },
        }  # fmt: skip
        operations = [{"type": "LAUNCH", "launch": {"task_infos": [info]}}]
        self.call("ACCEPT", {"offer_ids": [offer["id"]], "operations": operations, "filters": {"refuse_seconds": 0.0}})
        self.status(task_id, "TASK_RUNNING")
        return control

    def write(self, name: str) -> None:
        text = "".join(json.dumps(event) + "\n" for event in self.events)
        cluster_ids = dict.fromkeys(re.findall(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", text))
        for number, found in enumerate(cluster_ids):
            text = text.replace(found, f"00000000-0000-4000-8000-{number:012d}")
        text = text.replace(f":{self.cluster.port}", ":5050").replace(f'"port": {self.cluster.port}', '"port": 5050')
        text = text.replace("127.0.0.1", "192.0.2.1").replace("16777343", "16908480")
        text = re.sub(r'"timestamp": [0-9.]+', '"timestamp": 1700000000.25', text)
        (HERE / f"{name}.jsonl").write_text(text)
        print(name, self.head, [event["type"] for event in self.events])


def maintain(cluster: Mesos, windows: list[dict[str, Any]]) -> None:
    """Set Mesos' maintenance schedule."""
    link = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=60)
    link.request("POST", "/master/maintenance/schedule", json.dumps({"windows": windows}))
    answer = link.getresponse()
    assert answer.status == 200, answer.read()
    link.close()


def main() -> None:
    with mesos(MESOS_ATTRIBUTES="rack:r1;weight:4;slots:[1-3,5-6]") as cluster:
        one = Recorder(cluster)
        control = one.launch("www-data-prod-hello-0-1")
        agent = one.next("OFFERS")["offers"]["offers"][0]["agent_id"]
        one.call("RECONCILE", {"tasks": [
            {"task_id": {"value": "www-data-prod-hello-0-1"}, "agent_id": agent},
            {"task_id": {"value": "gone"}, "agent_id": agent}, {"task_id": {"value": "unknown"}},
        ]})  # fmt: skip
        one.status("gone", "TASK_GONE")
        one.status("unknown", "TASK_UNKNOWN")
        executor = {"executor_id": {"value": "thermos-www-data-prod-hello-0-1"}, "agent_id": agent}
        one.call("MESSAGE", {**executor, "data": "aGVsbG8="})
        one.next("MESSAGE")
        tell(control, "update", "www-data-prod-hello-0-1", "TASK_FAILED", {"message": "exit status 1"})
        one.status("www-data-prod-hello-0-1", "TASK_FAILED")
        tell(control, "stop")
        one.next("FAILURE")
        one.launch("www-data-prod-hello-0-2")
        one.call("SHUTDOWN", {**executor, "executor_id": {"value": "thermos-www-data-prod-hello-0-2"}})
        one.status("www-data-prod-hello-0-2", "TASK_KILLED")
        maintain(cluster, [{
            "machine_ids": [{"hostname": "127.0.0.1", "ip": "127.0.0.1"}],
            "unavailability": {
                "start": {"nanoseconds": 4000000000000000000}, "duration": {"nanoseconds": 3600000000000},
            },
        }])  # fmt: skip
        one.next("INVERSE_OFFERS")
        one.next("OFFERS", lambda event: "unavailability" in event["offers"]["offers"][0])
        maintain(cluster, [])
        one.next("RESCIND_INVERSE_OFFER")
        one.next("RESCIND")
        Recorder(cluster, one.framework_id)
        one.next("ERROR")
        one.write("life")
    with mesos(
        MESOS_RESOURCES="cpus(aurora):2;cpus(*):2;mem:4096;disk(aurora):1000;ports(aurora):[31000-31009]"
    ) as cluster:
        for name, more in (("reserved_by_role", ()), ("reserved_by_reservations", ("RESERVATION_REFINEMENT",))):
            one = Recorder(cluster, None, ("aurora",), *more)
            one.launch(f"www-data-prod-{name}-0-1")
            one.call("TEARDOWN")
            one.write(name)


if __name__ == "__main__":
    main()
