"""A folder that looks like a phone from inside: Android's shell and tools, and not a file of Debian's.

What it is not: there is no SELinux, no bionic, no binder, and the kernel is this machine's. `getprop` and
`dumpsys` answer from files in `fixtures/`, which a test may rewrite, as it may those in `sys/`.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgekit.testing.adbd_fetch import Kit

SHELL_UID = 2000
APEX = "apex/com.android.adbd"
SMALL = "/data/small"
"""A folder on the phone with 1 MiB of room."""

QEMU = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
"""How Debian's qemu-user-static registers itself with the kernel."""

CPUINFO = Path(__file__).with_name("cortex-a72.cpuinfo")

_FOLDERS = (
    "data/local/tmp",
    "data/small",
    "dev/pts",
    "fixtures/dumpsys",
    "proc",
    "sys/class/power_supply/battery",
    "sys/devices/system/cpu",
    "system/bin",
    "system/etc",
    "system/lib64",
    f"{APEX}/bin",
    f"{APEX}/lib64",
)
_DEVICES = ("null", "zero", "full", "random", "urandom", "ptmx")
_LIBRARIES = ("libc.so.6", "libm.so.6", "libcrypt.so.1")
_LACKING = ("awk", "dd", "diff", "expr", "tr")
"""What a phone has and Debian's toybox was built without."""

_CPU = ("possible", "present", "online")

_EMULATE = f"""read -r mapped
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
cat {QEMU} >/proc/sys/fs/binfmt_misc/register
mount --bind {CPUINFO} /proc/cpuinfo
"""
_ENTER = f"""mount --bind "$1" "$1"
mount --rbind /proc "$1/proc"
for name in {" ".join(_DEVICES)}; do mount --bind "/dev/$name" "$1/dev/$name"; done
mount --bind /dev/pts "$1/dev/pts"
mount -t tmpfs -o size=1m,mode=777 small "$1{SMALL}"
root=$1; shift
chroot=$(command -v chroot)
PATH=/system/bin; export PATH
exec "$chroot" --userspec={SHELL_UID}:{SHELL_UID} --groups= "$root" "$@"
"""

PROPERTIES = {
    "ro.product.manufacturer": "EdgeKit",
    "ro.product.model": "Fake phone",
    "ro.product.device": "fakephone",
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
    "ro.build.type": "user",
    "ro.product.cpu.abi": "x86_64",
    "ro.product.cpu.abilist": "x86_64",
    "ro.serialno": "FAKE0001",
    "ro.kernel.qemu": "",
}

# Written after AOSP's BatteryService.dump.
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Dock powered: false
  Max charging current: 500000
  Max charging voltage: 5000000
  Charge counter: 2967000
  status: 2
  health: 2
  present: true
  level: 85
  scale: 100
  voltage: 4209
  temperature: 402
  technology: Li-ion
