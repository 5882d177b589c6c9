"""The lock: what it names is what EdgeKit brings, and what differs from it is used nowhere."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import UsageError
from edgekit.runners import wheels
from edgekit.runners.elf import read_needs, wheel_needs
from edgekit.runners.glibc import kept as kept_glibc
from edgekit.runners.lock import LOCK, Lock, own_lock
from edgekit.runners.runtime import RUNTIMES, Build
from edgekit.runners.stock import stock
from edgekit.runners.wheels import fetch, kept, requirements

TEXT = LOCK.read_text(encoding="utf-8")


def every_pin():
    for name in RUNTIMES:
        runtime = RUNTIMES.get(name)
        for build in runtime.builds:
            for abi in build.abis:
                for minor in range(build.python[0], build.python[1] + 1):
                    yield from ((pin, minor, abi) for pin in requirements(build, minor))
        for library in runtime.libraries:
            for abi in library.abis:
                yield f"{library.distribution}=={library.version}", library.python, abi


def test_all_that_is_brought_is_locked_and_nothing_else_is():
    locked = {(wheel.pin, wheel.python, wheel.abi) for wheel in own_lock().wheels}
    assert locked == set(every_pin())
    assert len({wheel.file for wheel in own_lock().wheels}) == len(own_lock().wheels)


def test_what_a_runtime_needs_is_the_same_in_its_own_file():
    runtimes = [RUNTIMES.get(name) for name in RUNTIMES]
    for one in [one for runtime in runtimes for one in (*runtime.builds, *runtime.libraries)]:
        for wheel in own_lock().wheels_of(f"{one.distribution}=={one.version}"):
            if wheel.abi in one.abis:
                assert (wheel.glibc, wheel.glibcxx) == (one.glibc, one.glibcxx), wheel.file


def test_the_lock_names_no_address():
    assert "://" not in TEXT
    assert "www" not in TEXT


def test_the_needs_are_those_of_the_wheels_that_are_kept(real_cache):
    looked = 0
    for wheel in own_lock().wheels:
        path = kept(wheel.pin, wheel.python, wheel.abi, real_cache)
        if path is not None and path.name == wheel.file and wheel.glibc is not None:
            needs = wheel_needs(path)
            assert (needs.machine, needs.glibc) == (wheel.abi, wheel.glibc), wheel.file
            looked += 1
    if not looked:
        pytest.skip("no wheel of a runtime is kept here")


def test_the_glibc_is_one_that_the_runtimes_of_phones_load_on(real_cache):
    lock = own_lock()
    for name in RUNTIMES:
        for library in RUNTIMES.get(name).libraries:
            assert library.glibc <= lock.glibc
            assert library.glibcxx <= lock.glibcxx
    for path in kept_glibc(real_cache):
        needs = read_needs(path.read_bytes())
        assert (needs.machine, needs.page_bytes) == ("aarch64", 65536)  # pages of 16 KiB are no trouble
        assert needs.glibc <= lock.glibc


# --- what differs ---------------------------------------------------------------------------------------
TOY = Build(distribution="toy-runtime", version="1.0", python=(7, 20), glibc=(2, 27), abis=("aarch64",))


@pytest.fixture
def lock_of(monkeypatch):
    """Make `wheels` go by a lock that names one wheel."""

    def make(file, sha256):
        row = dataclasses.replace(own_lock().wheels[0], file=file, sha256=sha256)
        lock = dataclasses.replace(own_lock(), wheels=(row,))
        monkeypatch.setattr(wheels, "own_lock", lambda: lock)

    return make


def test_a_wheel_that_is_not_what_was_locked_is_used_nowhere(
    lock_of, make_facts, make_wheel, shelf, tmp_path
):
    made = make_wheel("toy_runtime", tag="cp311-cp311-manylinux_2_34_aarch64", folder=shelf)
    lock_of(made.name, "0" * 64)
    with pytest.raises(
        UsageError, match=r"toy_runtime.* the lock has 000000000000: .* nothing of it was used"
    ):
        fetch(TOY, make_facts(), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_wheel_of_another_name_is_not_what_was_locked(lock_of, make_facts, make_wheel, shelf, tmp_path):
    made = make_wheel("toy_runtime", tag="cp311-cp311-manylinux_2_34_aarch64", folder=shelf)
    lock_of(made.name.replace("2_34", "2_31"), "0" * 64)
    with pytest.raises(UsageError, match="the lock has no such file"):
        fetch(TOY, make_facts(), tmp_path / "cache")


def test_what_was_kept_before_is_held_to_the_lock_too(lock_of, make_facts, make_wheel, shelf, tmp_path):
    made = make_wheel("toy_runtime", tag="cp311-cp311-manylinux_2_34_aarch64", folder=shelf)
    (wheel,) = fetch(TOY, make_facts(), tmp_path / "cache")
    lock_of(made.name, wheel.parent.name)
    assert kept("toy-runtime==1.0", 11, "aarch64", tmp_path / "cache") == wheel
    lock_of(made.name, "0" * 64)
    assert kept("toy-runtime==1.0", 11, "aarch64", tmp_path / "cache") is None


@pytest.mark.parametrize(
    "change",
    [
        ("[glibc]", "[libc]"),
        ('version = "2.36"', 'version = "new"'),
        ('name = "libc.so.6"', 'name = "../libc.so.6"'),
        ("bytes = 1004648", "size = 1004648"),
        ("91936cbb", "91936CBB"),
        ("wheels = [", "wheels = ]"),
        ('file = "ai_edge_litert', 'file = "/ai_edge_litert'),
    ],
    ids=lambda change: change[1],
)
def test_a_lock_that_can_not_be_one_is_refused(change):
    assert change[0] in TEXT
    with pytest.raises(UsageError, match=r"runtimes\.lock can't be read"):
        Lock.read(TEXT.replace(*change, 1))


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text):
    with pytest.raises(UsageError):
        Lock.read(text)


def test_the_stock_tells_each_thing_once(tmp_path):
    items = stock(tmp_path / "wheels")
    assert {(item.pin, item.python, item.abi) for item in items[1:]} == set(every_pin())
    assert len(items) == 1 + len(set(every_pin()))
    assert not any(item.bytes or item.to_json()["kept"] for item in items)
