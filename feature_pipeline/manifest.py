"""What a data set is made of, as plain values for `manifest.json`; nothing in it depends on when or where."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from feature_pipeline.archives import sha256
from feature_pipeline.config import Config, Source, named_files, plain_source, settings
from feature_pipeline.rows import SPLITS
from feature_pipeline.selection import Selection
from feature_pipeline.text import style_warnings
from shared.audio import ffmpeg_executable
from shared.system import processes
from shared.whisper_constants import N_FRAMES_FULL

# The usual recipe stores log-mel padded to 30 s: 80 bins of float32 for every clip, however short.
SPECTROGRAM_BYTES = 80 * N_FRAMES_FULL * 4


def manifest(selection: Selection, config: Config, data: Path, counts: dict[str, int]) -> dict[str, Any]:
    """The manifest of the shards in `data`."""
    facts = {
        "name": config.name,
        "title": config.title or config.name,
        "licence": config.licence,
        "credit": config.credit,
        "config": settings(config),
        "files": {name: sha256(path) for name, path in named_files(config).items()},
        "versions": {"python": platform.python_version(), "ffmpeg": _ffmpeg_version(),
                     **{name: version(name) for name in ("pyarrow", "numpy")}},
        "sources": [_source(selection, source, counts[source.name]) for source in config.sources],
        "splits": _splits(selection),
        "drops": _drops(selection),
        "leaks": selection.leaks,
        "in_several_splits": {"sentences": _shared(selection, "sentence"), "speakers": _shared(selection, "speaker")},
        "warnings": selection.warnings + _style(selection),
        "shards": [{"file": f"data/{path.name}", "rows": pq.read_metadata(path).num_rows, "bytes": path.stat().st_size,
                    "sha256": sha256(path)} for path in sorted(data.glob("*.parquet"))],
    }
    facts["sizes"] = _sizes(selection, facts)
    return facts


def _ffmpeg_version() -> str:
    found = processes.run([ffmpeg_executable(), "-version"]).output.decode("utf-8", "replace").split()
    return found[2] if len(found) > 2 else "unknown"


def _source(selection: Selection, source: Source, n_rows: int) -> dict[str, Any]:
    digest = hashlib.sha256()
    for row in selection.db.execute("select id, text, sample_hash from rows where source = ? order by n",
                                    (source.name,)):
        digest.update(repr(row).encode())
    options = {key: value for key, value in plain_source(source).items() if key not in ("path", "debs", "folder")}
    kept, seconds = selection.db.execute("select count(*), coalesce(sum(duration), 0) from rows where source = ? and "
                                         "reason is null", (source.name,)).fetchone()
    languages = [language for (language,) in selection.db.execute(
        "select distinct language from rows where source = ? order by 1", (source.name,))]
    return {**options, **source.corpus.provenance(), "rows": n_rows, "rows_kept": kept,
            "hours_kept": round(seconds / 3600, 4), "languages": languages, "content_sha256": digest.hexdigest()}


def _splits(selection: Selection) -> dict[str, dict[str, Any]]:
    found = selection.db.execute("""select split, count(*), sum(duration), count(distinct speaker),
        count(distinct sentence) from rows where reason is null group by split""")
    table = {split: {"rows": rows, "hours": round(seconds / 3600, 4), "speakers": speakers, "sentences": sentences}
             for split, rows, seconds, speakers, sentences in found}
    return {split: table[split] for split in SPLITS if split in table}


def _drops(selection: Selection) -> list[dict[str, Any]]:
    found = selection.db.execute("""select reason, count(*), coalesce(sum(duration), 0) from rows
        where reason is not null group by reason order by 2 desc, 1""").fetchall()
    return [{"reason": reason, "rows": rows, "hours": round(seconds / 3600, 4),
             "examples": [{"id": name, "detail": detail} for name, detail in selection.db.execute(
                 "select id, detail from rows where reason = ? order by n limit 5", (reason,))]}
            for reason, rows, seconds in found]


def _shared(selection: Selection, column: str) -> int:
    """How many sentences or speakers the finished data set has in more than one split."""
    group = "source, speaker" if column == "speaker" else column
    count, = selection.db.execute(f"""select count(*) from (select 1 from rows where reason is null and {column} is not
        null group by {group} having count(distinct split) > 1)""").fetchone()
    return count


def _sizes(selection: Selection, facts: dict[str, Any]) -> dict[str, Any]:
    source, rows = selection.db.execute(
        "select sum(n_bytes_source), count(*) from rows where reason is null").fetchone()
    written = sum(shard["bytes"] for shard in facts["shards"])
    return {"source_audio_bytes": source, "data_set_bytes": written,
            "ratio_to_source": round(written / source, 4) if source else None,
            "float32_spectrogram_bytes": rows * SPECTROGRAM_BYTES,
            "spectrograms_per_data_set": round(rows * SPECTROGRAM_BYTES / written, 1)}


def _style(selection: Selection) -> list[str]:
    found = []
    for source, language in selection.db.execute("select distinct source, language from rows order by 1, 2").fetchall():
        n_rows = n_punctuated = n_cased = n_with_case = 0
        for (text,) in selection.db.execute(
                "select text from rows where source = ? and language = ? and reason is null", (source, language)):
            n_rows += 1
            n_punctuated += any(mark in text for mark in ".,!?;:…。、！？।؟،")
            n_cased += text != text.lower()
            n_with_case += text.lower() != text.upper()
        has_case = n_with_case > n_rows / 2
        found += [f"{source}: {warning}" for warning in style_warnings(n_rows, n_punctuated, n_cased, has_case)]
    return found
