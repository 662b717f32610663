"""Measuring: PSNR and SSIM as papers report them, and the bicubic resize that made their test images."""

from rgt_cli.measure.quality import bicubic_resize, compressed, luma, psnr, psnr_luma, ssim

__all__ = ["bicubic_resize", "compressed", "luma", "psnr", "psnr_luma", "ssim"]
