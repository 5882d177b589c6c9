"""The transports' contract over adb: a double under each adb program, and real daemons."""

import pytest

from edgekit.runners.transport import open_transport
from edgekit.targets import Device
from edgekit.testing.adbd_phone import SMALL
from edgekit.testing.transport_contract import TransportContract

pytestmark = pytest.mark.adb


def device(daemon):
    return Device.parse(f"adb://{daemon.serial}")


class TestAdbDouble(TransportContract):
    @pytest.fixture
    def transport(self, adb_double):
        self.double = adb_double
        with open_transport(device(adb_double)) as transport:
            yield transport

    def cut(self, transport):
        self.double.stop()


class RealDaemon(TransportContract):
    """A daemon that lives as long as the session: a test that kills it has it started again."""

    def opened(self, daemon):
        self.daemon = daemon
        with open_transport(device(daemon)) as transport:
            yield transport

    def cut(self, transport):
        self.daemon.kill()


@pytest.mark.adbd
@pytest.mark.parametrize("adb_server", ["system"], indirect=True)
class TestRealDaemon(RealDaemon):
    @pytest.fixture
    def transport(self, adb, adbd_linux):
        yield from self.opened(adbd_linux)


@pytest.mark.adbd
@pytest.mark.parametrize("adb_server", ["bundled"], indirect=True)
class TestFakePhone(RealDaemon):
    @pytest.fixture
    def transport(self, adb, adbd_phone):
        yield from self.opened(adbd_phone)

    @pytest.fixture
    def small_folder(self, transport):
        transport.check(["sh", "-c", f"rm -rf {SMALL}/*"])
        yield SMALL
        transport.check(["sh", "-c", f"rm -rf {SMALL}/*"])
