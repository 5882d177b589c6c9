r"""A meter or a supply that speaks SCPI, over a TCP socket or a serial line.

    scpi+tcp://10.0.0.5:5025                        volts and amperes, asked by MEAS:VOLT? and MEAS:CURR?
    scpi+tcp://10.0.0.5:5025?power=MEAS:POW?        watts, asked at once
    scpi+serial:///dev/ttyUSB0?baud=115200          needs the extra `serial`
    further options: volts=QUERY amps=QUERY, gain=0.0005 (its relative error), interval_ms=20

Answers are lines. An answer that does not come in time may come later and be taken for that of the next
question; so after any trouble the line is emptied and *OPC? has to be answered by 1 before the next question
(IEEE 488.2, 10.19).
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl

from edgekit.errors import MissingExtraError, ProtocolError, UnknownNameError, UsageError
from edgekit.probes.ask import number_of
from edgekit.probes.base import SensorError, Term, Watch

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSWER_S, QUIET_S, DRAIN_S = 2.0, 0.05, 1.0
ANSWER_BYTES = 4096
NO_NUMBER = 9.9e37
"""SCPI-99, 7.2.1: 9.9E37 stands for infinity, 9.91E37 for what is no number."""
_OPTIONS = {"volts": "MEAS:VOLT?", "amps": "MEAS:CURR?", "power": "", "baud": "9600", "gain": "0.01"}
_QUERY = re.compile(r"[A-Za-z*:][A-Za-z0-9*:_@(), .+-]{0,80}\?[A-Za-z0-9@(), .+-]{0,40}")


class Link(Protocol):
    """Bytes to a meter and from it."""

    def send(self, data: bytes) -> None:
        """Send all bytes."""

    def receive(self, timeout_s: float) -> bytes:
        """Return what has come, after waiting for something as long; nothing means that nothing came."""

    def close(self) -> None:
        """Let go."""


class TcpLink:
    """A socket."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=ANSWER_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> None:
        """Send all bytes."""
        self._socket.settimeout(ANSWER_S)
        self._socket.sendall(data)

    def receive(self, timeout_s: float) -> bytes:
        """Return what has come; OSError when the meter hung up."""
        self._socket.settimeout(max(timeout_s, 1e-3))
        try:
            data = self._socket.recv(ANSWER_BYTES)
        except TimeoutError:
            return b""
        if not data:
            raise ConnectionResetError("the meter hung up")
        return data

    def close(self) -> None:
        """Let go."""
        self._socket.close()


class SerialLink:
    """A serial line."""

    def __init__(self, path: str, baud: int) -> None:
        try:
            import serial
        except ModuleNotFoundError:
            raise MissingExtraError("pyserial", "serial") from None
        self._port: Any = serial.Serial(path, baud, timeout=ANSWER_S, write_timeout=ANSWER_S)

    def send(self, data: bytes) -> None:
        """Send all bytes."""
        self._port.write(data)

    def receive(self, timeout_s: float) -> bytes:
        """Return what has come."""
        self._port.timeout = max(timeout_s, 1e-3)
        first: bytes = self._port.read(1)
        return first + self._port.read(self._port.in_waiting) if first else b""

    def close(self) -> None:
        """Let go."""
        self._port.close()


