"""Walk through the pickle of a checkpoint, opcode by opcode, before PyTorch reads it.

The walk computes only what it needs to check: which functions the pickle calls, and what its tensors and
storages claim to contain. Nothing that the pickle names is imported, called or allocated.
"""

from __future__ import annotations

import io
import pickletools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rgt_cli.checkpoints.archive import MAX_PICKLE, MAX_RECORDS, is_archive, read_archive
from rgt_cli.checkpoints.tensors import shown
from rgt_cli.errors import CheckpointError

MAX_OPCODES = 1_000_000
"""Opcodes of a pickle. That of a published RGT has 63,000."""
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""The first value in a file that PyTorch wrote before version 1.6."""
_OTHER_FILES = {
    b"version https://git-lfs": "a pointer of Git LFS: download the file again",
    b"<": "a web page: download the file again",
    **dict.fromkeys((b"\x89PNG", b"\xff\xd8\xff", b"RIFF"), "an image: -m names a model"),
}
"""Start of a file -> what it is instead of a checkpoint, and what to do."""
_MAX_DIMENSIONS = 8
_MAX_COUNT = 1 << 62
_STORAGES = {
    "Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1,
    "Byte": 1, "Bool": 1, "Untyped": 1,
}  # fmt: skip
"""Kind of storage -> bytes of an element."""
_STORAGE = re.compile(r"torch\.(?:cuda\.|storage\.)?(\w+)Storage")
_TENSORS = {
    f"torch._utils.{name}" for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")
}
_HARMLESS = re.compile(
    r"collections\.(OrderedDict|Counter)|torch\._utils\._rebuild_parameter|torch\.(Size|device)"
    r"|torch\.(u?int\d+|b?float\w+|complex\d+|bool)"
)
"""Other names that the pickle of plain weights may contain."""
_ODD_TENSORS = {
    "_rebuild_qtensor": "a quantized tensor",
    "_rebuild_sparse_tensor": "a sparse tensor",
    "_rebuild_nested_tensor": "a nested tensor",
    "_rebuild_njt": "a nested tensor",
    "_rebuild_meta_tensor_no_storage": "a tensor without values",
    "_rebuild_wrapper_subclass": "a tensor of an unusual kind",
    "_rebuild_from_type_v2": "a tensor of an unusual kind",
}
"""Last part of a name -> what PyTorch uses it for."""


class _Name(NamedTuple):
    """A function or class that the pickle names."""

    path: str


class _Storage(NamedTuple):
    """A storage that the pickle refers to."""

    elements: int


class _Mark:
    """The opcode MARK on the stack."""


class _Opaque:
    """A value that need not be known, such as a dict or a tensor."""


_MARK, _OPAQUE = _Mark(), _Opaque()
_CONSTANTS: Mapping[str, object] = {
    "NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (), "MARK": _MARK,
    "EMPTY_LIST": _OPAQUE, "EMPTY_DICT": _OPAQUE, "EMPTY_SET": _OPAQUE,
}  # fmt: skip
"""Opcode -> what it puts on the stack."""
_LITERALS = {"BININT", "BININT1", "BININT2", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING", "LONG1"}
"""Opcodes that put their argument on the stack."""


def check_pickle(path: Path) -> None:
    """Refuse a PyTorch file whose pickle is broken, could run code, or claims more than the file has.

    Raises:
        CheckpointError: With the reason.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        if not is_archive(file):
            file.seek(0)
            _check_legacy(file.read(MAX_PICKLE), path.stat().st_size)
            return
    archive = read_archive(path)
    walk = _Walk()
    walk.read(io.BytesIO(archive.pickled))
    for key, claimed in walk.storages.items():
        if claimed > archive.storages.get(key, 0):
            raise CheckpointError(f"damaged: a tensor claims to have {claimed} bytes, but has fewer")


def _check_legacy(start: bytes, size: int) -> None:
    """Check a file in the older format: five pickles, and the content of the storages.

    Args:
        start: The start of the file, with all of its pickles.
        size: Bytes of the file.
    """
    if kind := next((kind for sign, kind in _OTHER_FILES.items() if start.startswith(sign)), None):
        raise CheckpointError(f"not a checkpoint, but {kind}")
    file = io.BytesIO(start)
    if _Walk().read(file) != _LEGACY_MAGIC:
        raise CheckpointError("damaged, or not a checkpoint: it was not written by torch.save")
    walk = _Walk()
    for _ in ("protocol", "system", "content", "keys"):
        walk.read(file)
    claimed = sum(8 + length for length in walk.storages.values())
    left = size - file.tell()
    if claimed > left:
        raise CheckpointError(
            f"damaged: its tensors claim to have {claimed} bytes, but the file has {left} for them"
        )


