"""Send the pictures that appear in a folder over a serial line, and write those that arrive at its other end.

    python serial_folder.py send pictures /dev/ttyUSB0 --baud 9600 --size 222 --count 3
    python serial_folder.py receive received /dev/ttyUSB1 --baud 9600

Needs pyserial. A line of bytes has no packets, and may damage them: each is sent as a frame of SLIP (RFC 1055) with
a CRC-32.
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import outbox
from inbox import Inbox

import sempic

END, ESC, ESC_END, ESC_ESC = b"\xc0", b"\xdb", b"\xdb\xdc", b"\xdb\xdd"
LONGEST = 2 * (2048 + 4)


def frame(packet: bytes) -> bytes:
    """Return a packet as it is sent over the line; the first END ends what noise has left there."""
    data = packet + zlib.crc32(packet).to_bytes(4, "big")
    return END + data.replace(ESC, ESC_ESC).replace(END, ESC_END) + END


def packets_from(port: Any) -> Iterator[bytes]:
    """Yield the packets that come over the line, and b"" when nothing came for as long as the port's timeout."""
    read = bytearray()
    while True:
        byte = port.read(1)
        if byte == END:
            data = bytes(read).replace(ESC_END, END).replace(ESC_ESC, ESC)
            read.clear()
            if zlib.crc32(data[:-4]).to_bytes(4, "big") == data[-4:]:
                yield data[:-4]
        elif not byte:
            yield b""
        elif len(read) < LONGEST:
            read += byte


def appearing(folder: Path, every: float = 1.0) -> Iterator[Path]:
    """Yield each file that is in a folder, or appears there, once it has stopped changing for so many seconds."""
    before: dict[Path, int] = {}
    sent: set[tuple[Path, int]] = set()
    while True:
        files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
        now = {path: path.stat().st_mtime_ns for path in files}
        sent &= now.items()
        for path, changed in now.items():
            if before.get(path) == changed and (path, changed) not in sent:
                sent.add((path, changed))
                yield path
        before = now
        time.sleep(every)


def send(folder: Path, port: Any, asked: argparse.Namespace) -> None:
    """Send each picture that is in a folder or appears there; the pictures are counted."""
    for number, path in enumerate(appearing(folder)):
        try:
            packets = outbox.packets(str(path), asked, number % 2048)
        except sempic.SempicError as error:
            print(f"{path}: {error}")
            continue
        for packet in packets:
            port.write(frame(packet))
        print(f"{path}: {len(packets)} packets of {len(packets[0])} bytes", flush=True)


def receive(folder: Path, port: Any, asked: argparse.Namespace) -> None:
    """Write each picture that arrives to a folder."""
    inbox = Inbox(folder, asked.quiet)
    for packet in packets_from(port):
        inbox.add(packet)
        inbox.show()


def options(words: list[str] | None = None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for act in (send, receive):
        command = commands.add_parser(act.__name__, help=act.__doc__)
        command.set_defaults(act=act)
        command.add_argument("folder", type=Path, help="where the pictures are, or are written")
        command.add_argument("port", help="a device, or any URL that pyserial takes")
        command.add_argument("--baud", type=int, default=9600, help="bits a second; 9600 if left out")
        if act is send:
            outbox.add_options(command)
        else:
            command.add_argument("--quiet", type=float, default=30, help="seconds until what is there is shown; 30")
    return parser.parse_args(words)


def main() -> None:
    """Send or receive until Ctrl-C."""
    asked = options()
    try:
        import serial
    except ImportError:
        sys.exit("The serial line needs pyserial: pip install pyserial.")
    with serial.serial_for_url(asked.port, asked.baud, timeout=1) as port:
        asked.act(asked.folder, port, asked)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
    except OSError as error:
        sys.exit(f"{error}")
