"""Metrics agree with their definitions, with other libraries and with MATLAB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from rgt_cli.measure import bicubic_resize, luma, psnr, psnr_luma, ssim
from tests.helpers import DATA

SET5 = DATA.parents[2] / "shared/eval/Set5"
"""A dataset that the project may not ship."""
NEEDS_SET5 = pytest.mark.skipif(not SET5.is_dir(), reason="the project may not ship Set5")


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def pairs(scale: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the images of Set5, cropped to a multiple of the scale, and MATLAB's inputs for them."""
    found = []
    for path in sorted((SET5 / "HR").glob("*.png")):
        truth = read(path)
        height, width = (side // scale * scale for side in truth.shape[:2])
        small = read(SET5 / f"LR_bicubic/X{scale}/{path.stem}x{scale}.png")
        found.append((truth[:height, :width], small))
    assert len(found) == 5
    return found


def scikit_ssim(a: np.ndarray, b: np.ndarray) -> float:
    return float(
        structural_similarity(
            a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
    )


def test_psnr() -> None:
    a = np.full((8, 8), 100, np.uint8)
    assert psnr(a, a) == float("inf")
    assert psnr(a, a + 1) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(a / 255, (a + 1) / 255, peak=1) == pytest.approx(48.1308, abs=1e-4)
    with pytest.raises(ValueError, match="shapes"):
        psnr(a, a[1:])


def test_luma() -> None:
    colors = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0]]], np.uint8)
    np.testing.assert_allclose(luma(colors), [[16, 235, 81.481]], atol=1e-3)


def test_the_border_does_not_count() -> None:
    a = np.zeros((20, 20), np.uint8)
    b = a.copy()
    b[:3] = 255
    assert psnr_luma(a, b, border=3) == float("inf")
    assert psnr_luma(a, b, border=0) < 20


@pytest.mark.parametrize("strength", [2, 10, 40])
def test_psnr_and_ssim_equal_scikit_image(photo: np.ndarray, strength: int) -> None:
    noise = np.random.default_rng(strength).normal(0, strength, photo.shape)
    other = np.clip(photo + noise, 0, 255).astype(np.uint8)
    a, b = luma(photo), luma(other)
    assert ssim(a, b) == pytest.approx(scikit_ssim(a, b), abs=1e-4)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), abs=1e-4)
    assert ssim(a, a) == pytest.approx(1)
    with pytest.raises(ValueError, match="too small"):
        ssim(a[:10], b[:10])


@NEEDS_SET5
@pytest.mark.parametrize(("scale", "expected"), [(2, 33.66), (3, 30.39), (4, 28.42)])
def test_bicubic_has_the_scores_of_papers(scale: int, expected: float) -> None:
    scores = []
    for truth, small in pairs(scale):
        upscaled = bicubic_resize(small, scale)
        scores.append(psnr_luma(upscaled, truth, scale))
        a, b = luma(truth), luma(upscaled)
        assert ssim(a, b) == pytest.approx(scikit_ssim(a, b), abs=1e-4)
    assert np.mean(scores) == pytest.approx(expected, abs=0.03)


def test_resize_keeps_constants_and_shapes() -> None:
    flat = np.full((13, 17, 3), 77, np.uint8)
    for scale in (1 / 4, 1 / 3, 1 / 2, 2, 3, 4):
        result = bicubic_resize(flat, scale)
        assert result.shape == (*(int(np.ceil(s * scale - 1e-9)) for s in (13, 17)), 3)
        assert (result == 77).all()


def test_resize_has_the_kernel_of_matlab() -> None:
    """Doubling an impulse gives the values of the kernel at distances 0.25, 0.75, 1.25 and 1.75."""
    row = np.zeros((1, 11), np.uint8)
    row[0, 5] = 128
    expected = np.array([0.8671875, 0.2265625]) * 128
    assert bicubic_resize(row, 2)[0, 10:13].tolist() == [111, 111, 29]
    np.testing.assert_allclose(bicubic_resize(row, 2)[0, 11:13], expected, atol=0.5)


@NEEDS_SET5
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_resize_equals_matlab_on_set5(scale: int) -> None:
    for truth, small in pairs(scale):
        np.testing.assert_array_equal(bicubic_resize(truth, 1 / scale), small)
