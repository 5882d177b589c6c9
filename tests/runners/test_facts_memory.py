"""What a device remembers of itself until its next start, and what a Mac is asked instead of /proc."""

import subprocess
from pathlib import Path

import pytest

from edgekit.errors import ProtocolError
from edgekit.runners.facts import inspect, read_facts
from edgekit.runners.facts_script import SCRIPT
from edgekit.runners.transport.fake import FakeTransport
from edgekit.targets import Device

BOOT = Path("/proc/sys/kernel/random/boot_id")
needs_linux = pytest.mark.skipif(not BOOT.exists(), reason="this system does not number its starts")
MAC = {
    "uname": "case $1 in -m) echo arm64 ;; -s) echo Darwin ;; -r) echo 24.1.0 ;; esac",
    "sysctl": "case $2 in hw.model) echo Mac15,3 ;; hw.memsize) echo 17179869184 ;; hw.ncpu) echo 3 ;;"
    " machdep.cpu.brand_string) echo Apple M3 ;; *) echo unknown oid >&2; exit 1 ;; esac",
    "getconf": "case $1 in LONG_BIT) echo 64 ;; PAGESIZE) echo 16384 ;; *) exit 64 ;; esac",
    "xcode-select": "exit 2",
}  # fmt: skip


@pytest.fixture
def device():
    with FakeTransport(Device.parse("fake://")) as transport:
        yield transport


def memory(device):
    return Path(device.root()) / "facts"


def same(one, other):
    """Whether two facts are the same but for the room on the disk, which others use too."""
    return {**one.to_json(), "free_bytes": 0} == {**other.to_json(), "free_bytes": 0}


@needs_linux
def test_it_remembers_until_its_next_start(device):
    Path(device.root()).mkdir()
    first = inspect(device, memory="use")
    assert memory(device).read_text().splitlines()[0].endswith(BOOT.read_text().strip())
    assert memory(device).stat().st_mode & 0o777 == 0o600
    assert same(inspect(device, memory="use"), first)
    told = memory(device).read_text()
    memory(device).write_text(told.replace(f"machine\t{first.machine}", "machine\tremembered"))
    assert inspect(device, memory="use").machine == "remembered"
    assert same(inspect(device), first), "who does not ask for the memory gets none"
    assert inspect(device, memory="use").machine == "remembered"
    assert same(inspect(device, memory="renew"), first)
    assert same(inspect(device, memory="use"), first)
    assert [path.name for path in Path(device.root()).iterdir()] == ["facts"]


@needs_linux
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(BOOT.read_text().strip(), "00000000-0000-0000-0000-000000000000", 1),
        lambda text: "f" + text if text[0] != "f" else "0" + text[1:],
        lambda text: "",
        lambda text: "\n" + text,
    ],
    ids=["another start", "another script", "empty", "shifted"],
)
def test_what_another_time_has_left_is_not_believed(device, change):
    Path(device.root()).mkdir()
    first = inspect(device, memory="use")
    told = memory(device).read_text()
    memory(device).write_text(change(told.replace(first.kernel, "another kernel")))
    assert same(inspect(device, memory="use"), first)
    assert memory(device).read_text() == told


@needs_linux
def test_a_memory_that_was_cut_off_is_an_error_and_renewed_by_asking(device):
    Path(device.root()).mkdir()
    first = inspect(device, memory="use")
    memory(device).write_text(memory(device).read_text().splitlines()[0] + "\nno tab here\n")
    with pytest.raises(ProtocolError, match="can't be read"):
        inspect(device, memory="use")
    assert same(inspect(device, memory="renew"), first)
    assert same(inspect(device, memory="use"), first)


def test_nothing_is_written_where_nothing_is_to_be(device):
    for asked in ("", "use", "renew"):
        assert inspect(device, memory=asked).machine
        assert not Path(device.root()).exists(), "the folder is made by who puts something into it"
    Path(device.root()).mkdir()
    inspect(device)
    assert not memory(device).exists()
    memory(device).mkdir()  # nothing can be remembered there
    assert inspect(device, memory="use").machine
    assert [path.name for path in Path(device.root()).iterdir()] == ["facts"]


def test_a_folder_that_is_not_named_is_the_homes(tmp_path):
    (tmp_path / ".edgekit").mkdir()
    environment = {"HOME": f"{tmp_path}/", "PATH": "/usr/bin:/bin"}
    argv = ["sh", "-c", SCRIPT, "sh", "", "use"]
    done = subprocess.run(argv, capture_output=True, check=True, env=environment)
    assert read_facts(done.stdout, scheme="ssh", address="ssh://board").free_bytes > 0
    assert (tmp_path / ".edgekit" / "facts").exists() or not BOOT.exists()


@pytest.fixture
def mac(tmp_path):
    """A folder of programs that tell what a Mac's tell."""
    for name, script in MAC.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o700)
    return tmp_path


def test_a_mac_is_asked_by_its_own_programs(mac):
    environment = {"HOME": "/var/empty", "PATH": f"{mac}:/usr/bin:/bin"}
    done = subprocess.run(["sh", "-c", SCRIPT, "sh", ""], capture_output=True, check=True, env=environment)
    facts = read_facts(done.stdout, scheme="ssh", address="ssh://mac")
    assert (facts.system, facts.machine, facts.abi, facts.kernel) == ("darwin", "arm64", "arm64", "24.1.0")
    assert facts.cpus == (("Apple M3", None),) * 3
    assert [cluster.cpus for cluster in facts.clusters] == [(0, 1, 2)]
    assert (facts.memory_bytes, facts.page_size) == (16 << 30, 16384)
    assert facts.match()["os"] == "macos"
    assert not done.stderr
    assert facts.python != "/usr/bin/python3", "it would ask for the developer tools on the screen"


def told(*lines):
    return read_facts(
        "\n".join(["edgekit-facts 1", "machine\taarch64", *lines, "end"]).encode(), scheme="adb", address="a"
    )


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        (["selinux\tEnforcing"], "enforcing"),
        (["selinux\tPermissive", "selinux_enforce\t1"], "permissive"),
        (["selinux\tDisabled"], "disabled"),
        (["selinux\t", "selinux_enforce\t1"], "enforcing"),
        (["selinux_enforce\t0"], "permissive"),
        (["selinux\tHello"], ""),
        ([], ""),
    ],
)
def test_selinux_in_one_word(lines, word):
    assert told(*lines).selinux == word


@pytest.mark.parametrize(
    ("lines", "size"),
    [
        (["page_size\t16384", "page_kib\t4"], 16384),
        (["page_size\t", "page_kib\t16"], 16384),
        (["page_size\tundefined"], 0),
        (["page_size\t" + "9" * 40], 0),
        ([], 0),
    ],
)
def test_the_size_of_a_page(lines, size):
    assert told(*lines).page_size == size
