"""`edgekit runtimes`: filled with a network, used without one."""

import json
import os
import shutil
from pathlib import Path

import pytest

from edgekit.errors import UsageError
from edgekit.runners import native, phone
from edgekit.runners.choice import decide
from edgekit.runners.facts import read_facts
from edgekit.runners.runtime import RUNTIMES
from edgekit.runners.stock import ABIS, GLIBC, bring, everything, select
from edgekit.runners.wheels import cache_folder

OWN_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A cache with nothing in it, and no glibc of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(phone.FOLDER, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def cut_off(monkeypatch):
    """Cut this process and what it starts off every network that pip and apt could use."""

    def cut():
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        for name in ("no_proxy", "NO_PROXY", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
        monkeypatch.setenv("PIP_RETRIES", "0")
        monkeypatch.setenv("PATH", "/nowhere")

    return cut


@pytest.mark.parametrize(
    ("names", "options", "wanted"),
    [
        ((), {}, [(GLIBC, 0, "aarch64"), ("ai-edge-litert==2.1.0", 11, "aarch64"),
                  ("onnxruntime==1.32.0", 11, "aarch64"), ("onnxruntime==1.32.0", 11, "x86_64")]),
        ((), {"abis": ["x86_64"]}, [("onnxruntime==1.32.0", 11, "x86_64")]),
        (("glibc",), {}, [(GLIBC, 0, "aarch64")]),
        (("litert",), {"abis": ["aarch64"], "phones": False}, [("ai-edge-litert==2.1.0", 11, "aarch64")]),
        (("onnxruntime==1.23.2",), {"abis": ["aarch64"], "pythons": [12]},
         [("onnxruntime==1.23.2", 12, "aarch64"), ("numpy==2.4.6", 12, "aarch64")]),
        (("litert",), {"abis": ["armv7l"], "pythons": [11]}, [("tflite-runtime==2.14.0", 11, "armv7l")]),
    ],
)  # fmt: skip
def test_what_devices_need_is_what_is_fetched(names, options, wanted):
    assert sorted(select(names, **options)) == sorted(wanted)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["onnxruntim"], "unknown runtime 'onnxruntim': did you mean 'onnxruntime'?"),
        (["onnxruntime==1.23"], "unknown release of onnxruntime '1.23': did you mean '1.23.2'?"),
        (["onnxruntime==1.23.2"], "runs without a Python: say which Python the devices have"),
        (["-t", "beaglebone-black"], "runs without a Python"),
        (["-t", "no-such-board"], "unknown target"),
        (["--python", "2.7"], "--python '2.7' is no Python 3"),
        (["--all", "litert"], "--all leaves nothing to choose"),
        (["--from", "/no/such/folder"], "is no folder"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_the_next_step(call, empty, words, said):
    code, out, err = call("runtimes", "fetch", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert not empty.exists()


def test_everything_is_what_the_lock_names():
    assert everything()[0] == (GLIBC, 0, "aarch64")
    assert len(everything()) == len(set(everything())) > 50
    assert {abi for _, _, abi in everything()} == set(ABIS)


def test_an_empty_cache_lists_what_is_missing(call, empty):
    code, out, _ = call("runtimes", "list", "--json")
    items = json.loads(out)["items"]
    assert code == 0
    assert not any(item["kept"] for item in items)
    assert {item["name"] for item in items} == {
        "glibc",
        "ai-edge-litert",
        "tflite-runtime",
        "onnxruntime",
        "numpy",
    }
    code, out, _ = call("runtimes", "list")
    assert (code, "missing" in out, str(empty) in out) == (0, True, True)
    assert call("runtimes", "list", "--kept")[1].startswith("Runtimes\nnone\n")


def test_cut_off_and_empty_it_says_so_and_what_to_do(call, empty, cut_off):
    cut_off()
    code, out, err = call("runtimes", "fetch", "glibc")
    assert (code, out) == (2, "")
    assert "no apt to fetch a glibc with" in err
    code, out, err = call("runtimes", "fetch", "litert", "-t", "raspberry-pi-5")
    assert (code, out) == (2, "")
    assert "ai-edge-litert==2.1.0 for Python 3.11 on aarch64 can't be downloaded" in err
    assert not (empty / "edgekit" / "wheels" / "index").exists()


def test_once_filled_a_phone_needs_no_network(call, empty, cut_off):
    """What is fetched with a network (or is kept from before) is all that a phone needs without one."""
    for name in ("wheels", "glibc"):
        if (OWN_CACHE / "edgekit" / name).is_dir():
            shutil.copytree(OWN_CACHE / "edgekit" / name, empty / "edgekit" / name)
    code, out, err = call("runtimes", "fetch", "-t", "pixel-8", "--json")
    if code:
        pytest.skip(f"the runtimes can't be fetched here: {err.splitlines()[-1]}")
    names = [(item["name"], item["abi"]) for item in json.loads(out)["items"]]
    assert sorted(names) == [("ai-edge-litert", "aarch64"), ("glibc", "aarch64"), ("onnxruntime", "aarch64")]
    cut_off()
    code, out, _ = call("runtimes", "fetch", "-t", "pixel-8")
    assert (code, out.split(",")[:2]) == (0, ["0 fetched", " 3 kept before"])
    if native.native_program("aarch64") is None:
        pytest.skip("the native program is not built here")
    facts = read_facts(
        b"edgekit-facts 1\nmachine\taarch64\nsystem\tLinux\nro.build.version.release\t14\nend\n",
        scheme="adb", address="adb://phone",
    )  # fmt: skip
    assert len(phone.parts()) == len(phone.PARTS)
    for name in ("litert", "onnxruntime"):
        choice = decide(RUNTIMES.get(name), facts)
        assert choice.through_glibc
        assert native.fetch_library(choice.brings, choice.facts).is_file()


def test_a_folder_does_instead_of_a_network(empty, cut_off, tmp_path):
    source = tmp_path / "stick"
    source.mkdir()
    cut_off()
    wanted = ("ai-edge-litert==2.1.0", 11, "aarch64")
    with pytest.raises(UsageError, match="can't be downloaded"):
        bring(wanted, source=source)
    kept = next((OWN_CACHE / "edgekit" / "wheels").glob("*/ai_edge_litert-2.1.0-cp311-*aarch64.whl"), None)
    if kept is None:
        pytest.skip("the wheel is not kept here")
    shutil.copy(kept, source)
    item, fresh = bring(wanted, source=source)
    assert (fresh, item.bytes, item.sha256) == (True, kept.stat().st_size, kept.parent.name)
    assert cache_folder().is_relative_to(empty)
    assert bring(wanted)[1] is False
