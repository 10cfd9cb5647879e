"""The studio as a visitor meets it: a real browser, files up and down, the keyboard, mistakes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import stand_in
from PIL import Image

import sempic
from sempic.codecs.sqgan import Settings
from sempic.scene import draw
from sempic.studio.tasks import LIMIT_BYTES

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH")
pytest.importorskip("gradio")
sync_api = pytest.importorskip("playwright.sync_api")

COMMAND = [sys.executable, "-c", "from sempic.cli import main; main()", "studio", "--no-browser"]
PATIENCE_MS = 90_000
SHOTS = os.environ.get("SEMPIC_SHOTS")  # a folder for screenshots


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """A studio, with a model of one's own, which leaves nothing behind."""
    folder, models = tmp_path_factory.mktemp("temporary"), tmp_path_factory.mktemp("models")
    stand_in.make_spic(models)
    environment = os.environ | {"TMPDIR": str(folder)}
    command = [*COMMAND, "--model", str(models / stand_in.SPIC)]
    studio = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    yield studio
    uploads = [path for path in folder.glob("sempic-studio-*/**/*") if path.is_file() and path.stat().st_size]
    studio.send_signal(signal.SIGTERM)
    studio.wait(timeout=30)
    assert uploads == []
    assert list(folder.glob("sempic-studio-*")) == []


@pytest.fixture(scope="module")
def address(studio: subprocess.Popen[str]) -> str:
    """Where it is: on this machine alone."""
    assert studio.stdout is not None
    return re.search(r"http://127\.0\.0\.1:\d+/", studio.stdout.readline())[0]


@pytest.fixture(scope="module")
def chromium() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: sync_api.Browser, address: str) -> Iterator[sync_api.Page]:
    """The page, which fetches nothing from elsewhere and on which no script fails."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda made: wrong.append(made.url) if not made.url.startswith((address, "data:")) else None)
    page.goto(address)
    page.wait_for_selector("#encode")
    yield page
    page.close()
    assert wrong == []


def says(page: sync_api.Page, text: str) -> None:
    page.wait_for_selector(f'#status:has-text("{text}")')


def shoot(page: sync_api.Page, name: str, width: int = 1280) -> None:
    if SHOTS:
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(1000)  # for the result to take its new height
        page.screenshot(path=Path(SHOTS) / f"studio-{name}.png", full_page=True)


def shown(page: sync_api.Page) -> list[str]:
    """What is on the result's page, by name."""
    result = page.frame_locator("#result iframe")
    result.locator("figcaption").first.wait_for()
    return result.locator("figcaption b").all_inner_texts()


def choose(page: sync_api.Page, codec: str) -> None:
    page.locator("#codec input").click()
    page.get_by_role("option", name=codec, exact=True).click()


def parts(page: sync_api.Page) -> list[str]:
    """What the bytes are used for."""
    return page.frame_locator("#result iframe").locator(".parts th").all_inner_texts()


@pytest.mark.sqgan
def test_a_picture_goes_up_and_its_stream_comes_down_and_goes_up_again(page, tmp_path):
    width, height = (480, 360) if SHOTS else (160, 120)
    picture = Image.fromarray(draw(7, width, height).image)
    picture.save(tmp_path / "street.png")
    page.set_input_files("#file input[type=file]", tmp_path / "street.png")
    says(page, f"street.png, {width} × {height} pixels")
    page.locator("#result img").wait_for()
    page.locator("#size input[type=number]").fill("600")
    page.click("#keep button")
    page.get_by_label("range slider for sky").fill("0")
    page.click("#keep button")
    page.click("#encode")
    says(page, "Done. sqgan: ")
    assert shown(page)[:5] == ["original", "sqgan", "segmap", "relevance", "hevc"]
    assert parts(page)[:5] == ["header", "framing", "segmap", "palette", "tokens, band 1"]
    shoot(page, "phone", 390)
    shoot(page, "desktop")
    result = page.frame_locator("#result iframe")
    wipe = result.locator("#wipe input")
    wipe.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert float(wipe.input_value()) > 50
    with page.expect_download() as coming:
        result.locator("a.download").click()
    coming.value.save_as(tmp_path / "street-sqgan.smp")
    assert coming.value.suggested_filename == "street-sqgan.smp"
    assert (tmp_path / "street-sqgan.smp").read_bytes() == sempic.encode(
        picture, bytes=600, settings=Settings(keep={"sky": 0})
    )

    page.reload()
    page.set_input_files("#file input[type=file]", tmp_path / "street-sqgan.smp")
    says(page, "Done.")
    assert shown(page) == ["sqgan", "segmap", "relevance"]
    layers = page.locator("#shown-layers input[type=range]")
    layers.focus()
    page.keyboard.press("Home")
    result.get_by_text("tokens sent: 0% of the grid").wait_for()


