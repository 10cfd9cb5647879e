"""The commands and the Python that a page of Markdown shows, and what runs them as a reader would.

A block's language says what is done with it. `sh` and `python` are run, in the order of the page, in one folder and
beside a picture street.png. `console`, whose commands stand behind a `$`, is for what a test cannot do, such as to
set up a machine or to train for hours: there the commands only have to be such as the command line, pip and make take.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.main import get_command

from sempic import cli
from sempic.codecs.spec import Spec, parse_all
from sempic.scene import draw
from sempic.training import config

REPO = Path(__file__).resolve().parents[1]
_SHELL = set("|<>&;$*")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the languages and texts of a page's blocks."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def shown(page: Path) -> list[str]:
    """Return the commands of a page's `console` blocks."""
    text = "".join(text for language, text in blocks(page) if language == "console")
    return re.findall(r"^\$ (.*)$", text, re.MULTILINE)


def run(page: Path, folder: Path, patch: pytest.MonkeyPatch, size: tuple[int, int] = (240, 180)) -> None:
    """Run a page's `sh` and `python` blocks in a folder, beside a picture of this width and height."""
    Image.fromarray(draw(0, *size).image).save(folder / "street.png")
    # The examples say `sempic`; here that is the package under test, wherever its script was installed.
    script = folder / "bin" / "sempic"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sempic "$@"\n')
    script.chmod(0o755)
    patch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    patch.chdir(folder)
    module = type(sys)(page.stem)
    patch.setitem(sys.modules, page.stem, module)  # where dataclasses and the dict of codecs look for it
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, str(page), "exec"), vars(module))
        elif language == "sh":
            for line in text.splitlines():
                run_line(line, patch)


def run_line(line: str, patch: pytest.MonkeyPatch) -> None:
    """Run a line; what is a `sempic` command and nothing else runs in this process, which saves most of its time."""
    words = shlex.split(line, comments=True)
    if words[:1] != ["sempic"] or _SHELL & set(line):
        subprocess.run(["sh", "-e", "-c", line], check=True, timeout=300)
        return
    patch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code, line


def check(command: str) -> None:
    """Fail for a command with a subcommand, option, recipe, setting, extra or target that is not there."""
    words = shlex.split(command)
    if "sempic" in words:  # behind variables or torchrun, too
        _parse(words[words.index("sempic") + 1 :])
    elif words[:2] == ["pip", "install"]:
        extras = re.findall(r"^(\w+) = \[", (REPO / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(re.findall(r"\w+", "".join(re.findall(r"\[(.+)\]", command)))) <= set(extras), command
    elif words[0] == "jupyter":
        assert (REPO / words[-1]).is_file(), command
    else:
        targets = re.findall(r"^(\w+):", (REPO / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert re.fullmatch(rf"make ({'|'.join(targets)})( \w+=\S+)?", command), command


def _parse(words: list[str]) -> None:
    """Let the command line read its words, and do nothing."""
    given: dict[str, Any] = {}
    command = get_command(cli.app)
    _disarm(command, given)
    command.main(words, standalone_mode=False)
    if given.get("recipe"):
        config.load(given["recipe"], given["settings"] or [])
    if given.get("codec"):
        Spec.parse(given["codec"], given["settings"] or [])
    if given.get("codecs"):
        parse_all(given["codecs"])


def _disarm(command: Any, given: dict[str, Any]) -> None:
    """Make a command, and all below it, keep what they are given instead of doing it."""
    command.callback = lambda **options: given.update(options)
    for below in getattr(command, "commands", {}).values():
        _disarm(below, given)
