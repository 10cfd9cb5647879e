"""A stream is parsed once, by whatever asks for it; reading runs no network; and what was read can be drawn again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import stand_in
from codec_cases import encode_with, read, street

import sempic
from sempic import api, container, runtime
from sempic.codecs import codec, sqgan
from sempic.codecs.classic.hevc import Hevc
from sempic.coding import grid, latents, palette, segmap
from sempic.errors import StreamError

STREAMS = {
    "sqgan": {"quality": 60},
    "sqgan in tokens": {"quality": 60, "map": "tokens"},
    "layered": {"quality": 95, "layers": 3},
    "layered without HEVC": {"quality": 55},
    "spic": {"quality": 50},
}
SEMANTIC = ("sqgan", "layered", "spic")


@pytest.fixture(scope="module", autouse=True)
def _models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("models")
    stand_in.make(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEMPIC_MODELS", str(folder))
        yield


@pytest.fixture(scope="module")
def streams(_models: None) -> dict[str, bytes]:
    """A stream of each kind, of a small picture."""
    image, labels = street(64, 48)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqgan, "TOKENS_A_BAND", 3)
        return {name: encode_with(image, name.split()[0], segmap=labels, **how) for name, how in STREAMS.items()}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often decoders of entropy-coded parts and of pictures are called, and networks run."""
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str, label: str) -> None:
        called = getattr(owner, name)

        def counted(*arguments: Any, **more: Any) -> Any:
            counts[label] += 1
            return called(*arguments, **more)

        monkeypatch.setattr(owner, name, counted)

    count(segmap, "decode", "segmap")
    count(palette, "decode", "palette")
    count(grid, "decode_band", "bands")
    count(latents, "decode", "latents")
    count(Hevc, "expand", "hevc")
    count(runtime.Network, "run", "networks")
    return counts


READ = {
    "sqgan": {"segmap": 1, "palette": 1, "bands": 3},
    "sqgan in tokens": {"palette": 1, "bands": 4},
    "layered": {"segmap": 1, "palette": 1, "latents": 1},
    "layered without HEVC": {"segmap": 1, "palette": 1, "latents": 2},
    "spic": {"segmap": 1},
}
"""What is parsed of each stream, once."""
DRAWN = {
    "sqgan": [{"networks": 1}] * 3,
    "sqgan in tokens": [{"networks": 2}] * 3,
    "layered": [{"networks": 1, "hevc": 3}, {"networks": 1}, {"networks": 1, "hevc": 1}],
    "layered without HEVC": [{"networks": 1}] * 3,
    "spic": [{"networks": 1, "hevc": 1}, {"networks": 1}, {"networks": 1, "hevc": 1}],
}
"""What drawing takes beside it: with all layers, with none, with one."""


@pytest.mark.parametrize("name", STREAMS)
def test_inspecting_parses_a_stream_once_and_runs_nothing(streams, calls, name):
    info = sempic.inspect(streams[name])
    assert calls == READ[name]
    assert info.codec == name.split()[0]


@pytest.mark.parametrize(("place", "layers"), [(0, None), (1, 0), (2, 1)])
@pytest.mark.parametrize("name", STREAMS)
def test_decoding_parses_a_stream_once(streams, calls, name, place, layers):
    assert sempic.decode(streams[name], layers).warnings == ()
    assert calls == READ[name] | DRAWN[name][place]


@pytest.mark.parametrize("name", STREAMS)
def test_what_was_read_is_drawn_again_without_parsing(streams, calls, name):
    info, reading = api.describe(streams[name])
    assert reading.layers >= 1
    options = codec(info.codec).Options()
    for layers in (None, 0, 1, reading.layers, 9, 0, None):
        drawn, decoded = reading.draw(options, layers), sempic.decode(streams[name], layers)
        assert np.array_equal(drawn.image, decoded.image)
        assert np.array_equal(drawn.segmap, decoded.segmap)
        assert np.array_equal(drawn.segmap, reading.segmap)
        assert drawn.taxonomy is reading.taxonomy
        assert drawn.warnings == decoded.warnings == reading.contents.warnings == ()
    calls.clear()
    reading.draw(options, 1)
    assert not calls.keys() & {"segmap", "palette", "bands", "latents"}


def test_layers_change_the_picture(streams):
    for name, data in streams.items():
        reading = read(data)
        options = codec(name.split()[0]).Options()
        pictures = {reading.draw(options, layers).image.tobytes() for layers in range(reading.layers + 1)}
        assert len(pictures) == reading.layers + 1


