"""Fixtures for all tests."""

import importlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["edgekit.testing.adb_fixtures", "edgekit.testing.ssh_fixtures"]

# Timing never decides a test, however busy the machine is.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


SHARED = ("adbd", "board", "glibc", "libraries", "programs", "vm", "weights", "wheels")
"""What lies in the cache and is the same for everybody."""


@pytest.fixture(scope="session", autouse=True)
def own_place(tmp_path_factory):
    """Let this machine be a device of this process's own, for others bench on it at the same time."""
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgekit"
    place = tmp_path_factory.mktemp("cache")
    (place / "edgekit").mkdir()
    for name in SHARED:
        (kept / name).mkdir(parents=True, exist_ok=True)
        (place / "edgekit" / name).symlink_to(kept / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(place))
        yield


@pytest.fixture(scope="session")
def torchvision_models():
    """torchvision.models, imported although its compiled operators may not fit this PyTorch.

    The networks need none of those operators; only their registration would fail.
    """
    torch = pytest.importorskip("torch", reason="the torch extra is not installed")
    keep = torch.library.register_fake
    torch.library.register_fake = lambda *_, **__: lambda function: function
    try:
        return importlib.import_module("torchvision.models")
    except ImportError:
        pytest.skip("torchvision is not installed")
    finally:
        torch.library.register_fake = keep


FIRST = ("tests/vm/", "tests/line/", "tests/examples/")
"""What takes minutes begins first, so that nothing long is left for the end."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: next((n for n, part in enumerate(FIRST) if part in item.nodeid), len(FIRST)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests share a process, and so do all of the virtual boards, which take long to start."""
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return FIRST[0] if FIRST[0] in nodeid else super()._split_scope(nodeid)

    config.option.loadscopereorder = False
    return Together(config, log)


def pytest_runtest_logreport(report):
    """Name what fails at once: a suite that is ended from outside prints no summary."""
    if report.failed and hasattr(report, "node"):  # it comes from a worker
        print(f"\nFAILED {report.nodeid}", flush=True)  # noqa: T201
