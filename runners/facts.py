"""What a device is, read in one round trip by a script that any POSIX sh runs.

    edgekit-facts 1
    KEY <tab> VALUE            one a line; a key may come again
    end

The answer is data: bounded, and whatever does not read so is a ProtocolError.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from edgekit.errors import ProtocolError
from edgekit.runners.facts_script import SCRIPT, core_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgekit.runners.transport import Transport

_MAX_BYTES = 256 << 10
_MAX_CPUS = 1024
_MAX_TEXT = 256
_TIMEOUT_S = 60.0
_TRIPLES = {"aarch64": "aarch64-linux-gnu", "armv7l": "arm-linux-gnueabihf", "x86_64": "x86_64-linux-gnu"}
_NARROW = {"aarch64": "armv7l", "armv8l": "armv7l", "x86_64": "i686"}
_VECTOR = ("sse", "ssse", "avx", "fma", "f16c", "amx")
_ARM = ("aarch64", "armv7l", "armv8l")
# All that QEMU's performance counters can count, by the kernel's names (its target/arm/helper.c, pm_events).
_QEMU_COUNTS = {"sw_incr", "inst_retired", "cpu_cycles", "stall_frontend", "stall_backend", "stall"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Cores of one kind.

    Attributes:
        cpus: their numbers, rising.
        name: the core's.
        max_khz: the highest clock, or None.
        capacity: what one of them does, as the kernel's scheduler counts it: 1024 is the fastest core there;
            or None.
    """

    cpus: tuple[int, ...]
    name: str
    max_khz: int | None
    capacity: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a device said of itself; "" or None is what it did not say.

    Attributes:
        machine: the kernel's processor, in uname's words.
        abi: the userland's: "armv7l" for 32 bits on a 64-bit ARM kernel, else `machine`.
        system: "linux", "android" or "darwin".
        kernel: its release.
        model: the product's name.
        soc: the chip's name.
        board: the board's name.
        libc: "glibc 2.36", "musl" or "".
        libstdcxx: the N of libstdc++.so.6.0.N there; 0 when none was found.
        python: absolute path of a Python 3 there, the first that will do, or "".
        python_version: its (major, minor), or None.
        cpus: (name, highest clock in MHz or None) of every core, in the kernel's order.
        features: the kernel's words for what the first core's instruction set has; on x86 the vector ones.
        memory_bytes: of main memory; 0 when unknown.
        free_bytes: where EdgeKit's folder is or will be; 0 when unknown.
        emulated: "", or what pretends to be the device: "qemu-user", "qemu-tcg", "qemu-icount" (whose clock
            counts instructions), "android-emulator", "fake".
        transport: how it was reached.
        clusters: its cores by kind, the slowest first; empty when it does not tell its cores.
        page_size: bytes of a page of memory; 0 when unknown.
        selinux: "enforcing", "permissive", "disabled", or "" when it does not say.
    """

    machine: str
    abi: str
    system: str
    kernel: str
    model: str
    soc: str
    board: str
    libc: str
    libstdcxx: int
    python: str
    python_version: tuple[int, int] | None
    cpus: tuple[tuple[str, int | None], ...]
    features: tuple[str, ...]
    memory_bytes: int
    free_bytes: int
    emulated: str
    transport: str
    clusters: tuple[Cluster, ...] = ()
    page_size: int = 0
    selinux: str = ""

    @property
    def glibc(self) -> tuple[int, int] | None:
        """The version of its glibc, or None when it has another libc."""
        match = re.fullmatch(r"glibc (\d+)\.(\d+)", self.libc)
        return (int(match[1]), int(match[2])) if match else None

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON's types."""
        return asdict(self)

    def match(self) -> dict[str, str]:
        """Return the facts that `edgekit.targets.match_target` goes by."""
        system = {"darwin": "macos"}.get(self.system, self.system)
        return {
            "model": self.model,
            "soc": self.soc,
            "board": self.board,
            "os": system,
            "abi": self.abi,
            "transport": self.transport,
        }


def inspect(transport: Transport, *, memory: Literal["", "use", "renew"] = "") -> Facts:
    """Ask a device what it is, in one round trip.

    Args:
        transport: an open way to it.
        memory: what to do about the part that lasts until its next start: "" asks, and writes nothing there;
            "use" takes what it remembers in EdgeKit's folder; "renew" asks, and lets it remember.

    Raises:
        ProtocolError: its answer can't be read.
        DeviceError: it does not answer.
    """
    device = transport.device
    answer = transport.run(facts_argv(transport, memory), timeout_s=_TIMEOUT_S).stdout
    return read_facts(answer, scheme=device.scheme, address=device.address)


