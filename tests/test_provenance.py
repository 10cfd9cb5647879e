"""What is true of a decoded picture: every codec says it of every pixel, also after losses, and so do the commands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stand_in
from codec_cases import decode_with, encode_with, ends, objects_in, read, street
from command import call as run
from numpy.typing import NDArray
from PIL import Image

import sempic
from sempic import Provenance, container, marks, provenance
from sempic.codecs import enhancement, sqgan
from sempic.codecs.classic.picture import PictureReading
from sempic.link.protection import protect

SENT, DRAWN, REDUCED, INVENTED, MISSING = Provenance
WIDTH, HEIGHT = 100, 75


@pytest.fixture(scope="module", autouse=True)
def _models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("models")
    stand_in.make(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMPIC_MODELS", str(folder))
        yield


def encode(codec: str, **settings: Any) -> bytes:
    image, segmap = street(WIDTH, HEIGHT)
    return encode_with(image, codec, segmap=segmap, **settings)


def kinds(decoded: sempic.Decoded) -> NDArray[np.uint8]:
    """The kinds of a decoded picture, after a look at their shape."""
    assert decoded.provenance is not None
    assert decoded.provenance.dtype == np.uint8
    assert decoded.provenance.shape == decoded.image.shape[:2]
    return decoded.provenance


def only(decoded: sempic.Decoded) -> Provenance:
    """The kind that all pixels have."""
    (found,) = np.unique(kinds(decoded))
    return Provenance(found)


# -- codecs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["hevc", "jpeg2000", "webp"])
def test_conventional_codecs_send_everything(codec):
    assert only(sempic.decode(encode_with(street(WIDTH, HEIGHT)[0], codec, quality=30))) == SENT


@pytest.mark.parametrize("how", ["quarter", "tokens"])
def test_sqgan_draws_where_it_sent_tokens_and_invents_elsewhere(how):
    data = encode("sqgan", quality=50, map=how)
    sent = read(data).sent()
    assert 0 < sent.mean() < 1
    found = kinds(sempic.decode(data))
    for row, column in np.ndindex(sent.shape):
        place = found[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        assert (place == (DRAWN if sent[row, column] else INVENTED)).all()
    assert only(sempic.decode(data, layers=0)) == INVENTED
    assert only(sempic.decode(encode("sqgan", quality=0, map=how))) == INVENTED
    assert only(sempic.decode(encode("sqgan", quality=100, map=how))) == DRAWN


def test_layered_draws_from_latents_and_invents_without():
    assert only(sempic.decode(encode("layered", quality=0))) == INVENTED
    for quality in (20, 55):
        assert only(sempic.decode(encode("layered", quality=quality))) == DRAWN


def test_layered_sends_pixels_to_which_no_drawn_detail_is_added():
    data = encode("layered", quality=75)
    reading = read(data)
    layer, _ = enhancement.decode(reading.payloads, WIDTH, HEIGHT)
    assert layer.strength > 0
    decoded = sempic.decode(data)
    own = (decoded.image == layer.rgb).all(2)
    assert np.array_equal(kinds(decoded), np.where(own, SENT, DRAWN))
    assert only(sempic.decode(data, layers=0)) == DRAWN
    stream = container.read(data)
    *others, last = stream.sections
    plain = container.Section(last.type, bytes((last.payload[0] & 3,)) + last.payload[1:])  # of strength 0
    assert only(sempic.decode(container.write(stream.header, [*others, plain]))) == SENT


def test_spic_draws_from_its_coarse_picture_and_invents_without():
    data = encode("spic", quality=50)
    assert only(sempic.decode(data)) == DRAWN
    assert only(decode_with(data, steps=0)) == SENT
    assert only(sempic.decode(data, layers=0)) == INVENTED
    assert only(sempic.decode(encode("spic", quality=0))) == INVENTED
    assert only(decode_with(encode("spic", quality=0), steps=0)) == INVENTED


# -- losses -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tokens_in_bands(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A stream of two bands of tokens, which do not take all places."""
    monkeypatch.setattr(sqgan, "TOKENS_A_BAND", 10)
    data = encode("sqgan", quality=55)
    assert len(read(data).bands) == 2
    return data


def test_a_lost_band_may_have_been_for_any_place_that_is_not_there(tokens_in_bands):
    *_, first_band, _ = ends(tokens_in_bands)
    found = kinds(sempic.decode(tokens_in_bands[:first_band]))
    whole = kinds(sempic.decode(tokens_in_bands, layers=1))
    assert set(np.unique(found)) == {DRAWN, MISSING}
    assert np.array_equal(found == DRAWN, whole == DRAWN)
    head = ends(tokens_in_bands)[0]
    assert only(sempic.decode(tokens_in_bands[:head])) == MISSING


