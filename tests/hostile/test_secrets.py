"""Secrets that are planted before a bench, and looked for wherever anything of it went."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import traceback
import zlib

import pytest

from edgekit.errors import EdgeKitError
from edgekit.runners.transport import open_transport
from edgekit.store import Store
from edgekit.targets import Device
from edgekit.testing import processes
from edgekit.testing.ssh_double import SshDouble, SshFaults
from edgekit.testing.sshd import Sshd, sshd_program

PASSWORD, PASSPHRASE, TOKEN = "pw-8c1f3e-hunter", "phrase 77b2 open sesame", "tok-5d90aa-bearer"
LOGGING = """import logging
logging.basicConfig(level=logging.DEBUG)
for name in ("edgekit.ssh", "paramiko", "edgekit", "sqlalchemy.engine"):
    logging.getLogger(name).setLevel(logging.DEBUG)
"""


@pytest.fixture(params=["double", "openssh"])
def server(request, monkeypatch):
    """A device over SSH whose user also has a key with a passphrase."""
    if request.param == "openssh" and not sshd_program():
        pytest.skip("sshd is not installed: apt-get install openssh-server")
    with (SshDouble if request.param == "double" else Sshd)() as running:
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(running.files.config))
        yield running


class Scene:
    """A folder to work in, an environment with a token in it, and all that was ever said or run."""

    def __init__(self, folder, server):
        self.folder, self.server = folder, server
        self.said, self.lines = [], set()
        self.cache = folder / "cache"
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(LOGGING)
        (folder / "net.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(2000))

    def secrets(self):
        key = (
            self.server.files.identity.read_text().splitlines() if self.server.files.identity.exists() else []
        )
        return [PASSWORD, PASSPHRASE, TOKEN, *key[3:-1]]

    def run(self, *words):
        """Run the command line with all logging on, and read every command line there is meanwhile."""
        env = {
            **os.environ, "PYTHONPATH": str(self.folder / "site"), "EDGEKIT_DEBUG": "1", "API_TOKEN": TOKEN,
            "EDGEKIT_STORE": str(self.folder / "runs.sqlite"), "XDG_CACHE_HOME": str(self.cache),
            "EDGEKIT_SSH_CONFIG": str(self.server.files.config), "SSH_PASSPHRASE": PASSPHRASE,
        }  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-m", "edgekit.cli.main", *map(str, words)],
            cwd=self.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        over = threading.Event()
        looking = threading.Thread(target=self._look, args=(process.pid, over), daemon=True)
        looking.start()
        try:
            out, _ = process.communicate(timeout=300)
        finally:
            over.set()
            looking.join()
            process.kill()
        self.said.append(out.decode("utf-8", "replace"))
        return process.returncode

    def _look(self, own, over):
        """Keep every other process's command line; that of the command itself is its user's."""
        while not over.is_set():
            for pid, line in processes.told("cmdline"):
                if pid not in {own, os.getpid()}:
                    self.lines.add(line.replace(b"\0", b" ").decode("utf-8", "replace"))
            over.wait(0.01)

    def found(self):
        """Where a secret is found: said, run, stored, reported, kept on the host or on the device."""
        places = {"said": "\n".join(self.said), "argv": "\n".join(self.lines)}
        for root in (self.folder, self.server.home):
            for path in root.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    places[str(path)] = path.read_bytes().decode("latin-1")
        store = self.folder / "runs.sqlite"
        if store.exists():
            with sqlite3.connect(store) as base:
                bodies = [zlib.decompress(body).decode() for (body,) in base.execute("select body from runs")]
            base.close()
            places["records"] = "\n".join(bodies)
        return [(s[:12], place) for s in self.secrets() for place, text in places.items() if s in text]


@pytest.fixture
def scene(tmp_path, server):
    return Scene(tmp_path, server)


def lock(files):
    """Give the key a passphrase."""
    command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", PASSPHRASE, "-f", str(files.identity)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def bench(scene, *more):
    return scene.run("bench", "net.tflite", "--device", scene.server.files.address, "--runtime", "null",
                     "--runs", "20", *more)  # fmt: skip


def test_what_is_looked_for_would_be_found(scene):
    """The test of the test: a secret in each place is seen."""
    (scene.folder / "kept").write_text(f"x{TOKEN}x")
    scene.server.home.joinpath("left").write_text(PASSPHRASE)
    scene.said.append(PASSWORD)
    scene.lines.add(f"prog --password {PASSWORD}")
    assert len(scene.found()) == 4


def test_a_planted_secret_is_nowhere_after_a_whole_bench(scene):
    locked = scene.folder.parent / "locked"
    shutil.copy(scene.server.files.identity, locked)
    command = ["ssh-keygen", "-q", "-p", "-P", "", "-N", PASSPHRASE, "-f", str(locked)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    config = scene.server.files.config
    config.write_text(
        config.read_text().replace("    IdentityFile", f"    IdentityFile {locked}\n    IdentityFile")
    )
    try:
        assert bench(scene) == 0, scene.said
        assert scene.run("devices", "probe", scene.server.files.address, "--json") == 0
        assert scene.run("doctor") in {0, 1}
        assert scene.run("report", "-o", "report.html") == 0, scene.said
        assert scene.run("runs", "export", "--json") == 0
    finally:
        locked.unlink()
        locked.with_name("locked.pub").unlink(missing_ok=True)
    assert (scene.folder / "report.html").stat().st_size > 1000
    assert [path for path in scene.server.home.rglob("*") if path.is_file()]
    assert len(scene.lines) > 3
    assert scene.found() == []


def test_a_planted_secret_is_nowhere_after_each_refusal(scene):
    files = scene.server.files
    scene.run("devices", "probe", f"ssh://me:{PASSWORD}@{files.alias}")
    scene.run("bench", "net.tflite", "--device", f"ssh://me:{PASSWORD}@{files.alias}", "--json")
    scene.run("runs", "list", "--store", f"postgresql://me:{PASSWORD}@127.0.0.1:1/base")
    scene.run("runs", "list", "--store", f"sqlite://me:{PASSWORD}@127.0.0.1:1/base", "--json")
    known = files.known_hosts.read_text()
    files.known_hosts.write_text("")
    assert bench(scene) == 1
    files.known_hosts.write_text(known)
    lock(files)
    assert bench(scene) == 1
    assert scene.run("devices", "probe", files.address) == 1
    assert "passphrase" in "".join(scene.said)
    assert scene.found() == []


@pytest.mark.parametrize(
    "faults",
    [SshFaults(refuses=True), SshFaults(other_key=True), SshFaults(dies_after_bytes=1500)],
    ids=["refused", "changed", "cut"],
)
@pytest.mark.parametrize("server", ["double"], indirect=True)
def test_a_planted_secret_is_in_no_error(scene, faults):
    scene.server.faults = faults
    assert bench(scene) == 1
    assert scene.found() == []


def everything_in(error):
    """What an error and all that it came from say, with their tracebacks."""
    told = "".join(traceback.format_exception(error))
    while error is not None:
        told += f"{error!s} {error!r} {vars(error)}"
        error = error.__cause__ or error.__context__
    return told


@pytest.mark.parametrize("server", ["double"], indirect=True)
@pytest.mark.parametrize("faults", [SshFaults(refuses=True), SshFaults(other_key=True), SshFaults()])
def test_a_planted_secret_is_in_no_exceptions_chain(server, faults, monkeypatch):
    monkeypatch.setenv("API_TOKEN", TOKEN)
    key = server.files.identity.read_text().splitlines()[1:-1]
    if faults == SshFaults():
        lock(server.files)
        key += server.files.identity.read_text().splitlines()[1:-1]
    server.faults = faults
    with pytest.raises(EdgeKitError) as caught:
        open_transport(Device.parse(server.files.address))
    told = everything_in(caught.value)
    assert [part for part in (TOKEN, PASSPHRASE, *key) if part in told] == []


@pytest.mark.parametrize(
    "address",
    [f"ssh://me:{PASSWORD}@host", f"ssh://me:{PASSWORD}@host:22", f"ssh://:{PASSWORD}@host",
     f"ssh://me:{PASSWORD}@ho st", f"sssh://me:{PASSWORD}@host", f"ssh:/me:{PASSWORD}@host",
     f"local://me:{PASSWORD}@host", f"ssh://me:{PASSWORD}/@host", f"ssh://me:a@{PASSWORD}@host",
     f"ssh://me:{PASSWORD}@[::1", f"adb://me:{PASSWORD}@host/", f"ssh://me@host:{PASSWORD}@x"],
)  # fmt: skip
def test_a_planted_password_in_an_address_is_refused_and_not_repeated(address):
    with pytest.raises(EdgeKitError) as caught:
        Device.parse(address)
    assert PASSWORD not in everything_in(caught.value).replace(repr(address), "")


@pytest.mark.parametrize(
    "scheme", ["postgresql", "mysql", "sqlite", "oracle", "nothing", "postgresql+psycopg2"]
)
def test_a_planted_password_of_a_store_is_not_repeated(scheme):
    with pytest.raises(EdgeKitError) as caught:
        Store.open(f"{scheme}://me:{PASSWORD}@127.0.0.1:1/base")
    assert PASSWORD not in f"{caught.value} {caught.value.hint} {caught.value.evidence}"
