"""Packets and streams of the adb double, over a pair of sockets."""

import socket
import struct
import threading

import pytest

from edgekit.testing.adb_wire import MAX_PAYLOAD, Fault, Packet, Stream, Wire
from edgekit.testing.waiting import until


@pytest.fixture
def ends():
    left, right = socket.socketpair(socket.AF_UNIX)
    # A pair has no Nagle to switch off.
    wires = [Wire(Plain(link), Fault()) for link in (left, right)]
    yield wires
    for wire in wires:
        wire.close()


class Plain:
    """A socket that takes TCP's options without being TCP."""

    def __init__(self, link):
        self._link = link

    def setsockopt(self, *_):
        pass

    def __getattr__(self, name):
        return getattr(self._link, name)


@pytest.fixture
def stream(ends):
    return Stream(ends[0], local=3, remote=9)


@pytest.mark.parametrize(
    "packet",
    [
        Packet(command=b"OKAY", arg0=1, arg1=2),
        Packet(command=b"WRTE", arg0=0xFFFFFFFF, arg1=0, data=bytes(range(256)) * 300),
        Packet(command=b"AUTH", arg0=1, data=b"token"),
    ],
)
@pytest.mark.parametrize("chunk", [0, 1, 1000])
def test_a_packet_arrives_as_it_was_sent(ends, packet, chunk):
    ends[0].fault = Fault(chunk=chunk)
    sender = threading.Thread(target=ends[0].write, args=(packet,))
    sender.start()
    assert ends[1].read() == packet
    sender.join()


def test_the_end_in_the_middle_of_a_packet(ends):
    ends[0]._link.sendall(Packet(command=b"WRTE", data=b"whole").encode()[:-1])
    ends[0].close()
    with pytest.raises(EOFError):
        ends[1].read()


def test_writing_to_who_has_gone(ends):
    ends[1].close()
    with pytest.raises(EOFError):
        ends[0].write(Packet(command=b"OKAY"))


@pytest.mark.parametrize(("after", "arrives"), [(24, 0), (25, 1), (48, 1), (49, 2)])
def test_a_fault_is_counted_in_bytes(ends, after, arrives):
    ends[0].fault = Fault(after=after)
    for _ in range(arrives):
        ends[0].write(Packet(command=b"OKAY"))
    with pytest.raises(EOFError):
        ends[0].write(Packet(command=b"OKAY"))


def test_a_stall_ends_when_the_link_is_closed(ends):
    ends[0].fault = Fault(after=1, action="stall")
    over = threading.Event()

    def write():
        try:
            ends[0].write(Packet(command=b"OKAY"))
        except EOFError:
            over.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert not over.wait(0.1)
    ends[0].close()
    writer.join(10)
    assert over.is_set()


# --- streams ---------------------------------------------------------------------------------------
def test_one_write_is_in_flight_until_it_is_acknowledged(ends, stream):
    data = bytes(MAX_PAYLOAD) + b"rest"
    writer = threading.Thread(target=stream.write, args=(data,))
    writer.start()
    assert len(ends[1].read().data) == MAX_PAYLOAD
    ends[1]._link.settimeout(0.1)
    with pytest.raises(EOFError):
        ends[1].read()
    ends[1]._link.settimeout(None)
    stream.acknowledge()
    assert ends[1].read() == Packet(command=b"WRTE", arg0=3, arg1=9, data=b"rest")
    stream.acknowledge()
    writer.join(10)
    assert not writer.is_alive()


def test_reading_takes_what_is_asked_for_and_keeps_the_rest(ends, stream):
    for part in (b"ab", b"cdef", b"g"):
        stream.deliver(part)
    assert stream.read(3) == b"abc"
    assert stream.read(0) == b""
    assert stream.read_some() == b"def"
    assert stream.read(1) == b"g"
    assert [ends[1].read() for _ in range(3)] == [Packet(command=b"OKAY", arg0=3, arg1=9)] * 3


def test_what_is_not_read_is_not_acknowledged(ends, stream):
    stream.deliver(b"data")
    ends[1]._link.settimeout(0.1)
    with pytest.raises(EOFError):
        ends[1].read()


def test_the_end_comes_after_what_was_delivered(stream):
    stream.deliver(b"last")
    stream.end()
    assert stream.read_some() == b"last"
    for _ in range(2):
        with pytest.raises(EOFError):
            stream.read_some()
    with pytest.raises(EOFError):
        stream.write(b"late")


def test_a_waiting_writer_learns_of_the_end(ends, stream):
    errors = []

    def write():
        try:
            stream.write(b"data")
        except EOFError as error:
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    assert ends[1].read().data == b"data"
    stream.end()
    until(lambda: errors)
    writer.join()


def test_closing_is_told_once(ends, stream):
    stream.close()
    stream.close()
    assert stream.over
    assert ends[1].read() == Packet(command=b"CLSE", arg0=3, arg1=9)
    ends[0].close()
    with pytest.raises(EOFError):
        ends[1].read()


def test_a_checksum_is_written_where_versions_are_still_to_be_agreed():
    header = struct.unpack("<4s5I", Packet(command=b"AUTH", data=b"\xff\x01").encode()[:24])
    assert header[4] == 0x100
    assert header[5] == 0xFFFFFFFF ^ int.from_bytes(b"AUTH", "little")
