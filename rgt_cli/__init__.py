"""Upscale pictures with the Recursive Generalization Transformer."""
