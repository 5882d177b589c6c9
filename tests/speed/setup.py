"""Time a warm device's set-up: from a closed transport to the first sample, and the round trips on the way.

    python tests/speed/setup.py [--repeat 9] [--delay 0 20] [--program native python] [--json FILE]

A proxy in the middle keeps every byte back for so many milliseconds in each direction, as a network does; the
loopback has none. Everything that a run needs was brought there before. The null runtime takes nothing, so
what is told is EdgeKit's own: opening the link, asking what the device is, the lease, looking what is there,
starting the program, and its first sample. A round trip is one command on the open link.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from edgekit.artifact import digest
from edgekit.runners.runner import Job, Runner
from edgekit.runners.runtime import RUNTIMES
from edgekit.runners.transport.adb import AdbTransport
from edgekit.runners.transport.ssh import SshTransport
from edgekit.targets import Device
from edgekit.testing import adbd
from edgekit.testing.adb_server import PROGRAMS, PrivateAdb, program
from edgekit.testing.link import SlowLink
from edgekit.testing.sshd import Sshd, sshd_program
from edgekit.testing.trips import Trips

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgekit.runners.transport import Transport


def set_up(transport: Transport, kind: str, artifact: Path, number: int, *, tell: bool) -> dict[str, float]:
    """Return the seconds until the link was open, all was ready, a sample came; and the round trips."""
    sha256 = digest(artifact)[0]
    job = Job(run_id=f"setup-{number:04}", runs=20, warmup=1, passes=("latency",))
    start = time.monotonic()
    with (
        Trips(transport) as trips,
        transport,
        Runner(transport, RUNTIMES.get("null"), program=kind) as runner,
    ):
        opened = time.monotonic()
        runner.prepare()
        ready = time.monotonic()
        first, count = 0.0, 0
        for event in runner.run(job, artifact, sha256, None):
            if event["e"] == "samples" and not first:
                first, count = time.monotonic(), len(trips)
    if tell:
        for trip in trips.made:
            say(f"    {trip.began - start:7.3f} {trip.took:7.3f} {trip.command[-90:]!r}")
    return {"open": opened - start, "ready": ready - start, "sample": first - start, "trips": count}


def measure(make: Callable[[], Transport], what: str, kind: str, given: argparse.Namespace) -> dict[str, Any]:
    """Set a device up again and again, and tell the medians."""
    with tempfile.TemporaryDirectory(prefix="edgekit-setup-") as folder:
        artifact = Path(folder) / "artifact"
        artifact.write_bytes(os.urandom(100_000))
        base = int.from_bytes(os.urandom(2)) * 100
        told = [
            set_up(make(), kind, artifact, base + number, tell=given.tell and number == given.repeat)
            for number in range(given.repeat + 1)
        ][1:]
    median = {name: statistics.median(one[name] for one in told) for name in told[0]}
    spread = sorted(one["sample"] for one in told)
    say(
        f"{what:34} {kind:7} open {median['open']:.3f}  ready {median['ready']:.3f}"
        f"  first sample {median['sample']:.3f} s ({spread[0]:.3f} to {spread[-1]:.3f})"
        f"  round trips {median['trips']:g}"
    )
    return {"what": what, "program": kind, "rounds": told}


def over_ssh(delay_ms: float, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a row for each program over SSH."""
    with Sshd() as sshd, contextlib.ExitStack() as stack:
        files = sshd.files
        if delay_ms:
            proxy = stack.enter_context(contextlib.closing(SlowLink(files.port, delay_s=delay_ms / 1000)))
            files.config.write_text(
                files.config.read_text().replace(f"Port {files.port}", f"Port {proxy.port}")
            )
            files.known_hosts.write_text(
                files.known_hosts.read_text().replace(f":{files.port} ", f":{proxy.port} ")
            )
        device = Device.parse(files.address)
        for kind in given.program:
            yield measure(
                lambda: SshTransport(device, config=files.config),
                f"ssh, {delay_ms:g} ms each way",
                kind,
                given,
            )


def over_adb(delay_ms: float, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a row for each program over ADB, to a real daemon."""
    name = next(iter(filter(program, PROGRAMS)), "")
    if not name or adbd.unavailable():
        say(f"adb: {adbd.unavailable() or 'no adb program'}")
        return
    with tempfile.TemporaryDirectory(prefix="edgekit-setup-") as folder, contextlib.ExitStack() as stack:
        server = stack.enter_context(PrivateAdb(program(name), Path(folder)))
        daemon = stack.enter_context(adbd.linux_board(Path(folder)))
        port = daemon.port
        if delay_ms:
            port = stack.enter_context(contextlib.closing(SlowLink(port, delay_s=delay_ms / 1000))).port
        stack.enter_context(mock.patch.dict(os.environ, server.env))
        device = Device.parse(f"adb://127.0.0.1:{port}")
        for kind in given.program:
            yield measure(
                lambda: AdbTransport(device), f"adb ({name}), {delay_ms:g} ms each way", kind, given
            )


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--delay", type=float, nargs="+", default=[0.0, 20.0], help="ms, each way")
    parser.add_argument("--program", nargs="+", default=["native", "python"])
    parser.add_argument("--tell", action="store_true", help="print each round trip of the last round")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    say(f"medians of {given.repeat}; {os.cpu_count()} processors, {platform.machine()}")
    results = []
    for delay in given.delay:
        if sshd_program():
            results += over_ssh(delay, given)
        results += over_adb(delay, given)
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")
    if not results:
        sys.exit("neither sshd nor adb is there: apt-get install openssh-server adb")


if __name__ == "__main__":
    main()
