"""The virtual board is what it says: an ARM machine with its own kernel, clock and drivers."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekit.runners.facts import inspect
from edgekit.testing import vm as vm_module
from edgekit.testing import vm_root, vm_tree
from edgekit.testing.ssh_files import answers
from edgekit.testing.vm import VirtualBoard, main, unavailable
from edgekit.testing.waiting import until

POINTS = "".join(f"{khz} " for khz in vm_tree.FREQUENCIES_KHZ)


@pytest.mark.vm
def test_it_has_a_kernel_of_its_own(vm, on):
    transport = on(vm)
    facts = inspect(transport)
    assert (facts.machine, facts.abi, facts.system) == ("aarch64", "aarch64", "linux")
    assert facts.kernel.endswith("-arm64")
    assert facts.kernel != os.uname().release
    assert facts.model == vm_tree.MODEL
    assert facts.cpus == (("Cortex-A72", 1800), ("Cortex-A72", 1800))
    assert (facts.glibc, facts.libstdcxx, facts.python_version) == ((2, 36), 30, (3, 11))
    assert 400 << 20 < facts.memory_bytes < 512 << 20
    assert facts.emulated == "qemu-tcg"
    assert abs(float(transport.check(["date", "+%s.%N"]).text) - time.time()) < 60


@pytest.mark.vm
def test_a_clock_that_counts_instructions_is_recognized(counted_vm, on):
    assert inspect(on(counted_vm)).emulated == "qemu-icount"


@pytest.mark.vm
def test_it_has_frequencies_and_governors(vm, on):
    transport = on(vm)
    folder = "/sys/devices/system/cpu/cpufreq/policy0"
    told = {
        name: transport.check(["cat", f"{folder}/{name}"]).text.strip()
        for name in ("scaling_driver", "scaling_available_frequencies", "scaling_available_governors")
    }
    assert told["scaling_driver"] == "cpufreq-dt"
    assert told["scaling_available_frequencies"] == POINTS.strip()
    governors = {"performance", "powersave", "ondemand", "schedutil"}
    assert governors <= set(told["scaling_available_governors"].split())


@pytest.mark.vm
def test_it_is_frozen_and_goes_on(vm, on):
    transport = on(vm)
    before = float(transport.check(["cat", "/proc/uptime"]).text.split()[0])
    vm.freeze()
    began = time.monotonic()
    time.sleep(1.0)
    frozen = time.monotonic() - began
    vm.go_on()
    after = float(transport.check(["cat", "/proc/uptime"]).text.split()[0])
    assert before <= after
    assert vm.machine.alive()
    assert frozen >= 1.0


@pytest.mark.vm
def test_it_ends_with_who_started_it(vm):
    script = (
        "import os; from edgekit.testing.vm import VirtualBoard\n"
        "board = VirtualBoard(); board.start()\n"
        "print(board.files.port, board.files.folder, board.machine.process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    port, folder, pid = done.stdout.decode().split()
    until(lambda: not answers(int(port)))
    until(lambda: not Path(f"/proc/{pid}/cmdline").exists())
    subprocess.run(["rm", "-rf", folder], check=True)


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(vm_module.board_root, "mirror", lambda: "http://mirror.invalid/debian")
    monkeypatch.setenv("PATH", str(tmp_path))
    wanted = "qemu-system-arm qemu-utils mmdebstrap device-tree-compiler kmod e2fsprogs openssh-client"
    assert unavailable() == f"not installed: apt-get install --no-install-recommends {wanted}"
    assert main(["build"]) == 1
    monkeypatch.setattr(vm_module.board_root, "mirror", lambda: "")
    assert "no source" in unavailable()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "root" in unavailable()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "needs Linux" in unavailable()
    with pytest.raises(vm_module.UsageError, match="no virtual board"):
        VirtualBoard().start()


def test_the_program_says_how_it_is_used(capsys):
    assert main([]) == 2
    assert "build" in capsys.readouterr().err


def test_a_tree_gets_a_name_a_clock_and_points():
    source = (
        '/ {\n\tmodel = "linux,dummy-virt";\n\tcpus {\n\t\tcpu@0 {\n\t\t};\n\t\tcpu@1 {\n\t\t};\n\t};\n};\n'
    )
    told = vm_tree.edit(source)
    assert f'model = "{vm_tree.MODEL}"' in told
    assert told.count("operating-points-v2 = <&board_points>") == 2
    assert told.count("opp-hz") == len(vm_tree.FREQUENCIES_KHZ)
    assert told.index("board_clock:") < told.index("cpus {")
    with pytest.raises(vm_module.UsageError, match="no processors"):
        vm_tree.edit("/ { };")


def test_modules_come_after_what_they_need(tmp_path):
    (tmp_path / "modules.dep").write_text(
        "a/one.ko: a/two.ko a/three-x.ko\na/two.ko: a/three-x.ko\na/three-x.ko:\n"
    )
    (tmp_path / "modules.builtin").write_text("kernel/own.ko\n")
    found = vm_root._needed(tmp_path, ("own", "one", "three_x"))
    assert [path.name for path in found] == ["three-x.ko", "two.ko", "one.ko"]
    with pytest.raises(vm_module.UsageError, match="no module four"):
        vm_root._needed(tmp_path, ("four",))


@pytest.mark.skipif(not shutil.which("busybox"), reason="busybox is not installed: apt-get install busybox")
def test_an_archive_that_others_read():
    files = {"bin/tool": b"tool", "init": b"#!x"}
    content = b"".join(vm_root._archive(("bin",), files))
    assert len(content) % 4 == 0
    listed = subprocess.run(["busybox", "cpio", "-t"], input=content, capture_output=True, check=False)
    assert listed.stdout.decode().split() == ["bin", "bin/tool", "init"]
