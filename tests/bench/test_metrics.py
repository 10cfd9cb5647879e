"""Metrics against values worked out by hand, closed forms, brute force and other people's code."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sempic import runtime
from sempic.bench import features, judge, metrics
from sempic.bench.metrics import METRICS, PER_PICTURE, chosen, confusion, frechet, iou, kernel
from sempic.errors import InputError
from sempic.extras import install
from sempic.scene import draw
from sempic.taxonomy import VOID, Taxonomy, load

CLASSES = judge.model().taxonomy


@pytest.fixture(autouse=True)
def _no_features_kept() -> None:
    """No network's features are kept from another test."""
    for kept in (features._segmap, features._lite0, features._inception):
        kept.cache_clear()


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """A judge whose segmap is the red channel; returns the list of pictures it was given."""
    given: list[np.ndarray] = []

    def segment(image: np.ndarray) -> np.ndarray:
        given.append(image)
        return np.ascontiguousarray(image[..., 0])

    monkeypatch.setattr(judge, "segment", segment)
    return given


def picture(segmap: list[list[int]]) -> np.ndarray:
    """The picture of which the stand-in judge returns this segmap."""
    return np.repeat(np.array(segmap, np.uint8)[..., None], 3, axis=2)


def value(name: str, original: np.ndarray, decoded: np.ndarray) -> float:
    return METRICS[name].reduce([METRICS[name].collect(original, decoded, None)])


def noisy(image: np.ndarray, strength: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, strength, image.shape)
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


# The registry


def test_every_metric_says_what_it_is():
    assert list(METRICS)[:2] == ["psnr", "ms_ssim"]
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.better in ("higher", "lower")
        assert metric.about.endswith(".")
        assert (name in PER_PICTURE) == metric.per_picture


def test_metrics_are_chosen_by_name():
    assert [metric.name for metric in chosen(None)] == list(METRICS)
    assert [metric.name for metric in chosen("miou, psnr,miou")] == ["miou", "psnr"]
    with pytest.raises(InputError, match=r"'pnsr' is not a metric; known are psnr, ms_ssim"):
        chosen("miou,pnsr")


# Fidelity


def test_psnr_of_a_known_error():
    original = np.full((20, 30, 3), 100, np.uint8)
    assert value("psnr", original, original + 5) == pytest.approx(10 * np.log10(255**2 / 25))
    assert value("psnr", original + 5, original) == pytest.approx(34.1514, abs=1e-4)
    assert value("psnr", original, original) == 100
    one_channel = original.copy()
    one_channel[..., 1] += 5
    both = [METRICS["psnr"].collect(original, decoded, None) for decoded in (original + 5, one_channel)]
    assert METRICS["psnr"].reduce(both) == pytest.approx(34.1514 + 10 * np.log10(3) / 2, abs=1e-4)


def test_ms_ssim_of_even_pictures_is_the_luminance_of_the_last_scale():
    c1 = 2.55**2
    luminance = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    original, decoded = (np.full((200, 180, 3), grey, np.uint8) for grey in (100, 150))
    assert value("ms_ssim", original, decoded) == pytest.approx(luminance**0.1333)
    assert value("ms_ssim", original, original) == pytest.approx(1)


@pytest.mark.parametrize(
    ("width", "height", "tolerance"), [(240, 192, 1e-5), (176, 176, 1e-5), (240, 184, 5e-3), (261, 199, 8e-3)]
)
def test_ms_ssim_agrees_with_pytorch_msssim(width, height, tolerance):
    """Where halving meets odd sizes, that package pads with black on both sides, and the two differ a little."""
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("pytorch_msssim")
    original = draw(3, width, height).image
    for decoded in (noisy(original, 12), draw(4, width, height).image):
        tensors = [torch.from_numpy(p.transpose(2, 0, 1)[None].astype(np.float64)) for p in (original, decoded)]
        expected = float(theirs.ms_ssim(*tensors, data_range=255))
        assert value("ms_ssim", original, decoded) == pytest.approx(expected, abs=tolerance)


def test_small_pictures_have_no_ms_ssim_and_are_left_out():
    metric = METRICS["ms_ssim"]
    small, large = (np.zeros((176, width, 3), np.uint8) for width in (175, 176))
    assert np.isnan(value("ms_ssim", small, small))
    assert metric.reduce([metric.collect(p, p, None) for p in (small, large)]) == 1


# Meaning


