"""Which wheels a device gets, and how they come to the host."""

import re
import subprocess
import sys

import pytest

from edgekit.errors import DeviceUnfitError, UsageError
from edgekit.runners.runtime import RUNTIMES, Build, Runtime
from edgekit.runners.wheels import check_needs, choose, fetch, platforms, requirements, site_name

LITERT, ORT = "litert", "onnxruntime"
NEW, DEBIAN_11, UBUNTU_18 = ("2.36", 30), ("2.31", 28), ("2.27", 25)
# runtime, machine, Python minor, (glibc, N of libstdc++.so.6.0.N) -> distribution and version
TABLE = [
    (LITERT, "aarch64", 14, NEW, "ai-edge-litert 2.3.0"),
    (LITERT, "aarch64", 11, NEW, "ai-edge-litert 2.3.0"),
    (LITERT, "aarch64", 10, NEW, "ai-edge-litert 2.3.0"),
    (LITERT, "aarch64", 10, ("2.35", 29), "ai-edge-litert 2.1.0"),
    (LITERT, "aarch64", 11, DEBIAN_11, "ai-edge-litert 2.1.0"),
    (LITERT, "aarch64", 9, NEW, "ai-edge-litert 2.1.0"),
    (LITERT, "aarch64", 9, DEBIAN_11, "ai-edge-litert 2.1.0"),
    (LITERT, "aarch64", 9, ("2.28", 25), "tflite-runtime 2.14.0"),
    (LITERT, "aarch64", 8, DEBIAN_11, "tflite-runtime 2.14.0"),
    (LITERT, "aarch64", 8, UBUNTU_18, "tflite-runtime 2.14.0"),
    (LITERT, "aarch64", 7, ("2.28", 25), "tflite-runtime 2.11.0"),
    (LITERT, "armv7l", 11, NEW, "tflite-runtime 2.14.0"),
    (LITERT, "armv7l", 9, DEBIAN_11, "tflite-runtime 2.14.0"),
    (LITERT, "armv7l", 7, ("2.28", 25), "tflite-runtime 2.11.0"),
    (LITERT, "x86_64", 13, NEW, "ai-edge-litert 2.3.0"),
    (LITERT, "x86_64", 11, DEBIAN_11, "ai-edge-litert 2.3.0"),
    (LITERT, "x86_64", 9, UBUNTU_18, "ai-edge-litert 2.1.0"),
    (LITERT, "x86_64", 8, NEW, "tflite-runtime 2.14.0"),
    (ORT, "aarch64", 14, NEW, "onnxruntime 1.32.0"),
    (ORT, "aarch64", 11, DEBIAN_11, "onnxruntime 1.32.0"),
    (ORT, "aarch64", 11, UBUNTU_18, "onnxruntime 1.23.2"),
    (ORT, "aarch64", 10, NEW, "onnxruntime 1.23.2"),
    (ORT, "aarch64", 9, DEBIAN_11, "onnxruntime 1.19.2"),
    (ORT, "aarch64", 8, UBUNTU_18, "onnxruntime 1.19.2"),
    (ORT, "aarch64", 7, ("2.28", 25), "onnxruntime 1.14.1"),
    (ORT, "x86_64", 11, NEW, "onnxruntime 1.32.0"),
    (ORT, "x86_64", 8, NEW, "onnxruntime 1.19.2"),
    # what can't be: the refusal says what is missing
    (LITERT, "aarch64", 14, DEBIAN_11, "needs glibc 2.34, the device has glibc 2.31"),
    (LITERT, "aarch64", 11, ("2.24", 22), "needs glibc 2.27, the device has glibc 2.24"),
    (LITERT, "aarch64", 11, ("2.36", 0), "needs libstdc++.so.6, the device has none"),
    (ORT, "aarch64", 11, ("2.36", 20), "needs GLIBCXX_3.4.22, the device has GLIBCXX_3.4.20"),
    (LITERT, "armv7l", 13, NEW, "no build for Python 3.13 on armv7l"),
    (ORT, "armv7l", 11, NEW, "no build for armv7l"),
    (LITERT, "riscv64", 11, NEW, "no build for riscv64"),
    (LITERT, "aarch64", 6, NEW, "Python 3.6 there is too old"),
    (LITERT, "x86_64", 7, NEW, "no build for Python 3.7 on x86_64"),
    ("coreml", "aarch64", 11, NEW, "Apple devices only"),
]
TRIPLES = {"aarch64": "aarch64-linux-gnu", "armv7l": "arm-linux-gnueabihf", "x86_64": "x86_64-linux-gnu"}


