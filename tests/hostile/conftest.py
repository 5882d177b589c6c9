"""How many inputs the fuzzed tests have had."""

from edgekit.testing.hostile import EXAMPLES


def pytest_terminal_summary(terminalreporter):
    if EXAMPLES:
        terminalreporter.write_line(f"inputs tried: {EXAMPLES.total()}")
