"""Time EdgeKit's push beside the tool that everybody has: random bytes, the same file, in turn, one run.

    python tests/speed/transfer.py [--megabytes 50] [--repeat 7] [--rate 0 MEGABYTES_A_SECOND] [--json FILE]

    ssh   Transport.push and `scp`, to this machine's sshd as a private instance on the loopback
    adb   Transport.push and `adb push`, to a real adbd on the loopback; else to the double, and it is said

A push is whole: hashed here and there, held against each other, renamed; the tools check nothing. EdgeKit's
link is open already, as in every use of it; scp makes its own each time, so its time less that of an empty
file is told as well. "known" is a push whose sha256 was computed before, as Depot has it. A second push is
Depot.put of content that is there: round trips are counted.

The loopback has no speed of its own: both are held by what this machine's processors copy, hash and encrypt.
With a rate, a proxy in the middle carries so many megabytes a second, as a network or a cable does. A ratio
never fails the command; an error does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from edgekit.artifact import digest
from edgekit.runners.depot import Depot
from edgekit.runners.transport.adb import AdbTransport
from edgekit.runners.transport.ssh import SshTransport
from edgekit.targets import Device
from edgekit.testing import adbd
from edgekit.testing.adb_double import AdbDouble
from edgekit.testing.adb_server import PROGRAMS, PrivateAdb, program
from edgekit.testing.link import SlowLink
from edgekit.testing.sshd import Sshd, sshd_program
from edgekit.testing.trips import Trips

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edgekit.runners.transport import Transport

MEGA = 1_000_000


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turn(ways: Mapping[str, Callable[[], object]], repeat: int) -> dict[str, list[float]]:
    """Return each way's seconds, one round after another; a first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(repeat + 1):
        for name, way in ways.items():
            spent = timed(way)
            if number:
                times[name].append(spent)
    return times


def round_trips(transport: Transport, file: Path) -> int:
    """Return how many commands a second Depot.put of the same content takes."""
    depot = Depot(transport)
    depot.put(file)
    with Trips(transport) as trips:
        depot.put(file)
    return len(trips)


def over_ssh(files: tuple[Path, Path], rate: float, repeat: int) -> dict[str, object]:
    """Time the push and scp to one sshd."""
    full, empty = files
    sha256 = digest(full)[0]
    with Sshd() as sshd, contextlib.ExitStack() as stack:
        config = sshd.files.config
        if rate:
            proxy = stack.enter_context(contextlib.closing(SlowLink(sshd.files.port, rate=rate)))
            config.write_text(config.read_text().replace(f"Port {sshd.files.port}", f"Port {proxy.port}"))
            known = sshd.files.known_hosts
            known.write_text(known.read_text().replace(f":{sshd.files.port} ", f":{proxy.port} "))
        device = Device.parse(sshd.files.address)
        transport = stack.enter_context(SshTransport(device, config=config))
        root = transport.root()

        def scp(file: Path) -> None:
            command = ["scp", "-q", "-F", str(config), str(file), f"{sshd.files.alias}:{sshd.home}/by-scp"]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

        ways: dict[str, Callable[[], object]] = {
            "push": lambda: transport.push(full, f"{root}/file"),
            "known": lambda: transport.push(full, f"{root}/file", sha256=sha256),
            "tool": lambda: scp(full),
            "tool, empty file": lambda: scp(empty),
        }
        times = in_turn(ways, repeat)
        return {"what": "ssh, scp", "times": times, "again": round_trips(transport, full)}


@contextlib.contextmanager
def phone(folder: Path) -> Iterator[tuple[int, str]]:
    """Yield a running daemon's port and what it is."""
    if adbd.unavailable():
        with AdbDouble(folder) as double:
            yield double.port, f"the double ({adbd.unavailable()})"
    else:
        with adbd.linux_board(folder) as daemon:
            yield daemon.port, "adbd"


def over_adb(name: str, file: Path, folder: Path, rate: float, repeat: int) -> dict[str, object]:
    """Time the push and one adb program's own to one daemon."""
    folder.mkdir()
    sha256 = digest(file)[0]
    with (
        PrivateAdb(program(name), folder) as server,
        phone(folder) as (daemon, what),
        contextlib.ExitStack() as stack,
    ):
        port = stack.enter_context(contextlib.closing(SlowLink(daemon, rate=rate))).port if rate else daemon
        serial = f"127.0.0.1:{port}"
        stack.enter_context(mock.patch.dict(os.environ, server.env))
        transport = stack.enter_context(AdbTransport(Device.parse(f"adb://{serial}")))
        root = transport.root()

        def adb_push() -> None:
            command = [server.path, "-s", serial, "push", str(file), f"{root}/by-adb"]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)

        ways = {
            "push": lambda: transport.push(file, f"{root}/file"),
            "known": lambda: transport.push(file, f"{root}/file", sha256=sha256),
            "tool": adb_push,
        }
        times = in_turn(ways, repeat)
        again = round_trips(transport, file)
        server.run("disconnect", serial)
        return {"what": f"adb ({name}), {what}", "times": times, "again": again}


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def show(result: dict[str, object], rate: float) -> None:
    """Print one row: medians in seconds, their ratio, the ratios of the rounds from least to most."""
    times = result["times"]
    assert isinstance(times, dict)
    median = {name: statistics.median(values) for name, values in times.items()}
    ratios = sorted(ours / theirs for ours, theirs in zip(times["push"], times["tool"], strict=True))
    link = f"{rate / MEGA:g} MB/s" if rate else "loopback"
    line = f"{result['what']:26} {link:>10} {median['push']:8.3f} {median['tool']:8.3f}"
    line += f" {median['push'] / median['tool']:6.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    line += f"; known {median['known'] / median['tool']:.2f}"
    if "tool, empty file" in median:
        bare = median["tool"] - median["tool, empty file"]
        line += f"; to scp less its log-in {median['push'] / bare:.2f}"
    say(f"{line}; again: {result['again']} round trip")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--rate", type=float, nargs="+", default=[0.0, 40.0], help="MB/s; 0 is the loopback")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    say(f"{given.megabytes} MB, medians of {given.repeat}; {os.cpu_count()} processors, {platform.machine()}")
    say(f"{'':26} {'link':>10} {'push s':>8} {'tool s':>8}  ratio (least to most)")
    results = []
    with tempfile.TemporaryDirectory(prefix="edgekit-transfer-") as name:
        folder = Path(name)
        full, empty = folder / "random", folder / "empty"
        full.write_bytes(secrets.token_bytes(given.megabytes * MEGA))
        empty.touch()
        for rate in (value * MEGA for value in given.rate):
            rows = [lambda r=rate: over_ssh((full, empty), r, given.repeat)] if sshd_program() else []
            for adb in filter(program, PROGRAMS):
                home = folder / f"{adb}-{rate:g}"
                rows.append(lambda a=adb, h=home, r=rate: over_adb(a, full, h, r, given.repeat))
            for row in rows:
                result = row()
                show(result, rate)
                results.append({**result, "rate": rate})
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")
    if not results:
        sys.exit("neither sshd nor adb is installed: apt-get install openssh-server adb")


if __name__ == "__main__":
    main()
