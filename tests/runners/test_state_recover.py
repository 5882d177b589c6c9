"""State that a host, its watchdog or its power left changed, and what comes after it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekit.errors import DeviceBusyError, StableDeviceError
from edgekit.runners.runner import Runner
from edgekit.runners.runtime import RUNTIMES
from edgekit.runners.state import Change, changed, recover
from edgekit.runners.state.recover import forget, look
from edgekit.runners.transport import open_transport
from edgekit.targets import Device
from edgekit.testing.sshd import Sshd, sshd_program

PATIENCE_S = 60
HOST = """
import sys, time
from edgekit.runners.state import Change, changed
from edgekit.runners.transport import open_transport
from edgekit.targets import Device
wanted = [Change(kind="file", name=path, value="new", label="it") for path in sys.argv[3:]]
address, heartbeat_s = sys.argv[1], float(sys.argv[2])
with open_transport(Device.parse(address)) as transport, changed(transport, wanted, heartbeat_s=heartbeat_s):
    print("changed", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def values(tmp_path):
    """Two files that say "old"."""
    paths = [tmp_path / "one", tmp_path / "two"]
    for path in paths:
        path.write_text("old\n")
    return paths


@pytest.fixture
def host(values):
    """Start a host that changes them on a device; all are put down in the end."""
    started = []

    def start(address="local://", heartbeat_s=0.5):
        argv = [sys.executable, "-c", HOST, address, str(heartbeat_s), *map(str, values)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "changed\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def told(values):
    return [path.read_text().strip() for path in values]


def state(device):
    return Path(device.root()) / "state"


def eventually(truth):
    end = time.monotonic() + PATIENCE_S
    while not truth():
        assert time.monotonic() < end
        time.sleep(0.05)


def kill_watchdog(device):
    """Kill it until it stays dead: a heartbeat that is on its way when its host dies starts it again."""
    looks = 0
    while looks < 5:
        looks = 0 if look(device).watched else looks + 1
        if not looks:
            os.kill(int((state(device) / "watchdog").read_text().split()[0]), signal.SIGKILL)
        time.sleep(0.1)


def write_journal(device, *lines, nonce="abc", silence=5, boot=None):
    """Write a journal as a host before would have, with nobody who watches it."""
    boot = boot or Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    state(device).mkdir(parents=True)
    head = f"edgekit-state 1|{nonce}|{silence}|{boot}|ann@desk, process 7"
    (state(device) / "journal").write_text("\n".join([head, *lines]))
    (state(device) / "beat").write_text("1.0 7\n")


def line(path, *, kind="file", old="old", new="new"):
    return f"change|{kind}|{path}|{old}|{new}|."


def test_a_host_that_is_killed_is_missed_and_its_changes_undone(local, values, host):
    process = host()
    assert told(values) == ["new", "new"]
    left = look(local)
    assert (left.state, left.same_boot, left.watched, left.silence_s) == ("journal", True, True, 3)
    assert f"process {process.pid}" in left.who
    process.kill()
    eventually(lambda: told(values) == ["old", "old"] and not state(local).exists())
    assert recover(local) == ()


def test_what_the_host_and_the_watchdog_left_the_next_connection_restores(local, values, host):
    process = host(heartbeat_s=2)
    process.kill()
    process.wait()
    kill_watchdog(local)
    assert told(values) == ["new", "new"]
    waits = []
    assert [line.word for line in recover(local, on_wait=waits.append)] == ["restored", "restored"]
    assert told(values) == ["old", "old"]
    assert len(waits) <= 1
    assert not state(local).exists()


def test_preparing_a_runner_restores_first(local, values):
    write_journal(local, line(values[0]), line(values[1]), "end", "")
    values[0].write_text("new\n")
    with Runner(local, RUNTIMES.get("null")) as runner:
        runner.prepare()
        assert told(values) == ["old", "old"]


def test_a_host_that_is_there_is_not_robbed(local, values, host):
    host(heartbeat_s=0.5)
    waits = []
    with pytest.raises(
        DeviceBusyError, match=r"changed by .*, process \d+, who was there \d s ago: wait"
    ) as busy:
        recover(local, on_wait=waits.append)
    assert "edgekit devices restore --force local://" in busy.value.hint
    assert len(waits) == 1
    assert told(values) == ["new", "new"]


def test_by_force_it_is_restored_at_once_and_its_host_learns_of_it(local, values):
    wanted = [Change(kind="file", name=str(values[0]), value="new", label="it")]
    middle = pytest.raises(StableDeviceError, match="given back in the middle")
    with middle, changed(local, wanted, heartbeat_s=0.3) as guard:
        assert [line.word for line in recover(local, force=True)] == ["restored"]
        eventually(lambda: guard.lost)
    assert told(values) == ["old", "old"]


def test_of_two_hosts_the_second_one_leaves_the_first_one_alone(local, values, host):
    host(heartbeat_s=0.5)
    argv = [sys.executable, "-c", HOST, "local://", "0.5", *map(str, values)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert "DeviceBusyError" in done.stderr
    assert told(values) == ["new", "new"]


@pytest.mark.parametrize("cut", [0, 1, 20, 70])
def test_a_journal_that_never_got_its_name_means_that_nothing_was_changed(local, values, cut):
    write_journal(local, line(values[0]), "end", "")
    journal = state(local) / "journal"
    journal.with_suffix(".new").write_text(journal.read_text()[:cut])
    journal.unlink()
    assert recover(local) == ()
    assert told(values) == ["old", "old"]
    assert not state(local).exists()


def test_a_journal_that_was_cut_off_restores_its_whole_lines_and_says_so(local, values):
    for path in values:
        path.write_text("new\n")
    write_journal(local, line(values[0]), line(values[1])[:-4])
    with pytest.raises(StableDeviceError, match=f"was cut off in the entry for {values[1]}"):
        recover(local)
    assert told(values) == ["old", "new"]


@pytest.mark.parametrize("content", ["", "\0\0\0\0", "edgekit"])
def test_a_journal_that_can_not_be_read_is_told_once_and_removed(local, content):
    write_journal(local, "end")
    (state(local) / "journal").write_text(content)
    with pytest.raises(StableDeviceError, match="could not be read and was removed"):
        recover(local)
    assert recover(local) == ()


def test_after_a_reboot_files_are_left_as_the_boot_set_them(local, values):
    values[0].write_text("set by the boot\n")
    write_journal(local, line(values[0]), line(values[1]), "end", "", boot="another-boot")
    assert [(t.word, t.now) for t in recover(local)] == [("left", "set by the boot"), ("restored", "old")]
    assert told(values) == ["set by the boot", "old"]
    assert not state(local).exists()


@pytest.mark.parametrize(
    ("boot", "now", "then"),
    [
        (None, "2147483647", "60000"),
        ("another-boot", "2147483647", "60000"),
        ("another-boot", "30000", "30000"),
        (None, "30000", "60000"),
    ],
)
def test_settings_outlive_a_boot_and_are_restored_where_they_are_still_ours(local, kept, boot, now, then):
    kept.write_text(now + "\n")
    entry = line("system/screen_off_timeout", kind="setting", old="60000", new="2147483647")
    write_journal(local, entry, "end", "", boot=boot)
    recover(local)
    assert kept.read_text().strip() == then


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Put a `settings` in the path that keeps one value in a file, as Android's does."""
    value = tmp_path / "kept"
    program = tmp_path / "bin" / "settings"
    program.parent.mkdir()
    program.write_text(
        f"""#!/bin/sh
case $1 in
  get) cat {value} 2>/dev/null || echo null ;;
  put) echo "$4" >{value} ;;
  delete) rm {value} ;;
esac
"""
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return value


def test_a_setting_that_was_not_there_is_deleted_again(local, kept):
    wanted = [Change(kind="setting", name="global/stay_on_while_plugged_in", value="7", label="it")]
    with changed(local, wanted):
        assert kept.read_text() == "7\n"
    assert not kept.exists()


def test_what_can_not_be_restored_is_an_error_each_time_until_it_is_done_by_hand(local, tmp_path):
    gone = tmp_path / "gone" / "value"
    write_journal(local, line(gone), "end", "")
    for _ in range(2):
        with pytest.raises(StableDeviceError, match=f"run there: echo old > {gone}; then: edgekit devices"):
            recover(local)
    gone.parent.mkdir()
    gone.write_text("old\n")
    assert [line.word for line in recover(local)] == ["restored"]
    write_journal(local, line(tmp_path / "gone/again"), "end", "")
    forget(local)
    assert recover(local) == ()


def test_a_stranger_with_the_watchdogs_number_is_not_taken_for_it(local, values):
    write_journal(local, line(values[0]), "end", "")
    values[0].write_text("new\n")
    began = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    (state(local) / "watchdog").write_text(f"{os.getpid()} {began} abc\n")
    assert not look(local).watched
    recover(local)
    assert told(values) == ["old", "old"]


def test_a_watchdog_that_can_not_read_the_uptime_counts_its_sleeps(local, values, tmp_path, monkeypatch):
    tools = tmp_path / "blind"
    tools.mkdir()
    hide = 'mount --bind /dev/null /proc/uptime 2>/dev/null || exit 97; exec /bin/sh "$@"'
    (tools / "sh").write_text(f"#!/bin/sh\nexec unshare -m /bin/sh -c '{hide}' sh \"$@\"\n")
    (tools / "sh").chmod(0o755)
    if subprocess.run([tools / "sh", "-c", "exit 5"], check=False, capture_output=True).returncode != 5:
        pytest.skip("needs mount namespaces")
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    wanted = [Change(kind="file", name=str(values[0]), value="new", label="it")]

    def no_link():
        raise StableDeviceError("local://", "no second link")

    middle = pytest.raises(StableDeviceError, match="given back in the middle")
    with middle, changed(local, wanted, heartbeat_s=0.2, link=no_link):
        assert look(local).age_s is None
        eventually(lambda: not state(local).exists())
    assert told(values) == ["old", "old"]


def test_terminating_the_watchdog_restores_at_once(local, values):
    wanted = [Change(kind="file", name=str(values[0]), value="new", label="it")]
    middle = pytest.raises(StableDeviceError, match="given back in the middle")
    with middle, changed(local, wanted, heartbeat_s=30):
        os.kill(int((state(local) / "watchdog").read_text().split()[0]), signal.SIGTERM)
        eventually(lambda: told(values) == ["old", "old"])
        eventually(lambda: not state(local).exists())


def test_over_ssh_the_watchdog_outlives_the_session(values, monkeypatch, host):
    pytest.importorskip("paramiko")
    if not sshd_program():
        pytest.skip("sshd is not installed")
    with Sshd() as server:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(server.files.config))
        device = Device.parse(f"ssh://{server.files.alias}")
        with open_transport(device) as transport:
            root = Path(transport.root())
        process = host(device.address)
        assert (root / "state/journal").exists()
        server.cut()
        process.kill()
        assert told(values) == ["new", "new"]
        eventually(lambda: told(values) == ["old", "old"] and not (root / "state").exists())
