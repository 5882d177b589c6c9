"""Fixtures for all tests."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["edgekit.testing.adb_fixtures", "edgekit.testing.ssh_fixtures"]

# Timing never decides a test, however busy the machine is.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
