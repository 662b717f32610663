"""Checkpoint files that are made to confuse: each of them must be refused, quickly and with a reason."""

from __future__ import annotations

import functools
import io
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from rgt_cli.network import RGTConfig
from tests.helpers.checkpoints import Evil
from tests.helpers.networks import random_rgt

Builder = Callable[[], bytes]
WINDOW = "layers.0.blocks.0.attn.attns.0.rpe_biases"
INDEX = "layers.0.blocks.0.attn.attns.0.relative_position_index"
QKV = "layers.0.blocks.0.attn.qkv.weight"
TINY = RGTConfig(
    upscale=2, embed_dim=32, depth=(2, 1), num_heads=(2, 2), split_size=(4, 8), upsampler="direct"
)
KEYS = (
    "conv_first.weight", "layers.0.blocks.0.gamma", QKV, "layers.0.blocks.0.mlp.fc1.weight",
    "layers.0.blocks.0.attn.attns.0.pos.pos3.2.weight", "layers.0.blocks.1.attn.conv.weight",
    "upsample.0.weight", "norm.bias", WINDOW,
)  # fmt: skip
"""Tensors from which hyper-parameters are detected, and others."""


@functools.cache
def good() -> dict[str, Tensor]:
    """Return the state dict of a small RGT, with the position offsets of its windows."""
    offsets = torch.cartesian_prod(torch.arange(-3.0, 4), torch.arange(-7.0, 8))
    return dict(random_rgt(TINY).state_dict()) | {WINDOW: offsets}


def changed(**changes: Any) -> dict[str, Any]:
    """Return the good state dict with other values; "__" in a keyword is a dot, None removes a key."""
    state: dict[str, Any] = good() | {key.replace("__", "."): value for key, value in changes.items()}
    return {key: value for key, value in state.items() if value is not None}


def with_value(key: str, value: object) -> dict[str, Any]:
    """Return the good state dict with another value of a key."""
    return good() | {key: value}


def pth(content: object, *, legacy: bool = False) -> bytes:
    """Return a file as `torch.save` writes it."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def legacy(content: object) -> bytes:
    """Return a file as PyTorch wrote it before version 1.6."""
    return pth(content, legacy=True)


SAVERS: dict[str, Callable[[Any], bytes]] = {"pth": pth, "pt": legacy, "safetensors": save}
"""Suffix -> what writes a state dict. The suffix `pt` is the older format."""


def cases(builders: Mapping[str, Callable[..., bytes]], arguments: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the name and builder of each file: every argument in every format."""
    for name, argument in arguments.items():
        for suffix, build in builders.items():
            yield f"{name}.{suffix}", functools.partial(build, argument)


# --- archives


def repacked(
    edit: Callable[[dict[str, bytes]], object] = lambda records: None,
    compression: int = zipfile.ZIP_STORED,
    content: object = None,
) -> bytes:
    """Return a PyTorch file whose records were edited."""
    with zipfile.ZipFile(io.BytesIO(pth(content or good()))) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    edit(records)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    return file.getvalue()


def lying(field: str, value: int, record: bytes = b"archive/data/0") -> bytes:
    """Return a PyTorch file whose directory has a false field for one record.

    Args:
        field: "compressed", "size" or "offset".
        value: The false value.
        record: The name of the record.
    """
    content = bytearray(repacked())
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(record))
    start = {"compressed": 20, "size": 24, "offset": 42}[field]
    struct.pack_into("<L", content, at + start, value)
    if field == "size":
        struct.pack_into("<L", content, at + 20, value)
    return bytes(content)


def bad_end(offset: int, form: str, value: int) -> bytes:
    """Return a PyTorch file with a false field in the record at its end."""
    content = bytearray(repacked())
    struct.pack_into(form, content, len(content) - 22 + offset, value)
    return bytes(content)