@pytest.mark.sqgan
def test_layers_and_steps_are_sliders(page, tmp_path):
    result = page.frame_locator("#result iframe")
    Image.fromarray(draw(7, 160, 120).image).save(tmp_path / "street.png")
    page.set_input_files("#file input[type=file]", tmp_path / "street.png")
    says(page, "160 × 120 pixels")
    choose(page, "layered")
    page.locator("#layers input[type=number]").fill("2")
    page.get_by_role("button", name="Further settings").click()
    page.locator("#settings textarea, #settings input").fill("map=half")
    page.locator("#size input[type=number]").fill("3000")
    page.keyboard.press("Enter")
    page.click("#encode")
    says(page, "Done. layered: ")
    assert shown(page) == ["original", "layered", "segmap", "hevc", "av1", "jpeg"]
    assert parts(page)[-2:] == ["layer 1", "layer 2"]
    result.get_by_text("cells of 2×2").wait_for()
    heading = result.locator("h1")
    whole = heading.inner_text()
    page.locator("#shown-layers input[type=range]").press("ArrowLeft")
    sync_api.expect(heading).not_to_have_text(whole, timeout=PATIENCE_MS)
    assert shown(page)[1] == "layered"
    choose(page, "spic")
    page.locator("#steps input[type=number]").fill("1")
    page.click("#encode")
    says(page, "Done. spic: ")
    assert shown(page)[:3] == ["original", "spic", "segmap"]
    drawn = result.locator("#over").get_attribute("src")
    page.locator("#steps input[type=range]").press("Home")
    sync_api.expect(result.locator("#over")).not_to_have_attribute("src", drawn, timeout=PATIENCE_MS)


def test_mistakes_are_one_sentence(page, tmp_path):
    page.click("#encode")
    says(page, "Choose a picture first")
    (tmp_path / "bad.png").write_text("not a picture")
    page.set_input_files("#file input[type=file]", tmp_path / "bad.png")
    says(page, "'bad.png' is not a picture that can be read.")
    shoot(page, "error")
    (tmp_path / "large.png").write_bytes(bytes(LIMIT_BYTES + 1))
    page.set_input_files("#file input[type=file]", tmp_path / "large.png")
    page.get_by_text(re.compile("exceed the maximum allowed size")).first.wait_for()


def working(studio: subprocess.Popen[str]) -> bool:
    """Whether the studio has a process to work in."""
    children = [pid for path in Path("/proc").glob(f"{studio.pid}/task/*/children") for pid in path.read_text().split()]
    return any(b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children)


def test_work_can_be_cancelled_and_a_phone_is_wide_enough(page, studio):
    page.set_viewport_size({"width": 390, "height": 844})
    page.click("#street")
    says(page, "480 × 360 pixels")
    page.click("#encode")
    says(page, "Encoding with sqgan")
    assert working(studio) == Path("/proc/self").exists()
    page.click("#cancel")
    says(page, "Cancelled.")
    page.wait_for_timeout(1000)
    assert not working(studio)
    assert page.locator("#cancel").is_disabled()
    choose(page, "jpeg")
    page.locator("#keep").wait_for(state="hidden")
    page.locator("#size input[type=number]").fill("2000")
    page.keyboard.press("Enter")
    page.click("#encode")
    says(page, "Done.")
    assert shown(page) == ["original", "jpeg", "hevc", "av1"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.click("#street")
    page.locator("#result iframe").wait_for(state="detached")
