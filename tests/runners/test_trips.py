"""How many round trips a warm device takes: none is added unseen, for in the field each is felt."""

import contextlib
import platform
from pathlib import Path

import pytest

from edgekit.artifact import digest
from edgekit.errors import CommandFailedError, DeviceBusyError, DeviceUnfitError, UsageError
from edgekit.runners.depot import Depot
from edgekit.runners.follow import Pass
from edgekit.runners.lease import Lease
from edgekit.runners.program import native_program
from edgekit.runners.runner import Job, Runner
from edgekit.runners.runtime import RUNTIMES
from edgekit.runners.transport import open_transport
from edgekit.runners.transport.adb import AdbTransport
from edgekit.runners.transport.ssh import SshTransport
from edgekit.targets import Device
from edgekit.testing.adb_double import AdbDouble
from edgekit.testing.adb_server import PROGRAMS, PrivateAdb, program
from edgekit.testing.sshd import Sshd, sshd_program
from edgekit.testing.trips import Trips

PROGRAM_KINDS = [
    "python",
    pytest.param(
        "native",
        marks=pytest.mark.skipif(
            native_program(platform.machine()) is None, reason="the native program is not built here"
        ),
    ),
]
NULL = RUNTIMES.get("null")


@pytest.fixture(params=["fake", "ssh", "adb"])
def make(request, tmp_path, monkeypatch):
    """What makes closed transports to one device, and the round trips that opening one takes."""
    with contextlib.ExitStack() as stack:
        if request.param == "fake":
            kept = open_transport(Device.parse("fake://"))
            kept.close()
            yield lambda: kept, 0
        elif request.param == "ssh":
            if not sshd_program():
                pytest.skip("sshd is not installed")
            sshd = stack.enter_context(Sshd())
            device = Device.parse(sshd.files.address)
            yield lambda: SshTransport(device, config=sshd.files.config), 0
        else:
            name = next(iter(filter(program, PROGRAMS)), "")
            if not name:
                pytest.skip("there is no adb: apt install adb, pip install adbutils")
            (tmp_path / "server").mkdir()
            server = stack.enter_context(PrivateAdb(program(name), tmp_path / "server"))
            for key, value in server.env.items():
                monkeypatch.setenv(key, value)
            (tmp_path / "phone").mkdir()
            double = stack.enter_context(AdbDouble(tmp_path / "phone"))
            device = Device.parse(f"adb://{double.serial}")
            yield lambda: AdbTransport(device), 1


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "artifact"
    path.write_bytes(b"an artifact")
    return path


def run(transport, artifact, kind, number, monkeypatch):
    """Run once from a closed link on; return the round trips until the program was started."""
    with Trips(transport) as trips, monkeypatch.context() as patch:
        started = []

        def read(self, _read=Pass._read):
            started.append(len(trips))
            return _read(self)

        patch.setattr(Pass, "_read", read)
        job = Job(run_id=f"trip-{number}", runs=3, warmup=0, passes=("latency",))
        with transport, Runner(transport, NULL, program=kind) as runner:
            events = list(runner.run(job, artifact, digest(artifact)[0], None))
    assert [event["e"] for event in events][-1] == "end"
    assert sum(len(event["ns"]) for event in events if event["e"] == "samples") == 3
    return started[0]


@pytest.mark.parametrize("kind", PROGRAM_KINDS)
def test_a_warm_set_up_takes_four(make, artifact, kind, monkeypatch):
    """Arrive (lease, state, what it is), the program, the artifact (and the lease), launch."""
    transport_of, opening = make
    cold = run(transport_of(), artifact, kind, 1, monkeypatch)
    run(transport_of(), artifact, kind, 2, monkeypatch)
    for number in (3, 4):
        assert run(transport_of(), artifact, kind, number, monkeypatch) == opening + 4
    assert cold > opening + 4


def test_a_second_push_of_the_same_content_takes_one(make, artifact):
    transport_of, _ = make
    with transport_of() as transport:
        depot = Depot(transport)
        first = depot.put(artifact)
        with Trips(transport) as trips:
            assert depot.put(artifact) == first
        assert len(trips) == 1
        with Trips(transport) as trips:
            depot.put_all([(artifact, None)] * 3)
        assert len(trips) == 1


