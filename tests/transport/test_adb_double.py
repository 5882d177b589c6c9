"""The double itself, spoken to packet by packet, and held against Android's own daemon."""

import base64
import os
import re
import secrets
import socket
import struct

import pytest

from edgekit.testing.adb_auth import authorize, parse_key, signed
from edgekit.testing.adb_double import FEATURES, AdbDouble
from edgekit.testing.adb_wire import MAX_PAYLOAD, VERSION, Fault, Packet, Wire
from edgekit.testing.waiting import until

WORD = struct.Struct("<4sI")


class Host:
    """The other end: one packet at a time, one stream at a time."""

    def __init__(self, double):
        self.wire = Wire(socket.create_connection(("127.0.0.1", double.port), timeout=10), Fault())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.wire.close()

    def greet(self):
        self.wire.write(
            Packet(command=b"CNXN", arg0=VERSION, arg1=MAX_PAYLOAD, data=b"host::features=shell_v2")
        )
        return self.wire.read()

    def open(self, service):
        self.wire.write(Packet(command=b"OPEN", arg0=7, data=service + b"\0"))
        answer = self.wire.read()
        self.remote = answer.arg0
        return answer.command

    def write(self, data):
        self.wire.write(Packet(command=b"WRTE", arg0=7, arg1=self.remote, data=data))

    def take(self):
        """What the device sends on the stream until it closes it or waits for us."""
        data = b""
        while (packet := self.wire.read()).command != b"CLSE":
            if packet.command == b"WRTE":
                data += packet.data
                self.wire.write(Packet(command=b"OKAY", arg0=7, arg1=self.remote))
        return data

    def once(self, service, data=b""):
        """Open a service, send bytes, take the answer up to its end."""
        assert self.open(service) == b"OKAY"
        if data:
            self.write(data)
        return self.take()

    def sync(self, *requests):
        return self.once(b"sync:", b"".join(requests) + WORD.pack(b"QUIT", 0))


def request(name, path):
    return WORD.pack(name, len(os.fsencode(path))) + os.fsencode(path)


def frames(data):
    """Shell v2 frames as (id, bytes), neighbours of one id joined."""
    joined = {}
    while data:
        kind, size = struct.unpack_from("<BI", data)
        joined[kind] = joined.get(kind, b"") + data[5 : 5 + size]
        data = data[5 + size :]
    return joined


@pytest.fixture
def double(tmp_path):
    with AdbDouble(tmp_path) as double:
        yield double


@pytest.fixture
def host(double):
    with Host(double) as host:
        host.greet()
        yield host


# --- the link --------------------------------------------------------------------------------------
def test_it_listens_at_home_and_far_from_adbs_ports(double):
    assert double.serial == f"127.0.0.1:{double.port}"
    assert double.port not in {5037, *range(5555, 5586)}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", double.port), timeout=5)


def test_it_introduces_itself(double):
    with Host(double) as host:
        answer = host.greet()
    assert (answer.command, answer.arg0, answer.arg1) == (b"CNXN", VERSION, MAX_PAYLOAD)
    assert answer.data.startswith(b"device::ro.product.name=")
    assert answer.data.partition(b"features=")[2].decode().split(",") == list(FEATURES)


def test_a_stranger_who_does_not_greet_is_not_served(double):
    with Host(double) as host:
        host.wire.write(Packet(command=b"OPEN", arg0=7, data=b"shell:id\0"))
        with pytest.raises(EOFError):
            host.wire.read()


@pytest.mark.parametrize(
    "service", [b"root:", b"tcpip:5555", b"tcp:80", b"reverse:list-forward", b"nonsense"]
)
def test_what_it_does_not_offer_is_closed(host, service):
    assert host.open(service) == b"CLSE"
    assert host.once(b"shell:echo next") == b"next\n"


def test_a_packet_is_as_adb_writes_it():
    data = Packet(command=b"CNXN", arg0=1, arg1=2, data=b"\1\2").encode()
    assert data == b"CNXN" + struct.pack("<5I", 1, 2, 2, 3, 0xB1A7B1BC) + b"\1\2"


@pytest.mark.parametrize("action", ["die", "stall"])
def test_a_fault_comes_at_its_byte(double, action):
    with Host(double) as host:
        host.greet()
        double.spoil(Fault(after=100_000, action=action))
        host.wire._link.settimeout(0.5)
        with pytest.raises(EOFError):
            host.once(b"shell:head -c 1000000 /dev/zero")
        assert host.wire._link.fileno() >= 0


def test_stopping_twice_and_starting_again_keeps_the_port(tmp_path):
    double = AdbDouble(tmp_path).start()
    port = double.port
    double.stop()
    double.stop()
    with double, Host(double) as host:
        assert double.port == port
        assert host.greet().command == b"CNXN"


# --- the shell -------------------------------------------------------------------------------------
def test_the_second_shell_keeps_streams_apart_and_tells_the_code(host):
    data = host.once(b"shell,v2,raw:echo out; echo err >&2; exit 7")
    assert frames(data) == {1: b"out\n", 2: b"err\n", 3: b"\x07"}


