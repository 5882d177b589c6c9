"""What a device is: the script under several shells, and its answers, recorded or constructed."""

import shutil
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.errors import ProtocolError
from edgekit.runners.facts import Cluster, inspect, read_facts
from edgekit.runners.facts_script import SCRIPT, core_name
from edgekit.targets import match_target

SHELLS = [["sh"], ["dash"], ["bash", "--posix"], ["mksh"], ["busybox", "sh"]]

# Constructed: their names and numbers are of the kind that such boards have in /proc and /sys.
PI = """edgekit-facts 1
machine\taarch64
system\tLinux
kernel\t6.1.0-50-arm64
bits\t64
model\tRaspberry Pi 3 Model B
compatible\traspberrypi,3-model-b
compatible\tbrcm,bcm2837
libc\tglibc 2.36
libc\tldd (Debian GLIBC 2.36-9+deb12u14) 2.36
libstdcxx\t/usr/lib/aarch64-linux-gnu/libstdc++.so.6.0.30
libc\tglibc 2.36
python\t/usr/bin/python3.11\t3.11\t64\tok
cpuinfo\tprocessor\t: 0
cpuinfo\tCPU implementer\t: 0x41
cpuinfo\tCPU part\t: 0xd03
cpuinfo\tprocessor\t: 1
cpuinfo\tCPU implementer\t: 0x41
cpuinfo\tCPU part\t: 0xd03
features\t fp asimd evtstrm crc32 cpuid
max_khz\t0 1200000
max_khz\t1 1200000
memory_kib\t935936
free_kib\t1048576
exe\t/usr/bin/dash
kernel_arch\taarch64
end
"""
JETSON = """edgekit-facts 1
machine\taarch64
system\tLinux
kernel\t4.9.337-tegra
model\tNVIDIA Jetson Nano Developer Kit
compatible\tnvidia,jetson-nano
compatible\tnvidia,tegra210
libc\tglibc 2.27
libstdcxx\t/usr/lib/aarch64-linux-gnu/libstdc++.so.6.0.25
libstdcxx\t/usr/lib/i386-linux-gnu/libstdc++.so.6.0.33
python\t/usr/bin/python3\t3.6\t64\told
python\t/usr/bin/python3.8\t3.8\t64\tok
cpuinfo\tprocessor\t: 0
cpuinfo\tCPU implementer\t: 0x41
cpuinfo\tCPU part\t: 0xd07
end
"""
PHONE = """edgekit-facts 1
machine\taarch64
system\tLinux
kernel\t5.15.123-android13
ro.product.model\tPixel 8
ro.product.device\tshiba
ro.soc.model\tTensor G3
ro.build.version.release\t14
ro.kernel.qemu\t
libc\t/system/bin/sh: ldd: not found
cpuinfo\tprocessor\t: 0
cpuinfo\tCPU implementer\t: 0x41
cpuinfo\tCPU part\t: 0xd4e
free_kib\t52428800
end
"""
BUSYBOX = """edgekit-facts 1
machine\tarmv7l
system\tLinux
kernel\t5.10.0
model\tTI AM335x BeagleBone Black
compatible\tti,am335x-bone-black
compatible\tti,am33xx
libc\tmusl
cpuinfo\tprocessor\t: 0
cpuinfo\tmodel name\t: ARMv7 Processor rev 2 (v7l)
cpuinfo\tCPU implementer\t: 0x41
cpuinfo\tCPU part\t: 0xc08
end
"""


def read(text, scheme="ssh"):
    return read_facts(text.encode(), scheme=scheme, address="ssh://board")


def test_a_pi():
    facts = read(PI)
    assert (facts.machine, facts.abi, facts.system) == ("aarch64", "aarch64", "linux")
    assert facts.cpus == (("Cortex-A53", 1200), ("Cortex-A53", 1200))
    assert facts.features == ("fp", "asimd", "evtstrm", "crc32", "cpuid")
    assert (facts.glibc, facts.libstdcxx) == ((2, 36), 30)
    assert (facts.python, facts.python_version) == ("/usr/bin/python3.11", (3, 11))
    assert (facts.memory_bytes, facts.free_bytes) == (935936 << 10, 1 << 30)
    assert (facts.soc, facts.board, facts.emulated) == ("brcm,bcm2837", "raspberrypi,3-model-b", "")
    assert match_target(facts.match()).name == "raspberry-pi-3"


