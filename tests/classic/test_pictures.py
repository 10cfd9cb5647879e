"""Every classic codec: what they all promise, and what each of them does on its own."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import sempic
from sempic import container
from sempic.codecs import codec, codec_by_id
from sempic.codecs.classic import jpeg, picture
from sempic.codecs.classic.picture import SCALES, PictureCodec
from sempic.container import Header, Section
from sempic.extras import install

GOLDEN = Path(__file__).parents[1] / "golden"
PACKAGES = {"jpeg": "pyvips", "jpegxl": "imagecodecs"}
NAMES = ("hevc", "jpeg", "jpeg2000", "webp", "av1", "jpegxl")
IDS = {"hevc": 32, "jpeg": 33, "jpeg2000": 34, "webp": 35, "av1": 36, "jpegxl": 37, "bpg": 38}


def scene(width: int, height: int) -> NDArray[np.uint8]:
    """A picture with slopes, edges and texture, drawn in integers so that it is the same everywhere."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 // width, y * 255 // height, (x + 2 * y) % 128], axis=-1)
    image[height // 3 : height // 2, width // 4 : width // 2] = (220, 40, 60)
    image[(x - width // 2) ** 2 + (y - height // 2) ** 2 < (height // 5) ** 2] = (40, 60, 170)
    picture: NDArray[np.uint8] = (image // 2 + (x * y % 7)[..., None] * 4).astype(np.uint8)
    return picture


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


@pytest.fixture(params=NAMES)
def chosen(request: pytest.FixtureRequest) -> PictureCodec[Any]:
    if request.param in PACKAGES:
        pytest.importorskip(PACKAGES[request.param])
    found = codec(request.param)
    assert isinstance(found, PictureCodec)
    return found


def stream(chosen: PictureCodec[Any], payload: bytes, width: int, height: int, scale: int = 1) -> bytes:
    return container.write(Header(chosen.id, width, height), [Section(scale, payload)])


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (33, 100), (121, 90), (136, 72), (256, 64)])
def test_round_trip_at_every_size_and_scale(chosen: PictureCodec[Any], size: tuple[int, int]) -> None:
    image = scene(*size)
    for name, scale in SCALES.items():
        writer = chosen.analyse(image, chosen.Settings(scale=name))
        assert writer.steps == len(chosen.levels)
        for step in (0, writer.steps // 2, writer.steps - 1):
            data = writer.write(step)
            decoded = sempic.decode(data)
            assert (decoded.image.shape, decoded.warnings) == (image.shape, ())
            assert decoded.image.dtype == np.uint8
            assert decoded.image.flags.writeable
            assert sempic.inspect(data).detail == {"scale": scale}
        # In small pictures chroma at half size is what limits quality.
        assert psnr(decoded.image, image) > {1: 34 if min(size) > 64 else 28, 2: 20, 4: 17}[scale]


def test_sizes_and_quality_grow_with_the_step(chosen: PictureCodec[Any]) -> None:
    image = scene(200, 120)
    writer = chosen.analyse(image, chosen.Settings(scale="full"))
    streams = [writer.write(step) for step in range(0, writer.steps, 5)]
    sizes = [len(data) for data in streams]
    assert all(more > less * 0.95 for less, more in pairwise(sizes))
    quality = [psnr(sempic.decode(data).image, image) for data in streams]
    assert all(better > worse - 0.3 for worse, better in pairwise(quality))


def test_the_scale_grows_with_the_step(chosen: PictureCodec[Any]) -> None:
    """Where it changes, sizes meet on street pictures; on others they may fall a little."""
    image = scene(200, 120)
    writer = chosen.analyse(image, chosen.Settings())
    streams = [writer.write(step) for step in range(0, writer.steps, 5)]
    sizes = [len(data) for data in streams]
    assert all(more > less * 0.7 for less, more in pairwise(sizes))
    assert sizes[0] < 250
    assert sizes[-1] > 40 * sizes[0]
    scales = [sempic.inspect(data).detail["scale"] for data in streams]
    assert scales == sorted(scales, reverse=True)
    assert set(scales) == {1, 2, 4}


@pytest.mark.parametrize("limit", [400, 1200, 5000])
def test_sizes_are_met_closely(chosen: PictureCodec[Any], limit: int) -> None:
    assert 0.8 * limit < len(sempic.encode(scene(200, 120), chosen.name, bytes=limit)) <= limit


def test_the_same_picture_gives_the_same_bytes(chosen: PictureCodec[Any]) -> None:
    image = scene(90, 70)
    for step in (0, 30):
        first, second = (chosen.analyse(image, chosen.Settings(scale="full")).write(step) for _ in range(2))
        assert first == second


def test_damaged_payloads_decode_or_raise_stream_errors(chosen: PictureCodec[Any]) -> None:
    image = scene(96, 64)
    chance = random.Random(7)
    levels = (chosen.levels[0], chosen.levels[len(chosen.levels) // 2])
    payloads = [chosen.compress(chosen.shrink(image, 96, 64), level) for level in levels]
    for trial in range(300):
        payload = payloads[trial % 2]
        damaged = bytearray(payload)
        match trial // 2 % 4:
            case 0:
                damaged = damaged[: chance.randrange(len(damaged))]
            case 1:
                damaged[chance.randrange(len(damaged))] ^= chance.randrange(1, 256)
            case 2:
                damaged[chance.randrange(min(24, len(damaged)))] = chance.randrange(256)
            case 3:
                damaged = damaged[: chance.randrange(12)] + chance.randbytes(chance.randrange(300))
        try:
            assert sempic.decode(stream(chosen, bytes(damaged), 96, 64)).image.shape == image.shape
        except sempic.StreamError:
            continue


def test_the_size_comes_from_the_header_alone(chosen: PictureCodec[Any]) -> None:
    """So a payload made for another size is an error or a picture of the header's size, never of its own."""
    payload = chosen.compress(chosen.shrink(scene(240, 160), 240, 160), chosen.levels[len(chosen.levels) // 2])
    with suppress(sempic.StreamError):
        assert sempic.decode(stream(chosen, payload, 64, 48)).image.shape == (48, 64, 3)


def test_an_empty_payload_is_an_error_and_no_crash(chosen: PictureCodec[Any]) -> None:
    with pytest.raises(sempic.StreamError, match=chosen.title):
        sempic.decode(stream(chosen, b"", 64, 48))


def test_unknown_sections(chosen: PictureCodec[Any]) -> None:
    data = chosen.analyse(scene(64, 64), chosen.Settings()).write(9)
    first = container.read(data).sections[0]
    longer = container.write(Header(chosen.id, 64, 64), [first, Section(77, b"later")])
    assert "ignored" in sempic.decode(longer).warnings[0]
    info = sempic.inspect(longer)
    assert "ignored" in info.warnings[0]
    assert sum(part.bytes for part in info.parts) == len(longer)
    with pytest.raises(sempic.StreamError, match="type 77"):
        sempic.decode(stream(chosen, b"later", 64, 64, scale=77))


def test_golden_streams_decode_for_ever(chosen: PictureCodec[Any]) -> None:
    """Colours and scaling may differ in the last digit, hence the tolerance."""
    expected = {"hevc": 27.29, "jpeg": 27.91, "jpeg2000": 29.16, "webp": 28.6, "av1": 28.99, "jpegxl": 27.96}
    decoded = sempic.decode((GOLDEN / f"{chosen.name}-1.smp").read_bytes())
    assert psnr(decoded.image, scene(121, 90)) == pytest.approx(expected[chosen.name], abs=0.05)


def test_ids_are_declared() -> None:
    for name, id in IDS.items():
        assert codec(name).id == id
        assert codec(name).name == name
        assert codec_by_id(id) is codec(name)


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(sempic.InputError, match="auto, full, half or quarter, not 'eighth'"):
        sempic.encode(scene(64, 64), "webp:scale=eighth")


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package_is_a_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGES[name], None)
    sentence = re.escape(f"The codec {name} needs the package {PACKAGES[name]}: {install('bench')}.")
    with pytest.raises(sempic.InputError, match=sentence):
        sempic.encode(scene(64, 64), name)


def test_the_other_codecs_need_no_extra_packages() -> None:
    code = (
        "import sys; sys.modules.update(imagecodecs=None, pyvips=None); import numpy, sempic\n"
        "for name in ('hevc', 'jpeg2000', 'webp', 'av1'):\n"
        "    sempic.decode(sempic.encode(numpy.zeros((64, 64, 3), 'uint8'), name))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")  # SVT-AV1, too, is silent


def test_jpeg_without_mozjpeg_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyvips")
    written = jpeg._written
    monkeypatch.setattr(jpeg, "_written", lambda vips, pixels, quality, trellis=True: written(vips, pixels, quality))
    jpeg._has_mozjpeg.cache_clear()
    with pytest.raises(sempic.InputError, match="mozjpeg"):
        sempic.encode(scene(64, 64), "jpeg")
    jpeg._has_mozjpeg.cache_clear()


def test_jpeg_refuses_other_segments_and_endless_scans() -> None:
    chosen = codec("jpeg")
    assert isinstance(chosen, PictureCodec)
    forged = b"\x32" + b"\xff\xc0\x00\x11\x08\xea\x60\xea\x60\x03" + bytes(9)
    scans = b"\x32" + b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00" * 1000
    for payload in (forged, scans):
        with pytest.raises(sempic.StreamError, match="tables and then scans"):
            sempic.decode(stream(chosen, payload, 64, 64))


def test_jpegxl_refuses_frames_of_their_own_size() -> None:
    """A cropped frame says how big it is, up to 2³⁰ pixels a side; libjxl would take the memory."""
    pytest.importorskip("imagecodecs")
    chosen = codec("jpegxl")
    assert isinstance(chosen, PictureCodec)
    good = chosen.compress(chosen.shrink(scene(64, 64), 64, 64), 40)
    assert good[0] & 1 == 0  # a header in full, in which bit 16 says "cropped" and bit 19 "last frame"
    for bit in (16, 19):
        forged = (int.from_bytes(good, "little") ^ 1 << bit).to_bytes(len(good), "little")
        with pytest.raises(sempic.StreamError, match="one plain frame"):
            sempic.decode(stream(chosen, forged, 64, 64))


TOOL = """#!{python}
import sys, zlib
from PIL import Image
out, source = sys.argv[sys.argv.index("-o") + 1], sys.argv[-1]
def groups(n): return (bytes((n >> 7 | 128,)) if n >> 7 else b"") + bytes((n & 127,))
if {encoder}:
    picture, qp = Image.open(source), int(sys.argv[sys.argv.index("-q") + 1])
    raw = picture.point(lambda v: v // (qp + 1) * (qp + 1)).tobytes()
    header = b"BPG\\xfb\\x20\\0" + groups(picture.width) + groups(picture.height)
    open(out, "wb").write(header + zlib.compress(raw))
else:
    data = open(source, "rb").read()
    number, sides = 0, []
    for place, byte in enumerate(data[6:], 7):
        number = number << 7 | byte & 127
        if byte < 128:
            sides.append(number)
            number = 0
        if len(sides) == 2:
            break
    Image.frombytes("RGB", tuple(sides), zlib.decompress(data[place:])).save(out)
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for bpgenc and bpgdec: the true header, but zlib in place of HEVC."""
    for name in ("bpgenc", "bpgdec"):
        (tmp_path / name).write_text(TOOL.format(python=sys.executable, encoder=name == "bpgenc"))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


@pytest.mark.usefixtures("tools")
@pytest.mark.skipif(os.name != "posix", reason="the stand-ins are scripts")
def test_bpg_runs_the_tools() -> None:
    image = scene(200, 130)
    small, large = (sempic.encode(image, "bpg:scale=full", quality=quality) for quality in (0, 100))
    assert len(small) < len(large)
    assert b"BPG" not in large
    assert psnr(sempic.decode(large).image, image) > 40
    payload = container.read(large).sections[0].payload
    for wrong in (payload[:-30], payload[:40], b""):
        with pytest.raises(sempic.StreamError, match="BPG picture in the stream is damaged"):
            sempic.decode(stream(codec("bpg"), wrong, 200, 130))  # type: ignore[arg-type]
    with pytest.raises(sempic.StreamError, match="not of the stream's size"):
        sempic.decode(stream(codec("bpg"), payload, 200, 131))  # type: ignore[arg-type]


def test_bpg_without_the_tools_names_hevc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(sempic.InputError, match="needs bpgenc on the PATH; the codec hevc stands in"):
        sempic.encode(scene(64, 64), "bpg")


def test_extra_imports_what_is_there() -> None:
    assert picture.extra("json", "webp").dumps(1) == "1"
    assert Image.MAX_IMAGE_PIXELS is None or Image.MAX_IMAGE_PIXELS >= container.MAX_SIDE**2


def test_a_pyav_without_the_coder_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def create(coder: str, mode: str) -> None:
        raise ValueError(coder)

    monkeypatch.setattr("av.CodecContext.create", create)
    with pytest.raises(sempic.InputError, match="codec av1 needs libsvtav1, which this build of PyAV lacks"):
        sempic.encode(scene(64, 64), "av1")


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="the system has no scheduling policies")
def test_av1_leaves_the_priority_of_the_process_as_it_was() -> None:
    before = os.sched_getscheduler(0)
    sempic.encode(scene(64, 64), "av1")
    assert os.sched_getscheduler(0) == before
