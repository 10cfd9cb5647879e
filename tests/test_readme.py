"""What the README shows is run, and its links lead somewhere."""

from __future__ import annotations

import os
import re

import pytest
import snippets
from PIL import Image

README = snippets.REPO / "README.md"


@pytest.mark.sqgan
@pytest.mark.skipif(os.name != "posix", reason="the blocks are written for a POSIX shell")
@pytest.mark.slow
def test_the_examples_run(tmp_path, monkeypatch):
    snippets.run(README, tmp_path, monkeypatch, (480, 360))
    assert Image.open(tmp_path / "decoded.png").size == (480, 360)
    assert (tmp_path / "small.smp").stat().st_size <= 800


def test_every_block_is_run_or_a_set_up_command():
    assert {language for language, _ in snippets.blocks(README)} <= {"sh", "python", "console"}
    for command in snippets.shown(README):
        snippets.check(command)


def test_links_lead_somewhere():
    links = re.findall(r"\]\((?!http)([^)#]+)", README.read_text(encoding="utf-8"))
    assert not {link for link in links if not (snippets.REPO / link).exists()}
