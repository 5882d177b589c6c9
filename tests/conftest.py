"""Fixtures for all tests."""

import importlib

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["edgekit.testing.adb_fixtures", "edgekit.testing.ssh_fixtures"]

# Timing never decides a test, however busy the machine is.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


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
