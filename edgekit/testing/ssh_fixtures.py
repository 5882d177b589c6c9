"""Pytest fixtures for devices over SSH; `pytest_plugins = ["edgekit.testing.ssh_fixtures"]` brings them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgekit.testing.board import Board, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def board() -> Iterator[Board]:
    """Yield one running aarch64 board for the session; its configuration is the one that ssh:// reads.

    Each test that takes it should have the mark `board` and work in a folder of its own there.
    """
    if reason := unavailable():
        pytest.skip(reason)
    with Board() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKIT_SSH_CONFIG", str(running.ssh_config))
        yield running