def test_the_second_shell_tells_a_signal(host):
    assert frames(host.once(b"shell,v2,TERM=xterm,raw:kill -9 $$"))[3] == bytes([0x80 | 9])


def test_the_second_shell_takes_input_up_to_its_end(host):
    data = struct.pack("<BI", 0, 5) + b"in\0\xff\n" + struct.pack("<BI", 4, 0)
    assert frames(host.once(b"shell,v2,raw:cat", data)) == {1: b"in\0\xff\n", 3: b"\0"}


@pytest.mark.parametrize("service", [b"shell", b"exec"])
def test_the_first_shell_mixes_streams_and_tells_no_code(host, service):
    assert host.once(service + b":echo out; echo err >&2; exit 7") == b"out\nerr\n"


def test_a_closed_stream_hangs_up_on_its_shell(double, host):
    host.open(b"shell,v2,raw:trap 'echo hung up >told; exit' HUP; echo ready; while :; do sleep 0.05; done")
    assert host.wire.read().command == b"WRTE"
    host.wire.write(Packet(command=b"CLSE", arg0=7, arg1=host.remote))
    until((double.root / "told").exists)
    assert host.take() == b""


# --- files -----------------------------------------------------------------------------------------
def test_looking_at_a_file(double, host):
    path = double.root / "file"
    path.write_bytes(b"12345")
    path.chmod(0o640)
    found = path.stat()
    first = host.sync(request(b"STAT", path))
    assert struct.unpack("<4sIII", first) == (b"STAT", found.st_mode, 5, int(found.st_mtime))
    second = struct.unpack("<4sIQQIIIIQqqq", host.sync(request(b"STA2", path)))
    assert second[:2] == (b"STA2", 0)
    assert second[3:9] == (found.st_ino, found.st_mode, 1, found.st_uid, found.st_gid, 5)


def test_a_link_is_followed_by_one_and_not_by_the_other(double, host):
    (double.root / "file").write_bytes(b"12345")
    (double.root / "link").symlink_to("file")
    answers = [
        struct.unpack("<4sIQQIIIIQqqq", host.sync(request(n, double.root / "link")))
        for n in (b"STA2", b"LST2")
    ]
    assert [answer[4] & 0o170000 for answer in answers] == [0o100000, 0o120000]


def test_looking_at_what_is_not_there(double, host):
    assert host.sync(request(b"STAT", double.root / "none")) == b"STAT" + bytes(12)
    assert host.sync(request(b"LST2", double.root / "none"))[4:8] == struct.pack("<I", 2)


def test_listing_a_folder(double, host):
    for name in ("b", "a"):
        (double.root / name).write_bytes(b"123")
    first = host.sync(request(b"LIST", double.root))
    assert first.count(b"DENT") == 4
    assert first.endswith(b"DONE" + bytes(16))
    second = host.sync(request(b"LIS2", double.root))
    assert second.count(b"DNT2") == 4
    assert second.endswith(b"DONE" + bytes(72))
    assert second.index(b"\1\0\0\0a") < second.index(b"\1\0\0\0b")


@pytest.mark.parametrize("second", [False, True])
def test_a_file_goes_and_comes_back(double, host, second):
    path = double.root / "new" / "folder" / "file"
    content = secrets.token_bytes(100_000)
    chunks = b"".join(
        WORD.pack(b"DATA", len(content[i : i + 65536])) + content[i : i + 65536]
        for i in range(0, 100_000, 65536)
    )
    if second:
        head = request(b"SND2", path) + WORD.pack(b"SND2", 0o100644) + struct.pack("<I", 0)
        ask = request(b"RCV2", path) + WORD.pack(b"RCV2", 0)
    else:
        head, ask = request(b"SEND", f"{path},33188"), request(b"RECV", path)
    assert host.sync(head, chunks, WORD.pack(b"DONE", 0)) == WORD.pack(b"OKAY", 0)
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o666, "the owner's bits are everybody's, as adbd has it"
    assert host.sync(ask) == chunks + WORD.pack(b"DONE", 0)


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ((request(b"RECV", "/no/such/file"),), b"No such file or directory"),
        ((request(b"RCV2", "/etc/hostname"), WORD.pack(b"RCV2", 1)), b"compression 0x1 is not spoken here"),
        ((request(b"WHAT", "/"),), b"unknown command b'WHAT'"),
        ((request(b"STAT", "x" * 2000),), b"unknown command b'STAT'"),
        (
            (request(b"SEND", "/proc/none/file,33188"), WORD.pack(b"DATA", 2), b"ab", WORD.pack(b"DONE", 0)),
            b"couldn't create file",
        ),
    ],
)
def test_what_cannot_be_done_fails_with_a_reason(host, requests, message):
    answer = host.sync(*requests)
    assert answer.startswith(b"FAIL")
    assert message in answer


def test_a_full_disk_keeps_nothing(double, host):
    double.room = 10
    path = double.root / "file"
    answer = host.sync(
        request(b"SEND", f"{path},33188"), WORD.pack(b"DATA", 11), b"x" * 11, WORD.pack(b"DONE", 0)
    )
    assert b"write failed: No space left on device" in answer
    assert not path.exists()


