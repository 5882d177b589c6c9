"""A comparison holds its device from the first round to the last: no other host gets in between."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.bench import compare as module
from edgekit.bench.compare import compare_on_device
from edgekit.bench.held import Held
from edgekit.bench.plan import make_plan
from edgekit.errors import DeviceBusyError, ResultError
from edgekit.runners import follow
from edgekit.runners.lease import Lease
from edgekit.runners.transport.fake import FakeTransport, Faults
from edgekit.targets import Device
from edgekit.testing.waiting import until

OTHER_HOST = """
import sys, time
from edgekit.errors import DeviceBusyError
from edgekit.runners.lease import Lease
from edgekit.runners.transport.fake import FakeTransport
from edgekit.targets import Device

link = FakeTransport(Device.parse("fake://"))
link._folder = sys.argv[1]
with link:
    while True:
        lease = Lease(link)
        try:
            lease.take(30)
        except DeviceBusyError as error:
            print("busy", flush=True)
        else:
            lease.give_back()
            print("free", flush=True)
        time.sleep(0.01)
"""


class Other:
    """Another host, a process of its own, that asks for the device over and over."""

    def __init__(self, folder, log):
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen([sys.executable, "-c", OTHER_HOST, folder], stdout=out)

    @property
    def answers(self):
        return self.log.read_text().split()

    def asks(self, times=2):
        """Wait until it has asked so often again, and so at least once from now on."""
        before = len(self.answers)
        until(lambda: len(self.answers) >= before + times, patience_s=60)

    def end(self):
        self.process.kill()
        self.process.wait()


class Saver:
    """Keeps nothing; lets the other host ask after every run."""

    def __init__(self, place):
        self.place, self.runs, self.then = place, [], {}

    def save(self, run):
        samples = tuple(1_000_000 + n % 3 for n in range(len(run.samples_ns)))  # no busy machine's
        object.__setattr__(run, "samples_ns", samples)
        self.runs.append(run)
        if self.place.other is None:
            self.place.other = Other(self.place.folder, self.place.log)
        self.place.other.asks()
        self.then.get(len(self.runs), int)()


class Place:
    """One device for all connections, and the other host."""

    def __init__(self, log):
        self.links, self.log, self.other = [], log, None

    def open(self, device):
        link = FakeTransport(device)
        if self.links:
            link._folder = self.folder
        self.links.append(link)
        link.open()
        link.root()
        return link

    @property
    def folder(self):
        return self.links[0]._folder

    @property
    def leased(self):
        return (Path(self.folder) / ".edgekit/lease/holder").exists()


@pytest.fixture
def place(tmp_path, monkeypatch):
    found = Place(tmp_path / "answers")
    monkeypatch.setattr(module, "open_transport", found.open)
    yield found
    if found.other is not None:
        found.other.end()


@pytest.fixture
def plans(make_bundle):
    root = make_bundle("tflite-fp32", "onnx-int8").root

    def make(*recipes):
        return tuple(
            make_plan([root], ["fake://"], recipes=[r], runs=40, warmup=1, max_s=20.0, passes=("latency",))
            for r in recipes
        )

    return make


def test_no_other_host_comes_between_rounds_or_after_a_lost_link(place, plans, monkeypatch):
    """It asks after every run and before every round; round 2 loses its link for good."""
    monkeypatch.setattr(follow, "_RETRY_S", (0.0, 0.0))
    saver, answers = Saver(place), []

    def lose():
        link = place.links[0]
        link.faults = Faults(dies_after_calls=link.calls + 2, stays_dead=True)

    def stop():
        answers.extend(place.other.answers)
        raise KeyboardInterrupt

    saver.then = {6: lose, 12: stop}
    between = []

    def tell(step):
        if step.phase == "connect" and place.other is not None:
            place.other.asks()
            between.append(step.note)

    found = compare_on_device(
        plans("tflite-fp32", "onnx-int8"), saver, gate=0.05, rounds=40, on_progress=tell
    )
    assert (len(place.links), found.interrupted) == (2, True)
    assert len(between) >= 2
    assert set(answers) == {"busy"}
    place.other.asks()
    assert place.other.answers[-1] == "free"


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, ResultError])
def test_it_is_given_back_on_every_way_out(place, plans, trouble):
    saver = Saver(place)

    def stop():
        assert place.leased
        raise trouble("the disk is full")

    saver.then = {3: stop}
    try:
        compare_on_device(plans("tflite-fp32", "tflite-fp32"), saver, gate=0.05, rounds=40)
    except ResultError:
        assert trouble is ResultError
    until(lambda: place.other.answers[-1] == "free", patience_s=60)
    assert not any(link.is_open for link in place.links)


def test_a_comparison_is_refused_while_another_host_benches(place, plans):
    """And what holds it is left alone."""
    link = place.open(Device.parse("fake://"))
    lease = Lease(link)
    lease.take(60)
    with pytest.raises(ResultError, match="has been benching there"):
        compare_on_device(plans("tflite-fp32", "tflite-fp32"), None, gate=0.05, rounds=40)
    lease.take(60)
    assert place.leased


def test_what_is_held_is_lent_again_and_again_and_given_back_once(place):
    held, device = Held(place.open), Device.parse("fake://")
    for _ in range(2):
        with held.opened(device) as link, held.leased(link) as lease:
            lease.take(60)
        assert place.leased
    with pytest.raises(ZeroDivisionError), held.opened(device) as link, held.leased(link):
        raise ZeroDivisionError
    assert (len(place.links), place.leased) == (1, True)  # as it was: nothing is open to anybody yet
    with held.opened(device) as link, held.leased(link) as again:
        assert link is place.links[1]
        again.take(60)  # over from the one before, in one step
        with pytest.raises(DeviceBusyError):
            Lease(link).take(5)
    held.close()
    held.close()
    assert (place.leased, link.is_open) == (False, False)