def overlapping() -> bytes:
    """Return an archive in which a thousand records share the same megabyte."""
    data = bytes(1 << 20)
    local = (
        struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, len(data), len(data), 1, 0)
        + b"a"
        + data
    )
    entries = b""
    for number in range(1000):
        name = f"archive/data/{number}".encode()
        entries += struct.pack(
            "<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, len(data), len(data), len(name),
            0, 0, 0, 0, 0, 0,
        ) + name  # fmt: skip
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1000, 1000, len(entries), len(local), 0)
    return local + entries + end


def with_pickle(pickled: bytes) -> bytes:
    """Return a PyTorch file with another pickle."""
    return repacked(lambda records: records.update({"archive/data.pkl": pickled}))


# --- pickles

PROTO, STOP = b"\x80\x02", b"."


def text(value: str) -> bytes:
    """Return the opcodes for a text."""
    data = value.encode()
    return b"X" + struct.pack("<L", len(data)) + data


def number(value: int) -> bytes:
    """Return the opcodes for an integer."""
    data = pickle.encode_long(value)
    return b"\x8a" + bytes([len(data)]) + data


def group(*values: bytes) -> bytes:
    """Return the opcodes for a tuple."""
    return b"(" + b"".join(values) + b"t"


def named(path: str) -> bytes:
    """Return the opcodes for a function or class."""
    module, _, name = path.rpartition(".")
    return f"c{module}\n{name}\n".encode()


def call(path: str, *arguments: bytes) -> bytes:
    """Return the opcodes for a call."""
    return named(path) + group(*arguments) + b"R"


def storage(
    elements: bytes, key: bytes = text("0"), kind: bytes = named("torch.FloatStorage"), *more: bytes
) -> bytes:
    """Return the opcodes for a storage."""
    return group(text("storage"), kind, key, text("cpu"), elements, *more) + b"Q"


def tensor(of: bytes, offset: bytes, shape: bytes, strides: bytes) -> bytes:
    """Return the opcodes for a tensor."""
    hooks = call("collections.OrderedDict")
    return call("torch._utils._rebuild_tensor_v2", of, offset, shape, strides, b"\x89", hooks)


def content(value: bytes) -> bytes:
    """Return a pickle of a state dict with one value."""
    return PROTO + b"}" + text("conv_first.weight") + value + b"s" + STOP


def _laughs(depth: int) -> bytes:
    """Return the opcodes for a tuple whose hash takes 2 ** depth steps."""
    return b")" + b"".join(b"q\x01h\x01h\x01\x86" for _ in range(depth))


SMALL = storage(number(864))


def small(offset: int, shape: bytes, strides: bytes) -> bytes:
    """Return a pickle of a state dict with a tensor in the first storage."""
    return content(tensor(SMALL, number(offset), shape, strides))