@pytest.mark.parametrize("name", [*STREAMS, "hevc", "jpeg2000", "webp"])
def test_inspecting_runs_no_network_and_no_decoder_of_pictures(streams, name, monkeypatch):
    data = streams.get(name) or sempic.encode(street(64, 48)[0], name)

    def fail(*arguments: Any, **more: Any) -> None:
        raise AssertionError("something runs")

    monkeypatch.setattr(runtime.Network, "__init__", fail)
    monkeypatch.setattr(runtime.Network, "run", fail)
    for classic in ("hevc", "jpeg2000", "webp"):
        monkeypatch.setattr(type(codec(classic)), "expand", fail)
    info = sempic.inspect(data)
    assert sum(part.bytes for part in info.parts) == len(data)
    assert info.warnings == ()
    with pytest.raises(AssertionError, match="something runs"):
        sempic.decode(data)


def rewritten(data: bytes, change: Any) -> bytes:
    """The same stream with its last payload changed and checks that match."""
    stream = container.read(data)
    *others, last = stream.sections
    return container.write(stream.header, [*others, container.Section(last.type, change(last.payload))])


def test_a_forged_picture_in_a_layer_is_found_when_it_is_drawn(streams):
    data = rewritten(streams["layered"], lambda payload: payload[:1] + b"\0\0\1\x42\1")
    info, reading = api.describe(data)
    assert info.warnings == ()
    assert reading.layers == 3
    drawn = reading.draw(codec("layered").Options())
    assert "Layer 3 and all after it cannot be used" in drawn.warnings[0]
    assert np.array_equal(drawn.image, sempic.decode(data, layers=2).image)
    assert sempic.decode(data, layers=2).warnings == ()


def test_a_forged_coarse_picture_is_found_when_it_is_drawn(streams):
    data = rewritten(streams["spic"], lambda payload: payload[:1] + b"\0\0\1\x42\1")
    assert sempic.inspect(data).warnings == ()
    drawn = sempic.decode(data)
    assert ["HEVC" in drawn.warnings[0], "segmap alone" in drawn.warnings[1]] == [True, True]
    assert np.array_equal(drawn.image, sempic.decode(data, layers=0).image)


def test_a_forged_picture_of_a_classic_codec_is_found_when_it_is_drawn():
    data = rewritten(sempic.encode(street(64, 48)[0], "hevc"), lambda payload: b"\0\0\1\x42\1")
    assert sempic.inspect(data).warnings == ()
    with pytest.raises(StreamError, match="start code"):
        sempic.decode(data)


# -- warnings, which read the same for all three ----------------------------------------------------------------------


@pytest.mark.parametrize("name", SEMANTIC)
def test_a_cut_stream_is_warned_of_in_the_same_words(streams, name):
    stream = container.read(streams[name])
    whole = len(stream.sections)
    cut = container.write(stream.header, stream.sections[:1])
    sentence = f"The stream ends after 1 of {whole} sections: it was cut."
    assert sempic.inspect(cut).warnings == (sentence,)
    assert sempic.decode(cut).warnings[0] == sentence


@pytest.mark.parametrize("name", SEMANTIC)
def test_sections_that_are_unknown_or_too_many_are_warned_of_in_the_same_words(streams, name):
    stream = container.read(streams[name])
    first, second, *others = stream.sections
    more = container.write(stream.header, [*stream.sections, second, second])
    assert sempic.inspect(more).warnings == ("The stream has 2 sections more than its first one announces.",)
    unknown = container.write(stream.header, [first, container.Section(77, b"?"), *others])
    (warning,) = sempic.inspect(unknown).warnings
    assert warning.startswith("Section 2 and all after it cannot be used: ")
    assert sempic.inspect(unknown).parts[-1].name == "unused"


@pytest.mark.parametrize("name", SEMANTIC)
def test_a_stream_that_does_not_start_with_a_segmap_is_refused_in_the_same_words(streams, name):
    stream = container.read(streams[name])
    for wrong in (9, 77):
        sections = [container.Section(wrong, stream.sections[0].payload), *stream.sections[1:]]
        with pytest.raises(StreamError, match=f"does not start with a segmap, but with a section of type {wrong}"):
            sempic.inspect(container.write(stream.header, sections))
    short = container.write(stream.header, [container.Section(1, b""), *stream.sections[1:]])
    with pytest.raises(StreamError, match="segmap is too short"):
        sempic.inspect(short)
