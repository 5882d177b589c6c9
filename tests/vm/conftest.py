"""One virtual board for all tests here, and one whose time is counted in instructions."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from edgekit.errors import UsageError
from edgekit.runners.transport.ssh import SshTransport
from edgekit.store import Store
from edgekit.targets import Device
from edgekit.testing.vm import VirtualBoard, build, unavailable
from edgekit.testing.vm_chips import Ina219, Ina226, Supply, Tmp102
from edgekit.testing.vm_usb import I2cAdapter, bind

NETWORK = "mobilenet_v1_0.25@64"
RECIPES = ("tflite-fp32", "tflite-int8", "onnx-fp32", "onnx-int8")
INA226, INA219, TMP102 = 0x40, 0x41, 0x48


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


@dataclass
class Wired:
    """What is wired to the virtual board; the kernel is told of all but the INA219 at 0x41."""

    supply: Supply
    monitor: Ina226
    thermometer: Tmp102
    bus: str = "/sys/bus/i2c/devices/i2c-0"


def wired(board):
    supply = Supply()
    chips = Wired(supply, Ina226(supply), Tmp102())
    there = {INA226: chips.monitor, INA219: Ina219(supply), TMP102: chips.thermometer}
    adapter = I2cAdapter(there, board.files.folder)
    adapter.plug_in(board.machine.monitor)
    board.run(bind({"ina226": INA226, "tmp102": TMP102}, bus=chips.bus))
    return adapter, chips


@pytest.fixture(scope="session")
def sensors(vm):
    """A supply through an INA226, and a TMP102, on the virtual board's I2C bus."""
    adapter, chips = wired(vm)
    yield chips
    adapter.close()


@pytest.fixture(scope="session")
def counted_sensors(counted_vm):
    """The same on the board whose time is counted in instructions."""
    adapter, chips = wired(counted_vm)
    yield chips
    adapter.close()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A small network as float and int8 for both runtimes; a few seconds."""
    pytest.importorskip("tensorflow", reason="needs the convert extra: tensorflow")
    from edgekit.convert.preprocess import apply
    from edgekit.zoo import describe

    folder = tmp_path_factory.mktemp("vm")
    rng = np.random.default_rng(5)
    coarse = rng.uniform(0, 255, (16, 8, 8, 3)).repeat(8, 1).repeat(8, 2)
    pixels = np.clip(coarse + rng.normal(0, 20, coarse.shape), 0, 255)
    np.save(folder / "data.npy", apply(pixels, describe(NETWORK).preprocessing).astype(np.float32))
    recipes = [word for recipe in RECIPES for word in ("-r", recipe)]
    edgekit(
        "convert", NETWORK, "--classes", 10, "--tuning", "none", "--calibrate", "data.npy", *recipes,
        "-o", "bundle", cwd=folder,
    )  # fmt: skip
    return folder / "bundle"


def edgekit(*words, cwd, code=0, **environment):
    """Run a command with --json; return its document."""
    done = subprocess.run(
        [sys.executable, "-m", "edgekit.cli.main", *map(str, words), "--json"],
        cwd=cwd, capture_output=True, text=True, timeout=900, check=False, env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == code, (done.stdout[-2000:], done.stderr[-2000:])
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def bench(bundle, tmp_path_factory):
    """Return a bencher: a board and words of the command line -> the document and the records of its runs."""

    def run(board, *words):
        folder = tmp_path_factory.mktemp("bench")
        document = edgekit(
            "bench", bundle, "--device", board.address, "--store", folder / "runs.sqlite", *words,
            cwd=folder, EDGEKIT_SSH_CONFIG=str(board.ssh_config),
        )  # fmt: skip
        assert document["failed"] == []
        with Store.open(folder / "runs.sqlite") as store:
            return document, [store.get(told["id"]) for told in document["runs"]]

    return run
