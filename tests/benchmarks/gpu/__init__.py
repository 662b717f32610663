"""The sections of `on_gpu.py`, and what runs them."""
