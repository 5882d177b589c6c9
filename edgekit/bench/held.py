"""A device held over several benches: one connection and one lease, so that no other host comes between."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from edgekit.runners.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgekit.runners.transport import Transport
    from edgekit.targets import Device


class Held:
    """What `edgekit.bench.execute.execute` is lent as `opened` and `leased`.

    After trouble the connection is opened anew, and the new lease takes over from the old one in one step:
    what an interrupted run left there is ended, and the device is free at no time between.

    Args:
        opener: opens a connection to a device.
    """

    def __init__(self, opener: Callable[[Device], Transport]) -> None:
        self._opener = opener
        self._transport: Transport | None = None
        self._lease: Lease | None = None
        self._broken = False

    @contextmanager
    def opened(self, device: Device) -> Iterator[Transport]:
        """Lend the connection."""
        if self._broken:
            self._leave()
        if self._transport is None:
            self._transport = self._opener(device)
        with ExitStack() as trouble:
            trouble.callback(setattr, self, "_broken", True)
            yield self._transport
            trouble.pop_all()

    @contextmanager
    def leased(self, transport: Transport) -> Iterator[Lease]:
        """Lend the lease of that connection; it stays ours until `close`."""
        if self._lease is None:
            self._lease = Lease(transport)
        yield self._lease

    def close(self) -> None:
        """Give the device back and close the connection; twice is fine."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.give_back()
        self._leave()

    def _leave(self) -> None:
        """Close the connection; a lease that is still held is left for our next one to take over."""
        transport, self._transport = self._transport, None
        lease, self._lease = self._lease, None
        self._broken = False
        if lease is not None:
            lease.leave()
        if transport is not None:
            transport.close()
