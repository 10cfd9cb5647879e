"""What the senders of these examples have in common: the options that say which packets are made of a picture."""

from __future__ import annotations

import argparse

import sempic


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `packets` takes."""
    parser.add_argument("--size", type=int, default=222, help="bytes of a packet; 222 if left out")
    parser.add_argument("--count", type=int, default=3, help="the number of packets; 3 if left out")
    parser.add_argument("--survive", type=int, help="how many of them may be missing; 1 if left out")
    parser.add_argument("--codec", help="as for sempic encode")


def packets(picture: str, asked: argparse.Namespace, number: int | None = None) -> list[bytes]:
    """Return the packets of a picture, or of a stream (.smp), as the command line asks for them.

    The number of the picture is made from its stream if left out.
    """
    return sempic.packets(picture, asked.size, asked.count, survive=asked.survive, codec=asked.codec, id=number)
