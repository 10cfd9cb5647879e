"""LPIPS: the published value, gradients, and weights that are missing."""

from __future__ import annotations

import pytest

from sempic.errors import InputError

torch = pytest.importorskip("torch")

from sempic.lpips import LINEAR, NETWORK, Lpips, weights_root  # noqa: E402


@pytest.fixture(scope="module")
def lpips() -> Lpips:
    if not (weights_root() / "lpips").is_dir():
        pytest.skip(f"no LPIPS weights in {weights_root()}; name their folder in SEMPIC_WEIGHTS")
    return Lpips()


def test_it_has_the_published_value(lpips):
    torch.manual_seed(123)
    one, other = ((torch.rand(10, 3, 100, 100) * 2 - 1 + 1) / 2 for _ in range(2))
    assert lpips(one, lpips.taps(other)).mean().item() == pytest.approx(0.1008, abs=5e-5)


def test_equal_pictures_have_no_distance_and_gradients_reach_the_picture(lpips):
    image = torch.rand(2, 3, 64, 64, requires_grad=True)
    assert torch.equal(lpips(image, lpips.taps(image)), torch.zeros(2))
    lpips(image, lpips.taps(1 - image.detach())).sum().backward()
    assert image.grad.isfinite().all()
    assert image.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in lpips.parameters())


def test_weights_that_are_missing_are_named_with_their_place(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMPIC_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match=rf"LPIPS needs squeezenet.* in {tmp_path}/lpips .*SEMPIC_WEIGHTS"):
        Lpips()


def test_weights_that_are_damaged_are_named_too(tmp_path, monkeypatch):
    (tmp_path / "lpips").mkdir()
    for name in (NETWORK, LINEAR):
        (tmp_path / "lpips" / name).write_text("not weights")
    monkeypatch.setenv("SEMPIC_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError, match="LPIPS needs squeezenet"):
        Lpips()
