"""A teacher for 19 classes: ESPNetv2 (Mehta et al. 2019), from the paper and from the parameter names of its weights.

Where labels of fewer classes exist, `children` restricts its answer to the classes that are merged into the true one.
The weights are those of others, in the folder `espnetv2` of SEMPIC_WEIGHTS: they teach, and are never shipped.

The encoder halves the picture four times. Each EESP unit projects with a grouped 1×1 convolution, looks at the result
with four dilated depth-wise convolutions whose outputs are summed up one after another (hierarchical feature fusion),
and mixes them with a grouped 1×1 convolution. Halving units concatenate an average-pooled input and add the shrunk
picture (input reinforcement). The decoder doubles the size three times; each step pools over five scales and adds the
gated encoder features of the same size.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn

from sempic.datasets import Picture
from sempic.errors import InputError
from sempic.lpips import weights_root
from sempic.taxonomy import VOID, Taxonomy

BACKGROUND = 19
"""The id behind the train ids of Cityscapes."""
WEIGHTS = "espnetv2/espnetv2_s_2.0_city_1024x512.pth"
WIDTHS = (640, 960)
"""Pictures are read at these widths, and mirrored, and the answers averaged."""
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
BRANCHES = 4
POOL_SCALES = (2.0, 1.5, 1.0, 0.5, 0.1)
SMOOTHED = 3.0
"""The shares of children are averaged over so many pixels (the deviation of a Gaussian), against speckles."""


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resizing with the corners aligned, as the weights were trained with."""
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Interleave `groups` runs of channels, so that a grouped convolution sees one channel of each."""
    n, channels, height, width = x.shape
    return x.reshape(n, groups, channels // groups, height, width).transpose(1, 2).reshape(n, channels, height, width)


class Unit(nn.Module):
    """A convolution, a batch norm and a PReLU, each optional, under the names `conv`, `bn` and `act`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, dilation: int = 1, groups: int = 1,
        conv: bool = True, norm: bool = True, act: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if conv:
            padding = kernel // 2 * dilation
            self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)
        if norm:
            self.bn = nn.BatchNorm2d(outputs)
        if act:
            self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x


class EESP(nn.Module):
    """Extremely efficient spatial pyramid: project, four dilated depth-wise branches summed hierarchically, expand."""

    def __init__(self, inputs: int, outputs: int, dilations: tuple[int, ...], stride: int = 1) -> None:
        super().__init__()
        width = outputs // BRANCHES
        self.stride = stride
        self.proj_1x1 = Unit(inputs, width, groups=BRANCHES)
        self.spp_dw = nn.ModuleList(
            Unit(width, width, 3, stride=stride, dilation=d, groups=width, norm=False, act=False) for d in dilations
        )
        self.conv_1x1_exp = Unit(outputs, outputs, groups=BRANCHES, act=False)
        self.br_after_cat = Unit(outputs, outputs, conv=False)
        self.module_act = nn.PReLU(outputs)  # in a halving unit it has weights but no use: `Halve` activates the sum

    def forward(self, x: Tensor) -> Tensor:
        small = self.proj_1x1(x)
        sums: list[Tensor] = []
        for branch in self.spp_dw:
            y = branch(small)
            sums.append(y + sums[-1] if sums else y)
        y = self.conv_1x1_exp(self.br_after_cat(torch.cat(sums, 1)))
        return y if self.stride > 1 else self.module_act(y + x)


