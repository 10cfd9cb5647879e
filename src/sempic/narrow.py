"""Pictures over a narrow link: `packets` makes a few packets of a picture, `join` puts together what arrives.

    picture ─ Codec.analyse ─▷ Writer ─ the biggest step whose stream fits ─▷ stream ─ PacketSet.split ─▷ packets
    packets, some lost ─ join ─▷ Joined: the stream, or its start

What is shorter than the whole stream decodes as every cut stream does.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable

from sempic import api, container, rate
from sempic.codecs.base import Codec, Settings, Writer
from sempic.codecs.spec import Spec
from sempic.errors import BudgetError, InputError, SempicWarning
from sempic.link import protection
from sempic.link.packets import HEADER_BYTES, Joined, PacketSet, check_size, numbered, plans
from sempic.link.packets import join as join_bytes
from sempic.pixels import Picture
from sempic.rate import Target

ENCODED = "A stream is encoded already; leave the codec and its settings away."

_SHARE = 0.5
"""The share of each packet that the first section may take, unless no smaller segmap is left."""


def packets(
    source: Picture,
    size: int,
    count: int,
    *,
    survive: int | None = None,
    codec: str | Codec | None = None,
    settings: Settings | None = None,
    id: int | None = None,
) -> list[bytes]:
    """Return a picture as packets for a narrow link, which may arrive in any order.

    Any `survive` packets may be missing, and `sempic.join` returns the same stream. If more are missing, up to half of
    those that would be needed are enough for the first section, the segmap, where that fits. Where the first section
    would take more than half of each packet, a smaller segmap is sent, if `map` is "auto".

    Args:
        source: a picture as `sempic.encode` takes it, or a stream: its bytes, or the path of its file. A picture is
            encoded to fit; a stream is sent as it is, less its protection.
        size: the most bytes of a packet, 5 to 2048; 4 of them are its header.
        count: the number of packets, 1 to 64.
        survive: how many of them, any ones, may be missing; 1 if left out, or 0 for a single packet.
        codec: as for `sempic.encode`.
        settings: as for `sempic.encode`.
        id: the number of the picture, 0 to 2047, by which its packets are known; made from its stream if left out.
            Count the pictures that you send, so that no two of them have the same number at a time.

    Warns:
        SempicWarning: as `sempic.encode`.

    Raises:
        InputError: a picture, codec, setting or number cannot be used.
        BudgetError: the packets are too small or too few.
        StreamError: the stream is damaged from the start.
        ModelError: a model is missing.
    """
    data = stream_in(source)
    if data is None:
        writer = writer_of(source, api.spec_of(codec, settings))
    elif codec is None and settings is None:
        writer = writer_of_stream(data)
    else:
        raise InputError(ENCODED)
    plan, stream, said = fit(writer, size, count, survive)
    for sentence in said:
        warnings.warn(sentence, SempicWarning, stacklevel=2)
    return numbered(plan, stream, id).split(stream)


def join(packets: Iterable[api.Data], id: int | None = None) -> Joined:
    """Return what packets contain: a stream for `sempic.decode`, or the start of one, and what did not arrive.

    The order is of no matter, nor are packets that are there twice, of other pictures or of somebody else. Of several
    pictures the most complete one is taken.

    Args:
        packets: the packets: their bytes, the paths of their files, or files that are open for reading bytes.
        id: the number of the picture (0..2047), if it matters which one is taken.

    Raises:
        StreamError: none is a packet of Sempic's, or none of this picture.
        InputError: what was handed in cannot be packets.
    """
    return join_bytes(map(api.stream_bytes, packets), id)


def stream_in(source: Picture) -> bytes | None:
    """Return the stream that was handed in, or whose path; None for a picture."""
    if not isinstance(source, str | os.PathLike | bytes | bytearray | memoryview):
        return None
    data = api.stream_bytes(source)
    return data if protection.may_start(data) else None


def writer_of(picture: Picture, spec: Spec) -> Writer:
    """Return the writer of a picture under a `Spec`."""
    if spec.protect:
        raise InputError("Packets have a protection of their own; leave protect away and say how many may be missing.")
    return api.analyse(picture, spec, Target())


def writer_of_stream(stream: bytes) -> Writer:
    """Return what writes a stream, protected or not, as it is; raise `StreamError` if it is damaged from the start."""
    return _StreamWriter(stream)


def fit(writer: Writer, size: int, count: int, survive: int | None = None) -> tuple[PacketSet, bytes, tuple[str, ...]]:
    """Return the plan by which packets are made, the stream in them, and the warnings about it.

    Args:
        writer: of the picture, or of its stream.
        size, count, survive: as `packets` takes them.

    Raises:
        InputError: a number is outside its range.
        BudgetError: no stream fits.
    """
    check_size(size)
    ways = plans(count, survive)
    for plan in ways:
        found = []
        for rung in writer.rungs():
            try:
                stream, said = rate.fit(rung, size, plan.size)
            except BudgetError:
                continue
            # More parity for the first section makes no sense if nothing follows it.
            if plan is ways[-1] or container.end_of_first(stream) < len(stream):
                found.append((plan, stream, said))
                if plan.rows(stream)[0] <= _SHARE * (size - HEADER_BYTES):
                    break
        if found:
            return found[-1]
    least = min(ways[-1].size(rung.write(0)) for rung in writer.rungs())
    raise BudgetError(
        f"{count} packets of {size} bytes are too few if {count - ways[-1].need} of them may be missing: for the "
        f"smallest stream of this picture they would have to be of {least} bytes."
    )


class _StreamWriter(Writer):
    """A stream as the only step."""

    steps = 1

    def __init__(self, data: bytes) -> None:
        found = protection.read(data)
        self.pixels, self.warnings = found.header.width * found.header.height, found.warnings
        self._stream = container.write(found.header, found.sections)

    def write(self, step: int) -> bytes:
        """Return the stream."""
        return self._stream
