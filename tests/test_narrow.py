"""Pictures as packets, from Python and from the command line: what fits, what may be missing, what is said."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from command import call
from PIL import Image

import sempic
from sempic import container, narrow
from sempic.codecs.base import Writer
from sempic.codecs.classic.hevc import Hevc
from sempic.container import Header, Section
from sempic.errors import BudgetError, InputError, StreamError
from sempic.link.packets import HEADER_BYTES, PacketSet, plans
from sempic.scene import draw


def picture(width: int = 160, height: int = 120) -> np.ndarray:
    return draw(0, width, height).image


class Growing(Writer):
    """A first section of so many bytes, and at each step a byte more behind it."""

    steps, pixels = 2000, 480 * 360

    def __init__(self, first: int, single: bool = False, smaller: Writer | None = None) -> None:
        self.first, self.single = first, single
        self.smaller = smaller and (lambda: smaller)

    def write(self, step: int) -> bytes:
        sizes = [self.first + step] if self.single else [self.first, step] if step else [self.first]
        sections = [Section(1 + place, bytes(size)) for place, size in enumerate(sizes)]
        return container.write(Header(7, 480, 360), sections)


# -- what fits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [40, 100, 160])
@pytest.mark.parametrize(
    ("size", "count", "survive"), [(222, 3, 1), (340, 2, 0), (51, 10, 2), (222, 3, 2), (1200, 1, 0)]
)
def test_the_encoder_gets_all_that_headers_and_parity_leave(first: int, size: int, count: int, survive: int) -> None:
    """The stream is as long as it can be: the next longer one does not fit."""
    writer = Growing(first)
    plan, stream, _ = narrow.fit(writer, size, count, survive)
    assert plan.need == count - survive
    assert plan.need_first == plans(count, survive)[0].need_first
    rows = size - HEADER_BYTES
    of_first = -(-container.end_of_first(stream) // plan.need_first)
    room = of_first * plan.need_first + (rows - of_first) * plan.need
    assert len(stream) == room - 1  # the terminator


def test_a_first_section_that_is_too_big_for_half_the_packets_gets_more() -> None:
    for first, need in ((100, 4), (160, 4), (200, 5), (260, 6), (340, 8)):
        writer = Growing(first)
        plan, stream, _ = narrow.fit(writer, 51, 10, 2)
        assert plan.need_first == need
        assert container.end_of_first(stream) < len(stream)


def test_the_first_way_to_encode_is_taken_if_its_first_section_takes_half_of_each_packet_at_most() -> None:
    coarse = Growing(60)
    for first, end in ((80, 94), (93, 107), (100, 74), (170, 74), (400, 74)):
        plan, stream, _ = narrow.fit(Growing(first, smaller=coarse), 222, 3, 1)
        assert (plan.need_first, container.end_of_first(stream)) == (1, end)
    # The other one, which does not fit, is no reason to take neither, nor to give up the parity.
    plan, stream, _ = narrow.fit(Growing(170, smaller=Growing(900)), 222, 3, 1)
    assert (plan.need_first, container.end_of_first(stream)) == (1, 185)


def test_a_codec_with_one_section_spends_nothing_on_it() -> None:
    plan, stream, _ = narrow.fit(Growing(10, single=True), 222, 3, 1)
    assert plan.need_first == plan.need == 2
    assert len(stream) == 2 * 218 - 1


def test_packets_that_are_too_small_are_named() -> None:
    with pytest.raises(BudgetError, match=r"3 packets of 60 bytes .* if 1 .* would have to be of 112 bytes"):
        narrow.fit(Growing(200), 60, 3, 1)
    made = narrow.fit(Growing(200), 112, 3, 1)
    assert made[0].size(made[1]) == 112
    with pytest.raises(BudgetError, match="would have to be of"):
        sempic.packets(sempic.encode(picture(), "hevc", quality=30), 30, 3)


# -- Python -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "survive"), [(1, None), (3, None), (4, 2), (5, 0)])
def test_a_picture_arrives_by_any_packets_that_are_enough(count: int, survive: int | None) -> None:
    made = sempic.packets(picture(), 200, count, survive=survive, codec="webp")
    assert len(made) == count
    assert all(len(packet) <= 200 for packet in made)
    enough = count - (min(1, count - 1) if survive is None else survive)
    streams = {sempic.join(some).stream for some in combinations(made, enough)}
    assert len(streams) == 1
    decoded = sempic.decode(streams.pop())
    assert decoded.image.shape == (120, 160, 3)
    assert decoded.warnings == ()


@pytest.mark.sqgan
@pytest.mark.filterwarnings("ignore:So few bytes")
def test_three_packets_of_222_bytes_stand_the_loss_of_one_and_show_the_scene_after_two() -> None:
    """At 480×360, where the networks take seconds: how big the segmap is decides, so no smaller picture will do."""
    made = sempic.packets(picture(480, 360), 222, 3, survive=1)
    assert max(map(len, made)) <= 222
    whole = sempic.join(made)
    assert whole.whole
    starts = set()
    for lost in range(3):
        joined = sempic.join(made[:lost] + made[lost + 1 :])
        assert joined.stream == whole.stream  # so that the picture is the same
        assert (joined.missing, joined.lacking, joined.warnings) == ((lost + 1,), 0, ())
        alone = sempic.join([made[lost]])
        assert alone.lacking == 1
        assert alone.warnings
        starts.add(alone.stream)
    assert len(starts) == 1
    left = sempic.decode(starts.pop())
    assert np.array_equal(left.segmap, sempic.decode(whole.stream).segmap)
    assert left.warnings


@pytest.mark.sqgan
@pytest.mark.filterwarnings("ignore:So few bytes")
def test_a_coarse_segmap_is_taken_where_the_usual_one_is_too_big_unless_a_size_was_asked_for() -> None:
    image = picture(240, 180)
    usual = container.end_of_first(sempic.encode(image, "sqgan", quality=0))
    for codec, size, factor in (
        ("sqgan", usual + 40, "eighth"),
        ("sqgan", 2 * usual + 10, "quarter"),
        ("sqgan:map=quarter", usual + 40, "quarter"),
    ):
        joined = sempic.join(sempic.packets(image, size, 3, codec=codec))
        assert sempic.inspect(joined.stream).detail["map"] == factor


def test_a_stream_is_sent_as_it_is(tmp_path: Path) -> None:
    sent = sempic.encode(picture(), "hevc", quality=20)
    (tmp_path / "a.smp").write_bytes(sent)
    made = sempic.packets(sent, 400, 5, survive=2)
    assert sempic.join(made[2:]).stream == sent
    assert sempic.packets(tmp_path / "a.smp", 400, 5, survive=2) == made
    assert sempic.packets(sempic.encode(picture(), "hevc", quality=20, protect=True), 400, 5, survive=2) == made
    for more in ({"codec": "hevc"}, {"settings": Hevc.Settings()}):
        with pytest.raises(InputError, match="encoded already"):
            sempic.packets(sent, 400, 5, **more)
    with pytest.raises(StreamError):
        sempic.packets(sent[:20], 400, 5)


def test_pictures_come_as_everywhere(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    made = sempic.packets(picture(), 300, 2, codec="webp", id=7)
    assert sempic.packets(tmp_path / "a.png", 300, 2, codec="webp", id=7) == made
    assert sempic.packets((tmp_path / "a.png").read_bytes(), 300, 2, codec="webp", id=7) == made
    assert {found[0].id for packet in made if (found := PacketSet.read(packet))} == {7}


def test_packets_are_read_as_streams_are(tmp_path: Path) -> None:
    made = sempic.packets(picture(), 300, 3, codec="webp")
    (tmp_path / "1").write_bytes(made[1])
    with (tmp_path / "1").open("rb") as file:
        assert sempic.join([made[0], file]).whole
    assert sempic.join([bytearray(made[0]), tmp_path / "1"]).whole
    with pytest.raises(InputError, match="cannot be read"):
        sempic.join([tmp_path / "2"])


def test_what_cannot_be_sent_is_a_sentence() -> None:
    with pytest.raises(InputError, match="protection of their own"):
        sempic.packets(picture(), 222, 3, codec="hevc:protect=0.25")
    with pytest.raises(InputError, match="1 to 64"):
        sempic.packets(picture(), 222, 65, codec="webp")
    with pytest.raises(InputError, match="5 to 2048"):
        sempic.packets(picture(), 4, 3, codec="webp")
    with pytest.raises(InputError, match="0 to 2"):
        sempic.packets(picture(), 222, 3, survive=3, codec="webp")
    with pytest.raises(InputError, match="0 to 2047"):
        sempic.packets(picture(), 222, 3, codec="webp", id=5000)


# -- command line -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a picture, and in out/a the four packets of picture 9, of which two are enough."""
    made = tmp_path_factory.mktemp("sent")
    Image.fromarray(picture()).save(made / "street.png")
    done = call(made, "packets", "street.png", "-o", "out/a", "--size", 200, "--count", 4, "--survive", 2,
                "--codec", "hevc", "--id", 9, "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["id"], report["packets"], report["survive"], report["survive_first"]) == (9, 4, 2, 2)
    assert [Path(name).name for name in report["output"]] == [f"0009-{n:02}of04.pkt" for n in range(1, 5)]
    assert all((made / name).stat().st_size == report["packet_bytes"] <= 200 for name in report["output"])
    return made


@pytest.fixture
def sent(folder: Path, tmp_path: Path) -> list[str]:
    """The names of these packets, in a copy of the folder."""
    copytree(folder, tmp_path, dirs_exist_ok=True)
    return sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "out" / "a").iterdir())