class _Walk:
    """The state of a walk: the stack and the memo of the pickle, as far as they matter."""

    def __init__(self) -> None:
        self.storages: dict[str, int] = {}
        """Name of each storage -> the bytes that it claims to have."""
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def read(self, file: io.BytesIO) -> Any:
        """Walk through one pickle and return its value.

        Raises:
            CheckpointError: The pickle is broken, or is not one of plain weights.
        """
        self._stack, self._memo = [], {}
        try:
            for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
                if count > MAX_OPCODES:
                    raise CheckpointError("not an RGT checkpoint: its pickle has too many opcodes")
                self._step(opcode.name, argument)
            return self._stack.pop()
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise CheckpointError("damaged, or not a checkpoint: its pickle is broken") from error

    def _step(self, opcode: str, argument: Any) -> None:
        if opcode in _LITERALS:
            self._stack.append(argument)
        elif opcode in _CONSTANTS:
            self._stack.append(_CONSTANTS[opcode])
        elif opcode in _ACTIONS:
            _ACTIONS[opcode](self, argument)
        elif opcode not in ("PROTO", "STOP"):
            raise CheckpointError(
                f"refused: a pickle that could run code (the opcode {opcode}); "
                "use a file with plain weights"
            )

    def _pop(self, count: int) -> list[Any]:
        """Remove and return the last values."""
        values = self._stack[-count:]
        if len(values) < count or _MARK in values:
            raise IndexError
        del self._stack[-count:]
        return values

    def _pop_to_mark(self) -> list[Any]:
        """Remove and return the values after the last mark, and the mark."""
        at = len(self._stack) - 1
        while self._stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError
        values = self._stack[at + 1 :]
        del self._stack[at:]
        return values

    def put(self, number: int) -> None:
        """Remember the last value."""
        self._memo[number] = self._stack[-1]

    def get(self, number: int) -> None:
        """Repeat a value."""
        self._stack.append(self._memo[number])

    def pack(self, count: int | None) -> None:
        """Make a tuple of the last values, or of those after the mark."""
        self._stack.append(tuple(self._pop_to_mark() if count is None else self._pop(count)))

    def insert(self, pairs: list[Any]) -> None:
        """Insert into a dict. A key that is a nested tuple is refused: its hash can take forever."""
        if not all(key is None or isinstance(key, (str, int, float)) for key in pairs[::2]):
            raise CheckpointError("not a checkpoint: a key in it is neither text nor a number")

    def name(self, argument: str) -> None:
        """Accept a name that the pickle of plain weights may contain."""
        path = argument.replace(" ", ".", 1)
        last = path.rpartition(".")[2]
        storage = _STORAGE.fullmatch(path)
        if storage and storage[1] not in _STORAGES:
            raise CheckpointError(
                f"not an RGT checkpoint: it contains a tensor of the kind {storage[1]}"
            )
        if last in _ODD_TENSORS and path.startswith("torch."):
            raise CheckpointError(f"not an RGT checkpoint: it contains {_ODD_TENSORS[last]}")
        if not (storage or path in _TENSORS or _HARMLESS.fullmatch(path)):
            raise CheckpointError(
                f"refused: a pickle that could run code ({shown(path)}); use a file with plain weights"
            )
        self._stack.append(_Name(path))

    def call(self) -> None:
        """Check a call of what was named: only that of a tensor matters."""
        called, arguments = self._pop(2)
        if not isinstance(called, _Name) or not isinstance(arguments, tuple):
            raise CheckpointError("refused: its pickle calls what it does not name")
        if called.path in _TENSORS:
            _check_tensor(*arguments[:4])
        self._stack.append(_OPAQUE)

    def refer(self) -> None:
        """Record what a storage claims to contain."""
        (identity,) = self._pop(1)
        _, kind, key, _, elements, *views = identity
        found = _STORAGE.fullmatch(kind.path)
        if not found or not isinstance(key, str) or views not in ([], [None]):
            raise ValueError
        _check_counts(elements)
        claimed = elements * _STORAGES[found[1]]
        self.storages[key] = max(claimed, self.storages.get(key, 0))
        if len(self.storages) > MAX_RECORDS:
            raise CheckpointError("not an RGT checkpoint: it has too many tensors")
        self._stack.append(_Storage(elements))


_ACTIONS: Mapping[str, Callable[[_Walk, Any], object]] = {
    "BINPUT": _Walk.put,
    "LONG_BINPUT": _Walk.put,
    "BINGET": _Walk.get,
    "LONG_BINGET": _Walk.get,
    "TUPLE": lambda walk, _: walk.pack(None),
    "TUPLE1": lambda walk, _: walk.pack(1),
    "TUPLE2": lambda walk, _: walk.pack(2),
    "TUPLE3": lambda walk, _: walk.pack(3),
    "APPEND": lambda walk, _: walk._pop(1),
    "APPENDS": lambda walk, _: walk._pop_to_mark(),
    "BUILD": lambda walk, _: walk._pop(1),
    "SETITEM": lambda walk, _: walk.insert(walk._pop(2)),
    "SETITEMS": lambda walk, _: walk.insert(walk._pop_to_mark()),
    "GLOBAL": _Walk.name,
    "REDUCE": lambda walk, _: walk.call(),
    "NEWOBJ": lambda walk, _: walk.call(),
    "BINPERSID": lambda walk, _: walk.refer(),
}
"""Opcode -> what it does, given the walk and its argument."""


def _check_tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> None:
    """Refuse a tensor beyond its storage: PyTorch would extend the storage."""
    if not isinstance(storage, _Storage) or len(shape) != len(strides) or len(shape) > _MAX_DIMENSIONS:
        raise ValueError
    _check_counts(offset, *shape, *strides)
    reached = offset + 1 + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if 0 not in shape and reached > storage.elements:
        raise CheckpointError(
            f"damaged: a tensor of the shape {shape} is larger than its {storage.elements} values"
        )


def _check_counts(*numbers: Any) -> None:
    """Refuse what cannot be a number of elements.

    Raises:
        ValueError: One of the numbers is negative, absurd, or no integer.
    """
    if any(not isinstance(n, int) or not 0 <= n <= _MAX_COUNT for n in numbers):
        raise ValueError
