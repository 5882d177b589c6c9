"""EdgeKit's program on the device: loads an artifact, invokes it, tells what happened as JSON lines.

    python3 edgekit_runner.pyz JOB.json PASS               the protocol is in edgekit/runners/on_device
    python3 edgekit_runner.pyz --import RUNTIME SITE...    prints {"runtime", "version"} or an error line

It is pushed as one file for Python 3.7 or newer, its standard library, and numpy where a runtime brings it.
Exit codes: 0 the pass ended, 1 it broke off and the spool says why, 2 the job or its spool can't be used.
"""
