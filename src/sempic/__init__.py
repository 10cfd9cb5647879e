"""Sempic: semantic image compression. `encode` a picture, `decode` a stream, `inspect` what is in it.

For narrow links, `packets` makes packets of a picture, and `join` puts together what arrives.
"""

from importlib.metadata import version

from sempic.api import decode, encode, inspect
from sempic.codecs.base import Codec, Decoded, Info, Part
from sempic.codecs.spec import codecs
from sempic.errors import BudgetError, InputError, ModelError, SempicError, SempicWarning, StreamError
from sempic.link.packets import Joined
from sempic.narrow import join, packets
from sempic.provenance import Provenance

__version__ = version("sempic")

__all__ = [
    "BudgetError",
    "Codec",
    "Decoded",
    "Info",
    "InputError",
    "Joined",
    "ModelError",
    "Part",
    "Provenance",
    "SempicError",
    "SempicWarning",
    "StreamError",
    "codecs",
    "decode",
    "encode",
    "inspect",
    "join",
    "packets",
]
