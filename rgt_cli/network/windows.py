"""The windows of L-SA: in which order they have the tokens of an image, and what is masked in them."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

MASKED = -100.0
"""Added to the logits of two tokens that are in one shifted window but not adjacent in the image."""


@dataclass(frozen=True)
class WindowLayout:
    """The order of an image's tokens by window, with windows of one kind together.

    A shifted window that wraps around an edge has pixels of both edges, which must not attend to each
    other. Only the last row and the last column of windows wrap, so there are four kinds: interior,
    right edge, bottom edge and corner. All windows of a kind share one bias.
    """

    order: Tensor
    """(P,) The position in the image of each token. P includes padding, which has position 0."""
    back: Tensor
    """(H * W,) The position in `order` of each pixel."""
    real: Tensor | None
    """(P, 1) 0.0 for tokens of padding, otherwise 1.0; None if there is no padding."""
    kinds: tuple[tuple[int, Tensor | None], ...]
    """(number of windows, (n, n) pairs of tokens that are masked) of each kind, in order."""


def window_layout(
    height: int, width: int, window: tuple[int, int], shift: tuple[int, int], multiple: int,
    device: torch.device,
) -> WindowLayout:  # fmt: skip
    """Order the tokens of an image by window.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        window: Height and width of a window in pixels.
        shift: Shift of the windows down and right in pixels; (0, 0) in blocks without a shift.
        multiple: Pad both sides of the image to a multiple of this number of pixels.
        device: The device of the tensors.
    """
    (win_h, win_w), (down, right) = window, shift
    tall, wide = height + -height % multiple, width + -width % multiple
    with torch.inference_mode(False), torch.no_grad():
        y = (torch.arange(tall, device=device) + down) % tall
        x = (torch.arange(wide, device=device) + right) % wide
        inside = (y < height)[:, None] & (x < width)
        places = torch.where(inside, y[:, None] * width + x, -1)
        grid = places.view(tall // win_h, win_h, wide // win_w, win_w).transpose(1, 2).flatten(2)
        far_rows = (torch.arange(win_h, device=device) >= win_h - down).repeat_interleave(win_w)
        far_columns = (torch.arange(win_w, device=device) >= win_w - right).repeat(win_h)
        split_rows = far_rows[:, None] != far_rows if down else None
        split_columns = far_columns[:, None] != far_columns if right else None
        splits: list[Tensor | None] = [None]
        if split_rows is None or split_columns is None:
            parts = [grid]
        else:
            parts = [grid[:-1, :-1], grid[:-1, -1:], grid[-1:, :-1], grid[-1:, -1:]]
            splits += [split_columns, split_rows, split_rows | split_columns]
        order = torch.cat([part.flatten() for part in parts])
        real = order >= 0
        back = torch.empty(height * width, dtype=torch.int32, device=device)
        back[order[real]] = torch.arange(len(order), dtype=torch.int32, device=device)[real]
        kinds = tuple(
            (part.shape[0] * part.shape[1], split) for part, split in zip(parts, splits, strict=True)
        )
        padded = len(order) > height * width
        return WindowLayout(
            order.clamp(min=0).int(), back, real.float()[:, None] if padded else None, kinds
        )


@dataclass(frozen=True)
class BranchLayouts:
    """The order of an image's tokens by window in both branches of L-SA, and of both together.

    The tokens of both together are (B, P1 + P2, 2, C / 2), one branch after the other.
    """

    branches: tuple[WindowLayout, WindowLayout]
    """The order in each branch."""
    places: Tensor
    """(H * W, 2) The position of each pixel in both branches."""
    order: Tensor
    """(P1 + P2,) The inverse of `places` if there is no padding."""


@functools.lru_cache(maxsize=4)  # two sizes of images; blocks with and without a shift
def branch_layouts(
    height: int, width: int, window: tuple[int, int], is_shifted: bool, device: torch.device
) -> BranchLayouts:
    """Order the tokens of an image by window. The tensors are made once for each size.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        window: Height and width of the windows of the first branch; the second swaps them.
        is_shifted: Whether the windows are shifted by half of their size.
        device: The device of the tensors.
    """
    multiple, tall = max(window), (window[1], window[0])
    first, second = (
        window_layout(height, width, size, shift_of(size, is_shifted), multiple, device)
        for size in (window, tall)
    )
    with torch.inference_mode(False), torch.no_grad():
        places = torch.stack([first.back, second.back + len(first.order)], dim=1)
        order = torch.cat([2 * first.order, 2 * second.order + 1])
    return BranchLayouts((first, second), places, order)


def shift_of(window: tuple[int, int], is_shifted: bool) -> tuple[int, int]:
    """Return the shift down and right of windows of this size in pixels: none, or half of the size."""
    return (window[0] // 2, window[1] // 2) if is_shifted else (0, 0)