RAW_PICKLES: dict[str, bytes] = {
    "runs a shell": content(call("posix.system", text("touch pwned"))),
    "runs eval": content(call("builtins.eval", text("open('pwned', 'w')"))),
    "runs exec of python 2": content(call("__builtin__.exec", text("open('pwned', 'w')"))),
    "starts a process": content(call("subprocess.Popen", text("touch pwned"))),
    "loads a hub": content(call("torch.hub.load", text("a/b"), text("c"))),
    "calls an escape sequence": content(call("os.\x1b[31mred")),
    "calls bytearray": content(call("__builtin__.bytearray", number(1 << 40))),
    "calls a tensor class": content(call("torch.FloatTensor", number(1 << 40))),
    "calls an encoder": content(call("_codecs.encode", text("a"), text("bz2"))),
    "calls a tensor": content(SMALL + group() + b"R"),
    "calls a text": content(text("posix.system") + group() + b"R"),
    "new object": content(named("posix.system") + group(text("touch pwned")) + b"\x81"),
    "builds an attribute": content(call("collections.OrderedDict") + text("__class__") + b"b"),
    "inst": content(b"(" + text("touch pwned") + b"iposix\nsystem\n"),
    "obj": content(b"(" + named("posix.system") + text("touch pwned") + b"o"),
    "stack global": content(text("posix") + text("system") + b"\x93"),
    "extension": content(b"\x82\x01"),
    "dup": content(b"]2"),
    "old string": content(b"S'a'\n"),
    "long4": content(b"\x8b\xff\xff\xff\x7f"),
    "binunicode8": content(b"\x8d" + struct.pack("<Q", 1 << 62)),
    "binbytes8": content(b"\x8e" + struct.pack("<Q", 1 << 40)),
    "bytearray8": content(b"\x96" + struct.pack("<Q", 1 << 40)),
    "frame": content(b"\x95" + struct.pack("<Q", 1 << 40)),
    "binunicode too long": content(b"X\xff\xff\xff\xff"),
    "unknown opcode": content(b"\xff"),
    "nothing": b"",
    "only stop": PROTO + STOP,
    "no stop": content(b"N")[:-1],
    "only marks": PROTO + b"(" * 100_000 + STOP,
    "tuple without mark": content(b"t"),
    "reduce without values": PROTO + b"R" + STOP,
    "setitem without dict": PROTO + b"NNs" + STOP,
    "setitems without mark": PROTO + b"u" + STOP,
    "missing memo": content(b"h\x07"),
    "put of nothing": PROTO + b"q\x01" + STOP,
    "distant memo": content(b"Nr\xff\xff\xff\xff"),
    "deep lists": PROTO + b"]" * 100_000 + b"a" * 99_999 + STOP,
    "deep tuples": PROTO + b")" + b"\x85" * 100_000 + STOP,
    "too many opcodes": PROTO + b"N0" * 600_000 + b"N" + STOP,
    "too many constants": PROTO + b"N" * 1_200_000 + STOP,
    "key of nested tuples": PROTO + b"}" + _laughs(60) + b"Ns" + STOP,
    "value of nested tuples": content(_laughs(60)),
    "storage is a number": content(number(5) + b"Q"),
    "storage is a dict": content(b"}Q"),
    "storage of a module": content(group(text("module"), named("torch.FloatStorage")) + b"Q"),
    "storage of nothing": content(group() + b"Q"),
    "storage of a text": content(storage(number(4), text("0"), text("FloatStorage"))),
    "storage without a record": content(storage(number(4), text("none"))),
    "storage with a number as key": content(storage(number(4), number(0))),
    "storage in another folder": content(storage(number(4), text("../../etc/passwd"))),
    "storage too large": content(storage(number(1 << 32))),
    "storage absurdly large": content(storage(number(1 << 200))),
    "storage negative": content(storage(number(-4))),
    "storage of a fraction": content(storage(b"G" + struct.pack(">d", 4.5))),
    "storage with a view": content(storage(number(4), text("0"), named("torch.FloatStorage"), group())),
    "complex storage": content(storage(number(4), text("0"), named("torch.ComplexFloatStorage"))),
    "quantized storage": content(storage(number(4), text("0"), named("torch.QInt8Storage"))),
    "tensor of no storage": content(tensor(b"N", number(0), group(number(4)), group(number(1)))),
    "tensor too large": small(0, group(number(1 << 40)), group(number(1))),
    "tensor behind its storage": small(864, group(number(1)), group(number(1))),
    "tensor of a negative size": small(0, group(number(-1)), group(number(1))),
    "tensor of a negative stride": small(3, group(number(4)), group(number(-1))),
    "tensor of a negative offset": small(-1, group(number(4)), group(number(1))),
    "tensor of absurd size": small(0, group(number(1 << 300)), group(number(0))),
    "tensor of texts": small(0, group(text("4")), group(number(1))),
    "tensor of unequal lengths": small(0, group(number(4)), group()),
    "tensor of no size": small(0, b"N", b"N"),
    "tensor of a hundred dimensions": small(0, group(*[number(1)] * 100), group(*[number(1)] * 100)),
    "tensor of stride 0": small(0, group(number(1 << 40)), group(number(0))),
    "tensor of many strides 0": small(0, group(*[number(1 << 20)] * 3), group(*[number(0)] * 3)),
    "tensor without arguments": content(call("torch._utils._rebuild_tensor_v2")),
    "parameter of a text": content(call("torch._utils._rebuild_parameter", text("a"), b"\x88", b"N")),
    "number": PROTO + number(5) + STOP,
    "tensor alone": PROTO + tensor(SMALL, number(0), group(number(4)), group(number(1))) + STOP,
    "protocol 255": b"\x80\xff" + content(b"N")[2:],
}  # fmt: skip
"""Name -> the pickle in an archive."""


