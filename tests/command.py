"""The command `sempic`, run in this process: what starting Python and loading models costs is paid once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

from sempic import cli


def call(folder: Path, *arguments: object, stdin: bytes = b"") -> CompletedProcess[bytes]:
    """Run a command in a folder; an error that the command line does not explain is raised."""
    words = ["sempic", *map(str, arguments)]
    out, err = (TextIOWrapper(BytesIO(), "utf-8", write_through=True) for _ in range(2))
    given = mock.patch.multiple(sys, argv=words, stdin=TextIOWrapper(BytesIO(stdin)))
    with _inside(folder), given, redirect_stdout(out), redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code
    return CompletedProcess(words, int(code or 0), *(stream.buffer.getvalue() for stream in (out, err)))


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
