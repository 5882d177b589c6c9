"""What devices, instruments and strangers' files may say: strategies for hypothesis, and the one check.

Real answers are spoiled rather than made up, so that a parser is left deep in its work when the spoilt part
comes. `understood_or_refused` holds what every such parser owes: a result, or one of EdgeKit's own errors.
"""

from __future__ import annotations

import copy
import functools
import os
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgekit.errors import EdgeKitError
from edgekit.runners.transport import Transport
from edgekit.targets import Device

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from hypothesis.strategies import DrawFn, SearchStrategy

P = ParamSpec("P")
T = TypeVar("T")
TOLD_CHARACTERS = 10_000
"""No message is longer, whatever it quotes."""
_MOST_EDITS = 5
_MOST_REPEATS = 200

_TEXTS = (
    "", "\0", "\n", "\r\n", "\t", "|", ":", " ", "\x1b[2J", "\x07", "%s%n", "$(:)", "-", "--5", "+-1", ".",
    "1.2.3", "0x", "1e999", "-1e999", "1e-320", "nan", "NaN", "inf", "Infinity", "-1", "0", "-0",
    "2147483648", "18446744073709551616", "9" * 5000, "1" + "0" * 400, "\u00b2", "\u0661", "\u017f",
    "\u202e", "\u2028", "\x85", "/", "//", "..", "~", "../../etc/passwd", "-rf", "[" * 2000, "{" * 2000,
    '"', "\\u0000", "\\ud800",
)  # fmt: skip
TOKENS = (b"\xff", b"\xc3", *(text.encode() for text in _TEXTS))
"""Bytes that parsers of texts stumble over."""

SCALARS: SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=40)
    | st.sampled_from(
        [-1, 0, 1 << 63, 10**400, float("nan"), float("inf"), 1e308, "", "\0", "²", "../..", "\x1b[2J"]
    )
)
VALUES: SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
"""Anything that JSON has a word for, and the numbers that it has none for but Python's reader takes."""

EXAMPLES: Counter[str] = Counter()
"""How many inputs each test has had."""
_OFTEN = int(os.environ.get("FUZZ_EXAMPLES", "0"))
_CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]


