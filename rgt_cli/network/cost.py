"""The cost of a forward pass of RGT in multiply-adds, by arithmetic alone."""

from rgt_cli.network.attention import recursions, share
from rgt_cli.network.rgt import RGT, RGTConfig


def multiply_adds(config: RGTConfig, height: int, width: int) -> int:
    """Count the multiply-adds of convolutions, linear layers and attention for one input image.

    Biases, normalization and activations do not count. The paper counts in the same way: its complexity
    table has 193.08 G for RGT-S and 251.07 G for RGT at x4 with an input of 128 x 128 pixels.

    Args:
        config: The hyper-parameters.
        height: Height of the input in pixels.
        width: Width of the input in pixels.
    """
    pixels, dim, channels = height * width, config.embed_dim, config.in_chans
    per_pixel = 9 * channels * dim
    body = 0
    for depth in config.depth:
        local, recursive = -(-depth // 2), depth // 2
        body += depth * _mlp(config) * pixels
        body += local * _local_attention(config) * pixels
        body += recursive * _recursive_attention(config, height, width)
    per_pixel += (len(config.depth) + 1) * _residual_connection(config)
    return body + (per_pixel + _tail(config)) * pixels


def _mlp(config: RGTConfig) -> int:
    """Return the multiply-adds of an MLP for each pixel."""
    hidden = share(config.embed_dim, config.mlp_ratio)
    return config.embed_dim * hidden + 9 * (hidden // 2) + (hidden // 2) * config.embed_dim


def _local_attention(config: RGTConfig) -> int:
    """Return the multiply-adds of L-SA for each pixel."""
    dim, window = config.embed_dim, config.split_size[0] * config.split_size[1]
    return 3 * dim * dim + 9 * dim + 2 * window * dim + dim * dim


def _recursive_attention(config: RGTConfig, height: int, width: int) -> int:
    """Return the multiply-adds of RG-SA for an image."""
    dim, reduced = config.embed_dim, share(config.embed_dim, config.c_ratio)
    pixels, total = height * width, 0
    left = pixels
    for _ in range(recursions(height, width)):
        left //= 16
        total += 16 * dim * left
    total += left * (9 * dim + dim * reduced + reduced * reduced + reduced * dim + 9 * dim)
    return total + pixels * (dim * reduced + left * (reduced + dim) + dim * dim)


def _residual_connection(config: RGTConfig) -> int:
    """Return the multiply-adds of the convolution after a residual group for each pixel."""
    dim = config.embed_dim
    if config.resi_connection == "1conv":
        return 9 * dim * dim
    return 2 * 9 * dim * (dim // 4) + (dim // 4) ** 2


def _tail(config: RGTConfig) -> int:
    """Return the multiply-adds of the upsampler for each pixel of the input."""
    dim, channels, scale = config.embed_dim, config.in_chans, config.upscale
    if config.upsampler == "direct":
        return 9 * dim * channels * scale**2
    features = RGT.features
    total, size = 9 * dim * features, 1
    for factor in [3] if scale == 3 else [2] * (scale.bit_length() - 1):
        total += 9 * features * features * factor**2 * size**2
        size *= factor
    return total + 9 * features * channels * scale**2
