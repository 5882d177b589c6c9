"""The power pass: sensors read beside the timed loop, by a process of its own that can be held.

What is read is told as raw text, with when and how long it took; what it means is the host's business.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import subprocess
import sys
import time
from typing import Any

from .job import read_job
from .loop import STOP, timed
from .passes import load_and_first
from .spool import NOW, Spool, Trouble, blame

WATCH = {"reads": dict, "commands": dict, "period_ns": int, "idle_ns": int, "segment_ns": int, "pairs": int}
SETTLE_S = 0.3  # a runtime's threads go on spinning for a while after the last invocation
READY_S, LEAVE_S, COMMAND_S = 20.0, 5.0, 5.0
TEXT_BYTES, TOLD_OF_CHUNK, ENDLESS = 16000, 250, 1 << 60
ABBA = (True, False, False, True)


def read_watch(job: dict[str, Any]) -> dict[str, Any]:
    """Return what the job says of sampling, every key there and of its type."""
    watch = job["watch"]
    if watch is None or set(watch) != set(WATCH):
        raise Trouble("job", f"the watch of a power pass should hold {', '.join(WATCH)}")
    wrong = [key for key, kind in WATCH.items() if type(watch[key]) is not kind]
    if not wrong and not all(type(argv) is list and argv for argv in watch["commands"].values()):
        wrong = ["commands"]
    if wrong or min(watch["period_ns"], watch["idle_ns"], watch["segment_ns"], watch["pairs"]) < 1:
        raise Trouble("job", f"the watch's {', '.join(wrong) or 'numbers'} are none that this program takes")
    return dict(watch)


def power_pass(job: dict[str, Any], runtime: Any, spool: Spool) -> int:
    """Tell readings while nothing runs, while the timed loop does, and while nothing runs again."""
    watch, warm = read_watch(job), []  # type: tuple[dict[str, Any], list[int]]
    load_and_first(job, runtime, spool, gc.collect)
    with blame("invoke"):
        timed(runtime.invoke, job["warmup"], int(job["max_s"] * 1e9), warm.extend)
        spool.tell("warmup", ns=warm)
    count, freeze = 0, getattr(gc, "freeze", gc.collect)
    with Sampler(job, watch, spool) as sampler:
        idle("before", watch, sampler, spool)
        freeze()  # so that the collection before each segment finds nothing to do
        for number in range(0 if STOP else 2 * watch["pairs"]):
            sampling = ABBA[number % len(ABBA)] or not sampler.argv
            sampler.hold(not sampling)
            with blame("invoke"):
                count += segment(job, runtime, watch["segment_ns"], sampling, spool)
            sampler.relay()
            if STOP:
                break
        sampler.hold(False)
        idle("after", watch, sampler, spool)
    return count


def segment(job: dict[str, Any], runtime: Any, length_ns: int, sampling: bool, spool: Spool) -> int:  # noqa: FBT001
    """Run the timed loop for a while; tell when it began and ended, how often it ran, and some durations."""
    told, counts = [], []  # type: tuple[list[int], list[int]]

    def give(chunk: list[int]) -> None:
        counts.append(len(chunk))
        told.extend(chunk[:: max(1, len(chunk) // TOLD_OF_CHUNK)])

    begin = NOW()
    timed(runtime.invoke, ENDLESS, length_ns, give, job["period_ns"])
    spool.tell("segment", sampling=sampling, begin_ns=begin, end_ns=NOW(), count=sum(counts), ns=told)
    return sum(counts)


def idle(when: str, watch: dict[str, Any], sampler: Sampler, spool: Spool) -> None:
    """Wait while nothing runs but the sampler, and tell from when to when."""
    time.sleep(0 if STOP else SETTLE_S)
    begin = NOW()
    end = begin + watch["idle_ns"]
    while NOW() < end and not STOP:
        time.sleep(min(0.2, max(0.0, (end - NOW()) / 1e9)))
    spool.tell("idle", when=when, begin_ns=begin, end_ns=NOW())
    sampler.relay()


class Sampler:
    """A process that reads the sensors into a file of its own; its lines are told between the segments.

    With nothing to read there is no process. It is held and let go on by signals.
    """

    def __init__(self, job: dict[str, Any], watch: dict[str, Any], spool: Spool) -> None:
        self.spool, self.path, self.read = spool, job["spool"] + ".readings", 0
        some = watch["reads"] or watch["commands"]
        self.argv = (
            [sys.executable, "-I", sys.argv[0], "--watch", sys.argv[1], str(os.getpid())] if some else []
        )

    def __enter__(self) -> Sampler:  # noqa: PYI034 - Python 3.7 has no Self
        if self.argv:
            null = subprocess.DEVNULL
            self.process = subprocess.Popen(self.argv, stdin=null)
            end = time.monotonic() + READY_S
            while not self.has_read():
                if self.process.poll() is not None or time.monotonic() > end:
                    self.leave()
                    raise Trouble("job", "the sampler did not start; the log of the pass says why")
                time.sleep(0.01)
        return self

    def __exit__(self, *error: object) -> None:
        self.leave()

    def has_read(self) -> bool:
        """Return whether there is a reading."""
        return os.path.exists(self.path) and os.path.getsize(self.path) > 0

    def hold(self, held: bool) -> None:  # noqa: FBT001
        """Let the process stand still, or go on."""
        if self.argv:
            self.process.send_signal(signal.SIGSTOP if held else signal.SIGCONT)

    def leave(self) -> None:
        """End the process, and tell what it left."""
        if not self.argv:
            return
        self.hold(False)
        self.process.terminate()
        try:
            self.process.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.relay()

    def relay(self) -> None:
        """Tell the readings that came since the last time: whole lines, as they are."""
        if not self.argv or not os.path.exists(self.path):
            return
        with open(self.path, "rb") as file:
            file.seek(self.read)
            lines, newline, _ = file.read().rpartition(b"\n")
        self.read += len(lines) + len(newline)
        self.spool.pending += lines + newline
        self.spool.flush()


def sample(path: str, parent: int) -> int:
    """Read the sensors of a job over and over until told to end, or until its parent is no more."""
    job = read_job(path)
    watch = read_watch(job)
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))  # the loop's CPUs are for the loop
    spool = Spool(job["spool"] + ".readings", "power")
    while not STOP and os.getppid() == parent:
        begin = NOW()
        told = read_all(watch)
        spool.tell("reading", t=begin, took_ns=NOW() - begin, **told)
        # Never in step with what is measured: the pauses are spread over half a period.
        pause = int(watch["period_ns"] * random.uniform(0.75, 1.25)) - (NOW() - begin)  # noqa: S311
        time.sleep(max(0, pause) / 1e9)
    return 0


def read_all(watch: dict[str, Any]) -> dict[str, Any]:
    """Return the raw text of every file and command, and what could not be read."""
    raw, errors = {}, {}  # type: tuple[dict[str, str], dict[str, str]]
    for name, path in watch["reads"].items():
        try:
            with open(path, "rb") as file:
                raw[name] = file.read(TEXT_BYTES).decode("utf-8", "replace").strip("\0\n ")
        except OSError as error:
            errors[name] = str(error.strerror)
    for name, argv in watch["commands"].items():
        null, pipe = subprocess.DEVNULL, subprocess.PIPE
        try:
            done = subprocess.run(argv, stdin=null, stdout=pipe, stderr=null, timeout=COMMAND_S, check=True)
            raw[name] = done.stdout[:TEXT_BYTES].decode("utf-8", "replace")
        except (OSError, subprocess.SubprocessError) as error:
            errors[name] = str(error)[:200]
    return {"raw": raw, "errors": errors} if errors else {"raw": raw}
