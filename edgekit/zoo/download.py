"""Published weights, fetched once, held against their sha256 and kept.

They lie in $XDG_CACHE_HOME/edgekit/weights (~/.cache where that is not set). Where a publisher gives no
hash (Keras), the file's own is written beside it when it arrives over HTTPS, and every later use is held
against that. $EDGEKIT_WEIGHTS_MIRROR, a URL, is asked instead of the publisher: MIRROR/FILE_NAME.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from edgekit.artifact import digest
from edgekit.bundle import write_atomic
from edgekit.errors import UsageError
from edgekit.units import bytes_text

if TYPE_CHECKING:
    from edgekit.zoo.published import WeightsFile

MIRROR = "EDGEKIT_WEIGHTS_MIRROR"
TIMEOUT_S = 60.0
MAX_BYTES = 256 * 1024 * 1024
_BLOCK = 1 << 20


def cache_folder() -> Path:
    """Return the folder of fetched weights; it need not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "edgekit" / "weights"


def fetch(file: WeightsFile, *, timeout_s: float = TIMEOUT_S) -> Path:
    """Return the verified local copy of a published file, fetched if it is not there yet.

    Args:
        file: what to fetch.
        timeout_s: how long the server may stay silent.

    Raises:
        UsageError: the server can't be reached, the file is not what was published (nothing is kept
            then), or the copy has changed since it was fetched.
    """
    path = cache_folder() / file.file_name
    if not path.exists():
        _keep(_download(_address(file), timeout_s), file, path)
    _hold(path, file)
    return path


def _address(file: WeightsFile) -> str:
    mirror = os.environ.get(MIRROR)
    url = f"{mirror.rstrip('/')}/{file.file_name}" if mirror else file.url
    scheme = urlsplit(url).scheme
    if scheme not in {"https", "http"}:
        raise UsageError(f"weights can't be fetched from {url}", hint=f"set {MIRROR} to an http(s) URL")
    if scheme == "http" and not file.sha256:
        raise UsageError(
            f"{file.file_name} has no published sha256 and would come over http unproven",
            hint=f"set {MIRROR} to an https URL",
        )
    return url


def _download(url: str, timeout_s: float) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:  # noqa: S310 - _address checked it
            content: bytes = answer.read(MAX_BYTES + 1)
            length = answer.headers.get("Content-Length")
    except (urllib.error.URLError, OSError, HTTPException) as error:
        raise UsageError(
            f"the weights can't be fetched from {url} ({error})",
            hint=f"fetch that file on another machine and give its path as the weights, or set {MIRROR}",
        ) from None
    if len(content) > MAX_BYTES:
        raise UsageError(
            f"{url} sends more than {bytes_text(MAX_BYTES)}", hint="no file of weights is that large"
        )
    if length is not None and length != str(len(content)):
        raise UsageError(
            f"{url} sent {len(content)} of {length} bytes", hint="try again: nothing was kept of it"
        )
    return content


def _keep(content: bytes, file: WeightsFile, path: Path) -> None:
    found = hashlib.sha256(content).hexdigest()
    if not found.startswith(file.sha256):
        raise UsageError(
            f"{file.file_name} is not the published file: sha256 {found[:16]}, published {file.sha256}",
            hint="nothing was kept; look at who answers in the publisher's place",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(_note(path), found.encode() + b"\n")
    write_atomic(path, content)


def _hold(path: Path, file: WeightsFile) -> None:
    found, _ = digest(path)
    note = _note(path)
    noted = note.read_text(encoding="ascii", errors="replace").strip() if note.is_file() else ""
    expected = file.sha256 or noted
    if not expected or not found.startswith(expected) or (noted and noted != found):
        raise UsageError(
            f"{path} has changed since it was fetched: sha256 {found[:16]}, expected {expected[:16] or '?'}",
            hint="delete it to fetch it again",
        )


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
