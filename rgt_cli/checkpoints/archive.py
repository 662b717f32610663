"""Read the directory of a PyTorch file (a zip archive) and check every claim in it against the file.

The reader of PyTorch allocates what a record claims to contain before it reads the record.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rgt_cli.errors import CheckpointError

MAX_BYTES = 2 << 30
"""Bytes. No RGT is nearly as large."""
MAX_RECORDS = 8_000
"""Records of an archive, each of them a tensor. A published RGT has 2,000."""
MAX_PICKLE = 8 << 20
"""Bytes of the pickle that describes the tensors. That of a published RGT has 250 kB."""
MAX_HEADER = 2 << 20
"""Bytes of the header of a safetensors file. That of a published RGT has 200 kB."""
_MAX_DIRECTORY = MAX_RECORDS * 256
"""Bytes of the directory of an archive."""
_END = struct.Struct("<4s4H2LH")
"""The record at the end: signature, two disks, records here and in total, bytes and offset, comment."""
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCAL = struct.Struct("<4s26s")


@dataclass(frozen=True)
class Archive:
    """What the directory of a PyTorch file lists."""

    pickled: bytes
    """The pickle that describes the tensors."""
    storages: Mapping[str, int]
    """Name of each storage -> its bytes."""


def is_archive(file: BinaryIO) -> bool:
    """Return whether a file starts like a zip archive, as the reader of PyTorch decides."""
    file.seek(0)
    return file.read(4) == b"PK\x03\x04"


def read_archive(path: Path) -> Archive:
    """Read the directory of a zip archive, and the pickle in it.

    Raises:
        CheckpointError: The archive is damaged, claims to contain more than the file has, is compressed,
            or was not written by `torch.save`.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        _check_directory(file, size)
        try:
            with zipfile.ZipFile(file) as archive:
                records = archive.infolist()
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as error:
            raise CheckpointError("damaged: the directory of the archive is broken") from error
        _check_records(records, size)
        folder = records[0].filename.partition("/")[0] if records else ""
        by_name = {record.filename.removeprefix(f"{folder}/"): record for record in records}
        if "constants.pkl" in by_name:
            raise CheckpointError(
                "a TorchScript program, not a checkpoint: use a file with plain weights"
            )
        if "data.pkl" not in by_name:
            raise CheckpointError("not a checkpoint: the archive has no record data.pkl")
        return Archive(
            pickled=_read_record(file, by_name["data.pkl"]),
            storages={
                name.removeprefix("data/"): record.file_size
                for name, record in by_name.items()
                if name.startswith("data/")
            },
        )


def _check_directory(file: BinaryIO, size: int) -> None:
    """Refuse a directory that is too large to be read at all."""
    end = _unpack(file, _END, size - _END.size, b"PK\x05\x06")
    entries, directory, comment = end[4], end[5], end[7]
    try:
        locator = _unpack(file, _END64_LOCATOR, size - _END.size - _END64_LOCATOR.size, b"PK\x06\x07")
    except CheckpointError:
        pass  # only archives of 4 GB need it, but PyTorch writes it into each one
    else:
        end64 = _unpack(file, _END64, locator[2], b"PK\x06\x06")
        entries, directory = max(entries, end64[7]), max(directory, end64[8])
    if comment:
        raise CheckpointError("damaged, or not a checkpoint: the archive ends with a comment")
    if entries > MAX_RECORDS or directory > min(size, _MAX_DIRECTORY):
        raise CheckpointError(
            f"not an RGT checkpoint: the archive claims to have {entries} records, "
            f"with a directory of {directory} bytes"
        )


def _unpack(file: BinaryIO, form: struct.Struct, at: int, signature: bytes) -> tuple[Any, ...]:
    """Return the fields of a structure in the file, which begins with `signature`."""
    content = b""
    if 0 <= at < MAX_BYTES:
        file.seek(at)
        content = file.read(form.size)
    if len(content) < form.size or not content.startswith(signature):
        raise CheckpointError("damaged, or not a checkpoint: the archive has no end")
    return form.unpack(content)


def _check_records(records: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse records that do not fit into a file of `size` bytes, together or alone."""
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise CheckpointError("refused: the archive is compressed: save the weights with torch.save")
    claimed = sum(record.file_size for record in records)
    if claimed > size:
        raise CheckpointError(
            f"damaged: the archive claims to contain {claimed} bytes, but the file has {size}"
        )
    for record in records:
        end = record.header_offset + record.file_size
        if record.file_size != record.compress_size or record.header_offset < 0 or end > size:
            raise CheckpointError("damaged: the archive lists a record that is not in the file")
    if len({record.filename for record in records}) < len(records):
        raise CheckpointError("damaged: the archive has several records of one name")


def _read_record(file: BinaryIO, record: zipfile.ZipInfo) -> bytes:
    """Return the content of a record that is stored. Its checksum is ignored: PyTorch may omit it."""
    if record.file_size > MAX_PICKLE:
        raise CheckpointError(f"not an RGT checkpoint: its pickle has {record.file_size} bytes")
    header = _unpack(file, _LOCAL, record.header_offset, b"PK\x03\x04")
    name, extra = struct.unpack_from("<HH", header[1], 22)
    file.seek(record.header_offset + _LOCAL.size + name + extra)
    return file.read(record.file_size)
