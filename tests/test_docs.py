"""The documentation: what its pages show is run, the notebook too, and the site builds without a warning."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import snippets
from typer.main import get_command

from sempic import cli
from sempic.codecs import CODECS, codec, codec_by_id
from sempic.training.options import KINDS

REPO = snippets.REPO
DOCS = REPO / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
NOT_RUN = {DOCS / "fuzzing.md"}
"""Pages whose `sh` blocks take hours."""


def name(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


@pytest.mark.sqgan
@pytest.mark.skipif(os.name != "posix", reason="the blocks are written for a POSIX shell")
@pytest.mark.parametrize(
    "page",
    [
        page
        for page in PAGES
        if {"sh", "python"} & {one for one, _ in snippets.blocks(page)}
        and page not in (*NOT_RUN, DOCS / "extending.md")
    ],
    ids=name,
)
def test_what_a_page_shows_runs(page, tmp_path, monkeypatch):
    snippets.run(page, tmp_path, monkeypatch)


@pytest.fixture
def restored():
    """The codecs and the kinds of models as they were, once the test is over."""
    with patch.dict(CODECS), patch.dict(KINDS):
        yield
    codec.cache_clear()
    codec_by_id.cache_clear()


@pytest.mark.sqgan
@pytest.mark.slow
def test_a_codec_of_ones_own_reaches_every_command(tmp_path, monkeypatch, restored):
    snippets.run(DOCS / "extending.md", tmp_path, monkeypatch)
    for command in (
        "sempic codecs tiny",
        "sempic encode street.png -o tiny.smp --codec tiny:finest=8 --set finest=16 --bytes 900 --protect",
        "sempic inspect tiny.smp",
        "sempic decode tiny.smp -o tiny.png",
        "sempic compare street.png --bytes 900 --codecs tiny,tiny:finest=16,jpeg2000 -o compare.html",
    ):
        snippets.run_line(command, monkeypatch)


def test_what_is_not_run_is_at_least_understood():
    shown = [command for page in PAGES for command in snippets.shown(page)]
    assert len(shown) > 20
    for command in shown:
        snippets.check(command)


def test_blocks_are_of_languages_that_say_what_is_done_with_them():
    for page in PAGES:
        assert {language for language, _ in snippets.blocks(page)} <= {"sh", "python", "console", "text", ""}, page


def test_the_examples_of_each_command_are_understood():
    examples = []
    groups = [get_command(cli.app)]
    for command in groups:
        groups += getattr(command, "commands", {}).values()
        examples += re.findall(r"^ .*?(sempic .*?)(?: >.*)?$", command.help.partition("\b")[2], re.MULTILINE)
    assert len(examples) > 30
    for example in examples:
        snippets.check(example)


def test_a_command_that_is_not_there_is_noticed():
    for wrong in ("sempic encode --byte 3 a.png", "sempic train sqgan stepz=3", "make tea", "pip install '.[no]'"):
        with pytest.raises(Exception, match=r"byte|stepz|tea|no\b"):
            snippets.check(wrong)


@pytest.mark.sqgan
@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(DOCS / "tour.ipynb", as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    nbclient.NotebookClient(notebook, timeout=300).execute(cwd=str(tmp_path))
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 5
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("mkdocs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_every_page_and_command(site):
    for page in PAGES:
        assert (site / page.relative_to(DOCS)).with_suffix(".html").exists()
    assert not (site / "_site").exists()
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for command in ("encode", "decode", "batch-encode", "data-check", "train"):
        assert f'id="sempic-{command}"' in commands
    reference = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert "<strong>keep</strong>: weights of classes" in reference
    found = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert len(found["docs"]) > len(PAGES)


def test_no_page_loads_anything_from_elsewhere(site):
    loads = re.compile(
        r"""<(?:script|img|iframe|source|video)\b[^>]*\bsrc=["']?(?:https?:)?//|"""
        r"""<link\b[^>]*\brel=["']?(?:stylesheet|preload|preconnect|icon)[^>]*\bhref=["']?(?:https?:)?//"""
    )
    for page in site.rglob("*.html"):
        assert not loads.search(page.read_text(encoding="utf-8")), page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import )['\"]?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet
