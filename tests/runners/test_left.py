"""What lies on a device, told by what it is; a part of it removed, and nothing else."""

from pathlib import Path

import pytest

from edgekit.errors import UnknownNameError
from edgekit.runners import left
from edgekit.runners.lock import own_lock
from edgekit.runners.transport.command import CommandResult

LIBC = own_lock().parts[1]


@pytest.fixture
def device(local):
    """A device with two releases of one runtime, one by its library and one by its wheels, and more."""
    root = Path(local.root())
    for name in (
        "store/1111/libonnxruntime.so.1.32.0", f"store/{LIBC.sha256}/libc.so.6",
        "store/2222/edgekit_runner-aarch64",
        "store/3333/tflite-int8.tflite", "store/4444/libLiteRt.so.2.1.0", "runs/run-0001/latency.jsonl",
        "site/aaaa/onnxruntime-1.23.2.dist-info/RECORD", "site/aaaa/numpy-2.4.6.dist-info/RECORD",
        "site/bbbb/ai_edge_litert-2.3.0.dist-info/RECORD", "site/cccc/.edgekit", "state/journal",
    ):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes(9000))
    return local


def test_everything_is_told_by_what_it_is(device):
    found = left.look(device)
    assert [(one.what, one.version) for one in found] == [
        ("ai-edge-litert", "2.1.0"), ("ai-edge-litert", "2.3.0"), ("file", ""), ("glibc", "2.36"),
        ("onnxruntime", "1.23.2"), ("onnxruntime", "1.32.0"), ("program", ""), ("run", ""), ("trial", ""),
    ]  # fmt: skip
    assert all(one.bytes >= 9000 for one in found)
    assert len([path for one in found for path in one.paths]) == 9


def test_nothing_there_is_nothing(local):
    assert left.look(local) == ()
    assert not Path(local.root()).exists()


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("onnxruntime", ["site/aaaa", "store/1111"]),
        ("onnxruntime==1.23.2", ["site/aaaa"]),
        ("glibc", [f"store/{LIBC.sha256}"]),
        ("run", ["runs/run-0001"]),
    ],
)
def test_a_part_is_removed_and_nothing_else(device, name, gone):
    root = Path(device.root())
    before = {str(path.relative_to(root)) for path in root.glob("*/*")}
    left.remove(device, left.only(left.look(device), name))
    assert before - {str(path.relative_to(root)) for path in root.glob("*/*")} == set(gone)


@pytest.mark.parametrize("name", ["onnxruntim", "onnxruntime==9.9", "state", "../.."])
def test_what_is_not_there_is_refused(device, name):
    with pytest.raises(UnknownNameError):
        left.only(left.look(device), name)


@pytest.mark.parametrize(
    "line",
    [
        "8\tstore/..\t",
        "8\tstore/.\t",
        "8\tstore/../../etc\tx",
        "8\tstore/a/b\tx",
        "8\t/etc\tx",
        "-8\tstore/a\t",
        "٨\tstore/a\tx",
        "8 store/a x",
        "8\tstate/a\t",
    ],
)
def test_a_device_can_name_nothing_outside_of_the_folder(local, monkeypatch, line):
    told = f"{line}\n8\tstore/fine\t\n".encode()
    answer = CommandResult(argv=("sh",), exit_code=0, stdout=told, stderr=b"", duration_s=0.1)
    monkeypatch.setattr(type(local), "check", lambda *_, **__: answer)
    paths = [path for one in left.look(local) for path in one.paths]
    assert paths == ["store/fine"]
