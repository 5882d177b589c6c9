"""Devices to set on fire: behind this machine's OpenSSH, and behind the real adb and a real adbd."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgekit.bench.execute import execute
from edgekit.bench.journal import Journal
from edgekit.bench.plan import make_plan
from edgekit.runners.follow import Pass
from edgekit.runners.transport import base
from edgekit.store import Store
from edgekit.testing import adbd, processes
from edgekit.testing.adb_double import AdbDouble
from edgekit.testing.adb_server import PROGRAMS, PrivateAdb, program
from edgekit.testing.sshd import Sshd, _children, sshd_program
from edgekit.testing.waiting import until

PATIENCE_S = 60.0
EVERY_S = 0.002


def samples_in(spool):
    """Return the samples that a spool tells in whole lines; what is no line of ours ends them."""
    found = []
    for line in spool.read_bytes().splitlines(keepends=True) if spool.exists() else []:
        try:
            event = json.loads(line) if line.endswith(b"\n") else {}
        except ValueError:
            break
        if event.get("e") == "samples":
            found += event["ns"]
    return found


class Device:
    """One device and the way to it.

    Attributes:
        name: "ssh" or "adb".
        address: for a plan.
        home: EdgeKit's folder there, which this machine can read.
        env: what a process of the host's needs to reach it.
    """

    def __init__(self, name, address, home, env):
        self.name, self.address, self.home, self.env = name, address, home, env

    def runs(self):
        """Return the folders of runs that lie there."""
        return sorted(path for path in (self.home / "runs").glob("*") if path.is_dir())

    def programs(self):
        """Return the ids of the programs that run there, and not of the shells around them."""
        named = processes.running(f"{self.home}/runs/")
        return [pid for pid in named if not any(_is(pid, name) for name in ("", "sh", "grep", "tail", "rm"))]

    def signal(self, number):
        """Send a signal to the program that runs there."""
        (pid,) = self.programs()
        os.kill(pid, number)

    def kill_all(self):
        """Kill everything of ours there, as a power cut does, and let it seem that another start is on."""
        for pid in processes.running(f"{self.home}/runs/"):
            os.kill(pid, signal.SIGKILL)
        for boot in self.home.glob("runs/*/*.boot"):
            boot.write_text("an-earlier-start\n")
        holder = self.home / "lease" / "holder"
        words = holder.read_text().split(" ", 4)
        holder.write_text(" ".join([*words[:3], "an-earlier-start", words[4]]))


class OverSsh(Device):
    """Behind this machine's OpenSSH."""

    def __init__(self, server):
        env = {"EDGEKIT_SSH_CONFIG": str(server.files.config)}
        super().__init__("ssh", server.files.address, server.home / ".edgekit", env)
        self._server = server

    def cut(self):
        """End every link."""
        self._server.cut_sessions()

    def vanish(self):
        """Be reached no more: no link goes on, none is taken."""
        self._server.cut()

    def come_back(self):
        """Be reached again."""
        self._server.restart()

    def links(self):
        """Return the processes that serve the links."""
        return [p for p in _children(self._server._process.pid) if _is(p, "sshd") or _is(p, "sshd-session")]

    def recover(self):
        """Let it be reached again."""


class OverAdb(Device):
    """Behind the real adb, and a real adbd where there is one."""

    def __init__(self, server, daemon, home):
        super().__init__("adb", f"adb://{daemon.serial}", home, server.env)
        self._server, self._daemon = server, daemon

    def cut(self):
        """End every link: the daemon dies and comes again."""
        if isinstance(self._daemon, AdbDouble):
            self._daemon.cut()
            return
        self._daemon.kill()
        self._daemon.start()
        self.recover()

    def vanish(self):
        """Be reached no more: no link goes on, none is taken."""
        self._daemon.stop() if isinstance(self._daemon, AdbDouble) else self._daemon.kill()

    def come_back(self):
        """Be reached again."""
        self._daemon.start()
        self.recover()

    def links(self):
        """Return the processes that serve the links."""
        return [self._daemon._process.pid] if not isinstance(self._daemon, AdbDouble) else []

    def kill_server(self):
        """Do what other tools do whose adb is of another version."""
        self._server.run("kill-server")

    def recover(self):
        """Let it be reached again."""
        until(lambda: "connected" in self._server.run("connect", self._daemon.serial), patience_s=PATIENCE_S)
        get = lambda: self._server.run("-s", self._daemon.serial, "get-state")  # noqa: E731
        until(lambda: get().endswith("device"), patience_s=PATIENCE_S)