def facts_argv(transport: Transport, memory: Literal["", "use", "renew"]) -> list[str]:
    """Return the command that `inspect` runs, for who sends it along with others."""
    return ["sh", "-c", SCRIPT, "sh", transport.known_root(), memory]


def read_facts(answer: bytes, *, scheme: str, address: str) -> Facts:
    """Return the facts that the script's output tells.

    Args:
        answer: what the script printed.
        scheme: the transport's name.
        address: the device's, for messages.

    Raises:
        ProtocolError: it is not that script's whole output, or out of bounds.
    """
    told = _table(answer, address)
    machine = _first(told, "machine")
    if not machine:
        raise _garbled(address, "it names no machine", answer)
    python, version, bits = _python(told)
    abi = machine
    if (bits or _first(told, "bits")) == "32":
        abi = _NARROW.get(machine, machine)
    names = told["compatible"]
    return Facts(
        machine=machine,
        abi=abi,
        system=_system(told),
        kernel=_first(told, "kernel"),
        model=_first(told, "ro.product.model") or _first(told, "model") or _first(told, "product_name"),
        soc=_first(told, "ro.soc.model") or (names[-1] if names else ""),
        board=_first(told, "ro.product.device") or (names[0] if names else "") or _first(told, "board_name"),
        libc=_libc(told),
        libstdcxx=_libstdcxx(told, abi),
        python=python,
        python_version=version,
        cpus=_cpus(told),
        features=_features(told),
        memory_bytes=_number(told, "memory_kib") * 1024,
        free_bytes=_number(told, "free_kib") * 1024,
        emulated=_emulated(told, machine, scheme),
        transport=scheme,
        clusters=_clusters(told),
        page_size=_number(told, "page_size") or _number(told, "page_kib") * 1024,
        selinux=_selinux(told),
    )


_Told = defaultdict[str, list[str]]


def _table(answer: bytes, address: str) -> _Told:
    text = answer.decode("utf-8", "replace").replace("\r\n", "\n")
    lines = text.splitlines()
    if len(answer) > _MAX_BYTES:
        raise _garbled(address, f"it is {len(answer)} bytes long", answer)
    if len(lines) < 2 or lines[0] != "edgekit-facts 1" or lines[-1] != "end":  # noqa: PLR2004
        raise _garbled(address, "it is not whole", answer)
    told: _Told = defaultdict(list)
    for line in lines[1:-1]:
        key, found, value = line.partition("\t")
        if not found:
            raise _garbled(address, f"it holds {line[:40]!r}", answer)
        told[key].append("".join(c for c in value if c.isprintable() or c == "\t").strip())
    return told


def _garbled(address: str, why: str, answer: bytes) -> ProtocolError:
    return ProtocolError(
        f"{address}: the device's answer to what it is can't be read: {why}",
        hint="look whether its login prints something or its shell is no POSIX sh",
        evidence=answer[-500:].decode("utf-8", "replace"),
    )


def _first(told: Mapping[str, list[str]], key: str, *, limit: int = _MAX_TEXT) -> str:
    return next((value[:limit].replace("\t", " ") for value in told.get(key, ()) if value), "")


def _number(told: _Told, key: str) -> int:
    text = _first(told, key)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0  # noqa: PLR2004


def _system(told: _Told) -> str:
    if _first(told, "ro.build.version.release"):
        return "android"
    return _first(told, "system").lower()


def _selinux(told: _Told) -> str:
    word = _first(told, "selinux").lower()
    if word in {"enforcing", "permissive", "disabled"}:
        return word
    return {"1": "enforcing", "0": "permissive"}.get(_first(told, "selinux_enforce"), "")


def _python(told: _Told) -> tuple[str, tuple[int, int] | None, str]:
    """Return path, version and word size of the first Python that will do, or of the first at all."""
    found = [match for line in told["python"] if (match := re.fullmatch(_PYTHON, line))]
    best = next((match for match in found if match[5] == "ok"), found[0] if found else None)
    if best is None:
        return "", None, ""
    return best[1], (int(best[2]), int(best[3])), best[4]


_PYTHON = r"(/[^\t]{1,200})\t(\d{1,2})\.(\d{1,3})\t(32|64)\t(ok|short|old)"