def test_layers_that_nobody_asked_for_are_not_missed(tokens_in_bands):
    *_, first_band, _ = ends(tokens_in_bands)
    cut = tokens_in_bands[:first_band]
    assert only(sempic.decode(cut, layers=0)) == INVENTED
    assert MISSING not in kinds(sempic.decode(cut, layers=1))
    assert MISSING in kinds(sempic.decode(cut, layers=2))


def test_a_damaged_section_counts_as_lost(tokens_in_bands):
    *_, first_band, _ = ends(tokens_in_bands)
    damaged = bytearray(tokens_in_bands)
    damaged[first_band + 6] ^= 4
    decoded = sempic.decode(bytes(damaged))
    assert decoded.warnings
    assert np.array_equal(kinds(decoded), kinds(sempic.decode(tokens_in_bands[:first_band])))


@pytest.mark.parametrize("quality", [20, 55, 95])
def test_what_layered_lost_leaves_it_reduced_or_missing(quality):
    data = encode("layered", quality=quality, layers=2)
    cuts = ends(data)[objects_in(data) :]
    assert only(sempic.decode(data[: cuts[0]])) == MISSING
    for cut in cuts[1:-1]:
        decoded = sempic.decode(data[:cut])
        assert decoded.warnings
        assert only(decoded) == REDUCED
    asked = sempic.decode(data[: cuts[-2]], layers=0) if quality > 20 else sempic.decode(data, layers=0)
    assert only(asked) == DRAWN


def broken(section: container.Section) -> container.Section:
    """A section of the same kind with an HEVC picture that cannot be decoded, for it holds a start code."""
    return container.Section(section.type, section.payload[:1] + b"\0\0\1")


def test_a_layer_that_cannot_be_decoded_is_lost():
    stream = container.read(encode("layered", quality=95))
    decoded = sempic.decode(container.write(stream.header, [*stream.sections[:-1], broken(stream.sections[-1])]))
    assert "Layer 1" in decoded.warnings[0]
    assert only(decoded) == REDUCED


def test_spic_without_its_coarse_picture():
    data = encode("spic", quality=50)
    first, _ = ends(data)
    assert only(sempic.decode(data[:first])) == MISSING
    assert only(sempic.decode(data[:first], layers=0)) == INVENTED
    stream = container.read(data)
    decoded = sempic.decode(container.write(stream.header, [stream.sections[0], broken(stream.sections[1])]))
    assert only(decoded) == MISSING


def test_what_error_correction_recovers_was_sent(tokens_in_bands):
    safe = protect(tokens_in_bands, 0.5)
    assert "1 missing" in str(sempic.inspect(bytes(8) + safe[8:]).parts)
    found = kinds(sempic.decode(bytes(8) + safe[8:]))
    assert np.array_equal(found, kinds(sempic.decode(tokens_in_bands)))


# -- pictures of it ---------------------------------------------------------------------------------------------------


