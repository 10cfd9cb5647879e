"""LPIPS 0.1 on SqueezeNet (Zhang et al. 2018), with the published weights, which do not come with Sempic.

It is a loss of training and a metric of the bench. This needs torch: import it where it is used.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sempic.errors import InputError

NETWORK, LINEAR = "squeezenet1_1_fp16.npz", "lpips_v0.1_squeeze_lin.pth"
"""The files in `lpips` of SEMPIC_WEIGHTS: SqueezeNet 1.1 under torchvision's names, and the linear layers."""
FIRES = {
    3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128), 9: (256, 48, 192), 10: (384, 48, 192),
    11: (384, 64, 256), 12: (512, 64, 256),
}  # fmt: skip
"""The fire modules by their place in the network: channels in, after the squeeze, and of either expansion."""
POOLS, TAPS = (2, 5, 8), (1, 4, 7, 9, 10, 11, 12)
"""The places of pooling, and those after which features are compared."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


def weights_root() -> Path:
    """Return the folder of other people's weights from SEMPIC_WEIGHTS, or `../shared/weights` beside the repository."""
    return Path(os.environ.get("SEMPIC_WEIGHTS") or Path(__file__).parents[3] / "shared" / "weights")


class Fire(nn.Module):
    """SqueezeNet's module: 1×1 to few channels, then 1×1 and 3×3 side by side."""

    def __init__(self, channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1x1, self.expand3x3 = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


class Lpips(nn.Module):
    """The distance of pictures from others, whose features are handed in.

    Raises `InputError` where the weights are not there.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict({"0": nn.Conv2d(3, 64, 3, 2)})
        self.features.update({str(place): Fire(*channels) for place, channels in FIRES.items()})
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)
        folder = weights_root() / "lpips"
        try:
            with np.load(folder / NETWORK) as stored:
                own = {name: torch.from_numpy(stored[name].astype(np.float32)) for name in self.state_dict()}
            linear = torch.load(folder / LINEAR, map_location="cpu", weights_only=True)
            self.load_state_dict(own)
        except Exception as error:  # a damaged file raises whatever its reader meets
            raise InputError(
                f"LPIPS needs {NETWORK} and {LINEAR} in {folder} ({error}); SEMPIC_WEIGHTS names the folder above it."
            ) from None
        self.linear = nn.ParameterList(layer.float() for layer in linear.values())
        self.eval().requires_grad_(False)

    def taps(self, image: Tensor) -> list[Tensor]:
        """N×3×H×W pictures in [0,1] → the features that are compared, each place of length 1."""
        x = (image * 2 - 1 - self.shift) / self.scale
        found = []
        for place in range(max(TAPS) + 1):
            if str(place) in self.features:
                x = self.features[str(place)](x)
            elif place in POOLS:
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            else:
                x = F.relu(x)
            if place in TAPS:
                found.append(x.float() / (x.float().square().sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    def forward(self, image: Tensor, others: list[Tensor]) -> Tensor:
        """N×3×H×W pictures in [0,1], and the `taps` of N others → N distances."""
        pairs = zip(self.taps(image), others, self.linear, strict=True)
        return torch.stack([F.conv2d((a - b).square(), linear).mean((1, 2, 3)) for a, b, linear in pairs]).sum(0)