def _libc(told: _Told) -> str:
    for text in told["libc"]:
        if match := re.search(r"(?i)(?:glibc|gnu libc)\D*(\d{1,2}\.\d{1,3})", text):
            return f"glibc {match[1]}"
    return "musl" if any("musl" in text for text in told["libc"]) else ""


def _libstdcxx(told: _Told, abi: str) -> int:
    own, best = _TRIPLES.get(abi, ""), 0
    for path in told["libstdcxx"]:
        match = re.search(r"libstdc\+\+\.so\.6\.0\.(\d{1,3})$", path)
        foreign = any(triple in path for triple in _TRIPLES.values() if triple != own) or "i386-linux" in path
        if match and not foreign:
            best = max(best, int(match[1]))
    return best


def _features(told: _Told) -> tuple[str, ...]:
    words = _first(told, "features", limit=_MAX_BYTES).split()
    return tuple(word for word in words if "sse" not in words or word.startswith(_VECTOR))


def _cpus(told: _Told) -> tuple[tuple[str, int | None], ...]:
    """Return name and clock (MHz) of each core."""
    return tuple((name, khz and khz // 1000) for _, name, khz in _cores(told))


def _clusters(told: _Told) -> tuple[Cluster, ...]:
    """Return the cores by kind: of one name, one highest clock, and one capacity."""
    capacities = _by_cpu(told, "capacity")
    groups: dict[tuple[int, int, str], list[int]] = {}
    for number, name, khz in _cores(told):
        if number.isascii() and number.isdigit() and len(number) < len(str(_MAX_CPUS)):
            groups.setdefault((capacities.get(number, 0), khz or 0, name), []).append(int(number))
    return tuple(
        Cluster(cpus=tuple(sorted(groups[key])), name=key[2], max_khz=key[1] or None, capacity=key[0] or None)
        for key in sorted(groups)
    )


def _by_cpu(told: _Told, key: str) -> dict[str, int]:
    """Return the numbers that lines of "CPU NUMBER" tell, by the CPU's number."""
    pairs = (line.partition(" ")[::2] for line in told[key][:_MAX_CPUS])
    return {cpu: int(text) for cpu, text in pairs if text.isascii() and text.isdigit() and len(text) < 10}  # noqa: PLR2004


def _cores(told: _Told) -> list[tuple[str, str, int | None]]:
    """Return number, name and clock (kHz) of each core: by /proc/cpuinfo, in its order, and by cpufreq."""
    clocks = _by_cpu(told, "max_khz")
    found: list[tuple[str, str, int | None]] = []
    number, name, implementer = "", "", ""
    for line in [*told["cpuinfo"][: 4 * _MAX_CPUS], "processor:end"]:
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "processor":
            if number:
                found.append((number, name, clocks.get(number)))
            number, name, implementer = value, "", ""
        elif key == "CPU implementer":
            implementer = value
        elif key == "CPU part":
            name = core_name(implementer, value)
        elif key == "model name" and not name:
            name = value
    return found


def _emulated(told: _Told, machine: str, scheme: str) -> str:
    """Return what pretends to be this device.

    Under qemu-user a process's /proc/PID/exe, read by another process, is QEMU itself, and the host's
    kernel names another architecture than uname does. A machine of QEMU's has its firmware interface or
    its dummy board's name; an x86 one may be real hardware virtualized, so it goes by its processor.
    """
    if scheme == "fake":
        return "fake"
    kernel_arch = _first(told, "kernel_arch")
    if "/qemu-" in _first(told, "exe") or (kernel_arch.startswith(("x86", "i386")) and machine in _ARM):
        return "qemu-user"
    if _first(told, "ro.kernel.qemu") == "1" or _first(told, "ro.hardware") in {"ranchu", "goldfish"}:
        return "android-emulator"
    cpu_names = [line for line in told["cpuinfo"] if line.startswith("model name")]
    signs = [*told["compatible"], _first(told, "sys_vendor"), *(["qemu"] if told["qemu"] else [])]
    if machine in _ARM and any(re.search("qemu|dummy-virt", sign, re.IGNORECASE) for sign in signs):
        counts = set(told["counts"])
        return "qemu-icount" if "inst_retired" in counts <= _QEMU_COUNTS else "qemu-tcg"
    return "qemu-tcg" if any("QEMU" in name or "TCG" in name for name in cpu_names) else ""
