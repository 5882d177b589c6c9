"""Transports: how bytes and commands reach a device. One file each, named by the user's word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.errors import UnknownNameError
from edgekit.plugins import Registry
from edgekit.runners.transport.base import CommandResult, Transport

if TYPE_CHECKING:
    from edgekit.targets import Device

__all__ = ["TRANSPORTS", "CommandResult", "Transport", "open_transport"]

TRANSPORTS: Registry[type[Transport]] = Registry(
    "transport", refuse=UnknownNameError, group="edgekit.transports"
)
TRANSPORTS.add("local", "edgekit.runners.transport.local:LocalTransport")
TRANSPORTS.add("ssh", "edgekit.runners.transport.ssh:SshTransport")
TRANSPORTS.add("adb", "edgekit.runners.transport.adb:AdbTransport")
TRANSPORTS.add("fake", "edgekit.runners.transport.fake:FakeTransport")


def open_transport(device: Device) -> Transport:
    """Return an open transport to a device; use it in a `with` statement, or close it.

    Raises:
        UsageError: no such transport, or what it needs on the host is missing.
        DeviceError: the device can't be reached.
    """
    transport = TRANSPORTS.get(device.scheme)(device)
    transport.open()
    return transport