# --- state dicts


def _shared(width: int) -> dict[str, Tensor]:
    """Return a state dict whose tensors all share one storage, and together are far larger."""
    values = torch.zeros(1 << 20, dtype=torch.float16)
    return {f"layers.{g}.blocks.{b}.gamma": values for g in range(8) for b in range(width)}


def _self_containing() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["params"] = found
    return found


def _wrapped(depth: int) -> object:
    found: object = good()
    for _ in range(depth):
        found = {"params": found}
    return found


def _nested() -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])


def _sparse(layout: torch.layout) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.eye(4).to_sparse(layout=layout)


def _quantized(axis: int | None) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = torch.ones(4, 4)
        if axis is None:
            return torch.quantize_per_tensor(values, 0.1, 0, torch.qint8)
        return torch.quantize_per_channel(values, torch.ones(4), torch.zeros(4), axis, torch.qint8)


def _window(values: object, **options: Any) -> dict[str, Any]:
    return with_value(WINDOW, torch.tensor(values, **options))


def _index(value: Tensor) -> dict[str, Any]:
    return {k: v for k, v in with_value(INDEX, value).items() if k != WINDOW}


ZERO = {f"no values {key}": with_value(key, torch.zeros(0, *good()[key].shape[1:])) for key in KEYS}
SCALARS = {f"scalar {key}": with_value(key, torch.tensor(1.0)) for key in KEYS}
STATES: dict[str, Any] = {
    "all without values": {key: value[:0] for key, value in good().items()},
    "nine dimensions": with_value(QKV, torch.zeros([1] * 9)),
    "nan": with_value(QKV, good()[QKV] * float("nan")),
    "infinite": with_value(QKV, good()[QKV] / 0),
    "window empty": _window([]),
    "window infinite": _window([[float("inf"), 1.0]]),
    "window minus infinite": _window([[float("-inf"), 1.0]]),
    "window nan": _window([[float("nan"), 1.0]]),
    "window negative": _window([[-5.0, -9.0]]),
    "window absurd": _window([[1e30, 1e30]]),
    "window too large": with_value(
        WINDOW, torch.cartesian_prod(torch.arange(-99.0, 100), torch.arange(-99.0, 100))
    ),
    "window of one column": _window([[1.0], [2.0]]),
    "window of three columns": _window([[1.0, 2.0, 3.0]]),
    "window of one dimension": _window([1.0, 2.0]),
    "window of booleans": _window([[True, True]]),
    "index of one dimension": _index(torch.arange(4)),
    "index of three dimensions": _index(torch.zeros(2, 2, 2)),
    "index negative": _index(torch.full((4, 4), -(1 << 62))),
    "index nan": _index(torch.full((4, 4), float("nan"))),
    "window integers": with_value(QKV, good()[QKV].long()),
    "boolean": with_value(QKV, good()[QKV].bool()),
    "int8": with_value(QKV, good()[QKV].to(torch.int8)),
    "uint16": with_value(QKV, good()[QKV].to(torch.uint16)),
    "fp8": with_value(QKV, good()[QKV].to(torch.float8_e4m3fn)),
    "fp8 e5m2": with_value(QKV, good()[QKV].to(torch.float8_e5m2)),
    "group in the distance": changed(layers__999999999__blocks__0__gamma=torch.ones(1)),
    "group in the farthest distance": changed(
        **{f"layers__{'9' * 5000}__blocks__0__gamma": torch.ones(1)}
    ),
    "group in other digits": changed(**{"layers__\u0663__blocks__0__gamma": torch.ones(1)}),
    "block in the distance": changed(layers__0__blocks__99999999__gamma=torch.ones(1)),
    "many groups": good() | {f"layers.{n}.blocks.0.gamma": torch.ones(1) for n in range(3000)},
    "many blocks": good() | {f"layers.0.blocks.{n}.gamma": torch.ones(1) for n in range(3000)},
    "many blocks in many groups": good()
    | {f"layers.{n % 50}.blocks.{n // 50}.gamma": torch.ones(1) for n in range(5000)},
    "many tensors": good() | {f"t{n}": torch.ones(1) for n in range(12_000)},
    "many upsampling layers": changed(conv_before_upsample__0__weight=torch.ones(1))
    | {f"upsample.{n}.weight": torch.zeros(4, 1, 1, 1) for n in range(3000)},
    "wide image": with_value("conv_first.weight", torch.zeros(32, 100_000, 1, 1)),
    "many heads": with_value("layers.0.blocks.0.attn.attns.0.pos.pos3.2.weight", torch.zeros(99_999, 1)),
    "wide mlp": with_value("layers.0.blocks.0.mlp.fc1.weight", torch.zeros(99_999, 1)),
    "escape sequences": good() | {"\x1b[31mred\x1b[0m": torch.ones(1)},
    "escape sequences missing": {f"\x9b2J{key}": value for key, value in good().items()},
    "several lines": good() | {"a\nrgt: error: b\r": torch.ones(1)},
    "text from right to left": good() | {"\u202egnp.exe": torch.ones(1)},
    "very long name": good() | {"n" * 100_000: torch.ones(1)},
    "empty name": good() | {"": torch.ones(1)},
    "one tensor": {"conv_first.weight": torch.zeros(4, 3, 3, 3)},
}  # fmt: skip
"""Name -> a state dict that every format can store."""
PICKLED: dict[str, Any] = {
    "complex": with_value(QKV, good()[QKV].to(torch.complex64)),
    "complex window": with_value(WINDOW, good()[WINDOW].to(torch.complex64)),
    "quantized": with_value(QKV, _quantized(None)),
    "quantized per channel": with_value(QKV, _quantized(0)),
    "meta": with_value(QKV, torch.empty(96, 32, device="meta")),
    "meta window": with_value(WINDOW, torch.empty(105, 2, device="meta")),
    "nested": with_value(QKV, _nested()),
    "sparse": with_value(QKV, _sparse(torch.sparse_coo)),
    "sparse rows": with_value(QKV, _sparse(torch.sparse_csr)),
    "stride 0": with_value(QKV, torch.zeros(1).expand(96, 32)),
    "stride 0 of a large tensor": with_value(QKV, torch.zeros(1).expand(1 << 20, 1 << 20)),
    "overlapping": with_value(QKV, torch.zeros(256).as_strided((96, 32), (1, 1))),
    "window of stride 0": with_value(WINDOW, torch.zeros(1).expand(1 << 30, 2)),
    "shared storage": good() | _shared(32),
    "key is a number": good() | {5: torch.ones(1)},
    "key is none": good() | {None: torch.ones(1)},
    "key is a tuple": good() | {("a", "b"): torch.ones(1)},
    "value is a number": good() | {"step": 5},
    "value is none": good() | {"step": None},
    "value is a text": good() | {"name": "\x1b[31mred"},
    "value is a dict": good() | {"more": {"a": torch.ones(1)}},
    "list": [1, 2],
    "text": "weights",
    "tensor": torch.zeros(4),
    "empty": {},
    "empty params": {"params": {}},
    "params is a number": {"params": 5},
    "params is a list": {"params": [torch.ones(1)]},
    "contains itself": _self_containing(),
    "wrapped too often": _wrapped(50),
    "training state": {"epoch": 1, "iter": 5, "optimizers": [{}], "schedulers": []},
}  # fmt: skip
"""Name -> what only a pickle can store."""


