"""The rows of a build's checked chunks, by place, with their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from feature_pipeline.rows import AudioRef
from shared.errors import UserError

Place = tuple[int, int]  # chunk, position in it


class Chunks:
    """Rows of the checked chunks by place, with their bytes; keeps the last chunk open."""

    def __init__(self, checked: Sequence[Path]) -> None:
        self._checked = checked
        self._open = -1
        self._rows: list[dict[str, Any]] = []

    def row(self, place: Place) -> dict[str, Any]:
        """The row at a place, `audio` filled. Raises UserError if its file is not what was checked."""
        chunk, position = place
        if chunk != self._open:
            self._rows, self._open = pq.read_table(self._checked[chunk]).to_pylist(), chunk
        row = self._rows[position]
        if row["file"] is None:
            return row
        ref = AudioRef(row["audio"]["path"], Path(row["file"]), row["member"])
        return {**row, "audio": {"bytes": _unchanged(ref, row["source_hash"]), "path": ref.name}}


def _unchanged(ref: AudioRef, digest: str) -> bytes:
    try:
        data = ref.read()
    except (FileNotFoundError, UserError):
        data = b""
    if hashlib.sha256(data).hexdigest() != digest:
        raise UserError("A file changed while the data set was built", got=ref.name,
                        hint="run the build again: it starts anew")
    return data
