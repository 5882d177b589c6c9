"""argparse with our manners: one line for a mistake, the nearest known word, the next step."""

from __future__ import annotations

import argparse
import difflib
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from edgekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class LineParser(argparse.ArgumentParser):
    """A parser that raises UsageError instead of printing its usage; options are never abbreviated."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise the mistake as a UsageError that names this command's help."""
        raise UsageError(f"{self.prog}: {message}", hint=f"see {self.prog} --help")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; an option that nobody knows is refused first, with the nearest that is known."""
        given = sys.argv[1:] if args is None else list(args)
        command = self._meant(given)
        options = self._options_of(command)
        for word in given[: given.index("--")] if "--" in given else given:
            name = word.partition("=")[0]
            if name.startswith("--") and name not in options:
                self._refuse(command, f"unknown option {name}", _nearest(name, options))
        parsed, rest = super().parse_known_args(given, namespace)
        if rest:
            self._refuse(command, f"unknown argument {rest[0]!r}", _nearest(rest[0], options))
        return parsed

    def _refuse(self, command: str, what: str, near: str) -> NoReturn:
        prog = f"{self.prog} {command}".strip()
        raise UsageError(f"{prog}: {what}", hint=f"did you mean {near}?" if near else f"see {prog} --help")

    def commands(self) -> dict[str, argparse.ArgumentParser]:
        """Return this parser's commands by name; empty when it has none."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse offers no other way
                return dict(action.choices)
        return {}

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = list(action.choices or ())
        if action.choices is not None and value not in choices:
            near = _nearest(str(value), [str(c) for c in choices])
            known = f"did you mean {near}?" if near else f"known: {', '.join(map(str, choices))}"
            what = "command" if isinstance(action, argparse._SubParsersAction) else action.dest  # noqa: SLF001
            raise UsageError(f"{self.prog}: unknown {what} {value!r}", hint=known)

    def _meant(self, given: list[str]) -> str:
        words, parser = [], self
        for word in given:
            found = parser.commands().get(word) if isinstance(parser, LineParser) else None
            if found is None:
                continue
            words.append(word)
            parser = found  # type: ignore[assignment]
        return " ".join(words)

    def _options_of(self, command: str) -> list[str]:
        parser: argparse.ArgumentParser = self
        for word in command.split():
            parser = parser.commands()[word]  # type: ignore[attr-defined]
        return [option for action in parser._actions for option in action.option_strings]  # noqa: SLF001


def add_command(
    commands: Any, name: str, summary: str, call: Callable[[Any], int], *, epilog: str = ""
) -> LineParser:
    """Add a command with `--json` to a parser's commands and return its own parser.

    Args:
        commands: what `add_subparsers` returned.
        name: the word the user types.
        summary: one line for the list of commands.
        call: what runs it: takes the parsed arguments, returns the exit code.
        epilog: examples, shown below the options.
    """
    parser: LineParser = commands.add_parser(name, help=summary, description=summary, epilog=epilog)
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout, nothing else")
    parser.set_defaults(call=call)
    return parser


def add_group(commands: Any, name: str, summary: str) -> Any:
    """Add a word that takes a second word (`edgekit zoo list`) and return what takes those."""
    parser = commands.add_parser(name, help=summary, description=summary)
    return parser.add_subparsers(dest=f"{name}_command", metavar="COMMAND", required=True)


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word.partition("=")[0], list(known), n=1, cutoff=0.5)
    return near[0] if near else ""
