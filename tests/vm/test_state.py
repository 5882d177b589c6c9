"""A device's state on a real kernel: governors and clocks by cpufreq, given back when the host is gone."""

import os
import signal
import subprocess
import sys

import pytest

from edgekit.runners.state import policies
from edgekit.testing.vm_tree import FREQUENCIES_KHZ
from edgekit.testing.waiting import until

pytestmark = pytest.mark.vm
POLICY = "/sys/devices/system/cpu/cpufreq/policy0"
NAMES = ("scaling_governor", "scaling_min_freq", "scaling_max_freq")
HOLD = """
import sys, time
from edgekit.runners.state import changed, frequency, governor, policies
from edgekit.runners.transport import open_transport
from edgekit.targets import Device
with open_transport(Device.parse(sys.argv[1])) as transport:
    found = policies(transport)
    wanted = [*governor(found, "performance"), *frequency(found, 1400000)]
    with changed(transport, wanted, heartbeat_s=1):
        print("changed", flush=True)
        time.sleep(600)
"""


def state(transport):
    text = transport.check(["cat", *(f"{POLICY}/{name}" for name in NAMES)]).text
    return tuple(text.split())


def test_a_run_says_which_governor_it_had(vm, bench, on):
    """A whole bench from the command line, in the state that was asked for."""
    transport = on(vm)
    before = state(transport)
    document, (run,) = bench(
        vm, "-r", "onnx-int8", "--governor", "performance", "--frequency", "1400MHz", "--no-power",
        "--runs", 20, "--warmup", 2, "--max-s", 10,
    )  # fmt: skip
    told = document["runs"][0]
    assert told["labels"] == ["emulated: qemu-tcg"]
    assert told["parity"]["ok"]
    assert len(run.samples_ns) == 20
    clusters = [cluster for told in run.conditions for cluster in told.get("clusters", ())]
    assert {cluster["governor"] for cluster in clusters} == {"performance"}
    assert state(transport) == before
    assert before[0] == "schedutil"


def test_the_watchdog_gives_back_what_a_killed_host_left(vm, on):
    transport = on(vm)
    before = state(transport)
    (policy,) = policies(transport)
    assert (policy.khz, policy.governor) == (FREQUENCIES_KHZ, "schedutil")
    host = subprocess.Popen(
        [sys.executable, "-c", HOLD, vm.address],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"EDGEKIT_SSH_CONFIG": str(vm.ssh_config)},
    )  # fmt: skip
    with host:
        assert host.stdout.readline() == "changed\n"
        assert state(transport) == ("performance", "1400000", "1400000")
        host.send_signal(signal.SIGKILL)
    until(lambda: state(transport) == before, patience_s=120)
    left = transport.run(["ls", f"{transport.root()}/state"])
    assert "journal" not in left.text
