"""A device that really starts again: its processor is reset in the middle of a run, and its disk stays.

What the kernel had not written by then is gone, as at any power cut: EdgeKit's program has its spool written
every second, so that what was told before that is kept, whether its host heard it or not.
"""

import json
import subprocess
import sys
import threading

import pytest

from edgekit.bench.execute import execute
from edgekit.bench.journal import Journal
from edgekit.bench.metering import PowerWish
from edgekit.bench.plan import make_plan
from edgekit.errors import UsageError
from edgekit.store import Store
from edgekit.testing.vm import VirtualBoard
from edgekit.testing.waiting import until

pytestmark = [pytest.mark.vm, pytest.mark.slow]
PATIENCE_S = 120
PERIOD_S = 0.1
LATER = 40
"""Samples, of PERIOD_S each: what lies further back has been written to the disk."""
HOME = "/root/.edgekit"


class Mortal:
    """A virtual board of its own, with a store, for one network that computes nothing."""

    def __init__(self, board, folder):
        self.board, self.path = board, folder / "net.tflite"
        self.store_path = folder / "runs.sqlite"
        self.path.write_bytes(b"none of it is read")
        self.left = []

    def bench(self, store, program, *, runs, period_s=0.0):
        plan = make_plan(
            [self.path], [self.board.address], runtime="null", runs=runs, passes=("latency",), max_s=600.0,
            power=PowerWish(mode="never"), period_s=period_s, program=program,
        )  # fmt: skip
        return execute(plan, store, journal=Journal(store))

    def told(self):
        """Return the samples that lie in the spool there."""
        lines = self.board.run(f"cat {HOME}/runs/*/latency.jsonl 2>/dev/null || true").splitlines(
            keepends=True
        )
        events = [json.loads(line) for line in lines if line.endswith("}\n")]
        return [value for event in events if event["e"] == "samples" for value in event["ns"]]

    def some(self, count):
        """Wait until so many samples are told; return those."""
        until(lambda: len(self.told()) >= count, patience_s=PATIENCE_S)
        return self.told()

    def boot_id(self):
        return self.board.run("cat /proc/sys/kernel/random/boot_id")

    def reset(self):
        """Let its processor begin anew, at once."""
        before = self.boot_id()
        self.board.machine.monitor.ask("system_reset")

        def is_back():
            try:
                return self.boot_id() != before
            except UsageError:
                return False

        until(is_back, patience_s=PATIENCE_S)

    def is_clean(self, store, program):
        """The next bench works, and nothing is left."""
        result = self.bench(store, program, runs=30)
        assert result.failed == ()
        assert [len(run.samples_ns) for run in result.runs] == [30]
        assert self.board.run(f"ls -d {HOME}/lease 2>/dev/null || true") == ""
        self.left = self.board.run(f"ls {HOME}/runs").split()
        self.board.run(f"rm -rf {HOME}/runs/*")  # what a broken run leaves is said to lie there
        return result


@pytest.fixture(scope="module")
def board(vm):
    """A second board: the others' goes on as it is."""
    with VirtualBoard() as mortal:
        mortal.machine.monitor.ask("set-action", reboot="reset")
        yield mortal


@pytest.fixture
def mortal(board, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(board.ssh_config))
    return Mortal(board, tmp_path)


@pytest.mark.parametrize("program", ["python", "native"])
def test_a_restart_ends_the_run_and_costs_none_that_the_disk_had(mortal, program):
    known = []

    def fault():
        known.extend(mortal.some(20))
        mortal.some(len(known) + LATER)
        mortal.reset()

    thread = threading.Thread(target=fault)
    with Store.open(mortal.store_path) as store:
        thread.start()
        result = mortal.bench(store, program, runs=900, period_s=PERIOD_S)
        thread.join()
        (failure,) = result.failed
        assert failure.error.startswith(
            f"{mortal.board.address}: the latency pass was ended by the device's restart"
        )
        (run,) = store.query()
        assert len(known) >= 20
        assert list(run.samples_ns[: len(known)]) == known
        mortal.is_clean(store, program)


def test_what_a_dead_host_never_heard_is_on_the_disk(mortal):
    words = [
        "bench", mortal.path, "--device", mortal.board.address, "--runtime", "null", "--runs", 900,
        "--max-s", 600, "--period-ms", 1000 * PERIOD_S, "--no-power", "--program", "native",
        "--store", mortal.store_path,
    ]  # fmt: skip
    with Store.open(mortal.store_path) as store:
        host = subprocess.Popen(
            [sys.executable, "-m", "edgekit.cli.main", *map(str, words)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            heard = mortal.some(10)
        finally:
            host.kill()
            _, said = host.communicate()
        assert host.returncode < 0, said
        known = mortal.some(len(heard) + LATER)
        mortal.some(len(known) + LATER)
        mortal.reset()
        (found,) = mortal.is_clean(store, "native").recovered
        assert found.run.ended == "the host died"
        assert list(found.run.samples_ns[: len(known)]) == known
        assert store.get(found.id) == found.run
        assert mortal.left == []


HOG = """
echo 1 >/proc/sys/vm/overcommit_memory
for shell in {home}/runs/*/latency.pid; do
  shell=$(cat $shell)
  for pid in $(cat /proc/$shell/task/$shell/children); do echo 1000 >/proc/$pid/oom_score_adj; done
done
python3 -c 'b"x" * (900 << 20)' >/dev/null 2>&1
echo 0 >/proc/sys/vm/overcommit_memory
dmesg | grep -c 'Out of memory: Killed process'
"""
"""The program is named as the first to go; then something else takes all the memory there is."""


@pytest.mark.parametrize("program", ["python", "native"])
def test_the_kernel_kills_it_for_want_of_memory(mortal, program):
    known, killed = [], []

    def fault():
        known.extend(mortal.some(20))
        killed.append(int(mortal.board.run(HOG.format(home=HOME))))

    thread = threading.Thread(target=fault)
    with Store.open(mortal.store_path) as store:
        thread.start()
        result = mortal.bench(store, program, runs=900, period_s=PERIOD_S)
        thread.join()
        (failure,) = result.failed
        assert killed[0] >= 1
        assert "killed by SIGKILL" in failure.error
        assert "out-of-memory" in failure.error
        (run,) = store.query()
        assert list(run.samples_ns[: len(known)]) == known
        mortal.is_clean(store, program)


def test_a_wall_clock_that_is_stepped_costs_nothing(mortal):
    known = []

    def fault():
        known.extend(mortal.some(10))
        mortal.board.run("date -s '+2 days' >/dev/null")
        mortal.some(len(known) + 5)
        mortal.board.run(f"touch {HOME}/runs/$(ls {HOME}/runs)/latency.enough")

    thread = threading.Thread(target=fault)
    with Store.open(mortal.store_path) as store:
        thread.start()
        result = mortal.bench(store, "native", runs=900, period_s=PERIOD_S)
        thread.join()
        assert result.failed == ()
        (run,) = result.runs
        assert run.ended == "enough"
        assert list(run.samples_ns[: len(known)]) == known
        mortal.is_clean(store, "native")
