"""One virtual board for all tests here, and one whose time is counted in instructions."""

import pytest

from edgekit.errors import UsageError
from edgekit.runners.transport.ssh import SshTransport
from edgekit.targets import Device
from edgekit.testing.vm import VirtualBoard, build, unavailable


def started(*, icount):
    if reason := unavailable():
        pytest.skip(reason)
    try:
        build(icount=icount)
    except UsageError as error:
        if "download" in str(error) or "mmdebstrap" in str(error):
            pytest.skip(str(error))
        raise
    return VirtualBoard(icount=icount)


@pytest.fixture(scope="session")
def vm():
    with started(icount=False) as board:
        yield board


@pytest.fixture(scope="session")
def counted_vm():
    with started(icount=True) as board:
        yield board


@pytest.fixture
def on(monkeypatch):
    """Return a maker of open transports to boards."""
    opened = []

    def connect(board):
        monkeypatch.setenv("EDGEKIT_SSH_CONFIG", str(board.ssh_config))
        transport = SshTransport(Device.parse(board.address), config=board.ssh_config)
        transport.open()
        opened.append(transport)
        return transport

    yield connect
    for transport in opened:
        transport.close()
