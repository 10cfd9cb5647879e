"""The command `sempic`: files in, files out, and one sentence when something is wrong.

Each module has the commands of a group; what they share is in `common.py`. What takes long to import is imported where
it is used, so that a command starts fast.
"""

from __future__ import annotations

import os
import sys
import warnings
from io import TextIOWrapper
from typing import Annotated, Any

import typer

from sempic import __version__
from sempic.cli import batch, code, data, look, measure, narrow, train
from sempic.cli.command import Command, CommandGroup
from sempic.cli.common import say
from sempic.errors import SempicWarning, sentence

_INTERRUPTED = 130
_PYTHONS = warnings.showwarning

app = typer.Typer(
    cls=CommandGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "color": False},
)
for _command in (
    code.encode, code.decode, code.inspect, narrow.channel, code.compare,
    narrow.packets, narrow.join,
    look.codecs, look.models, look.demo, look.studio,
    measure.bench, measure.report,
    train.train, train.export, train.calibrate,
):  # fmt: skip
    app.command(cls=Command)(_command)
app.add_typer(batch.app, name="batch")
app.add_typer(data.app, name="data")


@app.callback(invoke_without_command=True)
def _sempic(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """Semantic image compression: pictures as files of a few hundred bytes that keep what the picture means."""
    if version:
        print("sempic", __version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """Run the command line; a user's mistake ends in one sentence on standard error, never in a traceback."""
    if isinstance(sys.stdout, TextIOWrapper):  # characters that the terminal cannot show are no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", SempicWarning)
    try:
        status = app(standalone_mode=False, prog_name="sempic")
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        status = _INTERRUPTED
    except Exception as error:
        words, status = _explain(error)
        if words is None:
            raise
        say(words)
        _drop_output()
    if status == _INTERRUPTED:
        say("Interrupted.")
    sys.exit(status)


def _show_warning(message: Warning | str, category: type[Warning], *where: Any, **line: Any) -> None:
    """Print a warning of Sempic's as a sentence, and others as Python does."""
    if issubclass(category, SempicWarning):
        say(f"warning: {message}")
    else:
        _PYTHONS(message, category, *where, **line)


def _explain(error: Exception) -> tuple[str | None, int]:
    """Return the sentence for an error, and the exit code; no sentence for a mistake of our own."""
    # The usage errors of click, of which some releases of typer bring a private copy: known by what they can do.
    if hasattr(error, "format_message"):
        return str(error.format_message()), 2
    return sentence(error), 1


def _drop_output() -> None:
    """Forget what standard output did not take, or Python complains of it once more while it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
