"""A browser without a window, for tests that look at pages."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
_SWITCHES = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr")


def dump(page: Path, until: str) -> str:
    """Open a page and return its elements when a text is among them; fail if a script fails.

    The browser's clock runs ahead of work that it has given to other threads, so on a busy machine it may look too
    early: then it is given longer.
    """
    for seconds in (5, 50, 500):
        command = [str(BROWSER), *_SWITCHES, f"--user-data-dir={page.parent / 'profile'}"]
        command += [f"--virtual-time-budget={1000 * seconds}", "--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert "CONSOLE" not in done.stderr, done.stderr  # where the browser reports scripts that fail
        if until in done.stdout:
            return done.stdout
    raise AssertionError(f"{until} never appeared: {done.stderr}")
