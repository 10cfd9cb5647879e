"""The reference of the command line, made from the commands: where a page says `<!-- commands -->`."""

from __future__ import annotations

from html import escape
from typing import Any

from typer.main import get_command

from sempic.cli import app

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the reference in; MkDocs calls this for each page."""
    return markdown.replace(MARK, "\n".join(_lines(get_command(app), "sempic"))) if MARK in markdown else markdown


def _lines(command: Any, name: str) -> list[str]:
    """Return the Markdown of a command, or of all commands of a group, in the order of their definition."""
    if hasattr(command, "commands"):
        return [line for sub, one in command.commands.items() for line in _lines(one, f"{name} {sub}")]
    context = command.context_class(command, info_name=name)
    about, _, examples = command.help.partition("\b")
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.get_params(context) if one not in arguments]
    usage = " ".join([name, "[OPTIONS]", *(one.metavar if one.required else f"[{one.metavar}]" for one in arguments)])
    rows = [(one.metavar, one.help) for one in arguments]
    rows += [record for one in options if (record := one.get_help_record(context))]
    return [
        f"## {name}",
        "",
        about.strip(),
        "",
        f"```text\n{usage}\n```",
        "",
        "| option | meaning |",
        "|---|---|",
        *(f"| `{what}` | {escape(' '.join(help.split()), quote=False)} |" for what, help in rows),
        "",
        "```text",
        *(line.strip() for line in examples.splitlines() if line.startswith("  ")),
        "```",
        "",
    ]