def stripes(count: int = len(Provenance)) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture, and kinds that stand in it side by side."""
    picture = street(160, 120)[0]
    return picture, np.repeat(np.arange(count, dtype=np.uint8), 160 // count)[None].repeat(120, 0)


def test_shares_sum_to_one():
    _, found = stripes()
    assert provenance.shares(found) == {"sent": 0.2, "drawn": 0.2, "reduced": 0.2, "invented": 0.2, "missing": 0.2}
    assert provenance.summary(provenance.uniform(INVENTED, street(160, 120)[0])) == "invented 100.0 %"


def test_the_overlay_leaves_what_was_sent_and_marks_each_other_kind_in_its_own_way():
    picture, found = stripes()
    before = picture.copy()
    marked = marks.overlay(picture, found)
    assert np.array_equal(picture, before)
    assert marked.shape == picture.shape
    assert np.array_equal(marked[found == SENT], picture[found == SENT])
    means = {kind: marked[found == kind].mean(0) for kind in Provenance}
    for blue, orange in ((DRAWN, INVENTED), (REDUCED, MISSING)):
        assert means[blue][2] > means[blue][0] + 30
        assert means[orange][0] > means[orange][2] + 30
    greyer = marks.overlay(picture, provenance.uniform(DRAWN, picture))
    assert np.ptp((greyer - marked.astype(int))[found == REDUCED], axis=0).max() > 20  # stripes


@pytest.mark.parametrize("size", [(16, 16), (480, 360), (2000, 100)])
def test_the_legend_names_what_there_is_in_a_size_that_can_be_read(size):
    picture = np.full((size[1], size[0], 3), 90, np.uint8)
    found = provenance.uniform(MISSING, picture)
    found[:8] = DRAWN
    made = marks.sheet(picture, found)
    assert made.width >= max(size[0], 300)
    assert made.height >= size[1] + 2 * 28
    assert np.array_equal(np.asarray(made)[: size[1], : size[0]], marks.overlay(picture, found))
    assert list(provenance.legend(found)) == [DRAWN, MISSING]


# -- commands ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(street(WIDTH, HEIGHT)[0]).save(tmp_path / "street.png")
    return tmp_path


def report(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def apart(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", "sempic", *arguments], cwd=folder, capture_output=True, timeout=120)


def test_the_sender_sees_what_the_receiver_will_see(folder):
    told = report(apart(folder, "encode", "street.png", "--bytes", "300", "--preview", "seen.png", "--json"))
    got = report(apart(folder, "decode", "street.smp", "-o", "out.png", "--provenance", "marked.png", "--json"))
    assert (folder / "seen.png").read_bytes() == (folder / "out.png").read_bytes()
    assert told["preview"] == "seen.png"
    assert told["provenance"] == got["provenance"]
    assert sum(got["provenance"].values()) == pytest.approx(1, abs=1e-3)
    assert got["provenance"]["drawn"] > 0
    decoded = sempic.decode(folder / "street.smp")
    assert np.array_equal(np.asarray(Image.open(folder / "marked.png")), marks.sheet(decoded.image, kinds(decoded)))


def test_a_preview_is_that_of_the_stream_whatever_it_is(folder):
    for more in (["--codec", "spic", "--protect"], ["--codec", "layered"], ["--codec", "hevc", "--quality", "20"]):
        assert (
            b"what the receiver will see"
            in run(folder, "encode", "street.png", *more, "-o", "x.smp", "--preview", "seen.png", "--force").stdout
        )
        expected = sempic.decode(folder / "x.smp").image
        assert np.array_equal(np.asarray(Image.open(folder / "seen.png")), expected)


def test_decode_marks_losses(folder):
    data = encode("layered", quality=55)
    (folder / "cut.smp").write_bytes(data[: ends(data)[-2]])
    done = run(folder, "decode", "cut.smp", "--provenance", "marked.png")
    assert done.stdout.decode().rstrip().endswith("reduced 100.0 %")
    assert (folder / "marked.png").exists()


def test_a_codec_of_ones_own_need_not_say(folder, monkeypatch):
    draw = PictureReading.draw
    monkeypatch.setattr(PictureReading, "draw", lambda *given: replace(draw(*given), provenance=None))
    run(folder, "encode", "street.png", "--codec", "hevc", "--preview", "seen.png")
    assert "provenance" not in report(run(folder, "decode", "street.smp", "-o", "out.png", "--json"))
    done = run(folder, "decode", "street.smp", "-o", "x.png", "--provenance", "marked.png")
    assert done.returncode == 1
    assert "hevc does not say" in done.stderr.decode()
    assert {path.name for path in folder.iterdir()} == {"street.png", "street.smp", "seen.png", "out.png"}


def test_one_output_may_be_standard_output(folder):
    done = run(folder, "encode", "street.png", "--codec", "hevc", "--preview", "-", "--json")
    assert done.stdout.startswith(b"\x89PNG")
    assert json.loads(done.stderr)["preview"] == "-"
    done = run(folder, "decode", "street.smp", "-o", "x.png", "--provenance", "-", "--json")
    assert done.stdout.startswith(b"\x89PNG")
    assert json.loads(done.stderr)["provenance"]["sent"] == 1


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["encode", "street.png", "--preview", "taken.png"], 1, "'taken.png' exists"),
        (["encode", "street.png", "--preview", "street.smp"], 2, "a name of its own"),
        (["encode", "street.png", "--preview", "seen.unknown"], 1, "suffix"),
        (["encode", "-", "--preview", "-"], 2, "a name of its own"),
        (["encode", "street.png", "--preview", "nowhere/seen.png"], 1, "nowhere"),
        (["decode", "x.smp", "--provenance", "taken.png"], 1, "'taken.png' exists"),
        (["decode", "x.smp", "--provenance", "x.decoded.png"], 2, "a name of its own"),
        (["decode", "x.smp", "--provenance", "y.png", "--segmap-out", "./y.png"], 2, "a name of its own"),
        (["decode", "x.smp", "--provenance", "y.txt"], 1, "suffix"),
    ],
)
def test_mistakes_leave_no_file_and_replace_none(folder, arguments, code, says):
    (folder / "taken.png").write_bytes(b"precious")
    (folder / "x.smp").write_bytes(encode_with(street(64, 48)[0], "hevc", quality=10))
    before = sorted(path.name for path in folder.iterdir())
    done = run(folder, *arguments)
    assert done.returncode == code
    assert says in done.stderr.decode()
    assert len(done.stderr.decode().splitlines()) == 1
    assert sorted(path.name for path in folder.iterdir()) == before
    assert (folder / "taken.png").read_bytes() == b"precious"
