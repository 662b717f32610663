"""Measure quality as papers report it, and the speed and memory use of models."""

from rgt_cli.measure.metrics import bicubic_resize, jpeg_roundtrip, luma, psnr, psnr_luma, ssim

__all__ = ["bicubic_resize", "jpeg_roundtrip", "luma", "psnr", "psnr_luma", "ssim"]
