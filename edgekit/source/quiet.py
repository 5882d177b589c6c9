"""Keep the frameworks' chatter off the terminal: log lines from C++, loggers, warnings, progress bars."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
import warnings
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TQDM_DISABLE": "1",
    "KERAS_BACKEND": "tensorflow",
}
_LOGGERS = ("tensorflow", "absl", "coremltools", "tf2onnx", "h5py", "root")
_TAIL = 4000


@dataclass(slots=True)
class Chatter:
    """What was kept off the terminal.

    Attributes:
        text: the tail of it, filled when the block ends.
    """

    text: str = ""


_depth = 0


@contextlib.contextmanager
def quiet() -> Iterator[Chatter]:
    """Send what libraries write to stderr into a file while the block runs; our own lines still show.

    File descriptor 2 belongs to the whole process, so the block should be the only one at work; nested
    blocks are fine. `sys.stderr` is pointed at a duplicate of the real one, so that progress still shows.
    """
    global _depth  # noqa: PLW0603 - file descriptor 2 is global, and so is this
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    chatter = Chatter()
    if _depth:
        yield chatter
        return
    _depth += 1
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(_silent_loggers())
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            stack.enter_context(_diverted(chatter))
            yield chatter
    finally:
        _depth -= 1


@contextlib.contextmanager
def _silent_loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _diverted(chatter: Chatter) -> Iterator[None]:
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        before = sys.stderr
        if _descriptor(before) == 2:  # noqa: PLR2004 - stderr's number
            sys.stderr = os.fdopen(os.dup(real), "w", buffering=1, encoding=before.encoding, errors="replace")
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(real, 2)
            os.close(real)
            if sys.stderr is not before:
                sys.stderr.close()
                sys.stderr = before
            chatter.text = _tail(sink)


def _descriptor(stream: object) -> int | None:
    try:
        return stream.fileno()  # type: ignore[attr-defined, no-any-return]
    except (AttributeError, io.UnsupportedOperation, ValueError):
        return None


def _tail(sink: IO[bytes]) -> str:
    size = sink.seek(0, os.SEEK_END)
    sink.seek(max(0, size - _TAIL))
    return sink.read().decode("utf-8", "replace")
