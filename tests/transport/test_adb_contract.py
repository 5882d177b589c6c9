"""The transports' contract over adb: a double and real daemons, each adb program in turn."""

import pytest

from edgekit.runners.transport import open_transport
from edgekit.targets import Device
from edgekit.testing.transport_contract import TransportContract

pytestmark = pytest.mark.adb


class TestAdbDouble(TransportContract):
    @pytest.fixture
    def transport(self, adb_double):
        self.double = adb_double
        with open_transport(Device.parse(f"adb://{adb_double.serial}")) as transport:
            yield transport

    def cut(self, transport):
        self.double.stop()
