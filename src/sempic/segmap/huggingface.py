"""Segmenters of the Hugging Face Hub by way of transformers: the extra `hf`, the one thing in use that needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sempic import extras, fetch, runtime
from sempic.errors import ModelError
from sempic.segmap.mapping import ClassList


class HubSegmenter:
    """A model that transformers calls one for semantic segmentation, with the preparation of pictures that it needs.

    classes: what it finds, as its configuration names it.
    """

    def __init__(self, name: str) -> None:
        try:
            import torch
            from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation
        except ImportError:
            raise ModelError(f"Segmenters of the Hub need transformers and torch: {extras.install('hf')}.") from None
        self.name, folder = f"{fetch.HUB}{name}", _folder(name)
        self._torch, self._device = torch, "cuda" if torch.cuda.is_available() else "cpu"
        if threads := runtime.threads():
            torch.set_num_threads(threads)
        try:
            with _quiet():
                self._processor = AutoImageProcessor.from_pretrained(folder)
                network, report = AutoModelForSemanticSegmentation.from_pretrained(
                    folder, output_loading_info=True, trust_remote_code=False
                )
        except Exception as error:  # transformers has many classes of errors for what a folder may lack
            raise ModelError(f"{self.name} is no segmenter that transformers can load: {_first_line(error)}") from None
        if untrained := sorted(report["missing_keys"]):
            raise ModelError(f"{self.name} was not trained to segment: it has no weights '{untrained[0]}'.")
        self._network = network.float().eval().to(self._device)
        self.classes = ClassList(self.name, {int(number): str(one) for number, one in network.config.id2label.items()})

    def logits(self, image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
        """Return the logits of a picture (uint8 H×W×3), 1×classes×h×w at the `size` (h, w).

        The network gets the picture at the size that its own preparation makes of it, or at `size` if that makes none.

        Raises `ModelError` where the network does not run on it.
        """
        picture = Image.fromarray(image)
        if not getattr(self._processor, "do_resize", False):
            picture = picture.resize(size[::-1], Image.Resampling.BOX, reducing_gap=3.0)
        # A crop is right for one object in the middle of a photo; here, all of the picture counts.
        whole = {"do_center_crop": False} if getattr(self._processor, "do_center_crop", False) else {}
        try:
            with _quiet(), self._torch.inference_mode():
                inputs = self._processor(images=picture, return_tensors="pt", **whole).to(self._device)
                out = self._network(**inputs).logits
                out = self._torch.nn.functional.interpolate(out, size, mode="bilinear", align_corners=False)
        except Exception as error:
            raise ModelError(f"{self.name} does not run on a picture: {_first_line(error)}") from None
        found: NDArray[np.float32] = out.cpu().numpy()
        return found


@lru_cache(maxsize=2)
def load(name: str) -> HubSegmenter:
    """Return the segmenter in a folder or a repository of the Hub (`org/name` or `org/name@revision`), loaded once.

    Raises `ModelError` where there is none, it cannot be fetched, or the packages are missing.
    """
    return HubSegmenter(name)


def _folder(name: str) -> Path:
    """Return the folder with a model's files, fetched if need be: safe tensors, or the pickles of older models."""
    folder = Path(name)
    if folder.is_dir():
        return folder
    folder = fetch.from_hub(name, ["*.json", "*.safetensors"])
    return folder if any(folder.glob("*.safetensors")) else fetch.from_hub(name, ["*.json", "*.bin"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from writing remarks and bars to standard error, where commands write sentences."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
