"""The decided rows in, the finished data set out: shards, manifest, card and report, put in place together.

The folder without a `manifest.json` is not a data set: the manifest is taken away first and put back last.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from feature_pipeline.chunks import Chunks
from feature_pipeline.config import Config
from feature_pipeline.label_check import write_labels
from feature_pipeline.manifest import manifest
from feature_pipeline.report.card import card
from feature_pipeline.report.report import report, samples_of
from feature_pipeline.selection import Selection, split_sizes
from feature_pipeline.store import SHARD, write_json, write_shard
from shared.errors import UserError
from shared.system.files import write_text

COMPARED = [("hypothesis", pa.string()), ("wer", pa.float32()), ("cer", pa.float32())]


def write_dataset(selection: Selection, checked: Sequence[Path], out: Path, work: Path, config: Config,
                  counts: dict[str, int]) -> None:
    """Write everything into the work folder, what is there already excepted, then move it to its place."""
    ready = work / "ready"
    shards = list(_shards(selection, config))
    expected = {name for name, _, _ in shards}
    for stray in (ready / "data").glob("*.parquet"):
        if stray.name not in expected:
            stray.unlink()
    columns = config.keep
    _check_columns(checked, columns)
    schema = _schema(columns, compared=config.label_check is not None)
    chunks = Chunks(checked)
    n_rows = sum(count for count, _ in split_sizes(selection).values())
    with tqdm(desc="writing", total=n_rows, unit=" rows", disable=None) as progress:
        for name, split, (first, last) in shards:
            path = ready / "data" / name
            if not path.is_file():
                write_shard(path, schema, _rows(selection, chunks, split, first, last, columns))
            progress.update(pq.read_metadata(path).num_rows)
    facts = manifest(selection, config, ready / "data", counts)
    write_text(ready / "README.md", card(facts, config))
    write_text(ready / "report.html", report(selection, facts, samples_of(selection, chunks)))
    if config.label_check is not None:
        write_labels(selection, chunks, ready, config)
    write_json(ready / "manifest.json", facts)
    _put(ready, out)


def _check_columns(checked: Sequence[Path], columns: Sequence[str]) -> None:
    """Raise UserError for a column that no row has, naming those there are."""
    missing, there = set(columns), set()
    for path in checked if missing else ():
        for (extras,) in zip(pq.read_table(path, columns=["extras"])["extras"].to_pylist(), strict=True):
            there.update(json.loads(extras or "{}"))
        missing -= there
        if not missing:
            return
    if missing:
        raise UserError("The sources have no such column", got=", ".join(sorted(missing)),
                        limit=", ".join(sorted(there)) or "no further columns", hint="correct `keep`")


def _shards(selection: Selection, config: Config) -> Iterator[tuple[str, str, tuple[int, int]]]:
    """File name, split, and first and last n of the rows of each shard."""
    limit = config.output.shard_mb * 1_000_000
    for split in split_sizes(selection):
        bounds: list[list[int]] = []
        size = 0
        for n, n_bytes in selection.db.execute(
                "select n, n_bytes from rows where reason is null and split = ? order by n", (split,)):
            if not bounds or size + n_bytes > limit:
                bounds.append([n, n])
                size = 0
            bounds[-1][1] = n
            size += n_bytes
        for number, (first, last) in enumerate(bounds):
            yield f"{split}-{number:05d}-of-{len(bounds):05d}.parquet", split, (first, last)


def _rows(selection: Selection, chunks: Chunks, split: str, first: int, last: int, columns: Sequence[str]
          ) -> Iterator[dict[str, Any]]:
    decided = selection.db.execute(
        "select chunk, position, hypothesis, wer, cer from rows where reason is null and split = ? "
        "and n between ? and ? order by n", (split, first, last))
    for chunk, position, hypothesis, wer, cer in decided:
        row = chunks.row((chunk, position))
        extras = json.loads(row["extras"] or "{}")
        yield {**{name: row[name] for name in SHARD.names}, "hypothesis": hypothesis, "wer": wer, "cer": cer,
               **{name: None if extras.get(name) is None else str(extras[name]) for name in columns}}


def _schema(columns: Sequence[str], compared: bool) -> pa.Schema:
    return pa.schema([*SHARD, *((name, pa.string()) for name in columns), *(COMPARED if compared else ())])


def _put(ready: Path, out: Path) -> None:
    """Move the finished files to their place. Killed half-way, the next run does the rest."""
    (out / "manifest.json").unlink(missing_ok=True)
    shutil.rmtree(out / "data", ignore_errors=True)
    for name in ("data", "README.md", "report.html", "labels.html", "labels.parquet", "manifest.json"):
        if (ready / name).exists():
            os.replace(ready / name, out / name)
    shutil.rmtree(ready)