class ScpiMeter:
    """An open meter that speaks SCPI.

    Args:
        link: to it.
        address: as the user gave it.
        queries: name -> question: "power", or "volts" and "amps".
        gain: its relative error.
        interval_s: how often it has a new value; 0 where nobody knows.
    """

    def __init__(
        self,
        link: Link,
        address: str,
        queries: Mapping[str, str],
        *,
        gain: float = 0.01,
        interval_s: float = 0.0,
    ) -> None:
        self._link, self._address, self._queries = link, address, dict(queries)
        self._gain, self._interval_s = gain, interval_s
        self._rest, self._clean = b"", False
        self.identity = self._identify()

    def watch(self) -> Watch:
        """Return what it is."""
        maker, kind = ([*self.identity.split(","), ""])[:2]
        told = " (taken; say gain=)" if self._gain == float(_OPTIONS["gain"]) else ""
        return Watch(
            family="meter",
            source=f"{maker.strip()} {kind.strip()} at {self._address.partition('?')[0]}",
            covers="board",
            meter=self._address,
            reads=dict(self._queries),
            terms=(Term(factors=tuple(self._queries), scale=1.0),),
            error=SensorError(gain=self._gain, origin=f"as its user says{told}"),
            interval_s=self._interval_s,
        )

    def read(self) -> dict[str, str]:
        """Return the answers to its questions.

        Raises:
            ProtocolError: an answer did not come, or is no number.
            OSError: the line is gone.
        """
        try:
            self._settle()
            answers = {name: self._ask(query) for name, query in self._queries.items()}
        except OSError:
            self._clean = False
            raise
        for name, text in answers.items():
            value = number_of(text)
            if value is None or abs(value) >= NO_NUMBER:
                self._clean = False
                raise self._foreign(f"{self._queries[name]} was answered by {text[:40]!r}, no number")
        return answers

    def close(self) -> None:
        """Let go of it."""
        with contextlib.suppress(OSError):
            self._link.close()

    def _identify(self) -> str:
        self._settle()
        told = self._ask("*IDN?")
        if not told.isprintable() or "," not in told:
            raise self._foreign(f"*IDN? was answered by {told[:40]!r}")
        return told[:80]

    def _settle(self) -> None:
        """Empty the line after trouble, until the meter answers to the question that is asked."""
        if self._clean:
            return
        self._rest, end = b"", time.monotonic() + DRAIN_S
        self._link.send(b"\n*CLS\n")
        while self._link.receive(QUIET_S) and time.monotonic() < end:
            pass
        self._clean = True
        if self._ask("*OPC?") not in {"1", "+1"}:
            self._clean = False
            raise self._foreign("*OPC? was not answered by 1")

    def _ask(self, query: str) -> str:
        """Return the line that answers a question."""
        self._link.send(query.encode("ascii") + b"\n")
        end = time.monotonic() + ANSWER_S
        while b"\n" not in self._rest:
            left = end - time.monotonic()
            if left <= 0 or len(self._rest) > ANSWER_BYTES:
                self._clean = False
                said = f"; so far it said {self._rest[:40]!r}" if self._rest else ""
                raise self._foreign(f"no answer to {query} within {ANSWER_S:g} s{said}")
            self._rest += self._link.receive(left)
        line, _, self._rest = self._rest.partition(b"\n")
        if self._rest:
            self._clean = False
            raise self._foreign(f"{query} was answered by more than one line")
        return line.decode("ascii", "replace").strip()

    def _foreign(self, what: str) -> ProtocolError:
        return ProtocolError(f"{self._address}: {what}", hint="look at its settings, and at who else asks it")


def open_scpi(address: str) -> ScpiMeter:
    """Return an open meter; see this file's head.

    Raises:
        UsageError: the address is none, or nothing there answers as a meter does.
    """
    way, _, rest = address.partition("+")[2].partition("://")
    place, _, asked = rest.partition("?")
    options = _options(asked)
    queries = {"power": options["power"]} if options["power"] else {n: options[n] for n in ("volts", "amps")}
    gain, interval_ms = number_of(options["gain"]), number_of(options["interval_ms"])
    if gain is None or interval_ms is None or not 0 <= gain < 1 or interval_ms < 0:
        raise UsageError(f"{address}: gain and interval_ms are numbers from 0 on", hint="gain=0.001 is 0.1 %")
    try:
        link = _link(way, place, options)
    except OSError as error:
        raise UsageError(f"{address} can't be reached: {error}", hint="check its address and cable") from None
    try:
        return ScpiMeter(link, address, queries, gain=gain, interval_s=interval_ms / 1000)
    except (ProtocolError, OSError) as error:
        link.close()
        raise UsageError(f"{address} is no meter that speaks SCPI: {error}", hint="check its port") from error


def _link(way: str, place: str, options: Mapping[str, str]) -> Link:
    if way == "tcp":
        host, _, port = place.rpartition(":")
        if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:  # noqa: PLR2004
            raise UsageError(f"{place!r} is no host and port", hint="give one: 10.0.0.5:5025")
        return TcpLink(host, int(port))
    if way == "serial":
        if not re.fullmatch(r"[0-9]{1,8}", options["baud"]):
            raise UsageError(f"baud is {options['baud']!r}", hint="give a number: baud=9600")
        return SerialLink(place, int(options["baud"]))
    raise UnknownNameError("way to a meter", way, ("tcp", "serial"))


def _options(text: str) -> dict[str, str]:
    options = {**_OPTIONS, "interval_ms": "0"}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name not in options:
            raise UnknownNameError("option of a meter", name, options)
        options[name] = value
    for name in ("volts", "amps", "power"):
        if options[name] and not _QUERY.fullmatch(options[name]):
            raise UsageError(f"{name}={options[name]!r} is no question", hint="give one: MEAS:VOLT?")
    return options
