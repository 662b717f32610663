"""The measures agree with what they are defined by."""

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from rgt_cli.measure import bicubic_resize, luma, psnr, psnr_luma, ssim
from tests.conftest import DATA

SET5 = DATA.parents[2] / "shared/eval/Set5"


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


def test_border_is_left_out() -> None:
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
    theirs = structural_similarity(
        a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(a, b) == pytest.approx(theirs, abs=1e-4)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), abs=1e-4)
    assert ssim(a, a) == pytest.approx(1)
    with pytest.raises(ValueError, match="too small"):
        ssim(a[:10], b[:10])


@pytest.mark.parametrize(("scale", "expected"), [(2, 33.66), (3, 30.39), (4, 28.42)])
@pytest.mark.skipif(not SET5.is_dir(), reason="the benchmark is not here")
def test_bicubic_scores_what_papers_report(scale: int, expected: float) -> None:
    scores = []
    for path in sorted((SET5 / "HR").glob("*.png")):
        truth = np.asarray(Image.open(path).convert("RGB"))
        height, width = (side // scale * scale for side in truth.shape[:2])
        truth = truth[:height, :width]
        low = np.asarray(
            Image.open(SET5 / f"LR_bicubic/X{scale}/{path.stem}x{scale}.png").convert("RGB")
        )
        scores.append(psnr_luma(bicubic_resize(low, scale), truth, scale))
        a, b = luma(truth), luma(bicubic_resize(low, scale))
        theirs = structural_similarity(
            a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert ssim(a, b) == pytest.approx(theirs, abs=1e-4)
    assert np.mean(scores) == pytest.approx(expected, abs=0.03)


def test_resize_keeps_constants_and_shapes() -> None:
    flat = np.full((13, 17, 3), 77, np.uint8)
    for scale in (1 / 4, 1 / 3, 1 / 2, 2, 3, 4):
        result = bicubic_resize(flat, scale)
        assert result.shape == (*(int(np.ceil(s * scale - 1e-9)) for s in (13, 17)), 3)
        assert (result == 77).all()


def test_resize_has_the_kernel_of_matlab() -> None:
    """Doubling an impulse shows the kernel's own values: at distance 0.25, 0.75, 1.25, 1.75."""
    row = np.zeros((1, 11), np.uint8)
    row[0, 5] = 128
    expected = np.array([0.8671875, 0.2265625]) * 128
    assert bicubic_resize(row, 2)[0, 10:13].tolist() == [111, 111, 29]
    np.testing.assert_allclose(bicubic_resize(row, 2)[0, 11:13], expected, atol=0.5)


@pytest.mark.parametrize("path", sorted((SET5 / "HR").glob("*.png")), ids=lambda path: path.stem)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_resize_equals_matlab_on_set5(path, scale: int) -> None:
    """Needs the benchmark, which the project may not ship; collected only where it is there."""
    truth = np.asarray(Image.open(path).convert("RGB"))
    height, width = (side // scale * scale for side in truth.shape[:2])
    expected = np.asarray(
        Image.open(SET5 / f"LR_bicubic/X{scale}/{path.stem}x{scale}.png").convert("RGB")
    )
    np.testing.assert_array_equal(bicubic_resize(truth[:height, :width], 1 / scale), expected)
