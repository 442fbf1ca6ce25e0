"""Cleaning: text, decoding many at once, and every reason for which one row alone is dropped."""

from __future__ import annotations

import subprocess
import wave
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from corpora import piece, sentence, speech, wav, write_wav
from speech import clips

from feature_pipeline import clean, text
from feature_pipeline.clean import Check, wav_of_g722
from feature_pipeline.config import Clean, Output
from feature_pipeline.decode import decode
from feature_pipeline.rows import AudioRef, Row
from feature_pipeline.store import read_listed, write_listed
from shared.audio import SAMPLE_RATE, Waveform, encode, ffmpeg_executable, load_audio
from shared.errors import UserError

BRACKETS = Clean().brackets


@pytest.mark.parametrize(("raw", "spoken"), [
    ("Hello <i>there</i> &amp; you", "Hello there & you"),
    ("&amp;lt;b&amp;gt;bold&amp;lt;/b&amp;gt;", "bold"),
    ("[laughs] No (sighs) way", "No way"),
    ("Spiacente, [quello] non è un interno valido.", "Spiacente, non è un interno valido."),
    ("Cafe\u0301  \n au\u00a0lait", "Café au lait"),
    ("Quoi ? Non !", "Quoi ? Non !"),  # French sets a space there
    ("हमने उस उम्मीदवार को चुना।", "हमने उस उम्मीदवार को चुना।"),
    ("क्\u200dष \u200b\ufeffx", "क्\u200dष x"),  # a joiner is spelling, a zero-width space is not
    ("5 < 6 and 7 > 3", "5 < 6 and 7 > 3"),
    ("l’utente, dell´eco, c`è", "l'utente, dell'eco, c'è"),  # one spelling, Whisper's own
    ("‘No,’ said he. «L’ami» – “it’s” 5’", "‘No,’ said he. «L'ami» – “it's” 5’"),  # quotation marks and feet stay
    ("oʻzbek, Hawaiʻi, мʼята", "oʻzbek, Hawaiʻi, мʼята"),
    ("", ""),
])
def test_text_is_what_was_spoken(raw, spoken):
    assert text.clean_text(raw, BRACKETS) == spoken


def test_cleaning_twice_changes_nothing():
    for raw in ("[a] b <c> (d) e", "Ha , ha", "*x* y", "&amp;amp;", "l’a"):
        once = text.clean_text(raw, BRACKETS)
        assert text.clean_text(once, BRACKETS) == once


@pytest.mark.parametrize(("one", "other", "same"), [
    ("Hello, World!", "hello world", True),
    ("STRASSE", "Straße", True),
    ("l'ami", "lami", False),
    ("हमने", "हमन", False),  # a vowel sign tells words apart
    ("naïve", "naive", False),
])
def test_sentences_are_the_same_without_case_and_punctuation(one, other, same):
    assert (text.sentence_key(one) == text.sentence_key(other)) is same


@pytest.mark.parametrize(("letters", "language", "expected"), [
    ("Привет, мир", "ru", 1.0), ("Hello мир", "ru", 3 / 8), ("東京タワーです", "ja", 1.0), ("123 !", "sv", 1.0),
    ("Zdravo, мој", "sr", 1.0),
])
def test_scripts_of_a_text(letters, language, expected):
    assert text.script_share(text.scripts(letters), text.usual_scripts(language)) == pytest.approx(expected)


@pytest.mark.parametrize(("letters", "language", "expected"), [
    ({"CYRILLIC": 90, "LATIN": 10}, "ru", ("CYRILLIC",)),
    ({"CYRILLIC": 90, "LATIN": 10}, "ky", ("CYRILLIC",)),  # no language of Whisper's: the corpus tells
    ({"ARABIC": 90, "LATIN": 10}, "uz", ("ARABIC",)),  # Uyghur under the code of a related language
    ({"LATIN": 60, "ARABIC": 40}, "ku", ("LATIN", "ARABIC")),
    ({"HIRAGANA": 50, "KATAKANA": 5, "CJK": 30}, "ain", ("HIRAGANA", "CJK", *text.JAPANESE)),
    ({}, "sv", ("LATIN",)),
])
def test_most_letters_of_a_corpus_tell_its_script(letters, language, expected):
    assert set(text.own_scripts(letters, language)) == set(expected)


def test_style_warnings_name_what_is_missing():
    assert "punctuation" in next(iter(text.style_warnings(100, 0, 90, True)))
    assert "capitals" in next(iter(text.style_warnings(100, 90, 0, True)))
    assert not list(text.style_warnings(100, 90, 0, False))  # Hindi has no capitals to lose
    assert not list(text.style_warnings(100, 90, 90, True))