def test_cores_of_two_kinds_are_told_apart_the_slower_first():
    faster = "".join(
        f"cpuinfo\tprocessor\t: {n}\ncpuinfo\tCPU implementer\t: 0x41\ncpuinfo\tCPU part\t: 0xd0b\n"
        f"max_khz\t{n} 1200000\ncapacity\t{n} 1024\n"
        for n in (4, 5)
    )
    text = PI.replace("end\n", "capacity\t0 404\ncapacity\t1 404\ncapacity\t2 what\n" + faster + "end\n")
    assert read(text).clusters == (
        Cluster(cpus=(0, 1), name="Cortex-A53", max_khz=1200000, capacity=404),
        Cluster(cpus=(4, 5), name="Cortex-A76", max_khz=1200000, capacity=1024),
    )
    one = {"cpus": (0, 1), "name": "Cortex-A53", "max_khz": 1200000, "capacity": None}
    assert read(PI).to_json()["clusters"] == (one,)


def test_a_jetson_whose_first_python_is_too_old():
    facts = read(JETSON)
    assert (facts.python, facts.python_version) == ("/usr/bin/python3.8", (3, 8))
    assert (facts.glibc, facts.libstdcxx) == ((2, 27), 25)
    assert facts.cpus == (("Cortex-A57", None),)
    assert match_target(facts.match()).name == "jetson-nano"


def test_a_phone_without_python():
    facts = read(PHONE, "adb")
    assert (facts.system, facts.model, facts.board, facts.soc) == ("android", "Pixel 8", "shiba", "Tensor G3")
    assert (facts.python, facts.python_version, facts.libc, facts.glibc) == ("", None, "", None)
    assert match_target(facts.match()).name == "pixel-8"


def test_a_busybox_board():
    facts = read(BUSYBOX)
    assert (facts.abi, facts.libc, facts.libstdcxx) == ("armv7l", "musl", 0)
    assert facts.cpus == (("Cortex-A8", None),)
    assert match_target(facts.match()).name == "beaglebone-black"


def test_of_an_x86_only_the_vector_units_are_told():
    text = PI.replace(
        "features\t fp asimd evtstrm crc32 cpuid", "features\t fpu sse sse4_2 avx2 f16c rdrand avx512f"
    )
    assert read(text).features == ("sse", "sse4_2", "avx2", "f16c", "avx512f")


def test_only_an_old_python_is_still_told():
    facts = read(JETSON.replace("python\t/usr/bin/python3.8\t3.8\t64\tok\n", ""))
    assert facts.python_version == (3, 6)


@pytest.mark.parametrize("word_size", ["bits\t32\n", "python\t/usr/bin/python3\t3.9\t32\tok\n"])
def test_a_32_bit_userland_on_a_64_bit_kernel(word_size):
    text = PI.replace("bits\t64\n", "").replace("python\t/usr/bin/python3.11\t3.11\t64\tok\n", word_size)
    facts = read(text)
    assert (facts.machine, facts.abi) == ("aarch64", "armv7l")


@pytest.mark.parametrize(
    ("line", "scheme", "emulated"),
    [
        ("", "ssh", ""),
        ("", "fake", "fake"),
        ("exe\t/usr/bin/qemu-aarch64-static\n", "ssh", "qemu-user"),
        ("kernel_arch\tx86_64\n", "ssh", "qemu-user"),
        ("compatible\tlinux,dummy-virt\n", "ssh", "qemu-tcg"),
        ("qemu\t/sys/firmware/qemu_fw_cfg\n", "ssh", "qemu-tcg"),
        ("sys_vendor\tQEMU\n", "ssh", "qemu-tcg"),
        ("sys_vendor\tQEMU\ncounts\tcpu_cycles\n", "ssh", "qemu-tcg"),
        ("sys_vendor\tQEMU\ncounts\tcpu_cycles\ncounts\tinst_retired\n", "ssh", "qemu-icount"),
        ("sys_vendor\tQEMU\ncounts\tl1d_cache\ncounts\tinst_retired\n", "ssh", "qemu-tcg"),
        ("counts\tcpu_cycles\ncounts\tinst_retired\n", "ssh", ""),
        ("ro.kernel.qemu\t1\n", "adb", "android-emulator"),
        ("ro.hardware\tranchu\n", "adb", "android-emulator"),
    ],
)
def test_what_only_pretends_is_recognized(line, scheme, emulated):
    text = PI.replace("exe\t/usr/bin/dash\n", "").replace("kernel_arch\taarch64\n", "")
    assert read(text.replace("end\n", f"{line}end\n"), scheme).emulated == emulated


