"""Fetching weights, from a server on the loopback: verified, kept, or refused without a trace."""

import datetime as dt
import hashlib
import ipaddress
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from edgekit import zoo
from edgekit.errors import UsageError
from edgekit.zoo.builder import _fresh
from edgekit.zoo.download import cache_folder, fetch
from edgekit.zoo.names import parse
from edgekit.zoo.published import WeightsFile

CONTENT = b"weights of a network" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves `files` and writes down what was asked for."""

    def __init__(self, context=None):
        self.files, self.asked, self.cut_short = {}, [], False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                content = outer.files.get(self.path.rpartition("/")[2])
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if outer.cut_short else content)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context:
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self.http.server_port}/models"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(cache, monkeypatch):
    running = Server()
    running.files["net-0123abcd.pth"] = CONTENT
    monkeypatch.setenv("EDGEKIT_WEIGHTS_MIRROR", running.url)
    yield running
    running.close()


@pytest.fixture
def secure_server(cache, tmp_path, monkeypatch):
    """An HTTPS server whose self-signed certificate this process trusts."""
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(self_signed())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    running = Server(context)
    monkeypatch.setenv("EDGEKIT_WEIGHTS_MIRROR", running.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    yield running
    running.close()


def self_signed():
    """Return a key and a certificate for 127.0.0.1, PEM."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - dt.timedelta(days=1))
    builder = builder.not_valid_after(now + dt.timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + signed.public_bytes(serialization.Encoding.PEM)


def file_of(sha256=SHA[:8], name="net-0123abcd.pth"):
    return WeightsFile(url=f"https://weights.invalid/models/{name}", sha256=sha256)


def test_the_right_file_is_kept_and_not_fetched_again(server, cache):
    path = fetch(file_of())
    assert path.parent == cache == cache_folder()
    assert path.read_bytes() == CONTENT
    assert fetch(file_of()) == path
    assert server.asked == ["/models/net-0123abcd.pth"]
    assert sorted(p.name for p in cache.iterdir()) == ["net-0123abcd.pth", "net-0123abcd.pth.sha256"]


def test_a_whole_sha256_is_held_too(server):
    assert fetch(file_of(SHA)).read_bytes() == CONTENT


@pytest.mark.parametrize("sha256", ["0" * 8, SHA[:-1] + ("0" if SHA[-1] != "0" else "1")])
def test_another_file_is_refused_and_not_kept(server, cache, sha256):
    with pytest.raises(UsageError, match="is not the published file"):
        fetch(file_of(sha256))
    assert not cache.exists()


def test_a_cut_transfer_is_refused_and_not_kept(server, cache):
    server.cut_short = True
    with pytest.raises(UsageError, match=f"{len(CONTENT) // 2} of {len(CONTENT)} bytes"):
        fetch(file_of())
    assert not cache.exists()
    server.cut_short = False
    assert fetch(file_of()).read_bytes() == CONTENT


def test_too_large_a_file_is_refused(server, cache, monkeypatch):
    monkeypatch.setattr("edgekit.zoo.download.MAX_BYTES", 1000)
    with pytest.raises(UsageError, match="more than 1000 B"):
        fetch(file_of())
    assert not cache.exists()


def test_a_missing_file_is_a_usage_error(server, cache):
    with pytest.raises(UsageError, match="404"):
        fetch(file_of(name="other-0123abcd.pth"))
    assert not cache.exists()


def test_an_unreachable_server_is_a_usage_error(cache, monkeypatch):
    gone = Server()
    gone.close()
    monkeypatch.setenv("EDGEKIT_WEIGHTS_MIRROR", gone.url)
    with pytest.raises(UsageError, match="fetch that file on another machine"):
        fetch(file_of())
    assert not cache.exists()


@pytest.mark.parametrize("mirror", ["file:///tmp", "ftp://127.0.0.1", "no url"])
def test_a_mirror_speaks_http(cache, monkeypatch, mirror):
    monkeypatch.setenv("EDGEKIT_WEIGHTS_MIRROR", mirror)
    with pytest.raises(UsageError, match=r"set EDGEKIT_WEIGHTS_MIRROR to an http\(s\) URL"):
        fetch(file_of())


@pytest.mark.parametrize("sha256", [SHA[:8], ""])
def test_a_copy_that_changed_is_refused(secure_server, sha256):
    secure_server.files["net.h5"] = CONTENT
    file = file_of(sha256, "net.h5")
    path = fetch(file)
    path.write_bytes(CONTENT + b"!")
    with pytest.raises(UsageError, match="has changed since it was fetched"):
        fetch(file)


def test_a_copy_of_unknown_origin_is_refused(secure_server, cache):
    """A file without a published hash that somebody laid into the cache has nothing to be held against."""
    cache.mkdir(parents=True)
    (cache / "net.h5").write_bytes(CONTENT)
    with pytest.raises(UsageError, match="has changed since it was fetched"):
        fetch(file_of("", "net.h5"))


def test_a_file_without_a_published_hash_comes_over_https_alone(server, cache):
    server.files["net.h5"] = CONTENT
    with pytest.raises(UsageError, match="no published sha256 and would come over http"):
        fetch(file_of("", "net.h5"))
    assert not cache.exists()


def test_over_https_a_file_is_noted_when_it_arrives(secure_server):
    secure_server.files["net.h5"] = CONTENT
    path = fetch(file_of("", "net.h5"))
    assert path.with_name("net.h5.sha256").read_text().strip() == SHA


def test_a_server_with_a_certificate_of_its_own_is_refused(secure_server, cache, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    secure_server.files["net.h5"] = CONTENT
    with pytest.raises(UsageError, match="certificate"):
        fetch(file_of("", "net.h5"))
    assert not cache.exists()


def test_imagenet_weights_of_a_mobilenet_end_up_in_the_network(secure_server, tmp_path):
    """The published file's layout and name, with content of our own."""
    keras = pytest.importorskip("keras")
    from keras.src.legacy.saving import legacy_h5_format

    theirs = keras.applications.MobileNet(input_shape=(128, 128, 3), alpha=0.25, weights=None)
    import h5py

    with h5py.File(tmp_path / "made.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, theirs)
    secure_server.files["mobilenet_2_5_128_tf.h5"] = (tmp_path / "made.h5").read_bytes()
    ours = zoo.build("mobilenet_v1_0.25@128", weights="imagenet")
    assert secure_server.asked == ["/models/mobilenet_2_5_128_tf.h5"]
    inputs = np.random.default_rng(0).uniform(-1, 1, (1, 128, 128, 3)).astype(np.float32)
    np.testing.assert_allclose(ours(inputs), theirs(inputs), rtol=1e-5, atol=1e-7)


def test_imagenet_weights_of_a_squeezenet_end_up_in_the_network(server, torch, tmp_path, monkeypatch):
    network = _fresh(parse("squeezenet_1.1", ()), classes=1000, channels=3)
    state = {}
    for layer in network.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            key = layer.name.replace("_", ".")
            state[f"{key}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
            state[f"{key}.bias"] = torch.from_numpy(bias)
    torch.save(state, tmp_path / "made.pth")
    content = (tmp_path / "made.pth").read_bytes()
    # The file is ours, so its sha256 is too: the publisher's is refused first.
    server.files["squeezenet1_1-b8a52dc0.pth"] = content
    with pytest.raises(UsageError, match="published b8a52dc0"):
        zoo.build("squeezenet_1.1", weights="imagenet")
    name = f"squeezenet1_1-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    server.files[name] = content
    monkeypatch.setitem(zoo.published._TORCH_FILES, "squeezenet_1.1", name)
    loaded = zoo.build("squeezenet_1.1", weights="imagenet")
    for ours, theirs in zip(loaded.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shufflenet_v1_1.0x_g3", "give a file of weights, or weights='none'"),
        ("mobilenet_v1_0.6", r"there are weights for mobilenet_v1_0\.25, mobilenet_v1_0\.25@128"),
        ("mobilenet_v2_1.4@96", r"mobilenet_v2_1\.4, or give a file|there are weights for"),
        ("squeezenet_1.1@128", r"there are weights for squeezenet_1\.0, squeezenet_1\.1; or give a file"),
    ],
)
def test_where_nobody_publishes_weights_it_is_said_before_anything_is_fetched(server, name, message):
    with pytest.raises(UsageError, match="nobody publishes ImageNet weights") as caught:
        zoo.build(name, weights="imagenet")
    assert caught.match(message)
    assert server.asked == []


def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "edgekit" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "edgekit" / "weights"
