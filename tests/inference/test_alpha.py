"""Transparency: hidden colors do not show, on any background."""

import numpy as np

from rgt_cli.inference import NetworkUpscaler
from rgt_cli.inference.alpha import bleed_colors, clamp_to_neighbors, upscale_with_alpha
from rgt_cli.inference.resize import lanczos
from rgt_cli.size import Dimensions
from tests.helpers.networks import nearest_upscaler


def disc(side: int = 64, hidden: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return colors and alpha of an orange disc with a soft edge, and the color `hidden` around it."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    alpha = np.clip(side / 3 - np.hypot(x, y) + 0.5, 0, 1)
    colors = np.where(alpha[..., None] > 0, (230, 120, 30), hidden).astype(np.uint8)
    return colors, np.rint(alpha * 255).astype(np.uint8)


def composite(background: int, colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.asarray(colors * share + background * (1 - share))


def test_no_fringe_on_dark_or_light() -> None:
    """Whatever is hidden, the result looks the same, as if the whole image had one color."""
    network = NetworkUpscaler("tiny", 2, device="cpu")
    results = [upscale_with_alpha(*disc(hidden=h), network.upscale) for h in (0, 128, 255)]
    for colors, alpha in results[1:]:
        np.testing.assert_array_equal(alpha, results[0][1])
        for background in (0, 255):
            difference = composite(background, colors, alpha) - composite(background, *results[0])
            assert np.abs(difference).max() <= 1
    colors, alpha = results[0]
    plain = np.broadcast_to(np.array((230, 120, 30)), colors.shape)
    for background in (0, 255):
        difference = composite(background, colors, alpha) - composite(background, plain, alpha)
        assert np.abs(difference).max() <= 4
    assert alpha[0].max() == 0
    assert alpha[64, 64] == 255


def test_bleeding_leaves_visible_colors_unchanged() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (37, 53, 3), np.uint8)
    alpha = (rng.random((37, 53)) < 0.1).astype(np.uint8) * 200
    filled = bleed_colors(pixels, alpha)
    np.testing.assert_array_equal(filled[alpha > 0], pixels[alpha > 0])
    one = np.zeros((5, 9), np.uint16)
    one[2, 3] = 65535
    gray = np.full((5, 9), 7, np.uint16)
    gray[2, 3] = 50_000
    assert (bleed_colors(gray, one) == 50_000).all()
    nothing_visible = np.zeros_like(one)
    np.testing.assert_array_equal(bleed_colors(gray, nothing_visible), gray)


def test_alpha_by_lanczos_does_not_ring() -> None:
    alpha = np.zeros((20, 20), np.uint8)
    alpha[:, 10:] = 180
    upscaled = clamp_to_neighbors(lanczos(alpha, Dimensions(60, 60)), alpha)
    assert upscaled.min() == 0
    assert upscaled.max() == 180
    assert len(np.unique(upscaled)) > 3
    colors = np.zeros((20, 20, 3), np.uint8)
    _, by_lanczos = nearest_upscaler(alpha_by_network=False).upscale(colors, alpha)
    _, by_network = nearest_upscaler().upscale(colors, alpha)
    assert by_lanczos is not None
    assert by_network is not None
    assert set(np.unique(by_network)) == {0, 180}
    assert len(np.unique(by_lanczos)) > 2
