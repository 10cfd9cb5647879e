"""Hostile streams: how they are made from good ones, and what no stream may do to a reader.

`mutate` knows a stream's structure: it changes payloads, sections and sizes and then writes checks that match, so that
what is behind the checks is reached. `check` reads and draws a stream, but for the networks, where `nothing_drawn`
takes their place.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import numpy as np
import stand_in
from codec_cases import encode_with

import sempic
from sempic import api, container
from sempic.codecs import codec, layered_latents, spic_parts, sqgan, tiles
from sempic.codecs.semantic import Head, SentMap
from sempic.coding import grid
from sempic.container import Header, Section
from sempic.link import protection
from sempic.scene import draw
from sempic.segmap.resample import shrink

GOLDEN = Path(__file__).parents[1] / "golden"
SECONDS = 2.0
"""The most CPU time for a stream that is refused, up to a million pixels; a larger one may take as much more."""
BYTES, BYTES_A_PIXEL = 64 << 20, 40
"""The most memory beyond what the process holds already, models among it."""

SIDES = (16, 17, 31, 64, 100, 255, 640)
VALUES = (0, 1, 2, 3, 4, 8, 15, 16, 31, 63, 64, 127, 128, 129, 192, 254, 255)


# -- making them ------------------------------------------------------------------------------------------------------


def mutate(data: bytes, chance: Random, others: Sequence[bytes]) -> bytes:
    """Return a stream made from another one: damaged as it is, or rewritten with damaged contents."""
    how = chance.random()
    if how < 0.1:
        share = 1 + chance.randrange(40)
        try:
            return damage(protection.protect(mutate(data, chance, others), share / 40), chance)
        except sempic.SempicError:
            return data
    try:
        stream = _read(data)
    except sempic.SempicError:
        return damage(data, chance)
    if how < 0.25:
        return damage(data, chance)
    header, sections = stream.header, list(stream.sections)
    for _ in range(1 + chance.randrange(3)):
        place = chance.randrange(len(sections))
        match chance.randrange(9):
            case 0:
                header = replace(header, width=chance.choice(SIDES))
            case 1:
                header = replace(header, height=chance.choice(SIDES))
            case 2:
                sections[place] = replace(sections[place], type=chance.choice((1, 2, 3, 4, 0, 7, 255)))
            case 3:
                sections.insert(chance.randrange(len(sections) + 1), sections[place])
            case 4:
                sections[place] = sections[chance.randrange(len(sections))]
            case 5:
                sections[place] = replace(sections[place], payload=_borrowed(header, chance, others))
            case _:
                sections[place] = replace(sections[place], payload=damage(sections[place].payload, chance))
    return container.write(header, sections[: container.MAX_SECTIONS])


def damage(data: bytes, chance: Random) -> bytes:
    """Return bytes with flips, cuts, swaps, insertions or other values at one to four places."""
    out = bytearray(data)
    for _ in range(1 + chance.randrange(4)):
        # Small structures stand at the start, so half of all damage goes there.
        reach = min(len(out), 12) if chance.random() < 0.5 else len(out)
        place = chance.randrange(reach + 1)
        length = 1 + chance.randrange(8)
        match chance.randrange(7):
            case 0 if place < len(out):
                out[place] ^= 1 << chance.randrange(8)
            case 1 if place < len(out):
                out[place] = chance.choice(VALUES)
            case 2:
                del out[place : place + length]
            case 3:
                out[place:place] = bytes(chance.choice(VALUES) for _ in range(length))
            case 4:
                out[place:place] = out[place : place + length * chance.choice((1, 1, 30))]
            case 5:
                del out[place:]
            case 6:
                other = chance.randrange(len(out) + 1)
                out[place : place + length], out[other : other + length] = (
                    out[other : other + length],
                    out[place : place + length],
                )
    return bytes(out)


def _borrowed(header: Header, chance: Random, others: Sequence[bytes]) -> bytes:
    """Return a payload of another stream, of the same codec if there is one."""
    read = [_read(data) for data in others]
    same = [stream for stream in read if stream.header.codec == header.codec]
    section: Section = chance.choice(chance.choice(same or read).sections)
    return section.payload


@lru_cache(maxsize=100)
def _read(data: bytes) -> container.Stream:
    """Return the sections of a stream to make others from, which is done again and again."""
    return container.read(protection.recover(data).stream)


def seeds(models: Path) -> list[bytes]:
    """Return the golden streams that can be read here, and smaller ones of what they lack; load all their models.

    `models` is a folder that SEMPIC_MODELS names, for stand-ins of the models of layers and of SPIC; all else is as
    shipped.
    """
    if not any(models.iterdir()):
        stand_in.make_layered(models)
        stand_in.make_spic(models)
    scene = draw(0, 96, 64)
    found = [path.read_bytes() for path in sorted(GOLDEN.glob("*.smp"))]
    found.append(encode_with(scene.image, "layered", segmap=scene.segmap, quality=55))
    found.append(encode_with(scene.image, "layered", segmap=scene.segmap, quality=90, layers=2))
    found.append(encode_with(scene.image, "spic", segmap=scene.segmap, quality=40))
    for data in list(found):
        try:
            sempic.decode(data)
        except (sempic.InputError, sempic.ModelError):  # packages and weights that are not here
            found.remove(data)
    if any(_read(data).header.codec == sqgan.SqGan.id for data in found):
        found += _more_of_sqgan(encode_with(scene.image, "sqgan", segmap=scene.segmap, quality=100))
    return found


def _more_of_sqgan(data: bytes) -> list[bytes]:
    """Return a stream's tokens in several bands, and some of them as the tokens of its segmap, without any network."""
    _, reading = api.describe(data)
    assert isinstance(reading, sqgan.SqGanReading)
    rows, columns = reading.grid
    ranks = np.arange(rows * columns).reshape(rows, columns)
    writer = sqgan._SqGanWriter(
        reading.header,
        sqgan.SqGanSection.MAP,
        reading.head,
        (),
        reading.tokens,
        -ranks,
        shrink(reading.quarter, 4),
        reading.weights.grid_tables("image"),
    )
    with mock.patch.object(sqgan, "TOKENS_A_BAND", 6):
        bands = writer.write(3 * writer.steps // 4)
    unknown = np.full((rows, columns), sqgan.UNKNOWN_CLASS, np.uint8)
    coded = grid.encode_band(reading.tokens, reading.sent(), ranks < 0, unknown, reading.weights.grid_tables("map"))
    head = Head(0, 0, coded, palette=reading.head.palette)
    return [bands, container.write(reading.header, [head.section(sqgan.SqGanSection.MAP_TOKENS)])]


# -- reading them -----------------------------------------------------------------------------------------------------


@contextmanager
def nothing_drawn() -> Iterator[None]:
    """Replace the networks that draw: grey pictures and maps of one class, but all else as it is."""

    def drawn(network: Any, rows: int, columns: int, **inputs: Any) -> Any:
        return np.full((3, tiles.CELL * rows, tiles.CELL * columns), np.float32(0.5))

    def draw_map(weights: Any, tokens: Any, sent: Any, height: int, width: int) -> Any:
        return SentMap(np.zeros((height, width), np.uint8), 4)

    with ExitStack() as patches:
        for module in (layered_latents, spic_parts, sqgan):
            patches.enter_context(mock.patch.object(module, "blend_tiled", drawn))
        patches.enter_context(mock.patch.object(sqgan, "_draw_map", draw_map))
        yield


def check(data: bytes) -> bool:
    """Read a stream and draw it; return whether it is accepted, and raise `AssertionError` where a bound is broken.

    Any exception but a `SempicError` goes through, too.
    """
    header = _declared(data)
    pixels = header.width * header.height if header else 0
    before = _reset_peak()
    started = time.process_time()
    decoded = None
    try:
        info, reading = api.describe(data)
        assert sum(part.bytes for part in info.parts) == info.bytes == len(data)
        decoded = reading.draw(codec(info.codec).Options())
        assert decoded.image.shape == (info.height, info.width, 3)
        assert set(info.warnings) <= set(decoded.warnings), "drawing forgets a warning"
    except sempic.SempicError:
        seconds = time.process_time() - started
        assert seconds <= SECONDS * max(1, pixels / 1e6), f"{seconds:.1f} s for a stream that is refused"
    assert decoded is None or header is not None, "a stream without a header decodes"
    grown = _peak() - before
    assert grown <= BYTES + pixels * BYTES_A_PIXEL, f"{grown >> 20} MB for {pixels} pixels"
    return decoded is not None


def check_damage(original: bytes, damaged: bytes) -> None:
    """Assert that damage to a stream with its checks as they were is an error, a warning or without effect."""
    try:
        decoded = sempic.decode(damaged)
    except sempic.SempicError:
        return
    if not decoded.warnings:
        intact = sempic.decode(original)
        assert np.array_equal(decoded.image, intact.image), "another picture without a warning"
        assert decoded.segmap is None or np.array_equal(decoded.segmap, intact.segmap)


def _declared(data: bytes) -> Header | None:
    """Return the header of a stream, if it has one that can be read."""
    try:
        return container.read(protection.recover(data).stream).header
    except sempic.SempicError:
        return None


def _reset_peak() -> int:
    """Start to measure memory anew, where the system can (Linux); return what the process holds, in bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return _peak()


def _peak() -> int:
    """Return the most memory that the process held since `_reset_peak`, in bytes; 0 where nobody knows."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return 1024 * next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
