"""Time Sempic beside CompressAI on one picture: one run, one machine, the same number of cores.

    make peers                                       # an environment of its own, and the drawn picture of the demo
    .venv-peers/bin/python tools/peers.py photo.jpg --bpp 0.03 --repeat 5 --json

Each codec has a process of its own. The first round loads the networks and does not count; then the codecs take turns,
so that whatever else the machine does slows all of them. CompressAI's networks have random weights, which cost the same
time as trained ones, in the widths of its lowest quality, the fastest. Times are from pixels to bytes and back.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sempic import pixels, scene
from sempic.bench import timing
from sempic.codecs.spec import Spec
from sempic.errors import SempicError
from sempic.pool import Executor, pools
from sempic.rate import Target

OURS = ("sqgan", "layered", "spic")
THEIRS = ("bmshj2018-hyperprior", "mbt2018", "cheng2020-anchor")
QUALITY = 1
"""CompressAI's lowest one."""
MULTIPLE = 64
"""The sides of pictures that CompressAI's networks take are multiples of this."""

Rgb = NDArray[np.uint8]
Turn = tuple[float, float, int]
"""The seconds that encoding and decoding took, and the stream's bytes."""


# -- what the processes do --------------------------------------------------------------------------------------------


def ours(name: str, image: Rgb, bpp: float) -> Turn:
    """Encode and decode a picture with a codec of Sempic's."""
    spec = Spec.parse(name)
    data, encoding = timing.encode(image, spec, Target(bpp=bpp))
    _, decoding = timing.decode(data, spec)
    return encoding.whole, decoding.whole, len(data)


def theirs(name: str, image: Rgb, bpp: float) -> Turn:
    """Encode and decode a picture with a network of CompressAI's; the size is whatever random weights make it."""
    import torch
    from torch.nn import functional

    network, (height, width, _) = _network(name), image.shape
    with torch.inference_mode():
        began = time.perf_counter()
        planes = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        planes = functional.pad(planes, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
        encoded = network.compress(planes)
        between = time.perf_counter()
        decoded = network.decompress(encoded["strings"], encoded["shape"])["x_hat"][0, :, :height, :width]
        (decoded.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        ended = time.perf_counter()
    return between - began, ended - between, sum(len(text) for texts in encoded["strings"] for text in texts)


@cache
def _network(name: str) -> Any:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # CompressAI uses what torch is about to drop
        from compressai.zoo import image_models

    torch.manual_seed(0)
    network = image_models[name](quality=QUALITY, pretrained=False).eval()
    network.update()
    return network


# -- the run ----------------------------------------------------------------------------------------------------------


def run(image: Rgb, bpp: float, repeat: int) -> list[dict[str, Any]]:
    """Return a row for each codec, Sempic's first."""
    codecs: list[tuple[str, Callable[[str, Rgb, float], Turn]]] = [(name, ours) for name in OURS]
    codecs += [(name, theirs) for name in THEIRS]
    with pools([1] * len(codecs), os.cpu_count() or 1) as processes:

        def turn(process: Executor, name: str, take: Callable[[str, Rgb, float], Turn]) -> tuple[Turn, float]:
            began = time.perf_counter()
            future: Future[Turn] = process.submit(take, name, image, bpp)
            return future.result(), time.perf_counter() - began

        rounds = []
        for number in range(1 + repeat):
            print(f"round {number} of {repeat}", end="\r", file=sys.stderr, flush=True)
            rounds.append([turn(process, *codec) for process, codec in zip(processes, codecs, strict=True)])
        print(file=sys.stderr)
        peaks = [process.submit(timing.peak_mb).result() for process in processes]
    rows: list[dict[str, Any]] = []
    for place, (name, take) in enumerate(codecs):
        (_, first_s), *turns = (one[place] for one in rounds)
        encode_s = median(encoding for (encoding, _, _), _ in turns)
        decode_s = median(decoding for (_, decoding, _), _ in turns)
        reference = rows[0] if rows else {"encode_s": encode_s, "decode_s": decode_s}
        rows.append(
            {
                "codec": name,
                "by": "Sempic" if take is ours else "CompressAI",
                "bytes": turns[0][0][2] if take is ours else None,
                "encode_s": round(encode_s, 4),
                "decode_s": round(decode_s, 4),
                "encode_ratio": round(encode_s / reference["encode_s"], 3),
                "decode_ratio": round(decode_s / reference["decode_s"], 3),
                "start_s": round(max(0.0, first_s - median(waited for _, waited in turns)), 3),
                "peak_mb": peaks[place],
            }
        )
    return rows


def table(found: dict[str, Any]) -> str:
    """Return the run as Markdown."""
    first = found["rows"][0]["codec"]
    lines = [
        f"{found['picture']}, {found['width']} × {found['height']}, {found['bpp']:g} bpp for Sempic's; medians of "
        f"{found['repeat']}, networks loaded.",
        f"{found['hardware']}; {', '.join(f'{name} {text}' for name, text in found['versions'].items())}.",
        "",
        f"| codec | by | bytes | encode s | decode s | encode, {first} = 1 | decode, {first} = 1 | start s | peak MB |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found["rows"]:
        cells = (
            row["codec"],
            row["by"],
            row["bytes"] or "–",
            f"{row['encode_s']:.3f}",
            f"{row['decode_s']:.3f}",
            f"{row['encode_ratio']:.2f}",
            f"{row['decode_ratio']:.2f}",
            f"{row['start_s']:.1f}",
            f"{row['peak_mb']:.0f}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("picture", nargs="?", help="a drawn street of 480 × 360 if left out")
    parser.add_argument("--bpp", type=float, default=0.03, help="the size of Sempic's streams")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="how many rounds count")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.repeat < 1:
        parser.error("at least one round must count")
    if find_spec("compressai") is None:
        sys.exit("CompressAI is not installed here; `make peers` makes an environment that has it.")
    try:
        image = pixels.to_rgb(options.picture) if options.picture else scene.draw(0, 480, 360).image
        rows = run(image, options.bpp, options.repeat)
    except SempicError as error:
        sys.exit(str(error))
    found = {
        "picture": options.picture or "A drawn street",
        "width": image.shape[1],
        "height": image.shape[0],
        "bpp": options.bpp,
        "repeat": options.repeat,
        "hardware": timing.hardware(),
        "versions": {name: version(name) for name in ("sempic", "onnxruntime", "compressai", "torch")},
        "rows": rows,
    }
    print(json.dumps(found, indent=1, ensure_ascii=False) if options.json else table(found))


if __name__ == "__main__":
    main()
