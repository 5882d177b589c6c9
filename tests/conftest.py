"""Fixtures for all tests."""

pytest_plugins = ["edgekit.testing.adb_fixtures", "edgekit.testing.ssh_fixtures"]