def test_a_first_push_takes_two_and_one_that_was_begun_three(make, artifact):
    transport_of, _ = make
    with transport_of() as transport:
        depot = Depot(transport)
        remote = f"{depot.root}/store/{digest(artifact)[0]}/{artifact.name}"
        for begun, taken in ((False, 2), (True, 3)):
            if begun:
                transport.check(["rm", remote])
            with Trips(transport) as trips:
                assert depot.put(artifact) == remote
            assert len(trips) == taken
            assert transport.check(["cat", remote]).stdout == artifact.read_bytes()


def test_where_no_folder_can_be_made_is_said(make, artifact):
    """Also by adb, which may lose the words of a command that has not read its input."""
    transport_of, _ = make
    artifact.write_bytes(bytes(3_000_000))
    with transport_of() as transport:
        depot = Depot(transport)
        transport.check(["mkdir", "-p", depot.root])
        transport.check(["touch", f"{depot.root}/store"])
        with pytest.raises(CommandFailedError, match=r"can't be written: .*store"):
            depot.put(artifact)
        with pytest.raises(UsageError, match="is a folder"):
            transport.push(artifact, depot.root)


@pytest.fixture
def local(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with open_transport(Device.parse("local://")) as transport:
        yield transport


def test_a_run_of_that_name_is_there_already(local, artifact):
    folder = Path(local.root()) / "runs" / "trip-1"
    folder.mkdir(parents=True)
    with (
        Runner(local, NULL, program="python") as runner,
        pytest.raises(UsageError, match="a run trip-1 already"),
    ):
        list(runner.run(Job(run_id="trip-1", runs=1), artifact, digest(artifact)[0], None))
    assert not list(folder.iterdir())


def test_who_is_busy_is_told_in_the_first_trip(local):
    other = Lease(local)
    other.take(60)
    with (
        Trips(local) as trips,
        Runner(local, NULL) as runner,
        pytest.raises(DeviceBusyError, match=r"benching there for [0-9]+ s"),
    ):
        runner.prepare()
    assert len(trips) == 2, "the second looks after what a host that died may have left"


def remember(local, change):
    """Let the device remember something else of itself than what is true."""
    path = Path(local.root()) / "facts"
    path.write_text(change(path.read_text()))


@pytest.fixture
def warm(local):
    for _ in range(2):
        with Runner(local, NULL, program="python") as runner:
            runner.prepare()
    return local


needs_memory = pytest.mark.skipif(
    not Path("/proc/sys/kernel/random/boot_id").exists(), reason="this system does not number its starts"
)


@needs_memory
def test_a_python_that_came_meanwhile_is_found(warm):
    """Before a device is refused it is asked anew."""
    remember(
        warm, lambda told: "".join(line for line in told.splitlines(True) if not line.startswith("python\t"))
    )
    with Runner(warm, NULL, program="python") as runner:
        assert runner.prepare().command[0] == runner.facts.python
    with Runner(warm, NULL, program="python") as runner, Trips(warm) as trips:
        runner.prepare()
    assert len(trips) == 2, "arrive, the program: it was remembered anew"


@needs_memory
def test_what_is_still_unfit_is_refused(warm, monkeypatch):
    def unfit(*_, **__):
        raise DeviceUnfitError("local://", "it lacks everything", hint="none")

    monkeypatch.setattr("edgekit.runners.runner.prepare", unfit)
    with Runner(warm, NULL, program="python") as runner, Trips(warm) as trips:
        with pytest.raises(DeviceUnfitError, match="lacks everything"):
            runner.prepare()
        assert len(trips) == 2


@needs_memory
@pytest.mark.parametrize("broken", ["no tab here\n", "\x00\xff", "machine\t\n"])
def test_a_broken_memory_is_renewed(warm, broken):
    remember(warm, lambda told: told.splitlines(True)[0] + broken)
    with Runner(warm, NULL, program="python") as runner:
        runner.prepare()
        assert runner.facts.machine == platform.machine()
    remember(warm, lambda told: told.splitlines(True)[0] + broken)
    with Runner(warm, NULL) as runner:
        assert runner.facts.machine == platform.machine()