"""

_GETPROP = """#!/system/bin/sh
[ $# -gt 0 ] || exec cat /fixtures/getprop
while IFS= read -r line; do
  case $line in "[$1]: ["*) value=${line#*: [}; echo "${value%]}"; exit 0;; esac
done </fixtures/getprop
echo "$2"
"""
_DUMPSYS = """#!/system/bin/sh
name=/fixtures/dumpsys/${1//\\//_}
[ -f "$name" ] || { echo "Can't find service: $1" >&2; exit 1; }
exec cat "$name"
"""


def build_phone(root: Path, kit: Kit, userland: Kit | None = None) -> None:
    """Make the phone's files.

    Args:
        root: an empty folder; what lies in `root/data/local/tmp` is the phone's /data/local/tmp.
        kit: this machine's programs; the daemon is among them.
        userland: the shell and the tools of another machine, to be run by qemu.
    """
    root.chmod(0o755)
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "bin").symlink_to("system/bin")
    for name in ("data/local/tmp", "data/small"):
        (root / name).chmod(0o777)
    for name in _DEVICES:
        (root / "dev" / name).touch()
    (root / "system/etc/hosts").write_text("127.0.0.1 localhost\n", encoding="utf-8")
    (root / "etc").symlink_to("system/etc")
    (root / "system/etc/passwd").write_text(
        f"shell:x:{SHELL_UID}:{SHELL_UID}::/:/system/bin/sh\n", encoding="utf-8"
    )
    (root / "system/etc/group").write_text(f"shell:x:{SHELL_UID}:\n", encoding="utf-8")
    _install_tools(root, kit, userland or kit)
    _install_daemon(root / APEX, kit)
    _write_fixtures(root)
    if userland:
        abi = {"ro.product.cpu.abi": "arm64-v8a", "ro.product.cpu.abilist": "arm64-v8a"}
        set_properties(root, {**PROPERTIES, **abi})


def set_properties(root: Path, properties: dict[str, str]) -> None:
    """Write what `getprop` knows, as `[name]: [value]` lines."""
    lines = [f"[{name}]: [{value}]\n" for name, value in properties.items()]
    (root / "fixtures/getprop").write_text("".join(lines), encoding="utf-8")


def _install_tools(root: Path, kit: Kit, userland: Kit) -> None:
    """Put the shell and the tools in /system; their libraries are where no other program looks."""
    binaries, libraries = root / "system/bin", root / "system/lib64"
    shutil.copy(userland.shell, binaries / "sh")
    for name in (userland.loader_name, *_LIBRARIES):
        shutil.copy(userland.libraries / name, libraries / name)
    toybox = binaries / "toybox"
    shutil.copy(userland.toybox, toybox)
    patch = [
        "--set-interpreter",
        f"/system/lib64/{userland.loader_name}",
        "--force-rpath",
        "--set-rpath",
        "/system/lib64",
    ]
    subprocess.run(
        kit.command(kit.folder / "usr/bin/patchelf", *patch, str(toybox)), check=True, capture_output=True
    )
    names = subprocess.run(kit.command(kit.toybox), capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        (binaries / name).symlink_to("toybox")
    shutil.copy(userland.busybox, root / APEX / "bin/busybox")
    for name in _LACKING:
        (binaries / name).unlink(missing_ok=True)
        (binaries / name).symlink_to(f"/{APEX}/bin/busybox")
    for name, script in (("getprop", _GETPROP), ("dumpsys", _DUMPSYS)):
        (binaries / name).write_text(script, encoding="utf-8")
        (binaries / name).chmod(0o755)


def _install_daemon(apex: Path, kit: Kit) -> None:
    shutil.copy(kit.adbd, apex / "bin/adbd")
    shutil.copy(kit.loopback, apex / "lib64/loopback.so")
    for folder in (kit.libraries, kit.libraries / "android"):
        for library in folder.glob("*.so*"):
            if library.is_file():
                shutil.copy(library, apex / "lib64" / library.name)


def _write_fixtures(root: Path) -> None:
    set_properties(root, PROPERTIES)
    (root / "fixtures/dumpsys/battery").write_text(BATTERY, encoding="utf-8")
    for name in _CPU:
        shutil.copy(Path("/sys/devices/system/cpu") / name, root / "sys/devices/system/cpu" / name)
    # As a Pixel that is plugged in and does not charge reports them: microamperes, microvolts.
    for name, value in (("status", "Not charging"), ("current_now", "-11718"), ("voltage_now", "4446015")):
        (root / "sys/class/power_supply/battery" / name).write_text(f"{value}\n", encoding="utf-8")


def enter_command(root: Path, kit: Kit, *, emulated: bool) -> list[str]:
    """Return what mounts what a phone has and becomes its daemon, in namespaces of its own.

    An emulated one has its own users as well, because qemu may then be registered for it alone; it waits for
    a line on its standard input, by which time its users are mapped.

    Args:
        root: what `build_phone` made.
        kit: this machine's programs.
        emulated: whether the phone's programs are an aarch64's.
    """
    library = f"/{APEX}/lib64"
    daemon = [f"{library}/{kit.loader_name}", "--library-path", library]
    daemon += ["--preload", f"{library}/loopback.so", f"/{APEX}/bin/adbd"]
    script = "set -e\n" + (_EMULATE if emulated else "") + _ENTER
    own = ["--user"] if emulated else []
    return ["unshare", *own, "--mount", "sh", "-c", script, "sh", str(root), *daemon]