def test_iou_of_a_confusion_made_by_hand(readings):
    truth = np.array([[0, 0, 0, 3], [3, 3, 8, VOID]], np.uint8)
    decoded = picture([[0, 0, 3, 3], [3, 8, 8, 0]])
    found = METRICS["miou"].collect(decoded, decoded, truth)
    assert found[0].tolist()[:4] == [2, 0, 0, 1]
    assert found.sum() == 7  # void is not scored
    expected = {"sky": 2 / 3, "road": 2 / 4, "car": 1 / 2}
    assert iou([found], CLASSES) == pytest.approx(expected)
    assert METRICS["miou"].reduce([found]) == pytest.approx(sum(expected.values()) / 3)


def test_iou_is_pooled_over_pixels_not_averaged_over_pictures():
    sky, road = np.zeros((1, 1), np.uint8), np.full((1, 9), 3, np.uint8)
    found = [confusion(sky, sky), confusion(road, np.zeros_like(road))]
    assert iou(found, CLASSES) == pytest.approx({"sky": 1 / 10, "road": 0})
    assert METRICS["miou"].reduce(found) == pytest.approx(0.05)


def test_reading_void_where_there_is_a_class_is_wrong():
    truth = np.zeros((1, 4), np.uint8)
    assert iou([confusion(truth, np.array([[0, VOID, 0, VOID]], np.uint8))], CLASSES) == {"sky": 0.5}


def test_without_labels_there_is_agreement_but_no_miou(readings):
    decoded = picture([[0, 0], [3, 4]])
    with pytest.raises(InputError, match="labels"):
        METRICS["miou"].collect(decoded, decoded, None)
    assert value("agreement", picture([[0, 0], [3, 3]]), decoded) == 0.75


def test_the_judge_reads_each_picture_once(readings):
    original = picture([[0, 1], [2, 3]])
    truth = original[..., 0]
    for shade in range(5):
        decoded = picture([[shade, 1], [2, 3]])
        for name in ("miou", "agreement"):
            METRICS[name].collect(original, decoded, truth)
    assert len(readings) == 5  # the original is one of the five


def test_the_shipped_judge_agrees_with_itself():
    scene = draw(1, 96, 64)
    assert METRICS["miou"].unavailable() is None
    assert value("agreement", scene.image, scene.image) == 1
    assert 0 < METRICS["miou"].collect(scene.image, scene.image, scene.segmap).sum() <= 96 * 64


def test_without_the_judge_its_metrics_say_so(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "SHIPPED", tmp_path)
    monkeypatch.delenv("SEMPIC_MODELS", raising=False)
    assert "No judge is installed" in METRICS["miou"].unavailable()
    assert METRICS["agreement"].unavailable().endswith(".")


# Distances of sets


def samples(count: int, mean: list[float], covariance: np.ndarray, seed: int = 0) -> np.ndarray:
    """Samples with exactly this mean and covariance."""
    x = np.random.default_rng(seed).normal(size=(count, len(mean)))
    x -= x.mean(0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_two_normal_distributions_in_closed_form():
    first = samples(50, [0, 1, 2], np.diag([1.0, 4, 9]))
    second = samples(70, [3, 1, -2], np.diag([4.0, 4, 1]), seed=1)
    assert frechet(first, second) == pytest.approx((9 + 0 + 16) + (1 - 2) ** 2 + 0 + (3 - 1) ** 2)
    assert frechet(first[:, :1], second[:, :1]) == pytest.approx(9 + 1)


def test_frechet_distance_of_covariances_that_do_not_commute():
    """Of two by two, tr √(AB) = √(tr AB + 2 √det AB)."""
    a, b = np.array([[2.0, 1], [1, 3]]), np.array([[4.0, -1], [-1, 1]])
    trace = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    found = frechet(samples(40, [0, 0], a), samples(40, [0, 0], b, seed=1))
    assert found == pytest.approx(np.trace(a) + np.trace(b) - 2 * trace)


def test_frechet_distance_of_fewer_samples_than_features():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 5, 30))
    assert frechet(first, first) == pytest.approx(0, abs=1e-9)
    assert frechet(first, first + 2) == pytest.approx(30 * 4)
    assert frechet(first, second) == pytest.approx(frechet(second, first))


def test_kernel_distance_against_a_double_loop():
    first, second = np.random.default_rng(0).normal(1, 1, size=(2, 9, 4))

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return (sum(a * b for a, b in zip(x, y, strict=True)) / 4 + 1) ** 3

    total = 0.0
    for i in range(9):
        for j in range(9):
            if i != j:
                x, y, other_x, other_y = first[i], second[i], first[j], second[j]
                total += k(x, other_x) + k(y, other_y) - k(x, other_y) - k(y, other_x)
    assert kernel(first, second) == pytest.approx(total / (9 * 8))


