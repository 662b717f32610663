"""A simulated GPU: tensors that PyTorch believes to be on CUDA or XPU, but that the processor computes.

It simulates what code can see of a GPU:

- the device that tensors report, and the error if tensors of two devices meet
- which operations autocast computes in half precision on that kind of device
- transfers, which are counted; those to pinned memory arrive when an event is waited for
- streams, and an error if one reads what another one has written without having waited for it

It does not simulate kernels: their rounding, their speed and the memory that they need.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

from rgt_cli.inference import selfcheck

GIB = 1 << 30
_NEEDING_A_GUARD = (
    Tensor.__getitem__, Tensor.__setitem__, Tensor.contiguous, Tensor.copy_, Tensor.detach, torch.where
)  # fmt: skip
"""Functions that PyTorch implements with more of CUDA than a build for the CPU has."""
SYNCHRONIZING = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select")
"""Operations for which the processor waits, because their result or its size is needed there."""


class GPUTensor(Tensor):
    """A tensor on the simulated GPU."""

    held: Tensor
    gpu: SimulatedGPU

    @staticmethod
    def __new__(cls, held: Tensor, gpu: SimulatedGPU) -> GPUTensor:
        return torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, layout=held.layout, device=gpu.device,
        )  # fmt: skip

    def __init__(self, held: Tensor, gpu: SimulatedGPU) -> None:
        self.held, self.gpu = held, gpu

    def record_stream(self, stream: Any) -> None:
        """Note that the memory must not be reused before this stream has read it."""
        self.gpu.counts["record_stream"] += 1

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        tensors = tree_flatten((args, kwargs))[0]
        gpu = next(tensor.gpu for tensor in tensors if isinstance(tensor, GPUTensor))
        return gpu.compute(func, args, kwargs or {})


class Stream:
    """A queue of operations, which waits for others only where a program asks for that."""

    def __init__(self, device: object = None) -> None:
        self.ticks = 0
        self.seen: dict[Stream, int] = {}
        self.arriving: deque[Callable[[], object]] = deque()
        """Downloads to pinned memory that the processor cannot read yet."""
        self.arrived = 0
        """The number of those that it can."""

    def wait_stream(self, other: Stream) -> None:
        """Let later operations of this stream see what the other one has been asked to do."""
        for stream, ticks in [*other.seen.items(), (other, other.ticks)]:
            self.seen[stream] = max(self.seen.get(stream, 0), ticks)


class Event:
    """A point of a stream that the processor can wait for."""

    def __init__(self, enable_timing: bool = False) -> None:
        self._enable_timing = enable_timing

    def elapsed_time(self, other: Event) -> float:
        """Return some number of milliseconds, if both events measure them."""
        assert self._enable_timing
        assert other._enable_timing
        return 5.0

    def record(self, stream: Stream) -> None:
        self._stream, self._count = stream, stream.arrived + len(stream.arriving)

    def synchronize(self) -> None:
        while self._stream.arrived < self._count:
            with torch.inference_mode():
                self._stream.arriving.popleft()()
            self._stream.arrived += 1


class SimulatedGPU(TorchFunctionMode):
    """A GPU. As a context, it provides its device to PyTorch.

    Args:
        kind: "cuda" or "xpu".
        patch: Replaces functions of PyTorch's module for the kind of device.
    """

    def __init__(self, kind: str, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.device = torch.device(kind, 0)
        self.counts: Counter[str] = Counter()
        """Transfers and operations that synchronize, since they were last cleared."""
        self.dtypes: list[tuple[str, torch.dtype]] = []
        """(operation, dtype of its result) in order."""
        self.free = 8 * GIB
        self.allocations_to_fail = 0
        """So many times, moving an input to the device fails for lack of memory."""
        self.stream = self.computation = Stream()
        self._written: dict[int, tuple[Stream, int]] = {}
        self._pinned: dict[int, Tensor] = {}
        self.module = module = torch.get_device_module(kind)
        properties = SimpleNamespace(total_memory=16 * GIB)
        functions: dict[str, Any] = {
            "_lazy_init": lambda: None,
            "is_available": lambda: True,
            "device_count": lambda: 2,
            "get_device_name": lambda device=None: "Simulated",
            "get_device_properties": lambda device=None: properties,
            "is_bf16_supported": lambda *arguments: True,
            "mem_get_info": lambda device=None: (self.free, 16 * GIB),
            "memory_allocated": lambda device=None: GIB,
            "memory_reserved": lambda device=None: 2 * GIB,
            "max_memory_allocated": lambda device=None: 3 * GIB,
            "empty_cache": lambda: self.counts.update(["empty_cache"]),
            "synchronize": lambda device=None: self.counts.update(["synchronize"]),
            "current_stream": lambda device=None: self.stream,
            "stream": self._in_stream,
            "Stream": Stream,
            "Event": Event,
        }
        for name, function in functions.items():
            patch.setattr(module, name, function)
        # What passes the self-check is remembered in the user's cache.
        patch.setattr(selfcheck, "TRUSTED", {"cpu", kind})
        patch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        # A module cannot exchange the data of a parameter for data of another class.
        patch.setattr(torch.__future__, "_overwrite_module_params_on_conversion", True)

    @contextmanager
    def _in_stream(self, stream: Stream) -> Iterator[None]:
        before, self.stream = self.stream, stream
        yield
        self.stream = before

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Take over the functions that name a device or that PyTorch does not dispatch."""
        kwargs = dict(kwargs or {})
        if func is Tensor.to or func is Tensor.cpu:
            return self._move(func, args, kwargs)
        if func is Tensor.pin_memory:
            return self._pin(args[0].clone())
        if func in _NEEDING_A_GUARD and any(isinstance(value, GPUTensor) for value in args):
            return self.compute(func, args, kwargs, writes=func in (Tensor.__setitem__, Tensor.copy_))
        if kwargs.pop("pin_memory", False):
            return self._pin(func(*args, **kwargs))
        device = kwargs.get("device")
        if device is not None and torch.device(device).type == self.device.type:
            if func is torch.tensor:
                self.counts["upload of a list"] += 1
            made = func(*args, **kwargs | {"device": "cpu"})
            return self._on_device(made, wrote=True)
        return func(*args, **kwargs)

    def compute(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], writes: bool = False
    ) -> Any:
        """Run an operation of which at least one tensor is on the device."""
        schema = getattr(func, "_schema", None)  # functions of Python have none
        name = schema.name.removeprefix("aten::") if schema else func.__name__
        inputs = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
        if name == "copy_" and type(args[0]) is not type(args[1]):
            return self._copy(*args[:2])
        for tensor in inputs:
            if isinstance(tensor, GPUTensor):
                self._check_stream(tensor)
            elif tensor.ndim:
                raise RuntimeError(f"{name}: all tensors should be on one device, not on two")
        is_index = func in (Tensor.__getitem__, Tensor.__setitem__)
        if name in SYNCHRONIZING or (is_index and any(t.dtype == torch.bool for t in inputs[1:2])):
            self.counts[name] += 1
        owners = {id(tensor.held): tensor for tensor in inputs if isinstance(tensor, GPUTensor)}
        held_args, held_kwargs = tree_map(_held, (args, kwargs))
        result = func(*held_args, **held_kwargs)
        storages = {tensor.held.untyped_storage().data_ptr() for tensor in owners.values()}
        is_mutable = writes or (schema is not None and schema.is_mutable)

        def wrap(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            self.dtypes.append((name, value.dtype))
            new = is_mutable or value.untyped_storage().data_ptr() not in storages
            return self._on_device(value, new, owners.get(id(value)))

        return tree_map(wrap, result)

    def _on_device(self, held: Tensor, wrote: bool, owner: GPUTensor | None = None) -> GPUTensor:
        if wrote:
            self.stream.ticks += 1
            self._written[held.untyped_storage().data_ptr()] = self.stream, self.stream.ticks
        return owner if owner is not None else GPUTensor(held, self)

    def _check_stream(self, tensor: GPUTensor) -> None:
        # Indices of earlier simulations are cached; they are older than everything of this one.
        before = self.computation, 0
        writer, ticks = self._written.get(tensor.held.untyped_storage().data_ptr(), before)
        if writer is not self.stream and self.stream.seen.get(writer, 0) < ticks:
            raise RuntimeError("a stream reads what another one writes, without waiting for it")

    def _move(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Do what `Tensor.to` and `Tensor.cpu` do."""
        source: Tensor = args[0]
        device, dtype = torch.device("cpu"), None
        if func is Tensor.to:
            parsed, dtype, _, _ = torch._C._nn._parse_to(*args[1:], **kwargs)
            device = parsed or source.device
        if device.type == source.device.type:
            rest = {key: value for key, value in kwargs.items() if key == "memory_format"}
            return source if dtype is None and not rest else func(source, dtype or source.dtype, **rest)
        if isinstance(source, GPUTensor):
            self._check_stream(source)
            self.counts["download, waited for"] += 1
            return source.held.to(dtype or source.dtype, copy=True)
        if self.allocations_to_fail:
            self.allocations_to_fail -= 1
            raise torch.OutOfMemoryError("simulated: out of memory")
        pinned = source.untyped_storage().data_ptr() in self._pinned and kwargs.get("non_blocking")
        self.counts["upload" if pinned else "upload, waited for"] += 1
        return self._on_device(source.to(dtype or source.dtype, copy=True), wrote=True)

    def _copy(self, target: Tensor, source: Tensor) -> Tensor:
        """Do what `target.copy_(source)` does between the device and the processor."""
        if isinstance(target, GPUTensor):
            self.counts["upload, waited for"] += 1
            target.held.copy_(source)
            return self._on_device(target.held, wrote=True, owner=target)
        assert isinstance(source, GPUTensor)
        self._check_stream(source)
        if target.untyped_storage().data_ptr() not in self._pinned:
            self.counts["download, waited for"] += 1
            return target.copy_(source.held)
        self.counts["download"] += 1
        sent = source.held.clone()
        target.fill_(77)  # what a reader would see that does not wait
        self.stream.arriving.append(lambda: target.copy_(sent))
        return target

    def _pin(self, tensor: Tensor) -> Tensor:
        self._pinned[tensor.untyped_storage().data_ptr()] = tensor
        return tensor


def _held(value: Any) -> Any:
    return value.held if isinstance(value, GPUTensor) else value
