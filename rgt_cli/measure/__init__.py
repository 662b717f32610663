"""Measuring: PSNR and SSIM as papers report them, and the bicubic resize that made their test images."""

from rgt_cli.measure.metrics import bicubic_resize, jpeg_roundtrip, luma, psnr, psnr_luma, ssim

__all__ = ["bicubic_resize", "jpeg_roundtrip", "luma", "psnr", "psnr_luma", "ssim"]