def test_packets_are_joined_to_a_stream_or_a_picture(tmp_path: Path, sent: list[str]) -> None:
    (tmp_path / "foreign").write_bytes(b"hello")
    done = call(tmp_path, "join", sent[3], "foreign", sent[1], sent[3], "-o", "got.smp", "--json")
    assert (done.returncode, done.stderr) == (0, b"")
    report = json.loads(done.stdout)
    assert (report["whole"], report["missing"], report["lacking"], report["left_out"]) == (True, [1, 3], 0, 1)
    assert call(tmp_path, "join", *sent, "-o", "got.png").returncode == 0
    assert call(tmp_path, "decode", "got.smp", "-o", "decoded.png").returncode == 0
    assert (tmp_path / "got.png").read_bytes() == (tmp_path / "decoded.png").read_bytes()
    done = call(tmp_path, "join", *sent, "-o", "-")
    assert done.stdout == (tmp_path / "got.smp").read_bytes()
    assert b"4 of 4 packets" in done.stderr


def test_what_is_missing_is_listed(tmp_path: Path, sent: list[str]) -> None:
    done = call(tmp_path, "join", sent[1], "--missing")
    assert done.returncode == 0
    assert b"send again any 1 of: 1, 3, 4" in done.stdout
    report = json.loads(call(tmp_path, "join", sent[1], "--missing", "--json").stdout)
    assert (report["id"], report["missing"], report["lacking"]) == (9, [1, 3, 4], 1)
    assert b"nothing has to be sent again" in call(tmp_path, "join", *sent[:3], "--missing").stdout
    done = call(tmp_path, "join", sent[1], "-o", "got.png")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"nothing can be shown before 1 more arrive" in done.stderr
    assert not (tmp_path / "got.png").exists()


