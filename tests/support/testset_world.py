"""Test sets for tests: zips, tables and Parquet made of the clips in tests/data."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from paths import DATA

from shared.errors import UserError
from shared.testset import zip_clips

CLIPS = list(csv.DictReader((DATA / "clips.csv").open(encoding="utf-8")))


ITALIAN = [row for row in CLIPS if row["language"] == "it"]


def packed(folder: Path, files: dict[str, bytes | str], name: str = "set.zip") -> Path:
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, content in files.items():
            archive.writestr(key, content)
    return folder / name


def italian(under: str = "") -> dict[str, bytes]:
    return {under + row["file"]: (DATA / row["file"]).read_bytes() for row in ITALIAN}


def table(rows: list[tuple[str, str]], header: str = "file,text") -> str:
    out = io.StringIO()
    out.write(header + "\n")
    csv.writer(out).writerows(rows)
    return out.getvalue()


def references() -> list[tuple[str, str]]:
    return [(row["file"], row["text"]) for row in ITALIAN]


def knows(texts: dict[float, str]):
    """A transcriber for plumbing: tells a clip by its length."""
    return lambda waveform: texts[round(waveform.duration, 2)]


TEXTS = {4.36: ITALIAN[0]["text"], 4.52: ITALIAN[1]["text"], 4.82: ITALIAN[2]["text"], 3.89: ITALIAN[3]["text"]}


def one_word_less(waveform):
    return TEXTS[round(waveform.duration, 2)].rsplit(" ", 1)[0]


def refused(path: Path, match: str, **options):
    with pytest.raises(UserError, match=match), zip_clips(path, **options):
        pass


def parquet(folder: Path, rows: list[dict]) -> bytes:
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")
    return (folder / "rows.parquet").read_bytes()


def hub_rows(column: str = "sentence") -> list[dict]:
    return [{"audio": {"bytes": (DATA / row["file"]).read_bytes(), "path": row["file"]}, column: row["text"]}
            for row in ITALIAN]
