"""What the receivers of these examples have in common: packets of any pictures come in, pictures are written."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

from PIL import Image

import sempic
from sempic.files import saved, whole_file

KEPT = 64
"""Pictures of which packets are kept, and pictures whose late packets are still known as such."""


class Inbox:
    """A folder for the pictures that arrive, each with the time and its number in the name of its file.

    Args:
        folder: where pictures are written; made if need be.
        quiet: seconds without a packet of a picture, after which `show` writes what is there of it.
    """

    def __init__(self, folder: Path, quiet: float = 5.0) -> None:
        self.folder, self.quiet = folder, quiet
        self.packets: dict[int, set[bytes]] = {}  # of pictures that are not whole, by their numbers
        self.due: dict[int, float] = {}  # when to write what is there of them
        self.done: deque[int] = deque(maxlen=KEPT)  # the numbers of those that are whole
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, packet: bytes) -> None:
        """Take what arrived, and write its picture if it is whole now; what is no packet of Sempic's is ignored."""
        try:
            number = sempic.join([packet]).id
        except sempic.StreamError:
            return
        packets = self.packets.get(number, set())
        if number in self.done or packet in packets:
            return
        self.packets[number] = packets | {packet}
        self.due[number] = time.monotonic() + self.quiet
        joined = sempic.join(self.packets[number], number)
        if joined.whole:
            self._forget(number)
            self.done.append(number)
            self._write(joined, "")
        elif len(self.packets) > KEPT:
            self._forget(next(iter(self.packets)))

    def show(self) -> None:
        """Write what is there of pictures that get no more packets. These stay: more may be sent again."""
        for number in [number for number, due in self.due.items() if due <= time.monotonic()]:
            del self.due[number]
            self._write(sempic.join(self.packets[number], number), "-part")

    def _forget(self, number: int) -> None:
        del self.packets[number]
        self.due.pop(number, None)

    def _write(self, joined: sempic.Joined, part: str) -> None:
        print(f"picture {joined.id}: {joined.count - len(joined.missing)} of {joined.count} packets", *joined.warnings)
        if not joined.stream:
            return
        path = self.folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{joined.id:04}{part}.png"
        try:
            data = saved(Image.fromarray(sempic.decode(joined.stream).image), "PNG")
        except sempic.SempicError as error:
            print(f"picture {joined.id}: {error}")
            return
        with whole_file(path) as file:
            file.write(data)
        print(path, flush=True)