class Halve(nn.Module):
    """A strided EESP beside an average pool, plus features of the picture pooled down to the same size."""

    def __init__(self, inputs: int, outputs: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.eesp = EESP(inputs, outputs - inputs, dilations, stride=2)
        self.inp_reinf = nn.Sequential(Unit(3, 3, 3), Unit(3, outputs, act=False))
        self.act = nn.PReLU(outputs)

    def forward(self, x: Tensor, picture: Tensor) -> Tensor:
        pooled = F.avg_pool2d(x, 3, 2, 1)
        while picture.shape[-1] > pooled.shape[-1]:
            picture = F.avg_pool2d(picture, 3, 2, 1)
        return self.act(torch.cat((pooled, self.eesp(x)), 1) + self.inp_reinf(picture))


class TeacherEncoder(nn.Module):
    """Features at 1/2, 1/4, 1/8 and 1/16 of the picture's size."""

    def __init__(self) -> None:
        super().__init__()
        wide = (1, 2, 3, 4)
        self.level1 = Unit(3, 32, 3, stride=2)
        self.level2_0 = Halve(32, 128, wide)
        self.level3_0 = Halve(128, 256, wide)
        self.level3 = nn.ModuleList(EESP(256, 256, wide) for _ in range(3))
        self.level4_0 = Halve(256, 512, wide)
        self.level4 = nn.ModuleList(EESP(512, 512, (1, 1, 2, 3)) for _ in range(7))

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        half = self.level1(picture)
        quarter = self.level2_0(half, picture)
        eighth = self.level3_0(quarter, picture)
        for layer in self.level3:
            eighth = layer(eighth)
        sixteenth = self.level4_0(eighth, picture)
        for layer in self.level4:
            sixteenth = layer(sixteenth)
        return half, quarter, eighth, sixteenth


class Named(nn.Module):
    """A chain of layers under one name: the decoder's weights call it `cbr` (with a convolution) or `br` (without)."""

    def __init__(self, name: str, *layers: nn.Module) -> None:
        super().__init__()
        self.add_module(name, nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x


def norm_act(channels: int) -> Named:
    return Named("br", nn.BatchNorm2d(channels), nn.PReLU(channels))


def conv_norm_act(inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> Named:
    conv = nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, 1, groups, bias=False)
    return Named("cbr", conv, nn.BatchNorm2d(outputs), nn.PReLU(outputs))


class PyramidPool(nn.Module):
    """Depth-wise convolutions of the projected features at five scales, shuffled and merged."""

    def __init__(self, inputs: int, outputs: int, width: int = 10, *, last: bool = False) -> None:
        super().__init__()
        count = len(POOL_SCALES)
        self.projection_layer = conv_norm_act(inputs, width)
        self.stages = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1, 1, width, bias=False) for _ in POOL_SCALES)
        self.merge_layer = nn.ModuleDict(
            {
                "0": norm_act(width * count),
                "2": conv_norm_act(width * count, width, 3, width),
                "3": nn.Conv2d(width, outputs, 1, bias=last),
            }
        )
        self.br = None if last else norm_act(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.projection_layer(x)
        height, width = x.shape[-2:]
        found = []
        for scale, stage in zip(POOL_SCALES, self.stages, strict=True):
            size = max(math.ceil(height * scale), 5), max(math.ceil(width * scale), 5)
            if scale > 1:
                y = F.adaptive_avg_pool2d(stage(resize(x, size)), (height, width))
            elif scale < 1:
                y = resize(stage(F.adaptive_avg_pool2d(x, size)), (height, width))
            else:
                y = stage(x)
            found.append(y)
        y = channel_shuffle(self.merge_layer["0"](torch.cat(found, 1)), len(POOL_SCALES))
        y = self.merge_layer["3"](self.merge_layer["2"](y))
        return y if self.br is None else self.br(y)


class Gate(nn.Module):
    """Encoder features brought to the decoder's width, each channel weighted by a sigmoid of the features' means."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.wt_layer = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv, nn.Sigmoid())
        self.expansion_layer = conv_norm_act(inputs, outputs, 3, math.gcd(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.expansion_layer(x) * self.wt_layer(x)


class ESPNetv2(nn.Module):
    """Logits of the 19 train ids and the background, at the size of the pictures, which are RGB in 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.base_net = TeacherEncoder()
        self.bu_dec_l1 = PyramidPool(512, 64)
        self.bu_dec_l2 = PyramidPool(64, 48)
        self.bu_dec_l3 = PyramidPool(48, 32)
        self.bu_dec_l4 = PyramidPool(32, BACKGROUND + 1, last=True)
        self.merge_enc_dec_l2 = Gate(256, 64)
        self.merge_enc_dec_l3 = Gate(128, 48)
        self.merge_enc_dec_l4 = Gate(32, 32)
        self.bu_br_l2 = nn.Sequential(nn.BatchNorm2d(64), nn.PReLU(64))
        self.bu_br_l3 = nn.Sequential(nn.BatchNorm2d(48), nn.PReLU(48))
        self.bu_br_l4 = nn.Sequential(nn.BatchNorm2d(32), nn.PReLU(32))

    def forward(self, pictures: Tensor) -> Tensor:
        half, quarter, eighth, sixteenth = self.base_net((pictures - self.mean) / self.std)
        x = self.bu_dec_l1(sixteenth)
        steps = (
            (eighth, self.merge_enc_dec_l2, self.bu_br_l2, self.bu_dec_l2),
            (quarter, self.merge_enc_dec_l3, self.bu_br_l3, self.bu_dec_l3),
            (half, self.merge_enc_dec_l4, self.bu_br_l4, self.bu_dec_l4),
        )
        for features, gate, activate, pool in steps:
            x = pool(activate(gate(features) + resize(x, features.shape[-2:])))
        return resize(x, pictures.shape[-2:])


def load() -> ESPNetv2:
    """Return the network with its weights; raise `InputError` where they are not here."""
    path = weights_root() / WEIGHTS
    if not path.is_file():
        raise InputError(f"The teacher's weights are not in {path}; name their folder in SEMPIC_WEIGHTS.")
    network = ESPNetv2()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval().requires_grad_(False)


@torch.no_grad()
def probabilities(network: ESPNetv2, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the teacher's probabilities (20×H×W) for a picture (uint8 H×W×3)."""
    height, width, _ = image.shape
    total = torch.zeros(1, BACKGROUND + 1, height, width)
    for wide in WIDTHS:
        high = max(round(wide * height / width / 16), 1) * 16
        pixels = np.array(Image.fromarray(image).resize((wide, high), Image.Resampling.BICUBIC))
        x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
        answer = network(x).softmax(1) + network(x.flip(3)).softmax(1).flip(3)
        total += F.interpolate(answer, (height, width), mode="bilinear", align_corners=False, antialias=True)
    found: NDArray[np.float32] = (total[0] / (2 * len(WIDTHS))).numpy()
    return found


def refine(network: ESPNetv2, picture: Picture, coarse: Taxonomy, fine: Taxonomy, out: Path) -> None:
    """Write a labelled picture and its finer labels into `out`, a folder as `datasets.find` reads them."""
    frame = picture.read(coarse)
    assert frame.segmap is not None
    labels = children(probabilities(network, frame.image), frame.segmap, coarse, fine)
    for folder, pixels in (("image", frame.image), ("label", labels)):
        (out / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(out / folder / f"{frame.name}.png")


def children(
    shares: NDArray[np.float32], labels: NDArray[np.uint8], coarse: Taxonomy, fine: Taxonomy
) -> NDArray[np.uint8]:
    """Return labels of more classes: for each pixel the likeliest of those that are merged into its true class.

    Args:
        shares: probabilities of the fine classes (at least len(fine)×H×W).
        labels: H×W ids of the coarse taxonomy; void stays void.
        coarse: the taxonomy of the labels, whose `merged` names the children.
        fine: the taxonomy of the result.
    """
    parents = coarse.ids_of(dict(enumerate(fine.classes)))[: len(fine)]
    found = np.full(labels.shape, VOID, np.uint8)
    for parent in range(len(coarse)):
        ids, mine = np.flatnonzero(parents == parent).astype(np.uint8), labels == parent
        if not (len(ids) and mine.any()):
            continue
        own = shares[ids]
        if len(ids) > 1:
            own = mine * own / own.sum(0).clip(1e-9)
            own = np.stack([ndimage.gaussian_filter(plane, SMOOTHED) for plane in own])
        found[mine] = ids[own[:, mine].argmax(0)]
    return found
