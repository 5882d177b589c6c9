"""Under fire: every fault in the middle of a run, over SSH and ADB, with both programs.

Each row is a whole bench of the null runtime through the engine. When the device has told some samples, the
fault comes; then the samples that lay in its spool are held against those that were kept, nothing of ours may
run there, and the next bench has to work. `pytest -s tests/fire` prints the table.

What is not made for real here is on the virtual board: the device's restart (here every process of ours dies
at once, and the start that the lease and the pass wrote down becomes another) and want of memory (here the
kernel's SIGKILL is sent by hand) in tests/vm/test_restart.py; a clock that is stepped, and a network that
delays and loses packets (tc netem), in tests/vm/test_counted.py.
"""

import json
import os
import re
import signal
import subprocess
import threading

import pytest

from edgekit.testing.waiting import until

PATIENCE_S = 60.0
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a small disk needs root, for mount")


class Small:
    """A disk of half a megabyte where the runs lie."""

    def __init__(self, device):
        self.folder = device.home / "runs"
        self.ballast = self.folder / "ballast"

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", self.folder], check=True)
        return self

    def fill(self):
        with self.ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                return

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.folder], check=True)


def cut(fire):
    """The link is cut; it can be opened again."""
    fire.device.cut()
    fire.enough()


def stall(fire):
    """Nothing more comes over the link, and nobody says so; after a while it can be opened again."""
    links = fire.device.links()
    assert links
    for pid in links:
        os.kill(pid, signal.SIGSTOP)

    def end():
        if fire.device.name == "adb":
            for pid in links:
                os.kill(pid, signal.SIGCONT)
        fire.enough()

    timer = threading.Timer(6.0, end)
    timer.daemon = True
    timer.start()


def server_killed(fire):
    """Another tool ends the adb server."""
    fire.device.kill_server()
    fire.enough()


def reboot(fire):
    """The device is started again."""
    fire.device.kill_all()
    fire.device.cut()


def crash(fire):
    """The runtime crashes."""
    fire.device.signal(signal.SIGSEGV)


def out_of_memory(fire):
    """The kernel kills it for want of memory."""
    fire.device.signal(signal.SIGKILL)


def garble(fire):
    """Something else writes into what is told."""
    (folder,) = fire.device.runs()
    with (folder / "latency.jsonl").open("ab") as spool:
        spool.write(b'\x00\xff{"e": "samples", "ns": "many"}\n')


LIVES = {"cut": cut, "stall": stall, "adb server killed": server_killed}
"""Faults that a run survives."""
DIES = {
    "device rebooted": (reboot, "StableDeviceError", r"ended by the device's restart .*heat"),
    "runtime crashed": (crash, "StableDeviceError", r"killed by SIGSEGV before its end"),
    "killed for memory": (out_of_memory, "StableDeviceError", r"killed by SIGKILL .*out-of-memory"),
    "output garbled": (garble, "ProtocolError", r"no line of protocol 2"),
}
"""Faults that end it: the fault, the error's class and what it says."""


def pairs(name, *, fast):
    """Return the cases of a row: those of `fast` for every day, the others slow."""
    cases = []
    for device in ("ssh", "adb"):
        if name == "adb server killed" and device == "ssh":
            continue  # nothing stands between the host and its device there
        for kind in ("python", "native"):
            marks = [] if (device, kind) in fast else [pytest.mark.slow]
            cases.append(pytest.param(name, device, kind, marks=marks, id=f"{name}-{device}-{kind}"))
    return cases


EVERY_DAY = (("ssh", "python"), ("adb", "native"))
ONCE_A_DAY = {"killed for memory": EVERY_DAY[:1], "output garbled": EVERY_DAY[1:]}
"""Rows that meet the same code as others on the way to the device."""


def told(fire, row, kept, what):
    """Print the row."""
    line = f"{fire.device.name:3} | {fire.program:6} | {row:23} | {len(fire.before):>4} told before"
    # The table is what a reader of these tests looks at.
    print(f"\n{line} | {len(kept):>5} kept | {what}")  # noqa: T201


def check_nothing_is_left(fire):
    """Nothing of ours runs there, nobody holds the device, and the next bench works."""
    until(lambda: not fire.device.programs() or fire.alone, patience_s=PATIENCE_S)
    result = fire.again()
    assert result.failed == ()
    assert [len(run.samples_ns) for run in result.runs] == [30]
    until(lambda: not fire.device.programs(), patience_s=PATIENCE_S)
    assert not (fire.device.home / "lease").exists()
    return result


def check_kept(fire, run):
    """All that the device had told before the fault is in the run, in its order."""
    assert fire.before
    assert list(run.samples_ns[: len(fire.before)]) == fire.before


def check_it_went_on(fire, row, result):
    """The run came to its end with all samples, and left nothing."""
    assert result.failed == ()
    (run,) = result.runs
    assert run.ended == "enough"
    check_kept(fire, run)
    told(fire, row, run.samples_ns, "the run went on to its end")
    check_nothing_is_left(fire)


@pytest.mark.parametrize(
    ("row", "device", "kind"),
    [case for name in LIVES for case in pairs(name, fast=EVERY_DAY)],
    indirect=["device"],
)
@pytest.mark.usefixtures("impatient")
def test_a_run_survives(row, kind, fire):
    check_it_went_on(fire, row, fire.burn(lambda: LIVES[row](fire)))


