"""Models from an https address or the Hugging Face Hub. A model is fetched once and kept in a cache."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path
from urllib.request import urlopen

from sempic.errors import ModelError

CARD = "card.json"
HUB, WEB = "hf:", "https://"
TIMEOUT_S = 60


def is_address(name: str) -> bool:
    """Whether a model's name is an address."""
    return name.startswith((HUB, WEB, "http://"))


def fetch(address: str) -> Path:
    """Return the folder of the model at an address, fetched if it is not in the cache.

    Args:
        address: `https://…`, a folder with a `card.json`, and behind it, if you like, `#sha256=…` with the SHA-256 of
            the card; or `hf:org/name` or `hf:org/name@revision`, a repository of the Hub. The card has the hashes of
            all other files.

    Raises:
        ModelError: a file cannot be fetched, or does not have its hash.
    """
    if address.startswith(HUB):
        return from_hub(address.removeprefix(HUB), [CARD, "*.onnx", "*.npz"])
    if not address.startswith(WEB):
        raise ModelError(f"'{address}' is not fetched, for others could change it on its way; give an https address.")
    place, _, pinned = address.partition("#sha256=")
    folder = _cache() / sha256(address.encode()).hexdigest()[:24]
    if not (folder / CARD).is_file():
        _download(place.rstrip("/"), pinned, folder)
    return folder


def _download(place: str, pinned: str, folder: Path) -> None:
    """Fetch a model into a folder that appears when all files are there and checked."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
    try:
        card = _read(f"{place}/{CARD}")
        if pinned and sha256(card).hexdigest() != pinned.lower():
            raise ModelError(f"The card at {place} is not the one that the address names by its SHA-256.")
        try:
            files = dict(json.loads(card)["files"])
        except (ValueError, KeyError, TypeError):
            raise ModelError(f"What is at {place}/{CARD} is no model's card.") from None
        for name, digest in files.items():
            if Path(name).name != name or name == CARD:
                raise ModelError(f"The card at {place} lists '{name}', which is no plain file name.")
            data = _read(f"{place}/{name}")
            if sha256(data).hexdigest() != digest:
                raise ModelError(f"{place}/{name} is not the file that its card describes.")
            (part / name).write_bytes(data)
        (part / CARD).write_bytes(card)
        if not folder.exists():  # another process may have been faster
            part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _read(address: str) -> bytes:
    try:
        with urlopen(address, timeout=TIMEOUT_S) as answer:
            data: bytes = answer.read()
            return data
    except (OSError, ValueError) as error:
        raise ModelError(f"{address} cannot be fetched: {error}.") from None


def from_hub(name: str, patterns: list[str]) -> Path:
    """Return the folder of a repository of the Hub, `org/name` or `org/name@revision`, with the files that are wanted.

    Raises `ModelError` where they cannot be fetched.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ModelError("Models of the Hub need huggingface_hub; pip install huggingface_hub.") from None
    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=patterns))
    except Exception as error:  # the Hub has a class of its own for every way to fail
        raise ModelError(f"The model {HUB}{name} cannot be fetched: {str(error).splitlines()[0]}") from None


def _cache() -> Path:
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sempic" / "models"
    except RuntimeError:
        raise ModelError("There is no home folder to keep models in; name one for them in XDG_CACHE_HOME.") from None
