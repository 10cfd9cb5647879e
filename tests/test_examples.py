"""The examples of links: each takes a picture from its sender to a file, over what a bad link does to packets."""

from __future__ import annotations

import argparse
import io
import os
import random
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice, takewhile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import sempic
from sempic.scene import draw

REPO = Path(__file__).resolve().parents[1]
EXAMPLES = REPO / "examples"
COMMANDS = ("udp_sender", "udp_receiver", "serial_folder", "mqtt_callback")
MADE = argparse.Namespace(size=200, count=8, survive=3, codec="webp")
WORDS = ("--size", "200", "--count", "8", "--survive", "3", "--codec", "webp")


def imported(name: str) -> ModuleType:
    return pytest.importorskip(name)


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


@pytest.fixture
def street(tmp_path: Path) -> Path:
    path = tmp_path / "street.png"
    Image.fromarray(draw(0, 64, 48).image).save(path)
    return path


def packets(street: Path, number: int = 7) -> list[bytes]:
    return sempic.packets(street, MADE.size, MADE.count, survive=MADE.survive, codec=MADE.codec, id=number)


def run(name: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.png") if not path.name.startswith("."))


def same(path: Path, street: Path) -> bool:
    """Whether a file is what the packets of the picture decode to."""
    decoded = sempic.decode(sempic.join(packets(street)).stream).image
    return np.array_equal(np.asarray(Image.open(path)), decoded)


# -- the inbox --------------------------------------------------------------------------------------------------------


def test_any_order_losses_duplicates_and_foreign_packets(tmp_path: Path, street: Path) -> None:
    inbox = imported("inbox").Inbox(tmp_path / "got", quiet=0)
    noise = random.Random(1)
    sent = packets(street)[3:] * 2 + packets(street, 8)[:2] + [noise.randbytes(n) for n in range(40)]
    noise.shuffle(sent)
    for packet in sent:
        inbox.add(packet)
    inbox.show()
    (whole,) = pictures(tmp_path / "got")
    assert whole.stem.endswith("-0007")
    assert same(whole, street)


def test_late_packets_of_a_whole_picture_do_nothing(tmp_path: Path, street: Path) -> None:
    inbox = imported("inbox").Inbox(tmp_path / "got", quiet=0)
    for packet in packets(street):
        inbox.add(packet)
    inbox.show()
    assert len(pictures(tmp_path / "got")) == 1
    assert not inbox.packets


@pytest.mark.sqgan
def test_with_too_few_the_segmap_is_shown_and_what_is_sent_again_completes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = sempic.packets(draw(0, 160, 120).image, 222, 3, id=17)
    inbox = imported("inbox").Inbox(tmp_path / "got", quiet=0)
    inbox.add(made[2])
    inbox.show()
    assert "what follows the first section is lost" in capsys.readouterr().out
    assert [path.stem[-10:] for path in pictures(tmp_path / "got")] == ["-0017-part"]
    inbox.show()  # once is enough
    inbox.add(made[0])
    assert sorted(path.stem[16:] for path in pictures(tmp_path / "got")) == ["0017", "0017-part"]


def test_a_sender_that_never_ends_fills_no_memory(tmp_path: Path, street: Path) -> None:
    module = imported("inbox")
    inbox = module.Inbox(tmp_path / "got")
    stream = sempic.join(packets(street)).stream
    for number in range(module.KEPT + 20):
        inbox.add(sempic.packets(stream, 222, 8, id=number)[0])
    assert len(inbox.packets) == len(inbox.due) == module.KEPT


# -- UDP --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[int]:
    """The port of a receiver that writes to the folder `got`."""
    command = [sys.executable, "-u", str(EXAMPLES / "udp_receiver.py"), str(tmp_path / "got")]
    with subprocess.Popen([*command, "--port", "0", "--quiet", "1"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield int(process.stdout.readline().rpartition(":")[2])
        process.terminate()


def arrived(folder: Path) -> Path:
    """The first picture in a folder, once it is there."""
    for _ in range(600):
        if found := pictures(folder):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"nothing arrived in {folder}")


def test_a_picture_over_udp_with_losses_and_in_any_order(tmp_path: Path, street: Path, receiver: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as somebody:
        for foreign in (b"", b"hello", bytes(300), b"\xff" * 3000):
            somebody.sendto(foreign, ("127.0.0.1", receiver))
    sent = run("udp_sender", street, "--port", receiver, *WORDS, "--lose", 3, "--twice", "--mix")
    assert sent.returncode == 0, sent.stderr
    assert sent.stdout.startswith("10 packets")
    assert same(arrived(tmp_path / "got"), street)


def test_a_sender_explains_what_is_wrong(tmp_path: Path) -> None:
    failed = run("udp_sender", tmp_path / "none.png")
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert "none.png" in failed.stderr


# -- the serial line --------------------------------------------------------------------------------------------------


def test_frames_survive_noise_and_special_bytes() -> None:
    serial_folder = imported("serial_folder")
    sent = [b"\xc0\xdb\xdc\xdd" * 20, bytes(range(256)), b"\xdb" * 9]
    damaged = bytearray(serial_folder.frame(b"a packet"))
    damaged[3] ^= 1
    line = b"boot: \xdb\xff" + b"".join(map(serial_folder.frame, sent)) + damaged + b"x" * 9000
    line += serial_folder.frame(b"last")
    assert [*takewhile(bool, serial_folder.packets_from(io.BytesIO(line)))] == [*sent, b"last"]


def test_a_file_is_sent_once_it_is_complete_and_again_when_it_changes(tmp_path: Path) -> None:
    looks = imported("serial_folder").appearing(tmp_path, 0)
    (tmp_path / ".b.png").write_bytes(b"hidden")
    (tmp_path / "a.png").write_bytes(b"1")
    assert next(looks).name == "a.png"
    (tmp_path / "c.png").write_bytes(b"1")
    assert next(looks).name == "c.png"
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert next(looks).name == "a.png"


def test_a_watched_folder_over_a_serial_line(
    tmp_path: Path, street: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serial = pytest.importorskip("serial", reason="pyserial is not installed")
    serial_folder, inbox = imported("serial_folder"), imported("inbox").Inbox(tmp_path / "got")
    watched = tmp_path / "watched"
    watched.mkdir()
    (watched / "0.txt").write_text("no picture")
    (watched / "1.png").write_bytes(street.read_bytes())
    looks = serial_folder.appearing
    monkeypatch.setattr(serial_folder, "appearing", lambda folder: islice(looks(folder, 0), 2))
    with serial.serial_for_url("loop://", timeout=0.1) as port:
        serial_folder.send(watched, port, MADE)
        for packet in takewhile(bool, serial_folder.packets_from(port)):
            inbox.add(packet)
    assert "0.txt: " in capsys.readouterr().out
    assert same(arrived(tmp_path / "got"), street)


@pytest.mark.skipif(os.name != "posix", reason="pseudoterminals as on POSIX")
def test_the_command_sends_over_a_device(tmp_path: Path, street: Path) -> None:
    pytest.importorskip("serial", reason="pyserial is not installed")
    ours, its = os.openpty()
    command = [sys.executable, str(EXAMPLES / "serial_folder.py"), "send", str(street.parent), os.ttyname(its), *WORDS]
    port = SimpleNamespace(read=lambda count: os.read(ours, count))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        got = [*islice(imported("serial_folder").packets_from(port), MADE.count)]
        process.terminate()
    os.close(ours)
    os.close(its)
    assert got == packets(street, 0)


# -- MQTT -------------------------------------------------------------------------------------------------------------


def test_a_callback_of_mqtt(tmp_path: Path, street: Path) -> None:
    done = run("mqtt_callback", street, tmp_path / "got", *WORDS, "--lose", 3)
    assert done.returncode == 0, done.stderr
    assert same(pictures(tmp_path / "got")[0], street)


# -- the command lines ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_each_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = imported(name)
    with pytest.raises(SystemExit) as ended:
        module.options(["--help"])
    assert ended.value.code == 0
    assert (module.__doc__ or "").partition("\n")[0] in capsys.readouterr().out


def test_what_documentation_and_docstrings_show_is_understood() -> None:
    sources = [*EXAMPLES.glob("*.py"), REPO / "docs" / "guide" / "link-examples.md"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    shown = re.findall(r"^ *(?:\$ )?python (?:examples/)?(\w+)\.py (.*?)(?: &)?$", text, re.MULTILINE)
    assert {name for name, _ in shown} == set(COMMANDS)
    for name, words in shown:
        imported(name).options(shlex.split(words))
