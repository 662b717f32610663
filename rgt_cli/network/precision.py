"""Which part of the network computes in which precision, on every device.

Half precision, fp16 or bf16, is that of `torch.autocast`. It makes matrix products several times as
fast. It is used where each result is a sum of many products, which devices add up in fp32 and round
once: in linear layers, convolutions and the products of attention, and so for the weights, for the
tokens between such layers, and for the biases that attention adds to its products.

The rest is in fp32. On CUDA, this is fp32 in convolutions too, not TF32, which is the default of cuDNN
and has the 10 bits of fp16:

- The residual stream, with all shortcuts and sums: dozens of blocks add to it. bf16 has 8 significant
  bits and would lose the small changes of most blocks, and large values overflow fp16.
- LayerNorm, which squares these values.
- The softmax of attention, which the fused kernels compute in fp32.
- The position bias of windows, a small MLP of distances in pixels. It is computed once for a network
  and then rounded.
- The output, to which the mean color is added: 16-bit images have more values than half precision.

An output that is not finite is noticed, and computed again in a safer precision: on a GPU, fp16 is
followed by bf16, which has the range of fp32, and both are followed by fp32.

By default, GPUs with memory of their own compute in fp16, and all other devices in fp32. Processors
with instructions for bf16 compute in fp32, too, so that results do not depend on the processor.
"""

import torch
from torch import Tensor


def compute_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype of matrix products: that of autocast if it is enabled, otherwise that of `x`."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
