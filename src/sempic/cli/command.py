"""How every command shows its help, and keeps quiet where it is asked to.

Help is wrapped for the terminal: nothing in it is cut, however narrow that is.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from shutil import get_terminal_size
from typing import Any

from typer.core import TyperCommand, TyperGroup

from sempic.cli.terminal import wrapped

_WIDEST, _NARROW = 80, 60
"""Lines of help are at most so long; below so many columns, texts stand under the names that they explain."""
_NAMES = 28
"""Longer names stand in a line of their own."""
_KEPT = "\b"
"""What marks a paragraph whose lines stay as they are."""
_GLUE = "\0"
"""What takes the place of a space at which no line may be broken."""


class Command(TyperCommand):
    """A command that wraps its help, and whose `--quiet` silences warnings."""

    def get_help(self, ctx: Any) -> str:
        """Return the help."""
        return help_of(self, ctx)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with warnings.catch_warnings():
            if ctx.params.get("quiet"):
                warnings.simplefilter("ignore")
            return super().invoke(ctx)


class CommandGroup(TyperGroup):
    """A group of commands that wraps its help."""

    def get_help(self, ctx: Any) -> str:
        """Return the help."""
        return help_of(self, ctx)


def help_of(command: Any, context: Any) -> str:
    """Return the help of a command, or of a group of commands, wrapped for the terminal."""
    width = min(get_terminal_size().columns, _WIDEST)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    blocks = ["\n".join(wrapped(f"Usage: {usage}", width, "", "  ")), *_description(command.help or "", width)]
    records: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
    for one in command.get_params(context):
        if record := one.get_help_record(context):
            records[one.param_type_name].append(record)
    below = [(name, summary(one.help)) for name, one in getattr(command, "commands", {}).items()]
    for title, rows in (("Arguments", records["argument"]), ("Options", records["option"]), ("Commands", below)):
        if rows:
            blocks.append("\n".join([f"{title}:", *_table(rows, width)]))
    return "\n\n".join(blocks)


def summary(text: str | None) -> str:
    """Return the first paragraph of a command's help, in one line."""
    return " ".join((text or "").partition("\n\n")[0].split())


def _description(text: str, width: int) -> Iterator[str]:
    """Yield the paragraphs of a help text; of those that are kept, long lines go on as a shell reads them."""
    for paragraph in filter(None, text.split("\n\n")):
        first, *lines = paragraph.splitlines()
        if first == _KEPT:
            yield "\n".join(part for line in lines for part in _shell(f"  {line}", width))
        else:
            yield "\n".join(wrapped(" ".join(paragraph.split()), width, "  ", "  "))


def _shell(line: str, width: int) -> list[str]:
    """Return a line as several that end with a backslash if it is too long.

    What is in quotation marks stays together, and so do an option and its value if there is room for both.
    """
    if len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()))
    room = width - len(" \\")

    def glued(found: re.Match[str]) -> str:
        return found[0].replace(" ", _GLUE) if len(indent + "  " + found[0]) <= room else found[0]

    for pattern in ('"[^"]*"', r"(?<= )--?[a-z-]+ [^- ]\S*"):
        line = re.sub(pattern, glued, line)
    *parts, last = wrapped(line.lstrip(), room, indent, indent + "  ")
    return [part.replace(_GLUE, " ") for part in (*(f"{part} \\" for part in parts), last)]


def _table(rows: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    """Yield the lines of names with the texts that explain them."""
    rows = list(rows)
    column = 4 if width < _NARROW else 4 + min(max(len(name) for name, _ in rows), _NAMES)
    for name, text in rows:
        ahead = f"  {name}"
        if len(ahead) + 2 <= column or not text:
            yield from wrapped(text, width, ahead.ljust(column), " " * column) or [ahead]
        else:
            yield ahead
            yield from wrapped(text, width, " " * column, " " * column)
