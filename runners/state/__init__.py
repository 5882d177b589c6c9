"""Device state that is changed when somebody asks for it, and given back whatever happens.

A `Change` says what is set to which value. `changed` makes them for as long as its `with` statement lasts:

    1. all that is there now is read and held against what is asked for; nothing was written yet
    2. the old values go into a journal on the device, in EdgeKit's own folder there, synced to its storage
    3. a watchdog is started there; it restores everything when the host's heartbeat has stood still too long
    4. the new values are written and read back; where one did not take, all are restored, and it is an error
    5. at the end the old values are written and read back, the watchdog is stopped, the journal removed

What is left by a host that died and a watchdog that died too (a power cut) is restored by `recover`, which
every runner calls before it does anything else. After a reboot only what outlives one is restored, and only
where it still has the value that was set: the rest the boot has set already.
"""

from edgekit.runners.state.change import Change, fixed_performance, screen
from edgekit.runners.state.clocks import Policy, frequency, governor, parse_khz, policies
from edgekit.runners.state.guard import Guard, changed, check
from edgekit.runners.state.recover import forget, recover

__all__ = [
    "Change",
    "Guard",
    "Policy",
    "changed",
    "check",
    "fixed_performance",
    "forget",
    "frequency",
    "governor",
    "parse_khz",
    "policies",
    "recover",
    "screen",
]