def test_a_virtual_machine_on_its_own_processor_is_no_emulation():
    text = PI.replace("machine\taarch64", "machine\tx86_64").replace("kernel_arch\taarch64\n", "")
    with_firmware = text.replace("end\n", "qemu\t/sys/firmware/qemu_fw_cfg\nend\n")
    assert read(with_firmware).emulated == ""
    slow = with_firmware.replace(
        "end\n", "cpuinfo\tprocessor\t: 2\ncpuinfo\tmodel name\t: QEMU Virtual CPU\nend\n"
    )
    assert read(slow).emulated == "qemu-tcg"


@pytest.mark.parametrize(
    "answer",
    ["", "end\n", "edgekit-facts 1\n", "edgekit-facts 1\nend\n", PI[:-4], PI[20:], "Welcome!\n" + PI,
     "edgekit-facts 2\nmachine\tx\nend\n", "edgekit-facts 1\nno tab here\nend\n",
     PI.replace("machine\taarch64\n", ""),
     "edgekit-facts 1\n" + "model\tx\n" * 40_000 + "end\n"],
)  # fmt: skip
def test_what_is_no_answer_is_refused(answer):
    with pytest.raises(ProtocolError, match="ssh://board"):
        read(answer)


def test_numbers_and_names_are_bounded():
    wild = PI.replace("memory_kib\t935936", "memory_kib\t99999999999999999999")
    wild = wild.replace("model\tRasp", f"model\t{'x' * 999}")
    facts = read(
        wild.replace("max_khz\t0 1200000", "max_khz\t0 -5").replace("kernel\t6.1", "kernel\t\x1b[31m6.1")
    )
    assert facts.memory_bytes == 0
    assert len(facts.model) == 256
    assert facts.cpus[0] == ("Cortex-A53", None)
    assert "\x1b" not in facts.kernel


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["machine", "cpuinfo", "python", "libc", "max_khz", "capacity", "bits"]),
            st.text(max_size=40),
        )
    )
)
def test_no_answer_does_anything_else(pairs):
    lines = "".join(f"{key}\t{value}\n" for key, value in pairs)
    try:
        facts = read(f"edgekit-facts 1\n{lines}end\n")
    except ProtocolError:
        return
    assert facts.machine
    assert isinstance(facts.to_json(), dict)


def test_facts_become_json(make_facts):
    told = make_facts().to_json()
    assert told["python_version"] == (3, 11)
    assert told["transport"] == "ssh"


def test_cores_have_names_where_they_are_known():
    assert core_name("0x41", "0xD08") == "Cortex-A72"
    assert core_name("0x51", "0x802") == "0x51/0x802"


def test_this_machine(local):
    facts = inspect(local)
    assert facts.python_version >= (3, 7)
    assert subprocess.run([facts.python, "-c", "pass"], check=False).returncode == 0
    assert facts.memory_bytes > 1 << 28
    assert facts.free_bytes > 0
    assert (facts.transport, facts.emulated) == ("local", "")
    assert len(facts.cpus) >= 1


@pytest.mark.parametrize("shell", SHELLS, ids=lambda argv: argv[0])
def test_the_script_says_the_same_in_every_shell(shell, tmp_path):
    if shutil.which(shell[0]) is None:
        pytest.skip(f"no {shell[0]} here")
    told = []
    for argv in (shell, ["sh"]):
        done = subprocess.run(
            [*argv, "-c", SCRIPT, "sh", str(tmp_path / "not" / "there")], capture_output=True, check=True
        )
        facts = read_facts(done.stdout, scheme="local", address="local://").to_json()
        told.append({key: value for key, value in facts.items() if key != "free_bytes"})
    assert told[0] == told[1]
    assert told[0]["system"] == sys.platform
