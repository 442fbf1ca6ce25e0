"""Parquet and other files on disk: each appears whole or not at all.

Two kinds of table. The work tables `listed` and `checked` hold chunks of a build in progress; `SHARD` is what a data
set consists of, and what `datasets.load_dataset("parquet", …)` reads. Knows nothing of cleaning or splits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feature_pipeline.rows import AudioRef, Row
from shared.system.files import whole_file, write_text

AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LISTED = pa.schema([
    ("id", pa.string()), ("source", pa.string()), ("name", pa.string()), ("path", pa.string()),
    ("member", pa.string()), ("data", pa.binary()), ("start", pa.float64()), ("end", pa.float64()),
    ("text", pa.string()), ("language", pa.string()),
    ("speaker", pa.string()), ("split", pa.string()), ("extras", pa.string()), ("text_language", pa.string()),
])
CHECKED = pa.schema([
    ("id", pa.string()), ("source", pa.string()), ("audio", AUDIO),
    ("file", pa.string()), ("member", pa.string()),  # where the bytes are, if they are not in `audio`
    ("text", pa.string()), ("language", pa.string()), ("speaker", pa.string()), ("split", pa.string()),
    ("extras", pa.string()), ("duration", pa.float32()),
    ("drop", pa.string()),  # why the row is dropped; null: it stays
    ("detail", pa.string()), ("sample_hash", pa.string()), ("source_hash", pa.string()), ("sentence", pa.string()),
    ("n_bytes", pa.int64()), ("n_bytes_source", pa.int64()), ("letters_per_second", pa.float32()),
    ("loudness_dbfs", pa.float32()), ("text_language", pa.string()),
    ("scripts", pa.string()),  # {script: letters}, as JSON
])
SHARD = pa.schema([
    ("id", pa.string()), ("audio", AUDIO), ("text", pa.string()), ("language", pa.string()), ("speaker", pa.string()),
    ("duration", pa.float32()), ("source", pa.string()),
])
ROWS_PER_CHUNK = 64
CHUNK_BYTES = 32 << 20  # of audio held in memory
ROWS_PER_GROUP = 256  # of a shard: one read of the loader
GROUP_BYTES = 32 << 20


def write_json(path: Path, value: object) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_listed(path: Path, source: str, rows: Sequence[Row], text_language: str | None = None) -> None:
    """One chunk of a source's rows. text_language: of their texts; None: the speech's."""
    write_table(path, LISTED, [
        {**_listed(source, row), "text_language": text_language or row.language} for row in rows])


def read_listed(path: Path) -> list[dict[str, Any]]:
    """Rows as dicts, with an `audio` AudioRef for name, path, data, start and end."""
    rows = pq.read_table(path, schema=LISTED).to_pylist()
    for row in rows:
        where = row.pop("path")
        row["audio"] = AudioRef(row["name"], Path(where) if where else None, row.pop("member"), row.pop("data"),
                                row.pop("start"), row.pop("end"))
    return rows


def write_table(path: Path, schema: pa.Schema, rows: Sequence[dict[str, Any]]) -> None:
    """One file of one row group."""
    with whole_file(path) as draft, _writer(draft, schema) as writer:
        writer.write_table(pa.Table.from_pylist(list(rows), schema=schema))


def write_shard(path: Path, schema: pa.Schema, rows: Iterable[dict[str, Any]]) -> None:
    """Rows as they come, in row groups of bounded size."""
    group: list[dict[str, Any]] = []
    n_bytes = 0
    with whole_file(path) as draft, _writer(draft, schema) as writer:
        for row in rows:
            group.append(row)
            n_bytes += len(row["audio"]["bytes"])
            if len(group) == ROWS_PER_GROUP or n_bytes >= GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                group, n_bytes = [], 0
        if group:
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def _writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    # Compressed audio does not shrink again; text does. Minimum and maximum of binary columns help nobody.
    columns = {name: "NONE" if name in ("audio.bytes", "data") else "ZSTD" for name in _leaves(schema)}
    small = [name for name in columns if name in ("duration", "drop", "split", "source", "speaker", "language")]
    return pq.ParquetWriter(path, schema, compression=columns, use_dictionary=small, write_statistics=small)


def _leaves(schema: pa.Schema) -> list[str]:
    return [f"{f.name}.{inner.name}" if pa.types.is_struct(f.type) else f.name
            for f in schema for inner in (f.type if pa.types.is_struct(f.type) else [f])]


def _listed(source: str, row: Row) -> dict[str, Any]:
    audio = row.audio
    return {
        "id": f"{source}/{row.id}", "source": source, "name": audio.name,
        "path": str(audio.path) if audio.path else None, "member": audio.member, "data": audio.data,
        "start": audio.start, "end": audio.end,
        "text": row.text, "language": row.language, "speaker": row.speaker, "split": row.split,
        "extras": json.dumps(dict(row.extras), ensure_ascii=False, sort_keys=True) if row.extras else None,
    }


