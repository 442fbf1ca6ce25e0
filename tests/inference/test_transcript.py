"""Five formats from one Transcript; subtitles that a real program reads and a person can."""

from __future__ import annotations

import json
import subprocess

import pytest

from shared.audio import ffmpeg_executable
from shared.transcript import (
    CHARACTERS_PER_SECOND,
    FORMATS,
    LINE_COLUMNS,
    MAX_SECONDS,
    N_LINES,
    Segment,
    Transcript,
    Word,
    cues,
    sentences,
)

LONG = ("Unless to be rather cold-hearted and rather selfish is to be ill-disposed: but he was, in general, well "
        "respected; for he conducted himself with propriety in the discharge of his ordinary duties. Had he married a "
        "more amiable woman, he might have been made still more respectable than he was.")
SPOKEN = Transcript(
    (Segment("Grazie.", 0.2, 0.9), Segment(LONG, 1.0, 19.0), Segment("a < b & c", 25.0, 26.0, speaker="Speaker 1")),
    "en", 30.0,
)


def test_cues_keep_the_subtitle_rules():
    found = cues(SPOKEN)
    assert " ".join(line for cue in found for line in cue.lines) == f"Grazie. {LONG} Speaker 1: a < b & c"
    for cue, following in zip(found, [*found[1:], None], strict=True):
        assert len(cue.lines) <= N_LINES and all(len(line) <= LINE_COLUMNS for line in cue.lines)
        assert 0 < cue.end - cue.start <= MAX_SECONDS
        assert following is None or cue.end <= following.start
    readable = [cue for cue in found if len(" ".join(cue.lines)) / (cue.end - cue.start) <= CHARACTERS_PER_SECOND + 1]
    assert len(readable) >= len(found) - 1


def test_word_times_decide_where_a_cue_starts():
    words = tuple(Word(f" word{i}", 10 + i, 10.8 + i, 0.9) for i in range(20))
    transcript = Transcript((Segment("".join(w.text for w in words).strip(), 10, 30, words),), "en", 31)
    for cue in cues(transcript):
        first = int(cue.lines[0].split()[0].removeprefix("word"))
        assert cue.start == pytest.approx(10 + first, abs=0.11)


def test_a_long_segment_is_cut_into_sentences():
    said = [" Grazie.", " Attenda", " in", " linea.", " Poi"]
    words = tuple(Word(text, i, i + 0.9, 0.9) for i, text in enumerate(said))
    parts = sentences(Segment("Grazie. Attenda in linea. Poi", 0, 5, words))
    assert [(part.text, part.start, part.end) for part in parts] == [
        ("Grazie.", 0, 0.9), ("Attenda in linea.", 1, 3.9), ("Poi", 4, 4.9)]
    without_times = Segment("One. Two.", 0, 3)
    assert sentences(without_times) == [without_times]


@pytest.mark.parametrize(("pieces", "text"), [
    (("Good morning.", "How are you?"), "Good morning. How are you?"),
    (("今日は。", "晴れです。"), "今日は。晴れです。"),
    (("「はい」", "「いいえ」"), "「はい」「いいえ」"), (("สวัสดี", "ครับ"), "สวัสดีครับ"), (("នេះ", "ជា"), "នេះជា"),
    (("안녕하세요.", "반갑습니다."), "안녕하세요. 반갑습니다."), (("नमस्ते।", "आप कैसे हैं?"), "नमस्ते। आप कैसे हैं?"), ((), "")])
def test_segments_are_joined_as_their_script_is_written(pieces, text):
    segments = tuple(Segment(piece, i, i + 1) for i, piece in enumerate(pieces))
    assert Transcript(segments, "ja", 9.0).text == text


def test_wide_characters_count_two():
    transcript = Transcript((Segment("これは字幕の長さを確かめるための長い日本語の文章です。" * 3, 0, 15),), "ja", 15)
    assert all(len(line) <= LINE_COLUMNS // 2 for cue in cues(transcript) for line in cue.lines)


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_ffmpeg_reads_the_subtitles_back(tmp_path, name):
    path = tmp_path / f"subtitles.{name}"
    path.write_text(FORMATS[name](SPOKEN), encoding="utf-8")
    done = subprocess.run([ffmpeg_executable(), "-v", "error", "-i", str(path), "-f", "srt", "-"],
                          capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stderr == ""
    blocks = [block.splitlines() for block in done.stdout.strip().split("\n\n")]
    assert len(blocks) == len(cues(SPOKEN))
    assert "Unless to be rather" in blocks[1][2]
    assert any("a < b & c" in line or "a &lt; b &amp; c" in line for line in blocks[-1])


def test_json_comes_back_equal():
    words = (Word(" Grazie.", 0.2, 0.9, 0.75, "Speaker 1"),)
    transcript = Transcript((Segment("Grazie.", 0.2, 0.9, words, "Speaker 1", 0.01, -0.2),), "it", 1.0, ("cut off",))
    assert Transcript.from_dict(json.loads(FORMATS["json"](transcript))) == transcript


def test_tsv_and_txt():
    assert FORMATS["tsv"](SPOKEN).splitlines()[1] == "200\t900\t\tGrazie."
    assert FORMATS["txt"](SPOKEN).splitlines()[-1] == "Speaker 1: a < b & c"


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_said_is_a_valid_file(name):
    text = FORMATS[name](Transcript((), "en", 3.0))
    assert text == {"txt": "", "srt": "", "vtt": "WEBVTT\n\n", "tsv": "start\tend\tspeaker\ttext\n"}.get(name, text)
    if name == "json":
        assert json.loads(text)["text"] == ""