def test_many_at_once_give_the_samples_of_one_by_one(tmp_path):
    paths = [clip.path for clip in clips()]
    plain = write_wav(tmp_path / "it's “plain” åäö.wav", piece(5))
    stereo = tmp_path / "stereo 8 kHz.wav"
    with wave.open(str(stereo), "wb") as file:
        file.setparams((2, 2, 8000, 0, "NONE", ""))
        file.writeframes((piece(6) * 32767).astype("<i2").tobytes())
    extremes = tmp_path / "extremes.wav"
    with wave.open(str(extremes), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(np.arange(-32768, 32768, dtype="<i2").tobytes())
    refs = [*map(AudioRef.file, [*paths, plain, stereo, extremes]), AudioRef("memory.flac", data=paths[0].read_bytes()),
            AudioRef.file(paths[1], 1.25, 2.5), AudioRef.file(paths[4], 2.0)]
    found = list(decode(refs, max_seconds=30))
    for ref, waveform in zip(refs, found, strict=True):
        alone = load_audio(ref.path or ref.data, start=ref.start, end=ref.end)
        assert np.array_equal(waveform.samples, alone.samples), ref.name


def test_one_bad_file_among_many_spoils_none(tmp_path):
    good = [clip.path for clip in clips()][:3]
    (tmp_path / "text.mp3").write_text("no sound")
    (tmp_path / "empty.wav").write_bytes(b"")
    cut_off = tmp_path / "cut.wav"
    cut_off.write_bytes(wav(speech()[: 10 * SAMPLE_RATE])[:100_000])
    refs = [*map(AudioRef.file, [good[0], tmp_path / "text.mp3", good[1], tmp_path / "empty.wav", tmp_path / "none.wav",
                                 good[2], cut_off])]
    found = list(decode(refs, max_seconds=30))
    assert [isinstance(item, Waveform) for item in found] == [True, False, True, False, False, True, False]
    for n, path in zip((0, 2, 5), good, strict=True):
        assert np.array_equal(found[n].samples, load_audio(path).samples)
    assert "cut off" in str(found[6])


def made(path: Path, *options: str) -> bytes:
    """Four seconds of speech as ffmpeg writes it with these options."""
    source = write_wav(path.with_name("source.wav"), speech()[: 4 * SAMPLE_RATE])
    command = [ffmpeg_executable(), "-v", "error", "-y", *options[:-1], "-i", str(source)]
    subprocess.run([*command, *options[-1].split(), str(path)], check=True)
    return path.read_bytes()


def test_whole_files_are_not_taken_for_cut_off(tmp_path):
    """Headers that promise nothing, or a wrong length, of files that are whole."""
    sound = wav(speech()[: 4 * SAMPLE_RATE])
    mp3 = made(tmp_path / "x.mp3", "-q:a 4 -write_xing 0")
    files = {
        "endless.wav": sound[:4] + b"\xff\xff\xff\x7f" + sound[8:40] + b"\xff\xff\xff\x7f" + sound[44:],
        "half.wav": sound[:4] + b"\0\0\0\x80" + sound[8:40] + b"\0\0\0\x80" + sound[44:],
        "no-header.mp3": mp3, "junk-before.mp3": b"\0" * 3000 + mp3, "junk-after.mp3": mp3 + b"junk " * 5000,
        "long-video.mkv": made(tmp_path / "v.mkv", "-f", "lavfi", "-i", "color=size=64x64:duration=9", "-c:a flac"),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    found = list(decode([AudioRef.file(tmp_path / name) for name in files], max_seconds=30))
    assert {name: getattr(item, "duration", str(item)) for name, item in zip(files, found, strict=True)} == {
        name: pytest.approx(4.0, abs=0.15) for name in files}


def test_a_long_recording_is_not_decoded_to_its_end(tmp_path):
    hour = tmp_path / "hour.wav"
    hour.write_bytes(wav(np.tile(speech()[: 60 * SAMPLE_RATE // 2], 4)))
    (found,) = decode([AudioRef.file(hour)], max_seconds=30)
    assert 30 < found.duration <= 31


def test_g722_gets_a_header_and_keeps_its_sound():
    path = next(clip.path for clip in clips() if clip.path.suffix == ".g722")
    data = wav_of_g722(path.read_bytes())
    assert path.read_bytes() in data and len(data) <= path.stat().st_size + 64
    assert np.array_equal(load_audio(data).samples, load_audio(path).samples)  # without a name that tells


def test_flac_is_lossless_and_encoders_repeat_themselves(tmp_path):
    source = Waveform((np.round(piece(3) * 32768) / 32768).astype(np.float32))
    flac, again = (encode([source, source], "flac", 0, tmp_path) for _ in range(2))
    assert flac == again and flac[0] == flac[1]
    assert np.array_equal(load_audio(flac[0]).samples, source.samples)
    opus, opus_again = (encode([source], "opus", 32, tmp_path) for _ in range(2))
    assert opus == opus_again and len(opus[0]) < 8000


def check(tmp_path, rows: list[Row], rules: Clean | None = None, output: Output | None = None, verdicts=None):
    write_listed(tmp_path / "listed.parquet", "s", rows)
    stage = Check(rules or Clean(), output or Output(), verdicts or {})
    assert stage(tmp_path / "listed.parquet", tmp_path / "checked.parquet") == len(rows)
    return pq.read_table(tmp_path / "checked.parquet").to_pylist()


def row(samples: np.ndarray, label: str = "A short English sentence.", language: str = "en", name: str = "a") -> Row:
    return Row(name, AudioRef(f"{name}.wav", data=wav(samples)), label, language)


NOISY = np.clip(speech()[:32000] * 40, -1, 1)


@pytest.mark.parametrize(("reason", "bad"), [
    (None, row(piece(1, 2.0))),
    (clean.TOO_SHORT, row(piece(1, 0.25))),
    (clean.TOO_LONG, row(np.tile(speech(), 2)[: 31 * SAMPLE_RATE])),
    (clean.NO_TEXT, row(piece(1), "[music] …")),
    (clean.SILENT, row(np.random.default_rng(1).normal(0, 3e-4, 32000))),
    (clean.CLIPPED, row(NOISY)),
    (clean.SPEAKING_RATE, row(piece(1, 1.0), "Far too many words to be said by anybody within a single second. " * 2)),
    (clean.SPEAKING_RATE, row(speech()[: 20 * SAMPLE_RATE], "Oh")),
    (clean.TOO_MANY_TOKENS, row(speech()[: 28 * SAMPLE_RATE], "q z x v j " * 110)),
    (clean.UNDECODABLE, Row("a", AudioRef("a.mp3", data=b"not sound"), "Text.", "en")),
])
def test_each_reason_on_a_row_that_earns_it(reason, bad, tmp_path):
    (out,) = check(tmp_path, [bad])
    assert out["drop"] == reason, out["detail"]
    assert (out["audio"] is None) == (reason is not None)


def test_a_long_text_within_the_decoders_reach_stays(tmp_path):
    """More bytes than positions, but fewer tokens: only the tokenizer can tell."""
    label = "The conference is not possible because the customer cannot be reached today. " * 6
    (out,) = check(tmp_path, [row(speech()[: 28 * SAMPLE_RATE], label)])
    assert len(label) > 448 and out["drop"] is None


def test_verdicts_win(tmp_path):
    rows = [row(piece(1, 2.0), name="a"), row(piece(2, 2.0), name="b"), row(piece(3, 2.0), name="c")]
    verdicts = {"s/a": ("drop", ""), "s/b": ("text", "The corrected text."), "s/c": ("keep", "")}
    a, b, c = check(tmp_path, rows, verdicts=verdicts)
    assert a["drop"] == clean.BY_VERDICT and b["text"] == "The corrected text." and c["drop"] is None


def test_a_part_of_a_recording_becomes_flac_of_that_part(tmp_path):
    path = clips("en")[0].path
    (out,) = check(tmp_path, [Row("a#1", AudioRef.file(path, 0.5, 1.75), "He was not an ill.", "en")])
    assert out["audio"]["path"].endswith(".flac") and out["duration"] == pytest.approx(1.25, abs=0.01)
    assert np.array_equal(load_audio(out["audio"]["bytes"]).samples, load_audio(path, start=0.5, end=1.75).samples)


def test_transcoding_on_request(tmp_path):
    (out,) = check(tmp_path, [row(piece(1, 2.0))], output=Output(audio="opus"))
    assert out["n_bytes"] < out["n_bytes_source"] / 4
    assert load_audio(out["audio"]["bytes"]).duration == pytest.approx(2.0, abs=0.05)


def test_the_same_sound_in_another_container_is_the_same(tmp_path):
    flac = next(clip.path for clip in clips() if clip.path.suffix == ".flac")
    samples = load_audio(flac).samples
    a, b = check(tmp_path, [Row("a", AudioRef.file(flac), sentence(1), "en"),
                            row(samples * 32768 / 32767, sentence(1), name="b")])
    assert a["sample_hash"] == b["sample_hash"] and a["source_hash"] != b["source_hash"]


def test_listed_rows_come_back_as_they_went(tmp_path):
    rows = [row(piece(1)),
            Row("b", AudioRef.file(tmp_path / "x.wav", 1.5, 2.5), "Text", "sv", "me", "test", {"age": "40"})]
    write_listed(tmp_path / "x.parquet", "s", rows)
    a, b = read_listed(tmp_path / "x.parquet")
    assert a["audio"] == rows[0].audio and b["audio"] == rows[1].audio
    assert (b["id"], b["speaker"], b["split"], b["extras"]) == ("s/b", "me", "test", '{"age": "40"}')


def test_decode_says_why_not():
    (found,) = decode([AudioRef("x.mp3", data=b"hello")], 30)
    assert isinstance(found, UserError)
