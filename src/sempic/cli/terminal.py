"""What the commands print: sentences, reports, tables and progress, as wide as the terminal."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from shutil import get_terminal_size
from textwrap import wrap
from threading import Timer
from typing import TYPE_CHECKING, Any

from sempic.errors import SempicWarning

if TYPE_CHECKING:
    from rich.console import Console

_ENDLESS = 1 << 16
"""The width, in characters, of what is no terminal."""
_LAST_COLUMN = 24
"""The last column of a table gets at least so many characters, if it has texts that long."""
_PATIENCE_S = 1.0
"""After so long, what takes time shows a bar."""


def say(words: str) -> None:
    """Print a sentence on standard error."""
    text = f"sempic: {' '.join(words.split())}"
    # One line for programs; people get words that are not cut.
    print(
        "\n".join(wrapped(text, get_terminal_size((_ENDLESS, 0)).columns)) if sys.stderr.isatty() else text,
        file=sys.stderr,
    )


def warn(sentences: Iterable[str]) -> None:
    """Print warnings on standard error, unless --quiet is given."""
    for sentence in sentences:
        warnings.warn(sentence, SempicWarning, stacklevel=2)


def about(name: str, why: str) -> str:
    """Return a sentence that names the file it is about."""
    return why if name in why else f"{name}: {why}"


def report(values: dict[str, Any], text: str, as_json: bool, target: str, quiet: bool = False) -> None:
    """Print what was done, away from the data if that goes to standard output."""
    if as_json or not quiet:
        print(json.dumps(values) if as_json else text, file=sys.stderr if target == "-" else sys.stdout)


def line(text: str, indent: str = "") -> None:
    """Print a sentence on standard output, wrapped for the terminal if it goes to one."""
    print("\n".join(wrapped(text, get_terminal_size((_ENDLESS, 0)).columns, indent, indent)))


def table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table; columns of numbers are aligned to the right, and the last column may be long.

    Where the terminal is too narrow for it, each row becomes a paragraph.
    """
    from rich import box
    from rich.measure import Measurement
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for place, name in enumerate(columns):
        cells = [row[place] for row in rows]
        numbers = all(cell[:1].isdigit() for cell in cells)
        last = place == len(columns) - 1
        least = min(max(map(len, cells)), _LAST_COLUMN) if last and cells else None
        made.add_column(name, justify="right" if numbers else "left", no_wrap=not last, min_width=least)
    for row in rows:
        made.add_row(*row)
    console = _console()
    if Measurement.get(console, console.options.update_width(_ENDLESS), made).minimum <= console.width:
        console.print(made)
        print()
        return
    line(title)
    print()
    for first, *others in rows:
        line(first)
        for name, cell in zip(columns[1:], others, strict=True):
            if cell:
                line(f"{name}: {cell}" if name else cell, indent="  ")
        print()


@contextmanager
def progress(title: str, transient: bool = False, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error; yield the function to call with the number of things done and of all.

    A transient bar is shown on terminals only, after a second or when something is counted, and goes at the end. As
    long as nothing is counted, and when all is, it shows that time passes.
    """
    if quiet or (transient and not sys.stderr.isatty()):
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    texts = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[count]}"))
    columns = next(texts), BarColumn(20), next(texts), TimeElapsedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=_console(stderr=True), transient=transient) as bar:
        task = bar.add_task(title, total=None, visible=not transient, count="")
        show = Timer(_PATIENCE_S, lambda: bar.update(task, visible=True))
        show.daemon = True

        def count(done: int, total: int) -> None:
            bar.update(task, visible=True, count=f"{done}/{total}")
            if transient and done == total:
                bar.tasks[0].total = None  # what follows is not counted
            else:
                bar.update(task, completed=done, total=total)

        show.start()
        try:
            yield count
        finally:
            show.cancel()


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    plain = os.environ.get("NO_COLOR")
    return Console(stderr=stderr, color_system=None if plain else "auto", markup=False, highlight=False)


def wrapped(text: str, width: int, first: str = "", other: str = "") -> list[str]:
    """Return the lines of a text, of which no word and no option is cut."""
    return wrap(
        text, width, initial_indent=first, subsequent_indent=other, break_long_words=False, break_on_hyphens=False
    )
