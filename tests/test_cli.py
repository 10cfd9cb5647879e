"""The command line as a user meets it: in a process of its own where that matters, else in this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import call as run
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import sempic
from sempic import taxonomy
from sempic.codecs import CODECS
from sempic.errors import InputError
from sempic.labels import labels_png, read_labels
from sempic.scene import draw
from sempic.segmap.segmenter import check_segmap
from sempic.taxonomy import VOID, Taxonomy

COMMAND = [sys.executable, "-m", "sempic"]
HEVC = ("--codec", "hevc", "--quality", "10")
CLASSES = taxonomy.load("camvid11")


def run_apart(folder: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], cwd=folder, input=stdin, capture_output=True, timeout=120)


def report(done: subprocess.CompletedProcess[bytes]) -> dict:
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def complaint(done: subprocess.CompletedProcess[bytes], code: int = 1) -> str:
    """The one sentence on standard error, after checking that it is one."""
    text = done.stderr.decode()
    assert done.returncode == code, text
    assert "Traceback" not in text
    assert len(text.splitlines()) == 1, text
    assert text.startswith("sempic: ")
    assert done.stdout == b""
    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.fromarray(draw(0, 160, 120).image).save(tmp_path / "street.png")
    return tmp_path


@pytest.fixture
def stream(folder: Path) -> bytes:
    data = sempic.encode(Image.open(folder / "street.png"), "hevc", quality=10)
    (folder / "street.smp").write_bytes(data)
    return data


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# -- what it is for ---------------------------------------------------------------------------------------------------


def test_round_trip_in_separate_processes(folder):
    encoded = report(run_apart(folder, "encode", "street.png", *HEVC, "--json"))
    assert encoded["bytes"] == (folder / "street.smp").stat().st_size
    assert encoded["bpp"] == pytest.approx(8 * encoded["bytes"] / (160 * 120))
    assert (encoded["width"], encoded["height"], encoded["output"]) == (160, 120, "street.smp")
    decoded = report(run_apart(folder, "decode", "street.smp", "-o", "out.png", "--json"))
    assert decoded["warnings"] == []
    expected = sempic.decode((folder / "street.smp").read_bytes()).image
    assert np.array_equal(np.asarray(Image.open(folder / "out.png")), expected)
    assert files(folder) == {"street.png", "street.smp", "out.png"}


def test_standard_input_and_output(folder):
    picture = (folder / "street.png").read_bytes()
    encoded = run_apart(folder, "encode", "-", *HEVC, stdin=picture)
    assert encoded.returncode == 0
    decoded = run_apart(folder, "decode", "-", stdin=encoded.stdout)
    assert decoded.stdout.startswith(b"\x89PNG")
    assert files(folder) == {"street.png"}


def test_inspect_accounts_for_every_byte(folder, stream):
    info = report(run(folder, "inspect", "street.smp", "--json"))
    assert sum(part["bytes"] for part in info["parts"]) == info["bytes"] == len(stream)
    table = run(folder, "inspect", "street.smp").stdout.decode()
    assert str(len(stream)) in table
    assert "100.0 %" in table


def test_photos_are_turned_upright(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(folder / "street.png").save(folder / "turned.jpg", exif=exif)
    assert report(run(folder, "encode", "turned.jpg", *HEVC, "--json"))["height"] == 160


def test_force_replaces_and_an_existing_output_is_kept(folder):
    (folder / "street.smp").write_bytes(b"precious")
    assert "--force" in complaint(run(folder, "encode", "street.png", *HEVC))
    assert (folder / "street.smp").read_bytes() == b"precious"
    assert run(folder, "encode", "street.png", *HEVC, "--force").returncode == 0
    assert (folder / "street.smp").read_bytes() != b"precious"


def test_a_users_original_is_never_replaced(folder, stream):
    original = (folder / "street.png").read_bytes()
    assert report(run(folder, "decode", "street.smp", "--json"))["output"] == "street.decoded.png"
    assert "street.decoded.png' exists" in complaint(run(folder, "decode", "street.smp"))
    assert run(folder, "decode", "street.smp", "--force").returncode == 0
    (folder / "link.png").symlink_to("street.png")
    for arguments in (
        ["encode", "street.png", *HEVC, "-o", "street.png", "--force"],
        ["encode", "street.png", *HEVC, "-o", "link.png", "--force"],
        ["decode", "street.smp", "-o", "./street.smp", "--force"],
        ["decode", "street.smp", "-o", "x.png", "--segmap-out", "street.smp", "--force"],
        ["channel", "street.smp", "-o", "street.smp", "--force"],
        ["compare", "street.png", "--bytes", "900", "-o", "street.png", "--force"],
    ):
        assert "is the input itself" in complaint(run(folder, *arguments))
    assert (folder / "street.png").read_bytes() == original
    assert (folder / "street.smp").read_bytes() == stream
    assert files(folder) == {"street.png", "link.png", "street.smp", "street.decoded.png"}


def test_the_demo_does_not_replace_its_own_picture(folder, monkeypatch):
    monkeypatch.setattr("sempic.demo.run", lambda *given: ([], Image.new("RGB", (20, 20)), {}))
    (folder / "street.png").rename(folder / "demo.png")
    before = (folder / "demo.png").read_bytes()
    assert "is the input itself" in complaint(run(folder, "demo", "demo.png", "-o", "."))
    assert (folder / "demo.png").read_bytes() == before


def test_a_part_that_was_left_over_is_no_obstacle(folder, stream):
    for number in (1, os.getpid()):
        (folder / f".street.smp.{number}.part").write_bytes(b"half")
    before = files(folder)
    assert run(folder, "encode", "street.png", *HEVC, "--force").returncode == 0
    assert (folder / "street.smp").read_bytes() == stream
    assert files(folder) == before


def test_version_and_help(folder):
    assert run(folder, "--version").stdout.decode() == f"sempic {sempic.__version__}\n"
    assert b"encode" in run(folder).stdout
    for command in ("encode", "decode", "inspect", "models", "codecs", "demo"):
        done = run(folder, command, "--help")
        assert done.returncode == 0
        assert f"sempic {command}" in done.stdout.decode().split("Examples:")[1]
    done = run(folder, "encode", "-h")
    assert all(name in done.stdout.decode() for name in ("sempic codecs", *CODECS))


# -- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["encode", "absent.png"], "absent.png"),
        (["encode", "."], "."),
        (["encode", "text.png", *HEVC], "not a picture"),
        (["encode", "empty", *HEVC], "not a picture"),
        (["encode", "cut.png", *HEVC], "not a picture"),
        (["encode", "tiny.png", *HEVC], "16"),
        (["encode", "street.png", "--codec", "gif"], "sqgan"),
        (["encode", "street.png", "--codec", "hevc", "--keep", "sky=0"], "keep"),
        (["encode", "street.png", "--codec", "hevc", "--bytes", "5"], "5"),
        (["encode", "street.png", "--codec", "hevc", "--bpp", "-1"], "bpp"),
        (["encode", "street.png", "--codec", "hevc", "--quality", "101"], "100"),
        (["encode", "street.png", "--codec", "hevc:scale=tiny"], "tiny"),
        (["encode", "street.png", "--codec", "hevc", "--set", "scale"], "key=value"),
        (["encode", "absent.png", "--codec", "hevc", "--set", "colour=1"], "scale, protect"),
        (["encode", "absent.png", "--codec", "spic", "--set", "steps=4"], "give it to decode"),
        (["encode", "street.png", *HEVC, "-o", "nowhere/x.smp"], "nowhere"),
        (["encode", "street.png", *HEVC, "-o", "."], "folder"),
        (["encode", "street.png", *HEVC, "-o", "/dev/full"], "/dev/full"),
        (["decode", "absent.smp"], "absent.smp"),
        (["decode", "empty", "-o", "x.png"], ""),
        (["decode", "street.png", "-o", "x.png"], ""),
        (["encode", ""], "empty"),
        (["encode", "~nobody-at-all/street.png"], "no home folder"),
        (["decode", "street.smp", "-o", "x.unknown"], "suffix"),
        (["decode", "street.smp", "-o", "x.xbm"], "cannot be written as XBM"),
        (["decode", "street.smp", "-o", "x.blp"], "cannot be written as BLP"),
        (["decode", "street.smp", "-o", "x.h5"], "cannot be written as HDF5"),
        (["decode", "street.smp", "-o", "x.ico"], "sizes of its own"),
        (["decode", "street.smp", "-o", "x.png", "--segmap-out", "y.jpg"], "suffix .png"),
        (["compare", "street.png", "--bytes", "900", "-o", "x.icns"], "sizes of its own"),
        (["decode", "street.smp", "-o", "x.png", "--segmap-out", "y.png"], "segmap"),
        (["decode", "street.smp", "-o", "x.png", "--set", "steps=4"], "it knows none"),
        (["codecs", "gif"], "known are sqgan"),
        (["inspect", "text.png"], ""),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(folder, stream, arguments, says):
    picture = (folder / "street.png").read_bytes()
    (folder / "text.png").write_text("This is no picture.")
    (folder / "empty").write_bytes(b"")
    (folder / "cut.png").write_bytes(picture[: len(picture) // 2])
    Image.new("RGB", (8, 8)).save(folder / "tiny.png")
    before = files(folder)
    if arguments[0] == "encode" and "-o" not in arguments:
        arguments = [*arguments, "-o", "x.smp"]
    assert says in complaint(run(folder, *arguments))
    assert files(folder) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["encode", "street.png", "--bytes", "500", "--bpp", "0.1"],
        ["encode", "street.png", "--quality", "5", "--bytes", "500"],
        ["encode", "street.png", "--quality", "high"],
        ["encode"],
        ["encode", "street.png", "--unknown"],
        ["compress", "street.png"],
        ["decode", "street.smp", "-o", "x.png", "--segmap-out", "x.png"],
    ],
)
def test_wrong_usage_exits_with_2(folder, stream, arguments):
    complaint(run(folder, *arguments), code=2)
    assert files(folder) == {"street.png", "street.smp"}


@pytest.mark.parametrize("length", [1, 4, 9, 0.5, 0.99])
def test_a_truncated_stream_is_named_or_warned_of(folder, stream, length):
    (folder / "street.smp").write_bytes(stream[: int(length * len(stream)) if length < 1 else length])
    check_damage(folder)


@pytest.mark.parametrize("place", [0, 3, 4, 7, 12, 0.5, -1])
def test_a_flipped_byte_is_named_or_warned_of(folder, stream, place):
    broken = bytearray(stream)
    broken[int(place * len(stream)) if 0 < place < 1 else place] ^= 0x41
    (folder / "street.smp").write_bytes(broken)
    check_damage(folder)


def check_damage(folder: Path) -> None:
    done = run(folder, "decode", "street.smp", "-o", "out.png")
    if done.returncode == 0:
        assert done.stderr.startswith(b"sempic: warning: ")
        assert Image.open(folder / "out.png").size == (160, 120)
    else:
        complaint(done)
        assert not (folder / "out.png").exists()


def test_a_huge_picture_is_refused(folder):
    Image.new("1", (20000, 10000)).save(folder / "huge.png")
    assert "too large" in complaint(run(folder, "encode", "huge.png", *HEVC))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [["inspect", "street.smp"], ["decode", "street.smp", "-o", "-"]])
def test_standard_output_that_takes_nothing(folder, stream, arguments):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, *arguments], cwd=folder, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert done.stderr == b"sempic: No space left on device.\n"


@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
def test_ctrl_c_is_one_line(folder):
    process = subprocess.Popen(
        [*COMMAND, "encode", "-", *HEVC],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(bytes(1 << 20))  # more than a pipe holds: when all of it is written, the process is reading
    process.stdin.flush()
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=20)
    assert process.returncode == 130
    assert complaints == b"sempic: Interrupted.\n"


# -- rough ground -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["une rue à Åre, 路 🚗", "-dash.x", "x" * 251])
def test_names_of_all_kinds(folder, name):
    (folder / "street.png").rename(folder / f"{name}.png")
    assert run(folder, "encode", f"./{name}.png", *HEVC).returncode == 0
    assert run(folder, "inspect", f"./{name}.smp").returncode == 0
    assert run(folder, "decode", f"./{name}.smp", "-o", f"./{name}.jpg").returncode == 0
    assert files(folder) == {f"{name}.png", f"{name}.smp", f"{name}.jpg"}


@pytest.mark.skipif(os.name != "posix", reason="names are bytes")
def test_a_name_that_is_no_text_and_a_terminal_that_knows_few_signs(folder):
    name = os.fsdecode(b"stra\xdfe.smp")
    done = run_apart(folder, "encode", "street.png", *HEVC, "-o", name)
    assert (done.returncode, done.stderr) == (0, b"")
    assert files(folder) == {"street.png", name}
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*COMMAND, "inspect", name], cwd=folder, env=environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_pipes_carry_everything(folder, stream):
    sent = run_apart(folder, "channel", "-", "-o", "-", stdin=stream)
    assert sent.stdout == stream
    assert b"0 of" in sent.stderr
    assert str(len(stream)).encode() in run_apart(folder, "inspect", "-", stdin=sent.stdout).stdout


@pytest.mark.skipif(os.name != "posix", reason="modes as on POSIX")
@pytest.mark.parametrize("where", ["own", "/proc"])
def test_a_folder_that_takes_nothing(folder, where):
    if where == "own" and os.geteuid() == 0:
        pytest.skip("nothing is read-only to root")
    if where == "/proc" and not Path("/proc/self").exists():
        pytest.skip("no /proc")
    closed = folder / "closed" if where == "own" else Path(where)
    if where == "own":
        closed.mkdir(mode=0o500)
    assert f"{closed}/out.smp" in complaint(run(folder, "encode", "street.png", *HEVC, "-o", f"{closed}/out.smp"))


@pytest.mark.skipif(os.name != "posix", reason="limits as on POSIX")
@pytest.mark.parametrize("existing", [True, False])
def test_a_disk_that_fills_up_leaves_what_was_there(folder, stream, existing):
    import resource

    if existing:
        (folder / "out.png").write_bytes(b"precious")
    before = files(folder)
    done = subprocess.run(
        [*COMMAND, "decode", "street.smp", "-o", "out.png", "--force"],
        cwd=folder,
        capture_output=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert "out.png" in complaint(done)
    assert files(folder) == before
    assert not existing or (folder / "out.png").read_bytes() == b"precious"


def test_only_the_first_frame_is_taken_and_that_is_said(folder):
    frames = [Image.fromarray(draw(seed, 160, 120).image) for seed in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    Image.open(folder / "moving.gif").convert("RGB").save(folder / "still.png")
    done = run(folder, "encode", "moving.gif", *HEVC)
    assert done.returncode == 0
    assert done.stderr.decode() == "sempic: warning: 'moving.gif' has 3 frames; the first one is taken.\n"
    assert run(folder, "encode", "still.png", *HEVC).returncode == 0
    assert (folder / "moving.smp").read_bytes() == (folder / "still.smp").read_bytes()


# -- codecs and their settings ----------------------------------------------------------------------------------------


def test_settings_have_one_door(folder):
    plain = report(run(folder, "encode", "street.png", *HEVC, "-o", "a.smp", "--json"))
    expected = sempic.encode(Image.open(folder / "street.png"), "hevc:scale=half", quality=10)
    assert len(expected) != plain["bytes"]
    for way in (["hevc:scale=half"], ["hevc", "--set", "scale=half"], ["hevc:scale=full", "--set", "scale=half"]):
        report(run(folder, "encode", "street.png", "--quality", "10", "--codec", *way, "-o", "a.smp", "-f", "--json"))
        assert (folder / "a.smp").read_bytes() == expected


def test_protection_is_a_setting_too(folder):
    for way in (["--protect"], ["--set", "protect=0.25"]):
        report(run(folder, "encode", "street.png", *HEVC, *way, "-o", "a.smp", "--force", "--json"))
        expected = sempic.encode(Image.open(folder / "street.png"), "hevc", quality=10, protect=True)
        assert (folder / "a.smp").read_bytes() == expected


def test_codecs_are_listed_with_their_settings(folder):
    found = report(run(folder, "codecs", "--json"))
    assert [codec["name"] for codec in found] == list(CODECS)
    (spic,) = report(run(folder, "codecs", "spic", "--json"))
    assert {"scale", "seed", "map"} <= {setting["name"] for setting in spic["settings"]}
    assert [option["name"] for option in spic["options"]] == ["steps", "guidance", "seed"]
    assert all(one["about"] for codec in found for one in (*codec["settings"], *codec["options"]))
    text = run(folder, "codecs", "spic").stdout.decode()
    assert "guidance" in text
    assert "jpegxl" in run(folder, "codecs").stdout.decode()


# -- segmaps ----------------------------------------------------------------------------------------------------------


def test_segmap_pictures_hold_ids_and_show_colours(tmp_path):
    segmap = draw(1, 64, 48).segmap.copy()
    segmap[:4] = VOID
    (tmp_path / "ids.png").write_bytes(labels_png(segmap, CLASSES))
    saved = Image.open(tmp_path / "ids.png")
    assert np.array_equal(np.asarray(saved), segmap)
    assert np.array_equal(np.asarray(saved.convert("RGB")), CLASSES.colourise(segmap))
    assert np.array_equal(read_labels(tmp_path / "ids.png", CLASSES), segmap)


def test_camvid_void_is_void_and_colours_are_refused(tmp_path):
    Image.fromarray(np.full((20, 30), 11, np.uint8)).save(tmp_path / "void.png")
    found = check_segmap(read_labels(tmp_path / "void.png"), np.zeros((20, 30, 3), np.uint8), CLASSES)
    assert (found == VOID).all()
    Image.new("RGB", (30, 20)).save(tmp_path / "colours.png")
    with pytest.raises(InputError, match="RGB"):
        read_labels(tmp_path / "colours.png")


def test_segmap_pictures_say_which_classes_they_have(tmp_path):
    toy = Taxonomy("toy", ("sky", "road"), ((0, 0, 255), (90, 90, 90)))
    path = tmp_path / "ids.png"
    path.write_bytes(labels_png(np.eye(20, dtype=np.uint8), toy))
    assert Taxonomy.from_json(json.loads(Image.open(path).text["taxonomy"])) == toy
    assert np.array_equal(read_labels(path, toy), np.eye(20))
    with pytest.raises(InputError, match="those of toy, but the model knows camvid11"):
        read_labels(path, CLASSES)
    about = PngInfo()
    about.add_text("taxonomy", "nonsense")
    Image.new("L", (20, 20)).save(path, pnginfo=about)
    with pytest.raises(InputError, match=r"taxonomy in .*ids.png' cannot be used"):
        read_labels(path, CLASSES)


# -- SQ-GAN -----------------------------------------------------------------------------------------------------------


@pytest.mark.sqgan
def test_sqgan_round_trip_with_a_given_segmap(folder):
    scene = draw(0, 160, 120)
    (folder / "labels.png").write_bytes(labels_png(scene.segmap, CLASSES))
    encoded = report(run(folder, "encode", "street.png", "--bytes", "500", "--segmap", "labels.png", "--json"))
    assert encoded["bytes"] <= 500
    report(run(folder, "decode", "street.smp", "-o", "out.png", "--segmap-out", "classes.png", "--json"))
    classes = np.asarray(Image.open(folder / "classes.png"))
    assert (classes == scene.segmap).mean() > 0.85
    assert Image.open(folder / "out.png").size == (160, 120)
    assert read_labels(folder / "classes.png", CLASSES).shape == (120, 160)
    assert report(run(folder, "inspect", "street.smp", "--json"))["taxonomy"] == "camvid11"
    assert b"taxonomy: camvid11" in run(folder, "inspect", "street.smp").stdout


@pytest.mark.sqgan
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--keep", "dragon=1"], "dragon"),
        (["--keep", "sky=much"], "sky"),
        (["--keep", "sky"], "sky"),
        (["--bytes", "20"], "20"),
        (["--set", "map=sixteenth"], "sixteenth"),
        (["--codec", "sqgan:simplify=much"], "simplify"),
        (["--segmap", "colours.png"], "colours.png"),
        (["--segmap", "absent.png"], "absent.png"),
        (["--segmap", "toy.png"], "those of toy"),
        (["--segmap", "small.png"], "shape"),
        (["--segmap", "beyond.png"], "12"),
        (["--segmenter", "street.png"], "street.png"),
        (["--segmenter", "absent.onnx"], "absent.onnx"),
    ],
)
def test_sqgan_mistakes(folder, arguments, says):
    Image.new("L", (30, 20)).save(folder / "small.png")
    Image.new("L", (160, 120), 12).save(folder / "beyond.png")
    Image.new("RGB", (160, 120)).save(folder / "colours.png")
    toy = Taxonomy("toy", ("sky", "road"), ((0, 0, 255), (90, 90, 90)))
    (folder / "toy.png").write_bytes(labels_png(np.zeros((120, 160), np.uint8), toy))
    before = files(folder)
    assert says in complaint(run(folder, "encode", "street.png", *arguments))
    assert files(folder) == before


@pytest.mark.sqgan
def test_models_are_listed(folder):
    cards = report(run(folder, "models", "--json"))
    assert any("sqgan" in card["name"] for card in cards)
    assert all(card["taxonomy"] for card in cards)
    assert all(card["parameters"] > 0 and card["bytes"] > 0 for card in cards)


@pytest.mark.sqgan
def test_demo_writes_its_sheet(folder):
    done = run(folder, "demo", "street.png", "--bytes", "600", "-o", "shown")
    assert done.returncode == 0, done.stderr.decode()
    sheet = Image.open(folder / "shown" / "demo.png")
    assert sheet.width > 3 * 480
    text = done.stdout.decode()
    assert "sqgan" in text
    assert "hevc" in text


def test_a_data_set_is_looked_at(folder):
    found = report(run(folder, "data", "check", ".", "--json"))
    assert (found["kind"], found["missing"], found["parts"][0]["pictures"]) == ("folder", [], 1)
    assert b"160" in run(folder, "data", "check", ".").stdout
    assert "no folder" in complaint(run(folder, "data", "check", "absent"))
    (folder / "cityscapes" / "leftImg8bit").mkdir(parents=True)
    done = run(folder, "data", "check", "cityscapes/")
    assert done.returncode == 1
    assert b"gtFine_trainvaltest.zip" in done.stdout
