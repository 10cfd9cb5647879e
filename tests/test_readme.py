"""What the README shows is run: its shell and Python blocks in order, in one folder, beside a picture street.png."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sempic.scene import draw

REPO = Path(__file__).resolve().parents[1]
TEXT = (REPO / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.sqgan
@pytest.mark.skipif(os.name != "posix", reason="the blocks are written for a POSIX shell")
def test_the_examples_run(tmp_path):
    Image.fromarray(draw(0).image).save(tmp_path / "street.png")
    # The examples say `sempic`; here that is the package under test, wherever its script was installed.
    script = tmp_path / "bin" / "sempic"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "from sempic.cli import main; main()" "$@"\n')
    script.chmod(0o755)
    environment = os.environ | {"PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}"}
    shell = [text for language, text in BLOCKS if language == "sh"]
    python = [text for language, text in BLOCKS if language == "python"]
    for command in (["sh", "-e", "-c", "\n".join(shell)], [sys.executable, "-c", "\n".join(python)]):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "decoded.png").size == (480, 360)
    assert (tmp_path / "small.smp").stat().st_size <= 800


def test_every_block_is_run_or_a_set_up_command():
    assert {language for language, _ in BLOCKS} <= {"sh", "python", "console"}
    targets = re.findall(r"^(\w+):", (REPO / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for line in "".join(text for language, text in BLOCKS if language == "console").splitlines():
        assert re.fullmatch(rf"\$ (pip install \.|make ({'|'.join(targets)})( \w+=\S+)?)", line), line


def test_links_lead_somewhere():
    absent = {link for link in re.findall(r"\]\((?!http)([^)#]+)", TEXT) if not Path(REPO, link).exists()}
    assert not absent
