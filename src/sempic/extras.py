"""The packages that only some parts of Sempic need, and how they are installed beside it."""

from __future__ import annotations

import json
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname


def install(extra: str) -> str:
    """Return the command that installs one of Sempic's extras from where Sempic itself was installed.

    That is a package index, a clone, a file or a repository; installers put it down in `direct_url.json` (PEP 610).
    """
    clone, found = Path(__file__).parents[2], _origin()
    if found is None and (clone / "pyproject.toml").is_file():  # run from a clone that nobody has installed
        found = {"url": clone.as_uri(), "dir_info": {"editable": True}}
    if found is None:
        return f"pip install 'sempic[{extra}]'"
    if "dir_info" in found:
        edit = "-e " if found["dir_info"].get("editable") else ""
        return f"pip install {edit}'.[{extra}]' in {url2pathname(urlsplit(found['url']).path)}"
    control = found.get("vcs_info", {}).get("vcs")
    return f"pip install 'sempic[{extra}] @ {control + '+' if control else ''}{found['url']}'"


def _origin() -> dict[str, Any] | None:
    """Return what the installer put down about where Sempic came from; None if it came from an index."""
    for one in distributions(name="sempic"):  # an egg-info in a clone, which has no such file, may come first
        if text := one.read_text("direct_url.json"):
            found: dict[str, Any] = json.loads(text)
            return found
    return None