@pytest.mark.parametrize(
    ("row", "device", "kind"),
    [case for name in DIES for case in pairs(name, fast=ONCE_A_DAY.get(name, EVERY_DAY))],
    indirect=["device"],
)
def test_a_run_ends_and_says_why(row, kind, fire):
    fault, error, said = DIES[row]
    result = fire.burn(lambda: fault(fire))
    (failure,) = result.failed
    assert failure.kind == error
    assert re.search(said, failure.error), failure.error
    assert failure.error.startswith(f"{fire.device.address}: ")
    (run,) = fire.store.query()
    check_kept(fire, run)
    told(fire, row, run.samples_ns, failure.error)
    check_nothing_is_left(fire)


@pytest.mark.parametrize(("row", "device", "kind"), pairs("hung", fast=EVERY_DAY), indirect=["device"])
def test_a_hung_run_is_ended_at_its_deadline(row, kind, fire, late):
    def hang():
        fire.device.signal(signal.SIGSTOP)
        late()

    result = fire.burn(hang)
    (failure,) = result.failed
    assert failure.kind == "DeviceTimeoutError"
    assert re.match(f"{re.escape(fire.device.address)}: the latency pass has not ended within", failure.error)
    (run,) = fire.store.query()
    check_kept(fire, run)
    told(fire, row, run.samples_ns, failure.error)
    check_nothing_is_left(fire)


@needs_root
@pytest.mark.parametrize(
    ("row", "device", "kind"), pairs("disk full, freed later", fast=EVERY_DAY[1:]), indirect=["device"]
)
def test_a_full_disk_that_is_freed_costs_nothing(row, kind, fire):
    with Small(fire.device) as disk:

        def fill():
            disk.fill()
            threading.Timer(3.0, lambda: (disk.ballast.unlink(), fire.enough())).start()

        check_it_went_on(fire, row, fire.burn(fill))


@needs_root
@pytest.mark.parametrize(
    ("row", "device", "kind"), pairs("disk full to the end", fast=()), indirect=["device"]
)
def test_a_disk_that_stays_full_is_told(row, kind, fire):
    with Small(fire.device) as disk:

        def fill():
            fire.enough()
            disk.fill()

        result = fire.burn(fill)
        (failure,) = result.failed
        assert re.match(f"{re.escape(fire.device.address)}: .*full disk|No space left", failure.error)
        (run,) = fire.store.query()
        check_kept(fire, run)
        told(fire, row, run.samples_ns, failure.error)
        disk.ballast.unlink()
        check_nothing_is_left(fire)


# --- the host ---------------------------------------------------------------------------------------------
def killed_host(fire):
    """Begin a bench by the command line; kill its process by SIGKILL once the device has told samples."""
    host = fire.command(*fire.bench_words())
    try:
        until(
            lambda: host.poll() is not None or len(fire.told()) >= 20,
            patience_s=PATIENCE_S,
        )
        assert host.poll() is None, host.stderr.read()
    finally:
        host.kill()
        host.communicate()
    fire.alone = True
    fire.note()
    assert fire.device.programs()


@pytest.mark.parametrize(("row", "device", "kind"), pairs("host killed", fast=EVERY_DAY), indirect=["device"])
def test_the_next_bench_keeps_what_a_killed_host_left(row, kind, fire):
    killed_host(fire)
    result = check_nothing_is_left(fire)
    (found,) = result.recovered
    assert found.run.ended == "the host died"
    check_kept(fire, found.run)
    assert fire.store.get(found.id) == found.run
    assert fire.device.runs() == []
    told(fire, row, found.run.samples_ns, found.note)
    assert fire.journal.left(fire.device.address) == []
    assert len(fire.store.query()) == 2


@pytest.mark.parametrize(
    ("row", "device", "kind"), pairs("host killed, waited for", fast=EVERY_DAY[1:]), indirect=["device"]
)
def test_a_run_without_its_host_can_be_waited_for(row, kind, fire):
    killed_host(fire)
    fire.enough()
    until(lambda: not fire.device.programs(), patience_s=PATIENCE_S)
    whole = fire.told()
    words = ("runs", "recover", fire.device.address, "--wait", 60, "--store", fire.store_path, "--json")
    first = fire.command(*words)
    out, said = first.communicate(timeout=PATIENCE_S)
    assert first.returncode == 0, said
    (found,) = json.loads(out)["recovered"]
    run = fire.store.get(found["run"])
    assert (list(run.samples_ns), run.ended) == (whole, "the host died")
    told(fire, row, run.samples_ns, found["note"])
    second = fire.command(*words)
    out, said = second.communicate(timeout=PATIENCE_S)
    assert json.loads(out)["recovered"] == [], said
    check_nothing_is_left(fire)


@pytest.mark.parametrize(
    ("row", "device", "kind"), pairs("link lost for good", fast=EVERY_DAY[1:]), indirect=["device"]
)
def test_what_was_told_after_the_link_was_lost_is_fetched_later(row, kind, fire, monkeypatch):
    monkeypatch.setattr("edgekit.runners.follow._RETRY_S", (0.0, 0.1))
    result = fire.burn(fire.device.vanish)
    (failure,) = result.failed
    assert failure.error.startswith(fire.device.address)
    (first,) = fire.store.query()
    until(lambda: len(fire.told()) > len(first.samples_ns), patience_s=PATIENCE_S)
    fire.note()
    fire.alone = True
    fire.device.come_back()
    (found,) = check_nothing_is_left(fire).recovered
    check_kept(fire, found.run)
    assert found.run.id == f"{first.id}-more"
    assert found.run.ended == first.ended
    told(fire, row, found.run.samples_ns, failure.error)