def test_several_pictures_are_told_apart(tmp_path: Path, sent: list[str]) -> None:
    assert call(tmp_path, "packets", "street.png", "-o", "out/a", "--size", 150, "--count", 2, "--id", 8, "--codec",
                "webp").returncode == 0  # fmt: skip
    files = sorted(str(path) for path in (tmp_path / "out" / "a").iterdir())
    assert len(files) == 6
    for id, codec in ((8, "webp"), (9, "hevc")):
        assert call(tmp_path, "join", *files, "-o", "one.smp", "--id", id, "--force").returncode == 0
        assert json.loads(call(tmp_path, "inspect", "one.smp", "--json").stdout)["codec"] == codec
    done = call(tmp_path, "join", *files, "-o", "two.smp", "--id", 3)
    assert done.returncode == 1
    assert b"no packet of picture 3, but of 8, 9" in done.stderr


def test_files_are_not_replaced(tmp_path: Path, sent: list[str]) -> None:
    again = ("packets", "street.png", "-o", "out/a", "--size", 180, "--count", 4, "--codec", "webp", "--id", 9)
    before = [(tmp_path / name).read_bytes() for name in sent]
    (tmp_path / sent[0]).unlink()
    done = call(tmp_path, *again)
    assert done.returncode == 1
    assert b"exists" in done.stderr
    assert not (tmp_path / sent[0]).exists()
    assert [(tmp_path / name).read_bytes() for name in sent[1:]] == before[1:]
    assert call(tmp_path, *again, "--force").returncode == 0
    assert (tmp_path / sent[1]).read_bytes() != before[1]
    done = call(tmp_path, "join", *sent, "-o", "street.png")
    assert done.returncode == 1
    assert b"street.png' exists" in done.stderr