@pytest.fixture
def board(make_facts):
    def make(abi, minor, system=NEW):
        word_size = 32 if abi == "armv7l" else 64
        place = f"/usr/lib/{TRIPLES.get(abi, 'any')}/libstdc++.so.6.0.{system[1]}"
        return make_facts(
            machine=abi,
            libc=f"glibc {system[0]}",
            libstdcxx=place if system[1] else None,
            python=f"/usr/bin/python3\t3.{minor}\t{word_size}\t{'ok' if minor > 6 else 'old'}",
        )

    return make


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]}-{row[1]}-3.{row[2]}-{row[3][0]}")
def test_every_board_gets_its_build_or_is_told_why_not(board, row):
    runtime, abi, minor, system, expected = row
    if re.fullmatch(r"[a-z-]+ [\d.]+", expected):
        build = choose(RUNTIMES.get(runtime), board(abi, minor, system))
        assert f"{build.distribution} {build.version}" == expected
    else:
        with pytest.raises(DeviceUnfitError, match=re.escape(expected)) as caught:
            choose(RUNTIMES.get(runtime), board(abi, minor, system), device="ssh://board")
        assert str(caught.value).startswith("ssh://board: ")
        assert caught.value.hint


def test_no_python_and_no_glibc_are_said(make_facts):
    with pytest.raises(DeviceUnfitError, match="no Python there"):
        choose(RUNTIMES.get(LITERT), make_facts(python=None))
    with pytest.raises(DeviceUnfitError, match="has musl"):
        choose(RUNTIMES.get(LITERT), make_facts(libc="musl"))


def test_a_phone_is_told_of_phones(make_facts):
    phone = make_facts(python=None, **{"ro.build.version.release": "14"})
    with pytest.raises(
        DeviceUnfitError, match="no Python there: on an aarch64 phone the native program needs none"
    ):
        choose(RUNTIMES.get(LITERT), phone)


def test_the_null_runtime_brings_nothing(make_facts):
    with pytest.raises(UsageError, match="brings nothing along"):
        choose(RUNTIMES.get("null"), make_facts())


@pytest.mark.parametrize("name", [LITERT, ORT])
def test_every_build_has_one_numpy_for_every_python(name):
    for build in RUNTIMES.get(name).builds:
        for minor in range(build.python[0], build.python[1] + 1):
            pins = requirements(build, minor)
            numpy = [pin for pin in pins if pin.startswith("numpy==")]
            assert len(pins) == 1 + len(numpy)
            assert len(numpy) == (0 if build.abis == ("armv7l",) else 1)
            if build.distribution == "tflite-runtime":
                assert all(pin.startswith("numpy==1.") for pin in numpy)


def test_tags_are_all_named_the_device_s_own_first():
    tags = platforms("aarch64", (2, 31))
    assert tags[:3] == ("manylinux_2_31_aarch64", "manylinux_2_30_aarch64", "manylinux_2_29_aarch64")
    assert tags.index("manylinux_2_17_aarch64") < tags.index("manylinux_2_32_aarch64")
    assert {"manylinux_2_34_aarch64", "manylinux2014_aarch64"} <= set(tags)
    assert len(set(tags)) == len(tags)


# --- bringing them to the host, from an index that is a folder ---------------------------------------
TOY = Build(distribution="toy-runtime", version="1.0", python=(7, 20), glibc=(2, 27), abis=("aarch64",))


