"""What a stage is, and how stages are run: files in, files of the same names out, what is there already left alone.

A stage knows what it does and what it needs; a runner knows where the work is done (`workers.run` on this machine's
cores, `on_ray.run_on_ray` on several machines). Neither knows the other.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from feature_pipeline.config import Config
from feature_pipeline.rows import Row
from feature_pipeline.store import CHUNK_BYTES, ROWS_PER_CHUNK, write_json, write_listed

Job = tuple[Path, Path]  # source file, target file


class Stage(Protocol):
    """(source file, target file) → how many rows were made. Travels to other processes by pickle."""

    @property
    def uses_model(self) -> bool:
        """Whether it loads a model: a worker then gets a GPU where there is one."""

    def __call__(self, source: Path, target: Path, /) -> int: ...


Runner = Callable[[Stage, Iterable[Job]], Iterator[int]]  # rows made by each finished job, in no order


def list_rows(config: Config, work: Path, rows_per_chunk: int = ROWS_PER_CHUNK) -> dict[str, int]:
    """Write the rows of all sources in chunks into `work/listed`; gives how many each source has."""
    done = work / "listed" / "complete.json"
    if done.is_file():
        return json.loads(done.read_text(encoding="utf-8"))
    counts = {}
    chunks = itertools.count()
    with tqdm(desc="listing", unit=" rows", disable=None) as progress:
        for source in config.sources:
            counts[source.name] = 0
            for rows in _chunks(source.corpus.rows(), rows_per_chunk):
                path = work / "listed" / f"{next(chunks):07d}.parquet"
                if not path.is_file():
                    write_listed(path, source.name, rows, source.text_language)
                counts[source.name] += len(rows)
                progress.update(len(rows))
    write_json(done, counts)
    return counts


def _chunks(rows: Iterator[Row], n_rows: int) -> Iterator[list[Row]]:
    chunk: list[Row] = []
    n_bytes = 0
    for row in rows:
        chunk.append(row)
        n_bytes += len(row.audio.data or b"")
        if len(chunk) == n_rows or n_bytes >= CHUNK_BYTES:
            yield chunk
            chunk, n_bytes = [], 0
    if chunk:
        yield chunk


@dataclass(frozen=True)
class Plan:
    """How the stages of one command are run."""

    runner: Runner
    n_rows: int  # of all sources, for the progress bar
    rows_per_chunk: int = ROWS_PER_CHUNK

    def run(self, name: str, stage: Stage, sources: Sequence[Path], folder: Path) -> list[Path]:
        """Run a stage over all files that lack their result.

        Args:
            name: What the progress bar calls it.
            stage: What is done with each file.
            sources: The files.
            folder: Where the results go, each under its source's name.

        Returns:
            The results, in the order of the sources.
        """
        targets = [folder / source.name for source in sources]
        jobs = [(source, target) for source, target in zip(sources, targets, strict=True) if not target.is_file()]
        done = min((len(sources) - len(jobs)) * self.rows_per_chunk, self.n_rows)
        with tqdm(desc=name, total=self.n_rows, initial=done, unit=" rows", disable=None) as progress:
            for count in self.runner(stage, jobs):
                progress.update(count)
        return targets