def _is(pid, name):
    """Return whether a process has this name; one that is no more has the name ""."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == name
    except OSError:
        return not name


@pytest.fixture(scope="module")
def over_ssh():
    if not sshd_program():
        pytest.skip("sshd is not installed: apt-get install openssh-server")
    with Sshd() as server:
        yield OverSsh(server)


@pytest.fixture(scope="module")
def over_adb(tmp_path_factory):
    path = next(filter(None, map(program, PROGRAMS)), "")
    if not path:
        pytest.skip("there is no adb: apt install adb, pip install adbutils")
    folder = tmp_path_factory.mktemp("burning")
    make = (lambda: AdbDouble(folder)) if adbd.unavailable() else (lambda: adbd.linux_board(folder))
    with PrivateAdb(path, tmp_path_factory.mktemp("adb")) as server, make() as daemon:
        device = OverAdb(server, daemon, folder / "edgekit")
        device.recover()
        yield device


@pytest.fixture
def device(request, monkeypatch):
    """The device that `request.param` names, reachable from this process."""
    found = request.getfixturevalue(f"over_{request.param}")
    for name, value in found.env.items():
        monkeypatch.setenv(name, value)
    found.recover()
    shutil.rmtree(found.home / "runs", ignore_errors=True)
    return found


@dataclass
class Fire:
    """One bench of a device on which something goes wrong in the middle.

    Attributes:
        device: where.
        program: of EdgeKit there.
        store: where its runs go.
        journal: of what was begun.
        artifact: a file; nothing is computed.
        before: the samples that the device had told when it went wrong.
        alone: whether its program may still run, as nobody could end it yet.
    """

    device: Device
    program: str
    store: Store
    journal: Journal
    artifact: Path
    before: list = field(default_factory=list)
    alone: bool = False

    def plan(self, runs=100_000):
        """Return a plan of one run of the null runtime, paced."""
        return make_plan(
            [self.artifact], [self.device.address], runtime="null", runs=runs, warmup=1, max_s=300.0,
            passes=["latency"], period_s=EVERY_S, program=self.program,
        )  # fmt: skip

    def burn(self, fault, *, least=20):
        """Bench; let `fault` happen once when the device has told that many samples."""

        def on_progress(step):
            if step.done >= least and not self.before:
                self.note()
                fault()

        return execute(self.plan(), self.store, on_progress=on_progress, journal=self.journal)

    def told(self):
        """Return the samples that the device has told by now."""
        return [n for folder in self.device.runs() for n in samples_in(folder / "latency.jsonl")]

    def note(self):
        """Note what the device has told by now."""
        self.before = self.told()

    def enough(self):
        """Let the run end."""
        for folder in self.device.runs():
            (folder / "latency.enough").touch()

    def again(self):
        """Bench once more, undisturbed; return the result."""
        return execute(self.plan(runs=30), self.store, journal=self.journal)

    def command(self, *words):
        """Start `edgekit` as a host of its own."""
        argv = [sys.executable, "-m", "edgekit.cli.main", *map(str, words)]
        env = {**os.environ, "XDG_DATA_HOME": str(self.artifact.parent / "data")}
        return subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, start_new_session=True
        )

    def bench_words(self):
        """Return the words of the same bench by the command line."""
        return ["bench", self.artifact, "--device", self.device.address, "--runtime", "null", "--no-power",
                "--runs", 100_000, "--max-s", 300, "--period-ms", EVERY_S * 1000, "--program", self.program,
                "--store", self.store_path]  # fmt: skip

    @property
    def store_path(self):
        """The store's file."""
        return self.artifact.parent / "runs.sqlite"


@pytest.fixture
def fire(device, tmp_path, request, monkeypatch):
    """One bench on `device` with the program that the test names."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    artifact = tmp_path / "nothing.tflite"
    artifact.write_bytes(b"nothing")
    kind = request.getfixturevalue("kind")
    with Store.open(tmp_path / "runs.sqlite") as store:
        yield Fire(device=device, program=kind, store=store, journal=Journal(store), artifact=artifact)


@pytest.fixture
def impatient(monkeypatch):
    """Let no command take longer than 3 s, so that a link that is silent is found out soon."""
    for call in (base.Transport.run, base.Transport.check, base.Transport.check_all):
        monkeypatch.setitem(call.__kwdefaults__, "timeout_s", 3.0)
    monkeypatch.setattr(base, "DEFAULT_TIMEOUT_S", 3.0)


@pytest.fixture
def late(monkeypatch):
    """Return a function after whose call the pass under way has used up its time."""
    check, over = Pass._check_deadline, []

    def now():
        over.append(True)

    def soon(self):
        if over:
            over.clear()
            self.deadline_s = 0.0
        check(self)

    monkeypatch.setattr(Pass, "_check_deadline", soon)
    return now
