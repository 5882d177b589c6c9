"""The job: what the host asks for, every key there and of its type."""

from __future__ import annotations

import json
from typing import Any

from .spool import Trouble, blame

PROTOCOL, MAX_S = 2, 1e6
JOB: dict[str, Any] = {
    "protocol": int, "run": str, "runtime": str, "site": list, "artifact": str, "golden": (str, type(None)),
    "threads": int, "cpus": list, "warmup": int, "runs": int, "period_ns": int, "max_s": (int, float),
    "spool": str, "watch": (dict, type(None)), "profile": (dict, type(None)),
}  # fmt: skip


def read_job(path: str) -> dict[str, Any]:
    """Return the job, every key there and of its type."""
    with blame("job"), open(path, encoding="utf-8") as file:
        job = json.load(file)
    if not isinstance(job, dict) or set(job) != set(JOB):
        raise Trouble("job", f"the job should hold {', '.join(JOB)}")
    wrong = [key for key, kind in JOB.items() if not isinstance(job[key], kind) or isinstance(job[key], bool)]
    if wrong or job["protocol"] != PROTOCOL:
        raise Trouble("job", f"the job's {', '.join(wrong) or 'protocol'} is none that this program takes")
    if job["threads"] < 1 or job["runs"] < 1 or job["warmup"] < 0 or not 0 < job["max_s"] < MAX_S:
        raise Trouble("job", "the job's threads and runs begin at 1, warmup at 0, max_s above 0")
    if job["period_ns"] < 0 or not all(type(cpu) is int and cpu >= 0 for cpu in job["cpus"]):
        raise Trouble("job", "the job's period_ns begins at 0, and its cpus are numbers from 0 on")
    return job
