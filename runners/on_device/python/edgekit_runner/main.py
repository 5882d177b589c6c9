"""The command line: one pass of one job, or a runtime tried."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from .conditions import pin
from .job import PROTOCOL, read_job
from .loop import STOP
from .passes import MEMORY_RUNS, latency_pass, memory_pass
from .power import power_pass, sample
from .profile import profile_pass
from .runtimes import open_runtime
from .spool import NOW, Spool, Trouble, blame

PASSES: dict[str, Any] = {
    "memory": memory_pass,
    "latency": latency_pass,
    "profile": profile_pass,
    "power": power_pass,
}


def run_pass(job: dict[str, Any], name: str, spool: Spool) -> int:
    """Run one pass; return the exit code."""
    try:
        with blame("job"):
            pin(job["cpus"])
        with blame("runtime"):
            runtime = open_runtime(job["runtime"], job["site"])
            told = {"runtime": job["runtime"], "version": runtime.version, "threads": job["threads"]}
            told["threads"] = getattr(runtime, "threads", job["threads"])
            spool.tell("hello", protocol=PROTOCOL, run=job["run"], pid=os.getpid(), program="python", **told)
            count = PASSES[name](job, runtime, spool)
    except Trouble as trouble:
        spool.tell(**trouble.told())
        return 1
    asked = 1 if name == "power" else job["runs"] if name == "latency" else min(job["runs"], MEMORY_RUNS)
    short = "enough" if os.path.exists(os.path.splitext(job["spool"])[0] + ".enough") else "limit"
    spool.tell("end", reason="stopped" if STOP else "done" if count >= asked else short, count=count)
    return 0


def main(argv: list[str]) -> int:
    """Do what the command line says; return the exit code."""
    signal.signal(signal.SIGTERM, lambda number, _frame: STOP.append(number))
    try:
        if argv[:1] == ["--import"]:
            print(json.dumps({"runtime": argv[1], "version": open_runtime(argv[1], argv[2:]).version}))
            return 0
        if argv[:1] == ["--clock"]:
            print(NOW())
            return 0
        if argv[:1] == ["--watch"]:
            return sample(argv[1], int(argv[2]))
        with blame("job"):
            path, name = argv
            job = read_job(path)
            PASSES[name]  # an unknown pass is an error of the command line
            spool = Spool(job["spool"], name)
    except Trouble as trouble:
        print(json.dumps(trouble.told()), file=sys.stderr)
        return 2
    try:
        return run_pass(job, name, spool)
    finally:
        spool.close()