def fuzzed(
    *drawn: SearchStrategy[Any], examples: int = 60
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the decorator that runs a test on drawn inputs.

    Args:
        drawn: what its last arguments are.
        examples: how many inputs, always the same ones. With FUZZ_EXAMPLES=N in the environment each test has
            others at every start, N times as many; what fails is printed with how to have it again.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def counted(*args: Any, **kwargs: Any) -> None:
            EXAMPLES[test.__name__] += 1
            test(*args, **kwargs)

        profile = settings(
            max_examples=examples * (_OFTEN or 1), derandomize=not _OFTEN, print_blob=bool(_OFTEN),
            deadline=None, database=None, suppress_health_check=_CHECKS,
        )  # fmt: skip
        return profile(given(*drawn)(counted))

    return decorate


def understood_or_refused(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
    """Return what a call returns, or None where it raised one of EdgeKit's errors.

    Whatever else it raises comes out as it is. The error's message is held to what a terminal can bear.
    """
    try:
        return call(*args, **kwargs)
    except EdgeKitError as error:
        told = str(error)
    assert 0 < len(told) <= TOLD_CHARACTERS, f"a message of {len(told)} characters"
    assert told.isprintable(), f"a message with a control character: {told[:300]!r}"
    return None


@st.composite
def spoilt(draw: DrawFn, originals: Sequence[bytes]) -> bytes:
    """Draw one of some answers with a few edits: bytes, lines and numbers changed, doubled or left out."""
    data = draw(st.sampled_from(list(originals)))
    for _ in range(draw(st.integers(0, _MOST_EDITS))):
        data = draw(st.sampled_from(_EDITS))(draw, data)
    return data


@st.composite
def spoilt_json(draw: DrawFn, originals: Sequence[Any]) -> Any:
    """Draw one of some JSON documents with a few values, at any depth, changed, added or left out."""
    data = copy.deepcopy(draw(st.sampled_from(list(originals))))
    for _ in range(draw(st.integers(0, 3))):
        places = list(_places(data))
        if not places:
            return data
        holder, key = draw(st.sampled_from(places))
        how = draw(st.sampled_from(["change", "remove", "add"]))
        if how == "change":
            holder[key] = draw(VALUES)
        elif how == "remove":
            del holder[key]
        elif isinstance(holder, dict):
            holder[draw(st.text(max_size=8))] = draw(VALUES)
        else:
            holder.insert(key, draw(VALUES))
    return data


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every (container, key) of a document; of long lists the first few."""
    keys = (
        list(data) if isinstance(data, dict) else range(min(len(data), 8)) if isinstance(data, list) else ()
    )
    for key in keys:
        yield data, key
        yield from _places(data[key])


def _replace(draw: DrawFn, data: bytes) -> bytes:
    start, end = _span(draw, data)
    return data[:start] + draw(st.sampled_from(TOKENS) | st.binary(max_size=8)) + data[end:]


def _cut(draw: DrawFn, data: bytes) -> bytes:
    return data[: draw(st.integers(0, len(data)))]


def _repeat(draw: DrawFn, data: bytes) -> bytes:
    start, end = _span(draw, data)
    return data[:start] + data[start:end] * draw(st.integers(2, _MOST_REPEATS)) + data[end:]


def _lines(draw: DrawFn, data: bytes) -> bytes:
    """Leave a line out, double it, or put it elsewhere."""
    lines = data.split(b"\n")
    taken = lines.pop(draw(st.integers(0, len(lines) - 1)))
    for _ in range(draw(st.integers(0, 3))):
        lines.insert(draw(st.integers(0, len(lines))), taken)
    return b"\n".join(lines)


def _number(draw: DrawFn, data: bytes) -> bytes:
    """Put another text where a number stands."""
    found = list(re.finditer(rb"[-+]?\d[\d.]*", data))
    if not found:
        return data
    place = draw(st.sampled_from(found))
    other = draw(st.sampled_from(TOKENS) | st.integers().map(lambda n: str(n).encode()))
    return data[: place.start()] + other + data[place.end() :]


def _span(draw: DrawFn, data: bytes) -> tuple[int, int]:
    start = draw(st.integers(0, len(data)))
    return start, min(len(data), start + draw(st.integers(0, 12)))


_EDITS: list[Callable[[DrawFn, bytes], bytes]] = [_replace, _cut, _repeat, _lines, _number]


class Parrot(Transport):
    """A way to a device that answers every command alike, whatever it was.

    Attributes:
        answers: (exit code, standard output, standard error) in turn; the last one for all that follow.
        calls: how many commands it was given.
    """

    def __init__(self, *answers: tuple[int, bytes, bytes] | bytes) -> None:
        super().__init__(Device.parse("ssh://board"))
        self.answers = [one if isinstance(one, tuple) else (0, one, b"") for one in answers]
        self.calls = 0
        self.open()

    def root(self) -> str:
        """Return a folder's path."""
        return "/home/user/.edgekit"

    def _connect(self) -> None:
        """There is nobody."""

    def _disconnect(self) -> None:
        """Nothing is held."""

    def _execute(self, command: str, *, stdin: bytes, timeout_s: float) -> tuple[int, bytes, bytes]:
        del command, stdin, timeout_s
        self.calls += 1
        return self.answers[min(self.calls, len(self.answers)) - 1]

    def _feed(self, command: str, local: Path, *, offset: int, timeout_s: float) -> tuple[int, bytes, bytes]:
        del local, offset
        return self._execute(command, stdin=b"", timeout_s=timeout_s)

    def _receive(self, remote: str, local: Path, *, timeout_s: float) -> None:
        del remote
        local.write_bytes(self._execute("", stdin=b"", timeout_s=timeout_s)[1])
