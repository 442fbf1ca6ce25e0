"""Which language a recording is in, where nobody says: what it costs, how soon the first text comes, and every part."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from speech import clips, joined

from shared.audio import SAMPLE_RATE, AudioSource, Waveform, load_audio
from shared.audio.windows import windows
from shared.checkpoint import Checkpoint
from shared.inference import Transcriber
from shared.inference.language_detection import LanguageDetector
from shared.options import Options
from shared.serving.choice import chooser

ENGLISH, ITALIAN = clips("en"), clips("it")


@pytest.fixture(scope="module")
def minutes() -> Waveform:
    """Three minutes of Italian."""
    return joined(list(itertools.islice(itertools.cycle(clip.path for clip in ITALIAN), 27)), pause=0.8)


def encoded_frames(monkeypatch: pytest.MonkeyPatch, transcriber: Transcriber) -> list[int]:
    """Log-mel frames of every real call of the encoder from now on."""
    frames: list[int] = []
    real = transcriber.engine.encode

    def encode(features: list[np.ndarray]) -> object:
        frames.extend(mel.shape[1] for mel in features)
        return real(features)

    monkeypatch.setattr(transcriber.engine, "encode", encode)
    return frames


def test_a_language_that_is_found_costs_the_base_a_fraction_of_the_speech(monkeypatch, base_torch, minutes):
    """Where another checkpoint decodes: it was a whole pass of the encoder and more."""
    parts = list(windows(AudioSource(minutes)))
    frames = encoded_frames(monkeypatch, base_torch)
    detector = LanguageDetector(base_torch.window_decoder, None)
    spoken = list(detector.each(parts))
    assert {one.language for one in spoken} == {"it"} and [one.window for one in spoken] == parts
    assert sum(frames) / 100 < 0.4 * sum(window.duration for window in parts)


def test_the_first_text_comes_before_the_recording_is_read(base_torch, minutes):
    """It came after two minutes of speech had been found and encoded."""
    read = []

    def blocks():
        for start in range(0, len(minutes.samples), SAMPLE_RATE):
            read.append(start / SAMPLE_RATE)
            yield minutes.samples[start : start + SAMPLE_RATE]

    class Enough(Exception):
        pass

    def stop(new):
        raise Enough

    with pytest.raises(Enough):
        base_torch.run(AudioSource(blocks()), Options(), on_text=stop)
    assert read[-1] < 45


@pytest.mark.parametrize("order", ["en it en", "it en", "en it"])
def test_each_part_of_a_recording_has_its_language(base_torch, order):
    """Parts longer than a window, and one in the midst of a window."""
    sounds = {"en": joined([clip.path for clip in ENGLISH], pause=0.8), "it": joined([c.path for c in ITALIAN], 0.8)}
    audio, spans, at = [], [], 0.0
    for language in order.split():
        audio.append(sounds[language].samples)
        spans.append((language, at, at + sounds[language].duration))
        at += sounds[language].duration
    detector = LanguageDetector(base_torch.window_decoder, None)
    spoken = list(detector.each(windows(AudioSource(Waveform(np.concatenate(audio))))))
    for one in spoken:
        middle = (one.window.start + one.window.end) / 2
        assert one.language == next(language for language, start, end in spans if start <= middle < end)
    for language, start, end in spans:
        seconds = sum(one.window.duration for one in spoken if one.language == language and
                      start - 1 < one.window.start and one.window.end < end + 1)
        assert seconds > 0.7 * (end - start)


def test_only_what_is_served_is_found(base_torch):
    detector = LanguageDetector(base_torch.window_decoder, ["en", "ru"])
    assert {one.language for one in detector.each(windows(AudioSource(load_audio(ITALIAN[0].path))))} <= {"en", "ru"}


def test_another_checkpoint_decodes_what_it_serves_and_the_base_the_rest(base_torch):
    """Its windows are packed again, across those in which the language was found."""
    tuned = Transcriber(Checkpoint.parse("embedded:whisper-base-it"), engine="torch", device="cpu",
                        compute_type="float32")
    audio = joined([clip.path for clip in (*ENGLISH[:2], *ITALIAN[:2])], pause=1.5)
    before = [one.window_decoder.n_windows for one in (base_torch, tuned)]
    found = list(base_torch.recognise(base_torch.windows(AudioSource(audio), Options()), Options(), None, None,
                                      chooser(base_torch, tuned)))
    segments = [(new.language, segment) for _, _, new in found for segment in new.segments]
    border = sum(load_audio(clip.path).duration + 1.5 for clip in ENGLISH[:2])
    assert {language for language, segment in segments if segment.start < border - 1} == {"en"}
    assert {language for language, segment in segments if segment.start > border - 1} == {"it"}
    assert all(one.window_decoder.n_windows > n for one, n in zip((base_torch, tuned), before, strict=True))
    assert found[-1][0] == found[-1][1]
