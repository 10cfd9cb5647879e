"""The networks of SQ-GAN, piece by piece."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sempic import taxonomy
from sempic.codecs import semantic, sqgan
from sempic.codecs.colours import Colours
from sempic.coding import palette
from sempic.segmap import resample
from sempic.training import losses
from sempic.training.blocks import EXTRA, draw_layout, one_hot, shrink
from sempic.training.discriminator import Discriminator, smoothed
from sempic.training.sqgan import ImageStream, MapStream
from sempic.training.tokens import (
    CODE_WIDTH,
    CODES,
    MASKED,
    Demasker,
    Quantiser,
    Samm,
    WindowAttention,
    bound,
    keep_most_relevant,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


# -- maps -------------------------------------------------------------------------------------------------------------


def test_void_is_the_zero_vector():
    ids = torch.tensor([[[0, 2, 255], [1, 255, 3]]])
    hot = one_hot(ids, 3)
    assert hot.shape == (1, 3, 2, 3)
    assert hot.sum(1).tolist() == [[[1, 1, 0], [1, 0, 0]]]
    assert hot.argmax(1)[0, 0, 1] == 2


def test_shrinking_agrees_with_the_codec():
    rng = np.random.default_rng(0)
    ids = rng.choice([0, 1, 2, 255], (3, 16, 24), p=[0.3, 0.2, 0.1, 0.4]).astype(np.uint8)
    ids[0, :4, :4] = 255
    hot = shrink(torch.from_numpy(ids).long(), 3)
    assert hot.shape == (3, 3, 4, 6)
    assert hot[0, :, 0, 0].tolist() == [0, 0, 0]
    ours = torch.where(hot.sum(1) > 0, hot.argmax(1), 255).numpy()
    assert np.array_equal(ours, np.stack([resample.shrink(x, 4) for x in ids]))


# -- masking ----------------------------------------------------------------------------------------------------------


def test_the_most_relevant_are_kept():
    relevance = torch.rand(5, 1, 3, 7)
    fraction = torch.tensor([0.0, 1 / 21, 0.5, 0.999, 1.0])
    kept = keep_most_relevant(relevance, fraction)
    assert kept.shape == relevance.shape
    assert kept.flatten(1).sum(1).tolist() == [0, 1, 10, 20, 21]
    for scores, mask in zip(relevance.flatten(1), kept.flatten(1) > 0, strict=True):
        if mask.any() and not mask.all():
            assert scores[mask].min() >= scores[~mask].max()


def test_relevance_lies_between_0_and_1_and_learns_through_the_vectors():
    samm = Samm(32, 5)
    segmap = one_hot(torch.randint(0, 6, (2, 16, 24)), 5)
    vectors, relevance = samm(torch.randn(2, 32, 4, 6), segmap)
    assert vectors.shape == (2, CODE_WIDTH, 4, 6)
    assert relevance.shape == (2, 1, 4, 6)
    assert 0 < relevance.min() < relevance.max() < 1
    vectors.square().sum().backward()
    assert samm.score.weight.grad.abs().sum() > 0


# -- quantiser --------------------------------------------------------------------------------------------------------


def test_the_nearest_code_stands_for_a_vector():
    quantiser = Quantiser()
    vectors = bound(torch.randn(2, CODE_WIDTH, 3, 5))
    quantised = quantiser(vectors)
    rows = vectors.movedim(1, -1).reshape(-1, CODE_WIDTH)
    nearest = torch.cdist(rows, quantiser.codebook).argmin(1).reshape(2, 3, 5)
    assert torch.equal(quantised.indices, nearest)
    assert torch.allclose(quantised.codes.movedim(1, -1), quantiser.codebook[nearest], atol=1e-6)


def test_the_codebook_is_a_lattice_of_different_codes():
    codebook = Quantiser().codebook
    assert codebook.shape == (CODES, CODE_WIDTH)
    assert len(codebook.unique(dim=0)) == CODES
    assert (codebook == 0).all(1).any()


def test_vectors_reach_the_ends_of_the_codebook_and_0_stays_0():
    far = torch.stack([torch.full((CODE_WIDTH, 1, 1), value) for value in (-9.0, 9.0)])
    assert Quantiser()(bound(far)).indices.flatten().tolist() == [0, CODES - 1]
    assert bound(torch.zeros(3)).abs().max() < 1e-6


def test_gradients_pass_straight_through():
    vectors = torch.zeros(1, CODE_WIDTH, 4, 4, requires_grad=True)
    weight = torch.randn(1, CODE_WIDTH, 4, 4)
    (Quantiser()(vectors).codes * weight).sum().backward()
    assert torch.allclose(vectors.grad, weight)


# -- de-masking -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (16, 24)])
def test_attention_keeps_shapes_and_learns(shift, size):
    attention = WindowAttention(32, shift)
    x = torch.randn(2, 32, *size, requires_grad=True)
    y = attention(x, torch.ones(2, 1, *size))
    assert y.shape == x.shape
    y.square().sum().backward()
    assert x.grad.isfinite().all()
    assert attention.bias.grad.abs().sum() > 0


@pytest.mark.parametrize("shift", [False, True])
def test_attention_stays_in_its_window(shift):
    attention = WindowAttention(32, shift).eval()
    attention.norm = torch.nn.Identity()  # a norm over the picture is not what is asked about
    x, weight = torch.randn(1, 32, 16, 16), torch.ones(1, 1, 16, 16)
    changed = x.clone()
    changed[..., 0, 0] += 1
    reached = (attention(x, weight) != attention(changed, weight)).any(1)[0]
    window = torch.zeros(16, 16, dtype=torch.bool)
    window[: 4 if shift else 8, : 4 if shift else 8] = True
    assert torch.equal(reached, window)


def test_a_dropped_key_of_weight_0_is_not_seen():
    attention = WindowAttention(32, False).eval()
    attention.norm = torch.nn.Identity()
    x, weight = torch.randn(1, 32, 8, 8), torch.ones(1, 1, 8, 8)
    weight[..., 3, 3] = 0
    changed = x.clone()
    changed[..., 3, 3] += 0.1
    same = (attention(x, weight) == attention(changed, weight)).all(1)[0]
    # Its value counts for nothing, only its share of the softmax (weights are not renormalised) is felt.
    weight[:] = 0
    assert torch.allclose(attention(x, weight), x + attention.out.bias[:, None, None], atol=1e-6)
    assert not same[3, 3]


@pytest.mark.parametrize("size", [(8, 8), (16, 8)])
def test_the_demasker_looks_at_kept_codes_only(size):
    demasker = Demasker(32, layers=2).eval()
    codes, kept = torch.randn(2, CODE_WIDTH, *size), (torch.rand(2, 1, *size) < 0.5).float()
    y = demasker(codes, kept)
    assert y.shape == (2, 32, *size)
    assert torch.equal(y, demasker(torch.where(kept > 0, codes, torch.full_like(codes, 7.0)), kept))
    assert not torch.equal(y, demasker(codes, torch.ones_like(kept)))
    for nothing in (torch.zeros_like(kept), torch.ones_like(kept)):
        assert demasker(codes, nothing).isfinite().all()


@pytest.mark.parametrize("layers", [2, 4, 8])
def test_a_dropped_token_counts_almost_fully_in_the_end(layers):
    demasker, weights = Demasker(16, layers), []
    for attention in demasker.attentions:
        attention.register_forward_pre_hook(lambda _, given: weights.append(float(given[1].min())))
    demasker(torch.randn(1, CODE_WIDTH, 8, 8), torch.zeros(1, 1, 8, 8))
    assert weights[0] == pytest.approx(MASKED)
    # The paper's eighth layer sees 0.02 to the power of 2⁻⁷; fewer layers stop a layer of theirs earlier.
    assert weights[-1] == pytest.approx(MASKED ** (0.5 ** (8 - 8 / layers)))


# -- streams ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image_stream() -> ImageStream:
    torch.manual_seed(0)
    return ImageStream(11).eval()


@pytest.fixture(scope="module")
def map_stream() -> MapStream:
    torch.manual_seed(0)
    return MapStream(11).eval()


def test_layouts_are_what_the_codec_makes_of_maps():
    rng = np.random.default_rng(0)
    ids, levels = rng.integers(0, 12, (16, 24)), rng.integers(0, palette.LEVELS, (11, 3))
    ids[ids == 11] = 255
    weights = sqgan.SqGanWeights(SimpleNamespace(taxonomy=taxonomy.load("camvid11")))
    used = weights.layout(ids, Colours.of_classes(ids, levels))
    noise = torch.from_numpy(used[:, -1:])
    planes = np.concatenate([palette.colours(levels), np.full((245, 3), 0.5)])[ids].transpose(2, 0, 1)
    layout = draw_layout(one_hot(torch.from_numpy(ids)[None], 11), torch.from_numpy(planes)[None], noise)
    assert np.allclose(used, layout, atol=1e-6)
    assert used.shape == (1, 11 + EXTRA, 16, 24)


def test_noise_is_even_and_the_same_everywhere():
    noise = semantic.noise(200, 300)
    assert abs(noise.mean()) < 0.01
    assert abs(noise.var() - 1) < 0.01
    shifted = [np.corrcoef(noise[:-d, :].ravel(), noise[d:, :].ravel())[0, 1] for d in (1, 2, 16)]
    assert np.abs(shifted).max() < 0.02
    assert (noise[:10, :20] == semantic.noise(10, 20)).all()
    assert noise[3, 5] == pytest.approx(1.2787611)


@torch.no_grad()
def test_the_picture_stream_has_the_shapes_that_the_codec_expects(image_stream):
    image, segmap = torch.rand(1, 3, 128, 128), shrink(torch.randint(0, 12, (1, 128, 128)), 11)
    layout = draw_layout(segmap, torch.rand(1, 3, 32, 32), torch.randn(1, 1, 32, 32))
    picture, quantised, kept = image_stream(image, segmap, layout, torch.tensor([0.5]))
    assert picture.shape == image.shape
    assert quantised.indices.shape == (1, 8, 8)
    assert quantised.indices.max() < CODES
    assert kept.sum() == 32
    vectors, relevance = image_stream.encode(image[..., :48], segmap[..., :12])
    assert vectors.shape == (1, CODE_WIDTH, 8, 3)
    assert relevance.shape == (1, 1, 8, 3)


@torch.no_grad()
def test_the_map_stream_has_the_shapes_that_the_codec_expects(map_stream):
    segmap = shrink(torch.randint(0, 12, (2, 128, 128)), 11)
    logits, quantised, kept = map_stream(segmap, torch.tensor([0.0, 1.0]))
    assert logits.shape == (2, 12, 32, 32)
    assert quantised.codes.shape == (2, CODE_WIDTH, 8, 8)
    assert kept.flatten(1).sum(1).tolist() == [0, 64]


def test_each_stream_has_at_most_20_million_parameters(image_stream, map_stream):
    assert all(sum(p.numel() for p in stream.parameters()) <= 20e6 for stream in (image_stream, map_stream))


# -- losses -----------------------------------------------------------------------------------------------------------


def test_class_weights_are_looked_up_by_pixel():
    weights = (3.0, *[1.0] * 10, 0.5)
    assert losses.per_pixel(weights, torch.tensor([[[0, 1, 10, 11, 255]]])).tolist() == [[[[3, 1, 1, 0.5, 0.5]]]]


def test_a_discriminator_predicts_classes_of_originals_and_drawn_elsewhere():
    labels = torch.tensor([[[0, 0], [1, 255]]]).repeat_interleave(4, 1).repeat_interleave(4, 2)
    sure = torch.full((1, 3, 2, 2), -20.0)  # two classes and "drawn"
    sure[0, 0, 0], sure[0, 1, 1] = 20, 20
    importance = (1.0, 3.0, 1.0)
    assert losses.generator_loss([sure], labels, importance) < 1e-6
    assert losses.drawn_loss([sure]) > 30
    even = torch.zeros_like(sure)
    assert torch.isclose(losses.generator_loss([even, even], labels, importance), torch.tensor(3.0).log())
    both = losses.discriminator_loss([sure], [even], labels, importance)
    assert torch.isclose(both, torch.tensor(3.0).log(), atol=1e-6)
    # The place of the second class counts three times as much as each of the other two; void does not count.
    wrong = sure.clone()
    wrong[0, :, 1, 0] = torch.tensor([20.0, -20.0, -20.0])
    assert torch.isclose(losses.generator_loss([wrong], labels, importance), torch.tensor(40 * 3 / 5))


def test_feature_distance_is_0_for_the_same_and_blind_to_scale():
    real = [torch.rand(1, 4, 8, 8) + 0.5 for _ in range(4)]
    assert losses.feature_distance(real, real) == 0
    fake = [f + 0.1 * torch.randn_like(f) for f in real]
    scaled = losses.feature_distance([100 * f for f in fake], [100 * r for r in real])
    assert torch.isclose(losses.feature_distance(fake, real), scaled, rtol=0.01)


def test_where_all_is_void_nothing_counts():
    void, importance = torch.full((1, 8, 8), 255), (1.0, 3.0, 1.0)
    assert losses.generator_loss([torch.randn(1, 3, 2, 2)], void, importance) == 0
    assert losses.semantic_loss(torch.randn(1, 2, 2, 2), void) == 0


def test_the_discriminator_judges_at_four_scales():
    features = [torch.rand(1, c, 32 // s, 32 // s) for c, s in ((24, 1), (40, 2), (112, 4), (320, 8))]
    logits, hidden = Discriminator(11)(torch.rand(1, 3, 128, 128), features)
    assert [h.shape[2:] for h in hidden] == [x.shape[2:] for x in logits]
    assert [tuple(x.shape) for x in logits] == [(1, 12, 32, 32), (1, 12, 32, 32), (1, 12, 16, 16), (1, 12, 8, 8)]


@pytest.mark.parametrize("side", [16, 15])
def test_planes_are_smoothed_before_they_are_subsampled(side):
    stripes = (torch.arange(side) % 2).float().expand(1, 2, side, side)
    half = smoothed(stripes, (1, 3, 3, 1), 2)
    assert half.shape == (1, 2, 8, 8)
    assert torch.allclose(half[..., 1:-1, 1:-1], torch.tensor(0.5))  # whichever of the stripes is met
    assert smoothed(stripes, (1, 2, 1)).shape == stripes.shape
    assert torch.allclose(smoothed(torch.ones(1, 3, 5, 6), (1, 2, 1)), torch.ones(1))


def test_a_shift_moves_all_pictures_of_a_step_alike():
    image = torch.rand(2, 3, 32, 40)
    shift = losses.random_shift(8)
    moved = shift(image)
    assert moved.shape == image.shape
    assert torch.equal(shift(image[:1]), moved[:1])
    offsets = [
        (down, right)
        for down in range(-8, 9)
        for right in range(-8, 9)
        if torch.equal(moved[..., 8:-8, 8:-8], image[..., 8 + down : 24 + down, 8 + right : 32 + right])
    ]
    assert len(offsets) == 1


def test_tints_cost_more_than_brightness_and_details_nothing():
    image = torch.full((1, 3, 16, 16), 0.5)
    darker, tinted = image - 0.1, image + torch.tensor([0.1, 0.0, -0.1])[:, None, None]
    checked = image + 0.1 * ((torch.arange(16) % 2).float() - 0.5)
    assert losses.colour_loss(image, image) == 0
    assert losses.colour_loss(checked, image) < 1e-6
    assert torch.isclose(losses.colour_loss(darker, image), torch.tensor(0.1))
    assert losses.colour_loss(tinted, image) > 0.25


def test_the_semantic_loss_ignores_void():
    logits, labels = torch.randn(1, 11, 4, 4), torch.full((1, 16, 16), 255)
    labels[:, :8] = 3
    expected = F.cross_entropy(logits[:, :, :2], torch.full((1, 2, 4), 3))
    assert torch.isclose(losses.semantic_loss(logits, labels), expected)


def test_codes_on_few_points_cost_and_spread_ones_do_not():
    even = Quantiser()(2 * torch.rand(4, CODE_WIDTH, 32, 32) - 1.25).codes
    assert losses.variance_covariance(even, 0.5) < 0.01
    assert losses.variance_covariance(0.2 * even, 0.5) > 0.3
    assert losses.variance_covariance(even[:, :1].expand_as(even), 0.5) > 0.9
    assert losses.variance_covariance(torch.zeros_like(even), 0.5).isfinite()