def test_half_a_file_is_removed(double, host):
    path = double.root / "file"
    host.open(b"sync:")
    host.write(request(b"SEND", f"{path},33188") + WORD.pack(b"DATA", 2) + b"ab" + WORD.pack(b"DATA", 100))
    until(path.exists)
    host.wire.close()
    until(lambda: not path.exists())
    assert list(double.root.iterdir()) == []


# --- keys ------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def key():
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def sign(key, token):
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, utils

    return key.sign(token, padding.PKCS1v15(), utils.Prehashed(hashes.SHA1()))  # noqa: S303  adb's own choice


def test_a_signature_of_another_library_is_read(key):
    numbers = key.public_key().public_numbers()
    token = secrets.token_bytes(20)
    assert signed(token, sign(key, token), (numbers.n, numbers.e))
    assert not signed(secrets.token_bytes(20), sign(key, token), (numbers.n, numbers.e))
    assert not signed(token, secrets.token_bytes(255), (numbers.n, numbers.e))


def test_a_public_key_is_read(key):
    numbers = key.public_key().public_numbers()
    raw = struct.pack("<II256s256sI", 64, 0, numbers.n.to_bytes(256, "little"), bytes(256), numbers.e)
    assert parse_key(base64.b64encode(raw) + b" me@host\0") == (numbers.n, numbers.e)


@pytest.mark.parametrize(
    "data", [b"", b"not base64!", base64.b64encode(b"short"), base64.b64encode(bytes(524))]
)
def test_what_is_no_public_key(data):
    with pytest.raises(ValueError, match="no adb public key"):
        parse_key(data)


def test_a_wrong_signature_gets_a_new_token(double, key):
    double.auth = "deny"
    with Host(double) as host:
        first = host.greet()
        host.wire.write(Packet(command=b"AUTH", arg0=2, data=sign(key, first.data)))
        second = host.wire.read()
    assert (first.command, first.arg0, len(first.data)) == (b"AUTH", 1, 20)
    assert (second.command, second.arg0) == (b"AUTH", 1)
    assert first.data != second.data


def test_without_keys_nobody_is_asked():
    authorize(None, "none", set())


# --- as Android's own daemon does it ---------------------------------------------------------------
PARITY = (
    ("shell", "echo out; echo err >&2; exit 7"),
    ("shell", "kill -9 $$"),
    ("shell", "printf 'a\\0b' | od -c"),
    ("shell", "id -u"),
    ("shell", "nonsense-command 2>/dev/null; echo $?"),
    ("-e", "shell", "true"),
    ("exec-out", "echo out; echo err >&2; exit 7"),
    ("push", "{host}/file", "{root}/new/file"),
    ("shell", "stat -c '%a %s' {root}/new/file; sha256sum <{root}/new/file"),
    ("pull", "{root}/new/file", "{host}/back"),
    ("pull", "{root}/none", "{host}/none"),
    ("push", "{host}/none", "{root}/none"),
    ("push", "{host}/file", "{root}/new/file/below"),
    ("ls", "{root}/new"),
    ("ls", "{root}/none"),
    ("push", "{host}/tree", "{root}/tree"),
    ("shell", "cd {root}/tree && find . | sort | xargs sha256sum 2>/dev/null"),
    ("pull", "{root}/tree", "{host}/tree-back"),
    ("get-state",),
    ("root",),
)


@pytest.mark.adb
@pytest.mark.adbd
def test_the_double_does_as_androids_daemon(adb, adb_double, adbd_linux, tmp_path):
    """One script through one adb program on both; only the folders' names differ."""
    answers = []
    name = secrets.token_hex(4)
    for daemon, root in ((adb_double, adb_double.root), (adbd_linux, adbd_linux.folder)):
        host = tmp_path / f"host{len(answers)}"
        (host / "tree" / "inner").mkdir(parents=True)
        (host / "file").write_bytes(b"content\n" * 20_000)
        (host / "tree" / "inner" / "leaf").write_bytes(b"leaf")
        adb.run("connect", daemon.serial)
        answers.append([plain(adb, daemon, words, host=str(host), root=f"{root}/{name}") for words in PARITY])
        assert (host / "back").read_bytes() == (host / "file").read_bytes()
        assert (host / "tree-back" / "inner" / "leaf").read_bytes() == b"leaf"
    different = {words: pair for words, *pair in zip(PARITY, *answers, strict=True) if pair[0] != pair[1]}
    assert different == {}


def plain(adb, daemon, words, **folders):
    """What adb says, without rates, dates and the folders' own names."""
    text = adb.run("-s", daemon.serial, *(word.format(**folders) for word in words))
    for name, folder in folders.items():
        text = text.replace(folder, name)
    text = "\n".join(sorted(text.splitlines()))  # a listing has no order of its own
    return re.sub(r"\d+\.\d MB/s.*|\b[0-9a-f]{8} [0-9a-f]{8} [0-9a-f]{8} |\[ *\d+%\] ", "", text)