def test_kernel_distance_of_more_samples_than_a_slice():
    first, second = np.random.default_rng(0).normal(size=(2, 1100, 2))
    own, others, across = ((a @ b.T / 2 + 1) ** 3 for a, b in ((first, first), (second, second), (first, second)))
    pairs = 1100 * 1099
    expected = sum((own.sum() - np.trace(own), others.sum() - np.trace(others))) / pairs
    expected -= 2 * (across.sum() - np.trace(across)) / pairs
    assert kernel(first, second) == pytest.approx(expected)


def test_kernel_distance_of_one_distribution_is_zero_on_average():
    rng = np.random.default_rng(0)
    found = [kernel(*rng.normal(size=(2, 30, 5))) for _ in range(400)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 20
    assert kernel(*[rng.normal(size=(30, 5))] * 2) == 0
    assert kernel(rng.normal(size=(30, 5)), rng.normal(1, 1, size=(30, 5))) > 5 * np.std(found)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(6)))
def test_the_order_of_pictures_does_not_matter(order):
    collected = np.random.default_rng(0).normal(size=(6, 2, 4, 8)).astype(np.float32)
    for name in ("lite0_frechet", "lite0_kernel", "fid", "kid"):
        expected = METRICS[name].reduce(list(collected))
        assert METRICS[name].reduce([collected[i] for i in order]) == pytest.approx(expected)


def test_patches_are_cut_in_raster_order():
    ramp = np.arange(2 * 9 * 13).reshape(2, 9, 13)
    cut = features._patches(ramp, 4, 2)
    assert cut.shape == (3 * 5, 2, 4, 4)
    assert np.array_equal(cut[6], ramp[:, 2:6, 2:6])
    assert features._patches(ramp, 10, 2).shape == (0, 2, 10, 10)


# EfficientNet-Lite0


@pytest.fixture
def _lite0() -> None:
    if reason := METRICS["lite0_distance"].unavailable():
        pytest.skip(reason)


@pytest.mark.usefixtures("_lite0")
def test_lite0_distances_are_zero_for_equal_pictures_and_grow_with_noise():
    original = draw(0, 256, 192).image
    names = ("lite0_distance", "lite0_frechet", "lite0_kernel")
    for name in names:
        assert value(name, original, original) == pytest.approx(0, abs=1e-6)
    weak, strong = ([value(name, original, noisy(original, s)) for name in names] for s in (8, 40))
    assert all(0 < low < high for low, high in zip(weak, strong, strict=True))
    assert strong[0] < 4  # vectors of unit length are at most 2 apart


@pytest.mark.usefixtures("_lite0")
def test_lite0_windows_lie_within_the_picture():
    collected = METRICS["lite0_frechet"].collect(*[draw(0, 480, 360).image] * 2, None)
    assert collected.shape == (2, 6 * 4, 320)
    assert METRICS["lite0_frechet"].collect(*[draw(0, 200, 127).image] * 2, None).shape == (2, 0, 320)
    assert np.isnan(value("lite0_frechet", *[draw(0, 200, 127).image] * 2))


@pytest.mark.usefixtures("_lite0")
def test_lite0_sees_each_picture_once(monkeypatch):
    seen = []
    network = features._lite0_network()
    monkeypatch.setattr(features, "_lite0_network", lambda: lambda x: seen.append(x.shape) or network(x))
    original = draw(0, 96, 70).image
    for seed in range(3):
        for name in ("lite0_distance", "lite0_frechet", "lite0_kernel"):
            METRICS[name].collect(original, noisy(original, 9, seed), None)
    assert seen == [(1, 3, 96, 96)] * 4


def test_what_lite0_lacks_is_named(monkeypatch):
    monkeypatch.setattr(metrics.importlib.util, "find_spec", lambda name: None)
    assert METRICS["lite0_kernel"].unavailable() == (f"EfficientNet-Lite0 needs the package torch: {install('train')}.")
    assert "scipy" in METRICS["ms_ssim"].unavailable()


# LPIPS on SqueezeNet


def test_lpips_squeeze_is_the_distance_of_two_pictures_at_full_size():
    if reason := METRICS["lpips_squeeze"].unavailable():
        pytest.skip(reason)
    original = draw(0, 96, 70).image
    weak, strong = (value("lpips_squeeze", original, noisy(original, strength)) for strength in (8, 40))
    assert value("lpips_squeeze", original, original) == 0 < weak < strong < 1
    smallest = original[:17, :17]
    assert value("lpips_squeeze", smallest, noisy(smallest, 40)) > 0
    assert np.isnan(value("lpips_squeeze", smallest[1:], smallest[1:]))


