"""What a bench asks of a device's daemon, and how its files lie there: for their owner alone."""

import os
import shlex
import threading

import pytest

from edgekit.bench.execute import execute
from edgekit.bench.plan import make_plan
from edgekit.errors import EdgeKitError
from edgekit.runners.transport import open_transport
from edgekit.store import Store
from edgekit.targets import Device
from edgekit.testing.adb_double import AdbDouble
from edgekit.testing.hostile import understood_or_refused
from edgekit.testing.ssh_double import SshDouble, SshFaults

NEVER = {"tcpip", "usb", "root", "unroot", "remount", "reboot", "reboot-bootloader", "disable-verity",
         "enable-verity", "kill-server", "start-server", "install", "uninstall", "backup", "restore",
         "sideload", "forward", "reverse", "keygen", "emu", "attach", "detach", "pair"}  # fmt: skip


only_one = pytest.mark.parametrize("adb_server", ["system"], indirect=True)


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(100_000))
    return path


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "runs.sqlite") as store:
        yield store


@pytest.fixture
def open_to_all():
    """A device whose shells leave their files to everybody unless they are told otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


class Looker:
    """Looks at a folder over and over, and keeps the mode of everything that ever lay there."""

    def __init__(self, root):
        self.root, self.modes = root, {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _look(self):
        while True:
            last = self._over.is_set()
            for folder, folders, files in os.walk(self.root):
                for name in (*folders, *files, ""):
                    path = f"{folder}/{name}"
                    try:
                        self.modes.setdefault(path, set()).add(os.lstat(path).st_mode & 0o7777)
                    except OSError:
                        continue
            if last:
                return
            self._over.wait(0.002)

    def open_ones(self):
        found = {path: {oct(mode) for mode in modes if mode & 0o77} for path, modes in self.modes.items()}
        return {path: modes for path, modes in found.items() if modes}


def bench(artifact, store, address):
    plan = make_plan([artifact], [address], runs=30, runtime="null")
    result = execute(plan, store)
    assert result.failed == ()
    assert len(result.runs) == 1


@pytest.mark.usefixtures("open_to_all")
def test_a_whole_bench_leaves_its_files_to_their_owner_over_ssh(artifact, store, monkeypatch):
    with SshDouble() as double:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(double.files.config))
        root = double.home / ".edgekit"
        with Looker(root) as looker:
            bench(artifact, store, double.files.address)
        assert len(looker.modes) > 3
        assert looker.open_ones() == {}
        assert os.lstat(root).st_mode & 0o7777 == 0o700


@only_one
@pytest.mark.adb
@pytest.mark.usefixtures("open_to_all")
def test_a_whole_bench_leaves_its_files_to_their_owner_over_adb(artifact, store, adb, adb_double):
    adb.run("connect", adb_double.serial)
    root = adb_double.root / "edgekit"
    with Looker(root) as looker:
        bench(artifact, store, f"adb://{adb_double.serial}")
    assert len(looker.modes) > 3
    assert looker.open_ones() == {}
    assert os.lstat(root).st_mode & 0o7777 == 0o700


@pytest.fixture
def words(adb, tmp_path, monkeypatch):
    """Every command line that any adb program gets from us, by a program that stands before the real one."""
    log = tmp_path / "adb.log"
    wrapper = tmp_path / "adb"
    wrapper.write_text(
        f'#!/bin/sh\nfor w; do printf "%s\\037" "$w" | tr "\\n" " "; done >>{shlex.quote(str(log))}\n'
        f'echo >>{shlex.quote(str(log))}\nexec {shlex.quote(adb.path)} "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("EDGEKIT_ADB", str(wrapper))
    return lambda: [line.split("\037")[:-1] for line in log.read_text().splitlines() if line]


def verb(line):
    """The subcommand of a call of adb."""
    rest = list(line)
    while rest and rest[0].startswith("-"):
        del rest[: 2 if rest[0] in {"-s", "-t", "-H", "-P", "-L"} else 1]
    return rest[0] if rest else ""


@only_one
@pytest.mark.adb
def test_a_whole_bench_asks_adb_for_shells_and_nothing_else(artifact, store, adb, adb_double, words):
    adb.run("connect", adb_double.serial)
    before = len(adb_double.asked)
    address = f"adb://{adb_double.serial}"
    bench(artifact, store, address)
    said = words()
    assert {verb(line) for line in said} <= {"devices", "version", "features", "shell", "push", "pull"}
    assert all(line[:2] == ["-s", adb_double.serial] for line in said)
    asked = {service.split(":")[0].split(",")[0] for service in adb_double.asked[before:]}
    assert asked <= {"shell", "sync"}
    assert "shell" in asked


@only_one
@pytest.mark.adb
@pytest.mark.parametrize("trouble", ["gone", "refused", "old", "full"])
def test_no_trouble_of_a_whole_bench_makes_us_change_a_daemon(artifact, store, adb, words, trouble):
    """A link that is gone is dialled again, by the very address that its user gave; that is all."""
    root = artifact.parent / "phone"
    root.mkdir()
    kinds = {"refused": {"auth": "deny"}, "old": {"features": ["cmd"]}, "full": {"room": 10}}
    with AdbDouble(root, **kinds.get(trouble, {})) as double:
        adb.run("connect", double.serial)
        if trouble == "gone":
            double.stop()
        plan = make_plan([artifact], [f"adb://{double.serial}"], runs=5, runtime="null")
        understood_or_refused(execute, plan, store)
        said = words()
        assert said
        verbs = {verb(line) for line in said}
        assert not verbs & NEVER
        for line in said:
            if verb(line) in {"connect", "disconnect"}:
                assert line[-1] == double.serial
        assert {s.split(":")[0].split(",")[0] for s in double.asked} <= {"shell", "sync"}
        adb.run("disconnect", double.serial)


@only_one
@pytest.mark.adb
def test_the_double_tells_what_it_was_asked_for(adb, adb_double):
    """The test of the test: a word that we never say is seen."""
    adb.run("connect", adb_double.serial)
    adb.run("-s", adb_double.serial, "tcpip", "5999")
    adb.run("-s", adb_double.serial, "root")
    assert {"tcpip:5999", "root:"} <= set(adb_double.asked)


def test_a_host_that_shows_another_key_is_told_nothing(monkeypatch):
    """No user's name, no key and no command goes to a host that can't prove who it is."""
    with SshDouble(faults=SshFaults(other_key=True)) as double:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(double.files.config))
        with pytest.raises(EdgeKitError, match="has changed"):
            open_transport(Device.parse(double.files.address))
        assert double.offered == []
        assert list(double.home.iterdir()) == []


def test_the_shell_of_a_device_takes_what_we_say_for_words(tmp_path):
    """A run's id, a device's root: what reaches a shell is one word, whatever is in it."""
    name = tmp_path / "a b;touch $(pwned) `x` 'q' \"d\" \n *"
    with open_transport(Device.parse("local://")) as transport:
        done = transport.run(["printf", "%s", str(name)])
    assert done.text == str(name)
    assert list(tmp_path.iterdir()) == []