# --- safetensors


def safetensors(header: bytes | object, data: bytes = b"", length: int | None = None) -> bytes:
    """Return a safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def one(dtype: str, shape: object, offsets: object, data: int = 16) -> bytes:
    """Return a safetensors file with one tensor."""
    return safetensors({"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}, bytes(data))


SAFETENSORS: dict[str, Builder] = {
    "seven bytes": lambda: bytes(7),
    "header of no bytes": lambda: bytes(8),
    "header beyond the file": lambda: safetensors(b"{}", length=1000),
    "header of exabytes": lambda: safetensors(b"{}", length=(1 << 64) - 1),
    "header of zeros": lambda: safetensors(bytes(3 << 20)),
    "header is no JSON": lambda: safetensors(b"weights"),
    "header is no text": lambda: safetensors(b"\xff\xfe{}"),
    "header is a list": lambda: safetensors([1]),
    "header is deep": lambda: safetensors(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "header has no tensors": lambda: safetensors({}),
    "header has many tensors": lambda: safetensors(
        {f"t{n}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in range(30_000)}
    ),
    "metadata is a number": lambda: safetensors({"__metadata__": 5}),
    "offsets beyond the file": lambda: one("F32", [4], [0, 1 << 40]),
    "offsets negative": lambda: one("F32", [4], [-16, 0]),
    "offsets reversed": lambda: one("F32", [4], [16, 0]),
    "offsets missing": lambda: safetensors({"a": {"dtype": "F32", "shape": [4]}}, bytes(16)),
    "shape absurd": lambda: one("F32", [1 << 62, 1 << 62], [0, 16]),
    "shape is too small": lambda: one("F32", [3], [0, 16]),
    "shape is negative": lambda: one("F32", [-4], [0, 16]),
    "shape is a text": lambda: one("F32", "4", [0, 16]),
    "dtype unknown": lambda: one("\x1b[31mred", [4], [0, 16]),
    "dtype of four bits": lambda: one("F4", [32], [0, 16]),
    "dtype of six bits": lambda: one("F6_E2M3", [16], [0, 12], 12),
    "overlapping tensors": lambda: safetensors(
        {n: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for n in "ab"}, bytes(16)
    ),
    "hole between tensors": lambda: one("F32", [4], [16, 32], 32),
    "more data than tensors": lambda: one("F32", [4], [0, 16], 99),
    "a pickle": lambda: pickle.dumps({"params": Evil()}),
    "a PyTorch file": lambda: pth(good()),
}
"""Name -> a safetensors file."""

# --- all


def _cut(build: Callable[[Any], bytes], length: int) -> bytes:
    return build(good())[:length]


def _flipped(legacy_format: bool, at: float) -> bytes:
    whole = bytearray(pth(good(), legacy=legacy_format))
    place = int(at * len(whole)) if isinstance(at, float) else at
    whole[place] ^= 0xFF
    return bytes(whole)


def _legacy_lying() -> bytes:
    """Return a file in the older format whose first storage claims to have a billion values."""
    whole = legacy({"a": torch.zeros(300)})
    return whole.replace(b"M\x2c\x01N", b"J\x00\xca\x9a\x3bN", 1)


def _legacy_pickle(pickled: bytes) -> bytes:
    """Return a file in the older format with another pickle."""
    head = io.BytesIO()
    for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(value, head, 2)
    return head.getvalue() + pickled + pickle.dumps([], 2)


def _remove(name: str) -> Callable[[dict[str, bytes]], object]:
    return lambda records: records.pop(f"archive/{name}")


def _put(name: str, data: bytes) -> Callable[[dict[str, bytes]], object]:
    return lambda records: records.update({f"archive/{name}": data})


def _bomb() -> bytes:
    """Return an archive with a record of 64 MB that is compressed to 64 kB."""
    return repacked(_put("data/0", bytes(1 << 26)), zipfile.ZIP_DEFLATED)


def _evil(by_torch: bool) -> bytes:
    return pth({"params": Evil()}) if by_torch else pickle.dumps({"params": Evil()})


def _duplicate() -> bytes:
    file = io.BytesIO(repacked())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("archive/data/0", b"other")
    return file.getvalue()


ARCHIVES: dict[str, Builder] = {
    "record lies about its size": lambda: lying("size", 3_300_000_000),
    "record lies about its compressed size": lambda: lying("compressed", 5),
    "record is larger than the file by little": lambda: lying("size", len(repacked()) - 10),
    "record is behind the file": lambda: lying("offset", 4_000_000_000),
    "pickle lies about its size": lambda: lying("size", 3_300_000_000, b"archive/data.pkl"),
    "pickle is elsewhere": lambda: lying("offset", 7, b"archive/data.pkl"),
    "pickle is too large": lambda: with_pickle(bytes(9 << 20)),
    "records share one megabyte": overlapping,
    "compressed": lambda: repacked(compression=zipfile.ZIP_DEFLATED),
    "compressed bomb": _bomb,
    "compressed otherwise": lambda: repacked(compression=zipfile.ZIP_LZMA),
    "two records of one name": _duplicate,
    "many records": lambda: bad_end(10, "<H", 65_000),
    "large directory": lambda: bad_end(12, "<L", 4_000_000_000),
    "directory elsewhere": lambda: bad_end(16, "<L", 4_000_000_000),
    "comment without text": lambda: bad_end(20, "<H", 500),
    "text after the end": lambda: repacked() + b"more",
    "no pickle": lambda: repacked(_remove("data.pkl")),
    "no storage": lambda: repacked(_remove("data/3")),
    "short storage": lambda: repacked(_put("data/3", b"1234")),
    "no records": lambda: b"PK\x03\x04" + b"PK\x05\x06" + bytes(18),
    "another archive": lambda: with_name("word/document.xml"),
    "program": lambda: repacked(_put("constants.pkl", b"")),
    "unknown byte order": lambda: repacked(_put("byteorder", b"\x1b[31mmiddle")),
    "unknown version": lambda: repacked(_put("version", b"many")),
    "version of the future": lambda: repacked(_put("version", b"99999")),
    "evil": lambda: _evil(True),
    "evil without PyTorch": lambda: _evil(False),
    "text": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "page": lambda: b"<!DOCTYPE html><html><body>404</body></html>",
    "zeros": lambda: bytes(100_000),
    "tar": lambda: b"storages" + bytes(500),
}  # fmt: skip


def with_name(name: str) -> bytes:
    """Return an archive with one record."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"text")
    return file.getvalue()