def test_lpips_squeeze_without_weights_says_where_they_belong(monkeypatch, tmp_path):
    pytest.importorskip("torch")
    monkeypatch.setenv("SEMPIC_WEIGHTS", str(tmp_path))
    features.lpips_squeeze_network.cache_clear()
    reason = METRICS["lpips_squeeze"].unavailable()
    assert reason.startswith("LPIPS needs squeezenet1_1_fp16.npz and lpips_v0.1_squeeze_lin.pth in ")
    assert str(tmp_path / "lpips") in reason
    monkeypatch.setattr(metrics.importlib.util, "find_spec", lambda name: None)
    assert METRICS["lpips_squeeze"].unavailable() == f"LPIPS needs the package torch: {install('train')}."


# Metrics of other packages


@pytest.mark.parametrize(
    ("name", "package"),
    [("lpips", "lpips"), ("dists", "DISTS_pytorch"), ("fid", "torch_fidelity"), ("kid", "torch_fidelity")],
)
def test_a_metric_without_its_package_or_its_weights_says_so(name, package, monkeypatch, tmp_path):
    pytest.importorskip("torch")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, package, None)
    assert METRICS[name].unavailable().startswith(f"{name.upper()} needs the package ")
    assert "cannot be loaded" in METRICS[name].unavailable()
    monkeypatch.setitem(sys.modules, package, SimpleNamespace())
    assert METRICS[name].unavailable().endswith(f"the weights are not in {tmp_path / 'hub' / 'checkpoints'}.")
    weights = tmp_path / "hub" / "checkpoints" / METRICS[name].pattern.replace("*", "0123abcd")
    weights.parent.mkdir(parents=True)
    Path(weights).touch()
    assert METRICS[name].unavailable() is None


def test_packages_are_handed_what_they_expect(monkeypatch):
    """Pictures in [0,1] with the flag that says so; Inception takes bytes."""
    torch = pytest.importorskip("torch")

    def lpips(x, y, normalize):
        assert normalize
        return (x - y).abs().mean().reshape(1, 1, 1, 1)

    monkeypatch.setattr(features, "lpips_network", lambda: lpips)
    monkeypatch.setattr(features, "dists_network", lambda: lambda x, y: (x - y).abs().amax())
    original, decoded = np.zeros((300, 400, 3), np.uint8), np.full((300, 400, 3), 51, np.uint8)
    assert value("lpips", original, decoded) == pytest.approx(0.2)
    assert value("dists", original, decoded) == pytest.approx(0.2)

    def inception(x):
        assert x.dtype == torch.uint8
        assert x.shape[1:] == (3, 256, 256)
        return (x.float().mean((2, 3)),)

    monkeypatch.setattr(features, "_inception_network", lambda: inception)
    assert METRICS["fid"].collect(original, decoded, None).shape == (2, 2, 3)
    assert value("fid", original, decoded) == pytest.approx(3 * 51**2)
    assert value("kid", original, decoded) == pytest.approx(1 + 2602**3 - 2)


def test_classes_are_named():
    everything = np.arange(len(CLASSES), dtype=np.uint8)[None]
    assert iou([confusion(everything, everything)], CLASSES) == dict.fromkeys(CLASSES.classes, 1.0)


# The judge


def test_a_score_is_of_any_taxonomy():
    toy = Taxonomy("toy", ("ground", "thing", "sky"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
    score = judge.Score(toy)
    score.add(np.array([[0, 0, 1, VOID]], np.uint8), np.array([[0, 1, VOID, 0]], np.uint8))
    assert score.per_class()[:2].tolist() == [0.5, 0]
    assert np.isnan(score.per_class()[2])
    assert score.miou() == 0.25


def test_segmaps_of_other_classes_become_the_judges():
    other = Taxonomy("other", ("cow", "car", "sky"), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
    ids = judge.translate(np.array([[0, 1, 2, VOID]], np.uint8), other)
    assert ids.tolist() == [[VOID, CLASSES.id_of("car"), CLASSES.id_of("sky"), VOID]]
    own = np.arange(len(CLASSES), dtype=np.uint8)[None]
    assert np.array_equal(judge.translate(own, CLASSES), own)


def test_a_score_merges_into_one_of_fewer_classes():
    fine, coarse = load("cityscapes19"), load("camvid11")
    rng = np.random.default_rng(0)
    truth, guess = (rng.choice([*range(len(fine)), VOID], (40, 50)).astype(np.uint8) for _ in range(2))
    score, expected = judge.Score(fine), judge.Score(coarse)
    score.add(truth, guess)
    merged = coarse.ids_of(dict(enumerate(fine.classes)))
    expected.add(merged[truth], merged[guess])
    assert np.array_equal(score.merged(coarse).confusion, expected.confusion)
