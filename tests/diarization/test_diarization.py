"""Who spoke when: real voices put together, told apart again, and their names on every word and in every file."""

from __future__ import annotations

import copy
import functools
import hashlib
import io
import json
import pickle
import threading
import wave
import zipfile

import numpy as np
import pytest
import torch
from command import transcribe_here
from pyannote.core import Annotation
from pyannote.core import Segment as Stretch
from pyannote.metrics.diarization import DiarizationErrorRate
from safetensors.torch import load_file
from speech import clips

from shared.audio import SAMPLE_RATE, Waveform, load_audio
from shared.audio.windows import Window, windows
from shared.diarization import Diarizer, Turn, label
from shared.diarization import networks as speaker_models
from shared.diarization.clustering import cluster
from shared.diarization.voices import CamPlusPlus
from shared.errors import Cancelled, UserError
from shared.transcript import FORMATS, Segment, Transcript, Word

# Four people: two men, of whom one reads English, and two women.
IT, EN, ES, RU = ([load_audio(clip.path).samples for clip in clips(code)] for code in ("it", "en", "es", "ru"))


def spoken(samples: np.ndarray) -> np.ndarray:
    """Without the silence at both ends."""
    loud = np.flatnonzero(np.abs(samples) > 0.03 * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


def conversation(*utterances: tuple[str, np.ndarray], pause: float = 0.4) -> tuple[Waveform, list[Turn]]:
    """One after the other, `pause` seconds apart, each as loud as the others."""
    parts, turns, at = [np.zeros(SAMPLE_RATE // 2, dtype=np.float32)], [], 0.5
    for name, samples in utterances:
        samples = spoken(samples)
        samples = 0.1 * samples / np.sqrt(np.mean(np.square(samples)))
        turns.append(Turn(at, at + len(samples) / SAMPLE_RATE, name))
        parts += [samples, np.zeros(int(pause * SAMPLE_RATE), dtype=np.float32)]
        at += (len(samples) + int(pause * SAMPLE_RATE)) / SAMPLE_RATE
    return Waveform(np.concatenate(parts).astype(np.float32)), turns


TWO = conversation(("it", IT[0]), ("en", EN[0]), ("it", IT[1]), ("en", EN[1]), ("it", IT[2]), ("en", EN[2]))
SHORT = conversation(("it", IT[0]), ("en", EN[1]))


def pushed(waveform: Waveform) -> Diarizer:
    diarizer = Diarizer()
    for window in windows([waveform.samples]):
        diarizer.push(window)
    return diarizer


@functools.cache
def taken_in() -> Diarizer:
    return pushed(TWO[0])


def two(n_speakers: int | None = None) -> Diarizer:
    """All of TWO taken in, which is done once; how many speakers there are is of use only at the end."""
    diarizer = copy.deepcopy(taken_in())
    diarizer.n_speakers = Diarizer(n_speakers).n_speakers
    return diarizer


def error_rate(reference: list[Turn], found: list[Turn]) -> float:
    made = []
    for turns in (reference, found):
        made.append(Annotation())
        for number, turn in enumerate(turns):
            made[-1][Stretch(turn.start, turn.end), number] = turn.speaker
    return DiarizationErrorRate(collar=0.25)(*made)


def names(turns: list[Turn]) -> list[str]:
    return sorted({turn.speaker for turn in turns})


def test_two_voices_are_found():
    waveform, reference = TWO
    found = two().turns()
    assert names(found) == ["Speaker 1", "Speaker 2"] and found[0].speaker == "Speaker 1"
    assert error_rate(reference, found) < 0.1
    assert all(0 <= turn.start < turn.end <= waveform.duration for turn in found)
    assert [turn.start for turn in found] == sorted(turn.start for turn in found)


def test_four_voices_are_found():
    waveform, reference = conversation(("it", IT[0]), ("en", EN[1]), ("es", ES[0]), ("ru", RU[0]), ("it", IT[2]),
                                       ("ru", RU[1]), ("en", EN[2]), ("es", ES[0]))
    found = pushed(waveform).turns()
    assert len(names(found)) == 4 and error_rate(reference, found) < 0.15


def test_the_number_may_be_given():
    assert error_rate(TWO[1], two(2).turns()) < 0.1
    assert names(two(1).turns()) == ["Speaker 1"]
    assert len(names(two(3).turns())) <= 3
    for wrong in (0, -1, 21):
        with pytest.raises(UserError, match="1 to 20"):
            Diarizer(wrong)


def test_one_speaker_stays_one():
    waveform, reference = conversation(*[("it", samples) for samples in IT])
    found = pushed(waveform).turns()
    assert names(found) == ["Speaker 1"] and error_rate(reference, found) < 0.1


def test_a_change_without_a_pause_and_short_turns_are_found():
    short = IT[1][SAMPLE_RATE : 2 * SAMPLE_RATE]  # one second in the middle of another's speech
    waveform, reference = conversation(("en", EN[1]), ("it", IT[2]), ("en", EN[0]), ("it", short), ("en", EN[2]),
                                       pause=0.05)
    found = pushed(waveform).turns()
    assert len(names(found)) == 2 and error_rate(reference, found) < 0.15
    for after in reference[1:]:
        assert min(abs(turn.start - after.start) for turn in found) < 0.5, f"no change near {after.start:.2f} s"


@pytest.mark.parametrize("seconds", [0.0, 0.2, 5.0])
def test_silence_and_noise_have_no_speakers(base, seconds):
    noise = np.random.default_rng(0).normal(0, 0.01, int(seconds * SAMPLE_RATE)).astype(np.float32)
    for samples in (noise, np.zeros_like(noise)):
        assert pushed(Waveform(samples)).turns() == []
    assert base.transcribe(Waveform(noise), language="en", speakers=True).segments == ()


def test_little_is_kept_of_what_has_passed():
    waveform, _ = SHORT
    diarizer = Diarizer()
    sizes, at = [], 0
    for _ in range(3):
        for window in windows([waveform.samples]):
            moved = tuple((offset, at + start, n_samples) for offset, start, n_samples in window.pieces)
            diarizer.push(Window(window.samples, moved))
            assert len(diarizer._recent) <= 100 * SAMPLE_RATE  # a minute, a chunk and a window, however much has passed
        at += len(waveform.samples)
        sizes.append(len(pickle.dumps({**vars(diarizer), "_recent": None})))
    # Two voices in every chunk: some 110 kB a minute. The sound itself is 3.8 MB.
    assert 0 < sizes[2] - sizes[1] < 150_000 * waveform.duration / 60
    assert names(diarizer.turns()) == ["Speaker 1", "Speaker 2"]


def test_windows_that_overlap_count_once():
    waveform, _ = SHORT
    whole = list(windows([waveform.samples]))
    (offset, start, n_samples), *_ = whole[0].pieces
    again = Window(whole[0].samples[offset : offset + n_samples], ((0, start, n_samples),))
    diarizer = Diarizer()
    for window in (whole[0], again, *whole[1:]):
        diarizer.push(window)
    assert diarizer.turns() == pushed(waveform).turns()


def test_every_word_and_segment_is_labelled(base):
    waveform, reference = SHORT
    transcript = base.transcribe(waveform, language="it", speakers=True)
    assert transcript.words and all(word.speaker for word in transcript.words)
    for segment in transcript.segments:
        assert {word.speaker for word in segment.words} == {segment.speaker}
    voice_of = {"Speaker 1": "it", "Speaker 2": "en"}
    right = sum(any(turn.speaker == voice_of[word.speaker] and turn.start < (word.start + word.end) / 2 < turn.end
                    for turn in reference) for word in transcript.words)
    assert right >= 0.9 * len(transcript.words) and len({word.speaker for word in transcript.words}) == 2
    plain = base.transcribe(waveform, language="it")
    assert "".join(plain.text.split()) == "".join(transcript.text.split())
    assert all(segment.speaker is None for segment in plain.segments)


def segment_of(*words: tuple[str, float, float]) -> Segment:
    made = tuple(Word(f" {text}", start, end, 0.9) for text, start, end in words)
    return Segment(" ".join(text for text, _, _ in words), made[0].start, made[-1].end, made)


TURNS = [Turn(0.0, 1.0, "Speaker 1"), Turn(1.2, 3.0, "Speaker 2")]


def labelled(*segments: Segment) -> list[tuple[str, str]]:
    made = label(Transcript(segments, "en", 5.0), TURNS)
    return [(segment.speaker, segment.text) for segment in made.segments]


def test_a_segment_of_two_is_split_between_their_words():
    segment = segment_of(("Are", 0.1, 0.5), ("you?", 0.5, 0.9), ("Yes,", 1.2, 1.8), ("I", 1.8, 2.0), ("am.", 2.0, 2.6))
    assert labelled(segment) == [("Speaker 1", "Are you?"), ("Speaker 2", "Yes, I am.")]
    first, second = label(Transcript((segment,), "en", 5.0), TURNS).segments
    assert (first.start, first.end, second.start, second.end) == (0.1, 0.9, 1.2, 2.6)


def test_a_word_on_the_border_goes_with_its_sentence():
    segment = segment_of(("And", 0.85, 1.05), ("so", 1.2, 1.8), ("on.", 1.8, 2.6))
    assert labelled(segment) == [("Speaker 2", "And so on.")]


def test_segments_without_words_and_words_between_turns():
    assert labelled(Segment("All of it", 0.5, 3.0)) == [("Speaker 2", "All of it")]
    assert labelled(segment_of(("late", 4.0, 4.5))) == [("Speaker 2", "late")]
    nobody = Transcript((segment_of(("late", 4.0, 4.5)),), "en", 5.0)
    assert label(nobody, []) == nobody


def _text_of(document: bytes) -> str:
    return zipfile.ZipFile(io.BytesIO(document)).read("word/document.xml").decode("utf-8")


def test_speakers_are_in_every_format():
    made = label(Transcript((segment_of(("Hello.", 0.1, 0.9), ("Hi.", 1.3, 2.0)),), "en", 3.0), TURNS)
    for name, write in FORMATS.items():
        content = write(made)
        text = content if isinstance(content, str) else _text_of(content)
        assert "Speaker 1" in text and "Speaker 2" in text, name
    assert Transcript.from_dict(json.loads(FORMATS["json"](made))) == made


def test_it_stops_when_asked():
    cancel = threading.Event()
    passed = Diarizer().listen(windows([TWO[0].samples], max_gap=0.1), cancel)
    next(passed)
    cancel.set()
    with pytest.raises(Cancelled):
        next(passed)


def test_without_the_models_or_with_damaged_ones_it_says_so(monkeypatch, tmp_path):
    whole = (speaker_models.MODELS / speaker_models.EMBEDDING).read_bytes()
    monkeypatch.setattr(speaker_models, "MODELS", tmp_path)
    with pytest.raises(UserError, match="speaker models are missing"):
        speaker_models._load(speaker_models.EMBEDDING)
    (tmp_path / speaker_models.EMBEDDING).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="speaker models are damaged"):
        speaker_models._load(speaker_models.EMBEDDING)


def test_the_weights_are_those_their_readme_names():
    readme = (speaker_models.MODELS / "README.md").read_text(encoding="utf-8")
    for name in (speaker_models.SEGMENTATION, speaker_models.EMBEDDING, speaker_models.MEAN):
        digest = hashlib.sha256((speaker_models.MODELS / name).read_bytes()).hexdigest()
        assert f"{digest} | {name}" in readme


def test_a_voice_that_varies_is_one_and_a_stray_sound_is_none():
    draw = np.random.default_rng(0)
    voices = np.linalg.qr(draw.normal(size=(192, 3)))[0].T
    noise = draw.normal(size=(41, 192)) / np.sqrt(192)
    of = np.array([0, 1] * 20 + [2])
    varied = voices[of] + 1.2 * noise  # two of one voice are some 0.6 apart, of two voices 1
    varied /= np.linalg.norm(varied, axis=1, keepdims=True)
    seconds = np.array([2.0] * 40 + [1.6])
    for n_groups in (None, 2):
        found = cluster(varied, seconds, n_groups)
        assert len(set(found[:40:2])) == len(set(found[1:40:2])) == 1 and found[0] != found[1]
        assert found.max() == 1
    assert cluster(varied, seconds, 1).max() == 0
    assert cluster(varied[:1], seconds[:1], 4).tolist() == [0]


def test_an_embedding_is_of_the_voice_not_of_the_level():
    loud = spoken(IT[0])[: 3 * SAMPLE_RATE]
    one, quiet, same, other = speaker_models.embeddings(torch.stack([
        speaker_models.log_bands(samples[: 3 * SAMPLE_RATE])
        for samples in (loud, 0.3 * loud, spoken(IT[2]), spoken(EN[1]))]))
    assert one.shape == (192,) and abs(np.linalg.norm(one) - 1) < 1e-5
    assert one @ quiet > 0.98
    assert one @ same > one @ other + 0.2


def test_half_of_the_mean_voice_is_taken_from_an_embedding():
    bands = torch.stack([speaker_models.log_bands(samples[: 2 * SAMPLE_RATE])
                         for samples in map(spoken, (IT[0], EN[1], RU[0]))])
    raw, centred = speaker_models.raw_embeddings(bands), speaker_models.embeddings(bands)
    mean = load_file(speaker_models.MODELS / speaker_models.MEAN)["mean"].numpy()
    assert 0.3 < np.linalg.norm(mean) < 0.6  # of 38 voices: independent ones would have 1 / sqrt(38)
    for before, after in zip(raw, centred, strict=True):
        assert np.linalg.norm(after) == pytest.approx(1, abs=1e-5)
        assert after * np.linalg.norm(before - mean / 2) == pytest.approx(before - mean / 2, abs=1e-5)


def test_products_of_bfloat16_give_the_same_voices():
    """A processor that multiplies bfloat16 takes it; each computes both, if slowly."""
    bands = torch.stack([speaker_models.log_bands(samples[: 2 * SAMPLE_RATE]) for samples in (*IT, *EN, *RU)])
    bands = bands - bands.mean(1, keepdim=True)
    weights = speaker_models._load(speaker_models.EMBEDDING)
    with torch.inference_mode():
        exact, narrow = (torch.nn.functional.normalize(CamPlusPlus(weights, dtype)(bands), dim=1)
                         for dtype in (torch.float32, torch.bfloat16))
    # As the layers gave it one by one, before normalisation was folded into them.
    loud = speaker_models.log_bands(spoken(IT[0])[: 3 * SAMPLE_RATE])
    with torch.inference_mode():
        one = torch.nn.functional.normalize(CamPlusPlus(weights)((loud - loud.mean(0))[None]), dim=1)[0]
    assert one[:5].tolist() == pytest.approx([-0.02172, -0.01250, 0.12654, -0.10005, 0.07493], abs=2e-4)
    assert ((exact * narrow).sum(1) > 0.997).all()
    assert (exact @ exact.T - narrow @ narrow.T).abs().max() < 0.03


def test_on_the_command_line(tmp_path):
    path = tmp_path / "two.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes((SHORT[0].samples * 32767).astype("<i2").tobytes())
    done = transcribe_here(path, "--language", "it", "--speakers", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {line.partition(":")[0] for line in done.stdout.splitlines()} == {"Speaker 1", "Speaker 2"}
    wrong = transcribe_here("--speakers", path, cwd=tmp_path)
    assert wrong.returncode == 2 and "name the recordings before it" in wrong.stderr
