"""Transparency: what is hidden does not shine through, on any background."""

import numpy as np
from PIL import Image

from rgt_cli.inference import Upscaler
from rgt_cli.inference.alpha import bleed_colors, clamp_to_neighbors, upscale_with_alpha
from rgt_cli.inference.resize import lanczos
from tests.conftest import Nearest, nearest_upscaler


def disc(side: int = 64, hidden: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An orange disc with a soft edge on what is transparent, and colored `hidden` there."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    alpha = np.clip(side / 3 - np.hypot(x, y) + 0.5, 0, 1)
    colors = np.where(alpha[..., None] > 0, (230, 120, 30), hidden).astype(np.uint8)
    return colors, np.rint(alpha * 255).astype(np.uint8)


def on(background: int, colors: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return colors * share + background * (1 - share)


def test_no_fringe_on_dark_or_light() -> None:
    """Whatever is hidden, what is seen is the same, and as if the whole had that one color."""
    network = Upscaler("tiny", 2, device="cpu")
    results = [upscale_with_alpha(*disc(hidden=h), network.upscale) for h in (0, 128, 255)]
    for colors, alpha in results[1:]:
        np.testing.assert_array_equal(alpha, results[0][1])
        for background in (0, 255):
            difference = on(background, colors, alpha) - on(background, *results[0])
            assert np.abs(difference).max() <= 1
    colors, alpha = results[0]
    plain = np.broadcast_to(np.array((230, 120, 30)), colors.shape)
    for background in (0, 255):
        difference = np.abs(on(background, colors, alpha) - on(background, plain, alpha))
        assert difference.max() <= 4
    assert alpha[0].max() == 0
    assert alpha[64, 64] == 255


def test_bled_keeps_what_is_seen() -> None:
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
    np.testing.assert_array_equal(
        bleed_colors(gray, np.zeros_like(one)), gray
    )  # nothing to take it from


def test_alpha_by_lanczos_does_not_ring() -> None:
    alpha = np.zeros((20, 20), np.uint8)
    alpha[:, 10:] = 180
    larger = clamp_to_neighbors(lanczos(alpha, 60, 60), alpha)
    assert larger.min() == 0
    assert larger.max() == 180
    assert len(np.unique(larger)) > 3
    colors = np.zeros((20, 20, 3), np.uint8)
    _, by_lanczos = nearest_upscaler(alpha_by_network=False).enlarge(colors, alpha)
    _, by_network = nearest_upscaler().enlarge(colors, alpha)
    assert by_lanczos is not None
    assert set(np.unique(by_network)) == {0, 180}
    assert len(np.unique(by_lanczos)) > 2


def test_pil_images_with_alpha(photo: np.ndarray) -> None:
    upscaler = Upscaler(Nearest(2), device="cpu")
    for mode in ("LA", "RGBA"):
        image = Image.fromarray(photo[:20, :30]).convert(mode)
        result = upscaler.upscale(image)
        assert result.mode == mode
        np.testing.assert_array_equal(np.asarray(result), np.asarray(image).repeat(2, 0).repeat(2, 1))
