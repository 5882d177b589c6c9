"""Progress on stderr: in a terminal what is being done right now, anywhere else what is done."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Progress:
    """Shows what is being done; use it in a `with` statement.

    Args:
        quiet: show nothing at all (JSON was asked for and stderr is no terminal).
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._live = sys.stderr.isatty() and not quiet
        self._quiet = quiet
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._label = ""

    def __enter__(self) -> Self:
        if self._live:
            self._bar = _make_bar()
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, label: str, *, done: float = 0, total: float | None = None) -> None:
        """Show what is being done, or how far it has come; only a terminal shows it.

        Args:
            label: what is being done, with its object ("converting tflite-int8").
            done: how much of `total` is done.
            total: how much there is; None when nobody knows.
        """
        if self._bar is None:
            return
        if self._task is None or label != self._label:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(label, total=total)
            self._label = label
        self._bar.update(self._task, completed=done, total=total)

    def note(self, line: str) -> None:
        """Print what is done, above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(f"  {line}", highlight=False, markup=False)
        elif not self._quiet:
            sys.stderr.write(f"  {line}\n")
            sys.stderr.flush()


def _make_bar() -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichBar

    return RichBar(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def steps_shown(progress: Progress, *, finished: tuple[str, ...] = ()) -> Callable[[Any], None]:
    """Return an `on_step` that shows steps as they begin and, of some phases, notes each that is done.

    Args:
        progress: where they are shown.
        finished: the phases whose ends are noted.
    """

    def show(step: Any) -> None:
        if step.seconds is None:
            progress.step(str(step), done=step.done, total=step.total or None)
        elif step.phase in finished:
            progress.note(str(step))

    return show
