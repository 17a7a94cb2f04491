"""Values of the API as text: as Thrift shows them, and line by line for comparing."""

from __future__ import annotations

import json
from typing import Any

from scheduler.wire.plain_json import plain
from scheduler.wire.schema import schema_of
from thermos.formats import aurora_api as api
from thermos.formats.assigned_task import TASK_CONFIG, TaskConfig
from thermos.formats.thrift_binary import STRUCT, StructType


def thrift_text(struct: StructType, value: Any) -> str:
    """*value* as ``Name(field=value, ...)``, with Aurora's names; fields that are not set are None."""
    parts = []
    for slot in schema_of(struct).slots:
        item = value[slot.position]
        inner = slot.field.struct
        if item is None or inner is None:
            shown = repr(item) if slot.enum is None or item is None else slot.enum(item).name
        elif slot.field.type == STRUCT:
            shown = thrift_text(inner, item)
        else:
            shown = f"[{', '.join(thrift_text(inner, one) for one in item)}]"
        parts.append(f"{slot.name}={shown}")
    return f"{struct.name}({', '.join(parts)})"


def job_text(job: api.JobConfiguration) -> str:
    """The whole job, as Thrift shows it."""
    return thrift_text(api.JOB_CONFIGURATION, job)


def task_lines(config: TaskConfig) -> str:
    """*config* such that two of them can be compared line by line: sets in order, the executor's JSON unfolded."""
    written = plain(TASK_CONFIG, config)
    for name in ("constraints", "metadata", "resources", "mesosFetcherUris"):
        if name in written:
            written[name] = sorted(written[name], key=lambda item: json.dumps(item, sort_keys=True))
    executor = written.get("executorConfig", {})
    try:
        executor["data"] = json.loads(executor.get("data", ""))
    except ValueError:
        pass  # another executor's, in no JSON
    # Command lines of several lines are compared line by line as well.
    return json.dumps(written, indent=2, sort_keys=True, ensure_ascii=False).replace("\\n", "\n") + "\n"
