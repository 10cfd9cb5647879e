"""The command `sempic`, run in this process, where what starting Python costs is paid once; and on a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

import pytest

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


def on_terminal(folder: Path, *words: str, columns: int = 80, **variables: str) -> str:
    """Return all that a command writes to a terminal of so many columns."""
    pty = pytest.importorskip("pty")
    import fcntl
    import struct
    import termios

    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    known = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        words, cwd=folder, env=known | {"TERM": "xterm"} | variables, stdin=its, stdout=its, stderr=its
    )
    os.close(its)
    found = b""
    while True:
        try:
            some = os.read(ours, 1 << 16)
        except OSError:  # what Linux says at the end
            break
        if not some:
            break
        found += some
    os.close(ours)
    process.wait(60)
    return found.decode()


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
