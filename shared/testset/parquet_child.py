"""The process in which a Parquet file of other people is read, so that what it unpacks to costs this process alone.

Its memory is limited from outside. It opens nothing: it asks for bytes on standard output and gets them on standard
input, so that network and token stay with the parent (`parquet_rows.py`). Run by its path; knows pyarrow only.

A frame is a letter, a length of 8 bytes, and so many bytes: r (offset, length) asks for bytes; f facts, then w which
columns are wanted; a a row, e the end, x an error in words.
"""

from __future__ import annotations

import io
import json
import struct
import sys
from typing import Any, BinaryIO

FRAME = struct.Struct(">cQ")
PLACE = struct.Struct(">QQ")
ROWS_AT_ONCE = 4  # a row may hold a clip of many megabytes
MOST_TEXT = 100_000  # characters of a cell that is no audio


def send(stream: BinaryIO, kind: bytes, *parts: bytes) -> None:
    """Write a frame."""
    stream.write(FRAME.pack(kind, sum(map(len, parts))))
    for part in parts:
        stream.write(part)
    stream.flush()


class _Remote(io.RawIOBase):
    """The parent's file."""

    def __init__(self, size: int) -> None:
        self._size, self._at = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + {0: 0, 1: self._at, 2: self._size}[whence]
        return self._at

    def read(self, n: int = -1) -> bytes:
        n = max(0, min(n if n >= 0 else self._size, self._size - self._at))
        send(sys.stdout.buffer, b"r", PLACE.pack(self._at, n))
        data = sys.stdin.buffer.read(n)
        self._at += len(data)
        return data


def _facts(file: Any) -> dict[str, Any]:
    """Names of columns, rows, and of each row group (packed, unpacked) bytes by column."""
    groups = []
    for n_group in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(n_group)
        sizes: dict[str, tuple[int, int]] = {}
        for n_column in range(group.num_columns):
            column = group.column(n_column)
            name = column.path_in_schema.split(".")[0]
            packed, unpacked = sizes.get(name, (0, 0))
            sizes[name] = packed + column.total_compressed_size, unpacked + column.total_uncompressed_size
        groups.append(sizes)
    return {"names": file.schema_arrow.names, "rows": file.metadata.num_rows, "groups": groups}


def _row(row: dict[str, Any], audio: str, most_bytes: int) -> tuple[bytes, bytes]:
    """A row as JSON, and its sound; a clip that is too long is cut there, which shows that it is."""
    given = row.pop(audio)
    data = given.get("bytes") if isinstance(given, dict) else given
    path = given.get("path") if isinstance(given, dict) else given
    facts = {name: value[:MOST_TEXT] if isinstance(value, str) else value if isinstance(value, int) else
             None if value is None else str(value)[:MOST_TEXT] for name, value in row.items()}
    head = {"cells": facts, "path": path[:MOST_TEXT] if isinstance(path, str) else "", "kind": type(given).__name__,
            "has_bytes": isinstance(data, bytes)}
    return json.dumps(head).encode() + b"\n", data[: most_bytes + 1] if isinstance(data, bytes) else b""


def main(size: int, most_bytes: int) -> None:
    out = sys.stdout.buffer
    try:
        import pyarrow.parquet as pq

        file = pq.ParquetFile(_Remote(size), buffer_size=1 << 20, thrift_string_size_limit=100_000_000,
                              thrift_container_size_limit=1_000_000)
        send(out, b"f", json.dumps(_facts(file)).encode())
        line = sys.stdin.buffer.readline()
        if not line:  # the facts were enough
            return
        asked = json.loads(line)
        for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=asked["columns"], use_threads=False):
            for row in batch.to_pylist():
                send(out, b"a", *_row(row, asked["audio"], most_bytes))
        send(out, b"e")
    except MemoryError:
        send(out, b"m")
    except (OSError, ValueError, KeyError) as error:  # what pyarrow raises for damage
        send(out, b"x", f"{type(error).__name__}: {error}"[:500].encode("utf-8", "replace"))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