CUTTERS = {suffix: functools.partial(_cut, build) for suffix, build in SAVERS.items()}
CUTS = (0, 1, 4, 10, 100, 2000, -5000, -100, -22, -1)
OLD_STATES = (
    "nan",
    "window empty",
    "fp8",
    "many groups",
    "many tensors",
    "stride 0",
    "list",
    "key is a tuple",
)
"""What is stored in the older format too."""
OLD_PICKLES = (
    "runs a shell", "stack global", "nothing", "no stop", "distant memo", "deep lists",
    "storage too large", "storage negative", "storage without a record", "tensor too large",
    "tensor of stride 0", "number",
)  # fmt: skip
ODD_FILES: dict[str, Builder] = {
    **dict(cases({"pth": pth, "safetensors": save}, ZERO | STATES)),
    **dict(cases({"pth": pth}, SCALARS | PICKLED)),
    **dict(cases({"pt": legacy}, {k: (STATES | PICKLED)[k] for k in OLD_STATES})),
    **dict(cases({"pth": with_pickle}, RAW_PICKLES)),
    **dict(cases({"pt": _legacy_pickle}, {k: RAW_PICKLES[k] for k in OLD_PICKLES})),
    **{f"{name}.safetensors": build for name, build in SAFETENSORS.items()},
    **{f"{name}.pth": build for name, build in ARCHIVES.items()},
    **dict(cases(CUTTERS, {f"cut at {n}": n for n in CUTS})),
    **{f"flipped at {at}.pth": functools.partial(_flipped, False, at) for at in (0, 2, 100, -20)},
    **{f"flipped at {at}.pt": functools.partial(_flipped, True, at) for at in (0, 2, 12, 40)},
    "storage lies about its size.pt": _legacy_lying,
}  # fmt: skip
"""Name of each file -> what builds its content."""
