"""The command that installs what is missing, from where Sempic itself came."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sempic

PACKAGE = Path(sempic.__file__).parent
ASKED = "from sempic.extras import install; print(install('bench'))"


def asked(folder: Path, origin: dict | None) -> str:
    """What a Sempic in a folder of packages says of its extra `bench`, when its installer put down where it is from."""
    about = folder / "sempic-0.1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: sempic\nVersion: 0.1.0\n")
    if origin is not None:
        (about / "direct_url.json").write_text(json.dumps(origin))
    (folder / "sempic").mkdir()
    for name in ("__init__.py", "extras.py"):
        shutil.copy(PACKAGE / name, folder / "sempic")
    (folder / "sempic" / "__init__.py").write_text("")
    environment = os.environ | {"PYTHONPATH": str(folder)}
    # -S: without the packages that are really installed
    done = subprocess.run(
        [sys.executable, "-S", "-c", ASKED], capture_output=True, text=True, env=environment, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'sempic[bench]'"),
        (
            {"url": "file:///home/me/my%20clone", "dir_info": {"editable": True}},
            "pip install -e '.[bench]' in /home/me/my clone",
        ),
        ({"url": "file:///home/me/clone", "dir_info": {}}, "pip install '.[bench]' in /home/me/clone"),
        (
            {"url": "https://example.org/sempic.git", "vcs_info": {"vcs": "git", "commit_id": "1"}},
            "pip install 'sempic[bench] @ git+https://example.org/sempic.git'",
        ),
        (
            {"url": "file:///tmp/sempic-0.1.0-py3-none-any.whl", "archive_info": {}},
            "pip install 'sempic[bench] @ file:///tmp/sempic-0.1.0-py3-none-any.whl'",
        ),
    ],
)
def test_extras_are_installed_from_where_sempic_is_from(tmp_path, origin, command):
    assert asked(tmp_path / "lib" / "packages", origin) == command


def test_a_clone_that_nobody_has_installed_is_one_too(tmp_path):
    clone = tmp_path / "clone"
    (clone / "src").mkdir(parents=True)
    (clone / "pyproject.toml").write_text("")
    assert asked(clone / "src", None) == f"pip install -e '.[bench]' in {clone}"


def test_no_sentence_has_such_a_command_of_its_own():
    for path in PACKAGE.rglob("*.py"):
        if path.name != "extras.py":
            assert "sempic[" not in path.read_text(encoding="utf-8"), path
