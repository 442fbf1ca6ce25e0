"""A Parquet file that somebody else made, read row by row in a process of its own, whose memory is limited.

The sizes that a file names, in its list of parts and at each page, are its maker's word. Here they may lie: the child
(`parquet_child.py`) runs out of its own memory, and the file is refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from shared.system import processes
from shared.testset import parquet_child as child_side

MEMORY_BYTES = 1536 << 20  # a few clips of the largest size, pages of some hundred megabytes, pyarrow itself
READ_BYTES = 64 << 20  # that are handed over at a time
FACTS_BYTES = 64 << 20


class Damaged(Exception):
    """The file is no Parquet, is damaged, or could not be read on."""


class TooMuchMemory(Exception):
    """The file unpacks to more than the child may hold."""


@dataclass(frozen=True)
class Cell:
    """A row's sound as its file holds it: data, None where there are only a path or nothing; kind: of its value."""

    data: bytes | None
    path: str
    kind: str


class ParquetRows:
    """An open file. names: of its columns. n_rows: as it says. groups: (packed, unpacked) bytes by column."""

    def __init__(self, file: BinaryIO, child: processes.Child, most_bytes: int) -> None:
        self._file, self._child, self._most_bytes = file, child, most_bytes
        facts = self._loads(self._next(b"f"))
        self.names: list[str] = facts["names"]
        self.n_rows: int = facts["rows"]
        self.groups: list[dict[str, tuple[int, int]]] = facts["groups"]

    def rows(self, audio: str, others: Sequence[str]) -> Iterator[tuple[Cell, dict[str, Any]]]:
        """(sound, other cells) of each row, in order; once. Raises Damaged, TooMuchMemory."""
        asked = {"audio": audio, "columns": [audio, *others]}
        self._write(json.dumps(asked).encode() + b"\n")
        while (frame := self._next(b"a", b"e")) is not None:
            head, _, data = frame.partition(b"\n")
            facts = self._loads(head)
            yield Cell(data if facts["has_bytes"] else None, facts["path"], facts["kind"]), facts["cells"]

    def _next(self, *wanted: bytes) -> bytes | None:
        """The content of the child's next frame, None at the end; answers its wishes for bytes meanwhile."""
        while True:
            kind, length = child_side.FRAME.unpack(self._read(child_side.FRAME.size))
            if kind == b"m":
                raise TooMuchMemory
            if kind not in (*wanted, b"r", b"x") or length > FACTS_BYTES + self._most_bytes:
                raise Damaged(f"frame {kind!r} of {length} bytes")
            data = self._read(length)
            if kind == b"x":
                raise Damaged(data.decode("utf-8", "replace"))
            if kind != b"r":
                return None if kind == b"e" else data
            self._answer(*child_side.PLACE.unpack(data))

    def _answer(self, offset: int, length: int) -> None:
        self._file.seek(offset)
        while length:
            data = self._file.read(min(length, READ_BYTES))
            if not data:
                raise Damaged("the file ends early")
            self._write(data)
            length -= len(data)

    def _write(self, data: bytes) -> None:
        stdin = self._child.process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended: `_read` finds out why
            stdin.write(data)
            stdin.flush()

    def _read(self, n: int) -> bytes:
        stdout: IO[bytes] | None = self._child.process.stdout
        assert stdout is not None
        data = stdout.read(n)
        if len(data) < n:  # a library that is refused memory may end its process
            self._child.process.wait()
            raise TooMuchMemory
        return data

    @staticmethod
    def _loads(data: bytes | None) -> dict[str, Any]:
        return dict(json.loads(data or b"{}"))


@contextlib.contextmanager
def parquet_rows(file: BinaryIO, size: int, most_bytes: int) -> Iterator[ParquetRows]:
    """Open a Parquet file in a child for the length of a `with` block.

    Args:
        file: can be read and sought; only the parent touches it.
        size: of it, in bytes.
        most_bytes: of a clip; a longer one comes cut to one byte more.

    Raises:
        Damaged: it is no Parquet. TooMuchMemory: its list of parts alone is too large. And what reading `file` raises.
    """
    command = [sys.executable, "-P", str(Path(child_side.__file__)), str(size), str(most_bytes)]
    # The system's allocator: it asks for what is needed, others for a gigabyte to begin with.
    extra = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    if "PYTHONPATH" in os.environ:
        extra["PYTHONPATH"] = os.environ["PYTHONPATH"]
    with processes.running(command, processes.Limits(memory=MEMORY_BYTES), stdin=subprocess.PIPE, extra=extra) as child:
        yield ParquetRows(file, child, most_bytes)
