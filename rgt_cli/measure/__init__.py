"""Measuring: PSNR as papers report it, and the bicubic resize that made their test images."""

from rgt_cli.measure.quality import bicubic_resize, luma, psnr, psnr_luma

__all__ = ["bicubic_resize", "luma", "psnr", "psnr_luma"]
