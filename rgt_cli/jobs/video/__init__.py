"""Upscale one video: what becomes of its frames, its segments, and the samples and estimates of them."""
