"""pytest fixtures for adb: private servers, doubles, and real daemons.

# conftest.py
pytest_plugins = ["edgekit.testing.adb_fixtures"]
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from edgekit.errors import UsageError
from edgekit.testing import adbd
from edgekit.testing.adb_double import AdbDouble
from edgekit.testing.adb_server import PROGRAMS, PrivateAdb, program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session", params=PROGRAMS)
def adb_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrivateAdb]:
    """Yield each adb program that is installed, with a server of its own."""
    path = program(request.param)
    if not path:
        pytest.skip(f"there is no {request.param} adb: apt install adb, pip install adbutils")
    with PrivateAdb(path, tmp_path_factory.mktemp(f"adb-{request.param}")) as server:
        yield server


@pytest.fixture
def adb(adb_server: PrivateAdb, monkeypatch: pytest.MonkeyPatch) -> PrivateAdb:
    """Return an adb program, with this process's environment pointing to it and to its server."""
    for name, value in adb_server.env.items():
        monkeypatch.setenv(name, value)
    return adb_server


@pytest.fixture
def adb_double(adb: PrivateAdb, tmp_path: Path) -> Iterator[AdbDouble]:
    """Yield a running double that no server is connected to yet."""
    root = tmp_path / "phone"
    root.mkdir()
    with AdbDouble(root) as double:
        yield double
    adb.run("disconnect", double.serial)


@pytest.fixture(scope="session")
def adbd_linux(tmp_path_factory: pytest.TempPathFactory, _daemons: list[adbd.Adbd]) -> Iterator[adbd.Adbd]:
    """Yield a real adbd whose commands run on this machine."""
    yield from _running(adbd.linux_board, tmp_path_factory.mktemp("board"), adbd.unavailable(), _daemons)


@pytest.fixture(scope="session")
def adbd_phone(tmp_path_factory: pytest.TempPathFactory, _daemons: list[adbd.Adbd]) -> Iterator[adbd.Adbd]:
    """Yield a real adbd in a fake phone."""
    yield from _running(
        adbd.phone, tmp_path_factory.mktemp("phone"), adbd.unavailable(as_phone=True), _daemons
    )


@pytest.fixture(scope="session")
def adbd_phone_arm(
    tmp_path_factory: pytest.TempPathFactory, _daemons: list[adbd.Adbd]
) -> Iterator[adbd.Adbd]:
    """Yield a real adbd in a fake phone whose programs are an ARM's, run by qemu-user."""
    make = functools.partial(adbd.phone, machine="aarch64")
    reason = adbd.unavailable(as_phone=True, machine="aarch64")
    yield from _running(make, tmp_path_factory.mktemp("phone-arm"), reason, _daemons)


@pytest.fixture(autouse=True)
def _daemons_that_were_killed(_daemons: list[adbd.Adbd]) -> Iterator[None]:
    """Start those again that a test killed: the next test that uses them may stand in another file."""
    yield
    for daemon in _daemons:
        if not daemon.running:
            daemon.start()


@pytest.fixture(scope="session")
def _daemons() -> list[adbd.Adbd]:
    """Return the daemons that live as long as the session."""
    return []


def _running(
    make: Callable[[Path], adbd.Adbd], folder: Path, reason: str, daemons: list[adbd.Adbd]
) -> Iterator[adbd.Adbd]:
    if reason:
        pytest.skip(reason)
    try:
        daemon = make(folder)
    except UsageError as error:
        pytest.skip(str(error))
    with daemon:
        daemons.append(daemon)
        yield daemon
        daemons.remove(daemon)