def test_what_was_fetched_once_needs_no_network(board, shelf, tmp_path, make_wheel):
    made = make_wheel("toy_runtime", tag="cp311-cp311-manylinux_2_34_aarch64", folder=shelf)
    facts, cache = board("aarch64", 11, DEBIAN_11), tmp_path / "cache"
    (first,) = fetch(TOY, facts, cache)
    made.unlink()
    assert fetch(TOY, facts, cache) == (first,)
    assert first.parent.parent == cache
    assert not list(cache.rglob("*.part"))


def test_of_two_wheels_the_one_for_the_device_s_glibc_is_taken(board, shelf, tmp_path, make_wheel):
    for tag in ("manylinux_2_17", "manylinux_2_28", "manylinux_2_39"):
        make_wheel("toy_runtime", tag=f"cp311-cp311-{tag}_aarch64", folder=shelf)
    (wheel,) = fetch(TOY, board("aarch64", 11, DEBIAN_11), tmp_path / "cache")
    assert "manylinux_2_28" in wheel.name


def test_a_kept_wheel_that_was_changed_is_fetched_again(board, shelf, tmp_path, make_wheel):
    make_wheel("toy_runtime", folder=shelf)
    facts, cache = board("aarch64", 11), tmp_path / "cache"
    (wheel,) = fetch(TOY, facts, cache)
    whole = wheel.read_bytes()
    wheel.write_bytes(whole[:-7])
    assert fetch(TOY, facts, cache) == (wheel,)
    assert wheel.read_bytes() == whole


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"name": 3, "sha256": 4}', '{"name": "x", "sha256": "../../etc"}']
)
def test_a_broken_index_is_made_again(board, shelf, tmp_path, make_wheel, text):
    make_wheel("toy_runtime", folder=shelf)
    facts, cache = board("aarch64", 11), tmp_path / "cache"
    fetch(TOY, facts, cache)
    (index,) = (cache / "index").iterdir()
    index.write_text(text)
    assert fetch(TOY, facts, cache)[0].is_file()
    assert "sha256" in index.read_text()


def test_what_can_not_be_had_ends_with_the_next_step(board, shelf, tmp_path):
    with pytest.raises(
        UsageError, match=r"toy-runtime==1\.0 for Python 3\.11 on aarch64 can't be downloaded: .*: connect"
    ):
        fetch(TOY, board("aarch64", 11), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_without_pip_the_next_step_is_to_install_it(board, tmp_path, monkeypatch):
    bare = tmp_path / "python"
    bare.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.exit(\\"No module named pip\\")"\n'
    )
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(UsageError, match="ensurepip"):
        fetch(TOY, board("aarch64", 11), tmp_path / "cache")


def test_the_needs_of_real_libraries_are_held_against_the_device(board, make_wheel):
    library = next(
        iter(sorted(__import__("pathlib").Path(__import__("numpy").__file__).parent.glob("_core/*.so")))
    )
    wheel = make_wheel(files=[("toy.so", library.read_bytes())])
    machine = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()
    check_needs([wheel], board(machine, 11, ("2.99", 99)), device="ssh://board")
    with pytest.raises(
        DeviceUnfitError, match=r"^ssh://board: toy.* needs glibc 2\.\d+, the device has glibc 2\.1"
    ):
        check_needs([wheel], board(machine, 11, ("2.1", 99)), device="ssh://board")
    other = "aarch64" if machine != "aarch64" else "x86_64"
    with pytest.raises(DeviceUnfitError, match=f"is for {machine}, the device is {other}"):
        check_needs([wheel], board(other, 11), device="ssh://board")


def test_a_set_of_wheels_has_a_name_of_its_own(make_wheel):
    one, two = make_wheel("one"), make_wheel("two")
    assert site_name([one, two]) == site_name([two, one]) != site_name([one])


def test_a_runtime_that_refuses_says_why(make_facts):
    refusing = Runtime(name="x", formats=(), refuses="not today")
    with pytest.raises(DeviceUnfitError, match="not today"):
        choose(refusing, make_facts())
