"""An archive into text: what was done before a kill is not done again."""

from __future__ import annotations

import json

import pytest
from speech import clips

from feature_pipeline.rows import AudioRef, Row
from feature_pipeline.store import write_listed
from feature_pipeline.transcribe import Transcribe
from shared.errors import UserError

CLIPS = clips("it")[:2]


def listed(folder):
    path = folder / "0000000.parquet"
    write_listed(path, "mine", [Row(clip.path.name, AudioRef.file(clip.path), "", "it") for clip in CLIPS], None)
    return path


def test_a_chunk_goes_on_after_its_last_whole_line(tmp_path, monkeypatch):
    monkeypatch.setattr("feature_pipeline.transcribe.is_short", lambda path: False)  # as if they lasted hours
    rows, lines = listed(tmp_path), tmp_path / "0000000.jsonl"
    known = {"id": f"mine/{CLIPS[0].path.name}", "text": "of the first start"}
    (tmp_path / "0000000.begun").write_text(json.dumps(known) + '\n{"id": "mine/it_')
    assert Transcribe("embedded:whisper-base", 1)(rows, lines) == 2
    first, second = (json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines())
    assert first == known
    assert second["id"] == f"mine/{CLIPS[1].path.name}" and second["text"] and second["segments"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000000.jsonl", "0000000.parquet"]


def test_of_a_short_recording_that_is_cut_off_the_rest_is_read(tmp_path):
    whole = CLIPS[0].path.read_bytes()
    cut = tmp_path / f"cut{CLIPS[0].path.suffix}"
    cut.write_bytes(whole[: len(whole) * 3 // 4])
    rows, lines = tmp_path / "0000000.parquet", tmp_path / "0000000.jsonl"
    write_listed(rows, "mine", [Row(cut.name, AudioRef.file(cut), "", "it")], None)
    Transcribe("embedded:whisper-base", 1)(rows, lines)
    (line,) = (json.loads(text) for text in lines.read_text(encoding="utf-8").splitlines())
    assert line["text"] and line["warnings"] and "error" not in line


def test_a_checkpoint_that_cannot_be_had_stops_it_and_is_no_fault_of_each_recording(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        Transcribe(str(tmp_path / "nowhere"), 1)(listed(tmp_path), tmp_path / "0000000.jsonl")
