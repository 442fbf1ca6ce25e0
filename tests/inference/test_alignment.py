"""Word times: real speech put together at known places, found again by both engines; and what is left if they fail."""

from __future__ import annotations

import numpy as np
import pytest
from speech import clips

from shared.audio import SAMPLE_RATE, AudioSource, Waveform, load_audio
from shared.engines import Decoded
from shared.inference.window_decoder import Options
from shared.inference.word_borders import by_sound
from shared.inference.word_times import Row
from shared.transcript import Segment, Transcript

CLIPS = clips("it")


def spoken(path) -> np.ndarray:
    """A clip without the silence at both ends."""
    samples = load_audio(path).samples
    loud = np.flatnonzero(np.abs(samples) > 0.03 * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


@pytest.fixture(scope="module")
def joined() -> tuple[Waveform, list[tuple[float, float]]]:
    """Three sentences half a second apart, and where each begins and ends."""
    parts, places, at = [np.zeros(SAMPLE_RATE // 2)], [], 0.5
    for clip in CLIPS[:3]:
        samples = spoken(clip.path)
        parts += [samples, np.zeros(SAMPLE_RATE // 2)]
        places.append((at, at + len(samples) / SAMPLE_RATE))
        at = places[-1][1] + 0.5
    return Waveform(np.concatenate(parts).astype(np.float32)), places


@pytest.mark.parametrize("engine", ["base", "base_torch"])
def test_first_and_last_words_are_where_the_sound_is(engine, joined, request):
    waveform, places = joined
    words = request.getfixturevalue(engine).transcribe(waveform, language="it", words=True).words
    errors = [min(abs(word.start - start) for word in words) for start, _ in places]
    errors += [min(abs(word.end - end) for word in words) for _, end in places]
    assert np.median(errors) < 0.08 and max(errors) < 0.25, errors


@pytest.mark.parametrize("engine", ["base", "base_torch"])
def test_times_are_in_order_and_no_word_lies_in_silence(engine, joined, request):
    waveform, places = joined
    transcript = request.getfixturevalue(engine).transcribe(waveform, language="it", words=True)
    assert "".join(word.text for word in transcript.words).split() == transcript.text.split()
    last = 0.0
    for word in transcript.words:
        assert last - 1e-6 <= word.start <= word.end <= waveform.duration
        last = word.start
        inside = [min(word.end, end + 0.1) - max(word.start, start - 0.1) for start, end in places]
        assert max(inside) >= word.end - word.start - 0.1, word


def test_the_engines_agree(base, base_torch):
    differences = []
    for clip in CLIPS:
        one, other = (engine.transcribe(clip.path, language="it", words=True).words for engine in (base, base_torch))
        if [word.text for word in one] == [word.text for word in other]:
            differences += [abs(a.start - b.start) for a, b in zip(one, other, strict=True)]
    assert len(differences) > 20 and np.median(differences) < 0.05


def noisy(*silences: tuple[float, float]) -> np.ndarray:
    """Two seconds of noise as loud as speech, silent between these times."""
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * SAMPLE_RATE)
    for start, end in silences:
        noise[int(start * SAMPLE_RATE) : int(end * SAMPLE_RATE)] *= 1e-3
    return noise.astype(np.float32)


def test_a_pause_parts_words_though_attention_has_gone_on():
    """Attention gives the pause, and the end of the word before it, to the next word."""
    first, second = by_sound([(0.0, 0.72), (0.72, 1.9)], noisy((0.9, 1.3)))
    assert first == pytest.approx((0.0, 0.9), abs=0.02) and second == pytest.approx((1.3, 1.91), abs=0.02)


def test_the_closure_of_a_consonant_takes_no_word_with_it():
    """80 ms of silence within a word, some way from the border; behind a mark it is taken for the gap."""
    spans, samples = [(0.0, 0.9), (0.9, 1.9)], noisy((1.01, 1.09))
    apart = by_sound(spans, samples)
    assert apart[0][1] == apart[1][0] == pytest.approx(0.91, abs=0.081)
    marked = by_sound(spans, samples, [True, False])
    assert marked[0][1] == pytest.approx(1.01, abs=0.03) and marked[1][0] == pytest.approx(1.09, abs=0.03)


def test_borders_move_to_the_dip_and_ends_leave_the_silence():
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * SAMPLE_RATE)
    noise[: SAMPLE_RATE // 2] *= 1e-3  # silence, a word, a dip of 40 ms, a word, silence
    noise[int(0.98 * SAMPLE_RATE) : int(1.02 * SAMPLE_RATE)] *= 1e-2
    noise[int(1.5 * SAMPLE_RATE) :] *= 1e-3
    first, second = by_sound([(0.0, 0.9), (0.9, 2.0)], noise.astype(np.float32))
    assert first == pytest.approx((0.5, 0.98), abs=0.02) and second == pytest.approx((1.02, 1.5), abs=0.02)
    steady = by_sound([(0.2, 0.9), (0.9, 1.8)], np.random.default_rng(0).normal(0, 0.1, 2 * SAMPLE_RATE))
    assert steady[0][1] == pytest.approx(0.9, abs=0.15) and steady[0][1] == steady[1][0]


@pytest.mark.parametrize("engine", ["base", "base_torch"])
@pytest.mark.parametrize(("language", "text"), [
    ("it", " Un saluto temporaneo, usato in attesa: nessuno degli operatori risponde."),
    ("ru", " Пожалуйста, подождите (или перезвоните)!"), ("ja", "音声認識の、テスト OpenAI です。もう一度")])
def test_words_never_reach_over_a_timestamp(request, engine, language, text):
    """Wherever the model writes a timestamp, within a word too, the words of a piece spell its text."""
    transcriber = request.getfixturevalue(engine)
    tokens, decoder = transcriber.tokens, transcriber.window_decoder
    window = next(iter(transcriber.windows(AudioSource(CLIPS[0].path), Options(language))))
    states, prompt = decoder.encode([window]), tokens.prompt(language, "transcribe", timestamps=True)
    ids = tokens.encode(text)
    for cut in range(1, len(ids), 2):
        pieces = [ids[:cut], ids[cut:]]
        found = decoder.align(Row(states, 0, prompt), pieces, window, Options(language))
        assert [joined_words(words) for words in found] == [tokens.text(piece).strip() for piece in pieces]
        segments = [Segment(tokens.text(piece).strip(), 0, 1, tuple(words))
                    for piece, words in zip(pieces, found, strict=True)]
        transcript = Transcript(tuple(segments), language, 10.0)
        assert joined_words(transcript.words) == transcript.text


def test_the_last_word_leaves_the_speech_that_was_not_read(base, joined):
    """The model stops at a timestamp and the window goes on: the rest is for another pass, not for the last word."""
    sound, places = joined
    window = next(iter(base.windows(AudioSource(sound), Options("it"))))
    tokens, end = base.tokens, places[0][1] + 0.1
    ids = [tokens.first_stamp, *tokens.encode(" " + CLIPS[0].text), tokens.first_stamp + round(end / 0.02)]
    prompt = tokens.prompt("it", "transcribe", timestamps=True)
    segments, reached = base.window_decoder._segments(
        window, Decoded(tuple(ids), -0.1, 0.0, True), Row(base.window_decoder.encode([window]), 0, prompt),
        Options("it", words=True))
    assert reached < window.duration - 2 and segments[-1].words
    assert segments[-1].words[-1].end <= segments[-1].end + 0.01 < places[1][0]


def joined_words(words) -> str:
    return "".join(word.text for word in words).strip()


def test_a_segment_stands_where_the_alignment_fails(base, monkeypatch):
    monkeypatch.setattr(base.engine, "_model", _WithoutAlignment(base.engine._model))
    transcript = base.transcribe(CLIPS[0].path, language="it", words=True)
    plain = base.transcribe(CLIPS[0].path, language="it")
    assert transcript.text == plain.text and transcript.segments and transcript.words == ()


class _WithoutAlignment:
    """CTranslate2's model, whose alignment finds no path (as it does for a window without frames)."""

    def __init__(self, model) -> None:
        self._model = model

    def __getattr__(self, name: str):
        return getattr(self._model, name)

    def align(self, *arguments, **named):
        results = self._model.align(*arguments, **named)
        return [_NoPath(result) for result in results]


class _NoPath:
    def __init__(self, result) -> None:
        self.alignments, self.text_token_probs = [], result.text_token_probs
