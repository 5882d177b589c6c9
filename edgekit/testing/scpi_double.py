"""A double of a meter that speaks SCPI over TCP or a pseudo-terminal, and its nasty twins.

It takes long and short forms in either case, several messages in a line, keeps an error queue and answers
what it does not know with nothing, as meters do (SCPI-99, IEEE 488.2).
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import threading
import time
import tty
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

UNDEFINED = '-113,"Undefined header"'
NASTY = ("silence", "garbage", "partial", "bytes", "late", "twice", "nan", "endless", "hangup")
_MEASURE = re.compile(r":?MEAS(?:URE)?(?::SCAL(?:AR)?)?:(VOLT(?:AGE)?|CURR(?:ENT)?|POW(?:ER)?)(?::DC)?\?")


class ScpiDouble:
    """A meter on a port of its own; use it in a `with` statement.

    Args:
        watts: what it measures now.
        volts: at which voltage.
        serial: whether it is on a pseudo-terminal and not on a socket.

    Attributes:
        nasty: "" to behave, or one of NASTY: what it does with every question but *OPC?.
        asked: every message that came.
    """

    def __init__(self, watts: Callable[[], float], *, volts: float = 5.0, serial: bool = False) -> None:
        self.nasty = ""
        self.asked: list[str] = []
        self._watts, self._volts, self._serial = watts, volts, serial
        self._errors: list[str] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        if serial:
            self._master, self._slave = os.openpty()
            tty.setraw(self._slave)
            self.address = f"scpi+serial://{os.ttyname(self._slave)}?baud=115200"
        else:
            self._server = socket.create_server(("127.0.0.1", 0))
            self._server.settimeout(0.1)
            self.address = f"scpi+tcp://127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(10)
        if self._serial:
            os.close(self._master)
            os.close(self._slave)
        else:
            self._server.close()

    def _serve(self) -> None:
        if self._serial:
            self._talk(self._master)
            return
        while not self._done.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._server.accept()
                with connection, contextlib.suppress(OSError):
                    self._talk(connection.fileno())

    def _talk(self, handle: int) -> None:
        """Answer line after line until the other side is gone."""
        rest = b""
        while not self._done.is_set():
            if not select.select([handle], [], [], 0.05)[0]:
                continue
            data = os.read(handle, 4096)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                answers = [told for part in line.decode().split(";") if (told := self._message(part.strip()))]
                if answers and not self._say(handle, ";".join(answers), line):
                    return

    def _message(self, text: str) -> str:
        """Return the answer to one message, or an empty one."""
        if not text:
            return ""
        self.asked.append(text)
        word, watts = text.upper(), self._watts()
        fixed = {"*IDN?": "EdgeKit,Double,0001,1.0", "*OPC?": "1"}
        if word in fixed:
            return fixed[word]
        if word in {"*CLS", "*RST"}:
            self._errors.clear()
            return ""
        if re.fullmatch(r":?SYST(EM)?:ERR(OR)?(:NEXT)?\?", word):
            return self._errors.pop(0) if self._errors else '+0,"No error"'
        found = _MEASURE.fullmatch(word)
        if found is None:
            self._errors.append(UNDEFINED)
            return ""
        value = {"V": self._volts, "C": watts / self._volts, "P": watts}[found[1][0]]
        return f"{value:+.6E}"

    def _say(self, handle: int, answer: str, question: bytes) -> bool:
        """Answer as the twin does; return whether the line stays open."""
        whole, nasty = answer.encode() + b"\n", "" if b"*" in question else self.nasty
        if nasty == "hangup":
            return False
        if nasty == "late":
            time.sleep(0.3)
        told = {
            "silence": b"",
            "garbage": b"\xff\x00\x1b[2J?!\n",
            "partial": whole[: len(whole) // 2],
            "twice": whole + whole,
            "nan": b"+9.91E+37\n",
            "endless": b"0" * 8192,
        }.get(nasty, whole)
        for piece in [told[i : i + 1] for i in range(len(told))] if nasty == "bytes" else [told]:
            os.write(handle, piece)
        return True