def test_a_link_says_how_big_and_how_long(tmp_path: Path, sent: list[str]) -> None:
    options = ("packets", "street.png", "-o", "out/b", "--count", 3, "--codec", "hevc", "--link", "lora-sf9bw125")
    done = call(tmp_path, *options)
    assert b"3 packets of up to 11" in done.stdout
    assert b" bytes, 2.031 s on the air; at a duty cycle of 1%, once in 203.1 s" in done.stdout
    report = json.loads(call(tmp_path, *options, "--force", "--json").stdout)
    assert report["packet_bytes"] <= 115
    assert report["airtime"]["seconds"] == pytest.approx(3 * 0.676864)
    done = call(tmp_path, *options, "--size", 116)
    assert done.returncode == 1
    assert b"up to 115 bytes, not 116" in done.stderr
    done = call(tmp_path, *options[:-1], "carrier-pigeon")
    assert done.returncode == 1
    assert b"known are lora" in done.stderr


def test_encode_and_inspect_say_how_long_a_stream_is_on_the_air(tmp_path: Path, sent: list[str]) -> None:
    encode = ("encode", "street.png", "--codec", "hevc", "--bytes", 400, "--link", "iridium-sbd", "-o", "a.smp")
    report = json.loads(call(tmp_path, *encode, "--json").stdout)
    size = report["bytes"]
    assert report["airtime"]["packets"] == 2
    assert report["airtime"]["seconds"] == pytest.approx(8 * size / 2400, abs=1e-6)
    assert b"iridium-sbd: 2 packets of up to 340 bytes" in call(tmp_path, *encode, "--force").stdout
    inspect = ("inspect", "a.smp", "--link", "iridium-sbd")
    assert json.loads(call(tmp_path, *inspect, "--json").stdout)["airtime"] == report["airtime"]
    assert b"on the air" in call(tmp_path, *inspect).stdout
    assert "airtime" not in json.loads(call(tmp_path, "inspect", "a.smp", "--json").stdout)
    assert call(tmp_path, "inspect", "a.smp", "--link", "none").returncode == 1


def test_streams_can_be_sent_from_the_command_line(tmp_path: Path, sent: list[str]) -> None:
    assert call(tmp_path, "encode", "street.png", "--codec", "hevc", "--bytes", 300, "-o", "a.smp").returncode == 0
    data = (tmp_path / "a.smp").read_bytes()
    done = call(tmp_path, "packets", "-", "-o", "c", "--size", 222, "--count", 3, "--json", stdin=data)
    assert done.returncode == 0, done.stderr
    files = json.loads(done.stdout)["output"]
    assert call(tmp_path, "join", *files[1:], "-o", "b.smp").returncode == 0
    assert (tmp_path / "b.smp").read_bytes() == data
    done = call(tmp_path, "packets", "a.smp", "-o", "d", "--size", 222, "--count", 3, "--codec", "hevc")
    assert (done.returncode, (tmp_path / "d").exists()) == (1, False)
    assert b"encoded already" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("packets", "street.png", "-o", "x", "--count", 3), 2),
        (("packets", "street.png", "-o", "x", "--size", 222), 2),
        (("packets", "street.png", "-o", "street.png", "--size", 222, "--count", 3, "--codec", "hevc"), 1),
        (("packets", "nothing.png", "-o", "x", "--size", 222, "--count", 3), 1),
        (("packets", "street.png", "-o", "x", "--size", 12, "--count", 3, "--codec", "hevc"), 1),
        (("join", "street.png", "-o", "x.png"), 1),
        (("join", "street.png"), 2),
        (("join", "-o", "x.png"), 2),
        (("join", "nothing.pkt", "-o", "x.png"), 1),
        (("join", "street.png", "-o", "x.txt"), 1),
    ],
)  # fmt: skip
def test_mistakes_are_sentences(tmp_path: Path, sent: list[str], arguments: tuple[object, ...], code: int) -> None:
    before = (tmp_path / "street.png").read_bytes()
    done = call(tmp_path, *arguments)
    assert done.returncode == code
    assert done.stderr.startswith(b"sempic: ")
    assert (tmp_path / "street.png").read_bytes() == before
    assert not (tmp_path / "x").exists()
