"""Text while somebody speaks: what is shown stays, nothing is lost, and silence is free."""

from __future__ import annotations

import functools
import threading
from itertools import pairwise

import numpy as np
import pytest
from speech import clips, joined

from shared.audio import SAMPLE_RATE, Waveform, load_audio
from shared.checkpoint import Checkpoint
from shared.errors import UserError
from shared.inference import Transcriber
from shared.live import LiveTranscriber, Update
from shared.live.endpointer import Endpointer
from shared.live.live_transcriber import HARD_SECONDS
from shared.options import Options
from shared.transcript import Transcript, Word
from shared.wer import word_errors

BLOCK = SAMPLE_RATE // 10
ITALIAN = joined([clip.path for clip in clips("it")], pause=0.8).samples
REFERENCE = " ".join(clip.text for clip in clips("it"))
ITALIAN_OPTIONS = Options(language="it")


@functools.cache
def short_context() -> Transcriber:
    return Transcriber(Checkpoint.parse("embedded:whisper-base-it"), engine="ctranslate2", device="cpu")


@pytest.fixture
def tuned() -> Transcriber:
    """Trained for short context, so that a look costs what the clip lasts."""
    return short_context()


def listen(live: LiveTranscriber, samples: np.ndarray, block: int = BLOCK) -> list[Update]:
    """Every update of a whole run."""
    updates = []
    for i in range(0, len(samples), block):
        live.insert(samples[i : i + block])
        updates.append(live.process())
        while updates[-1].more:
            updates.append(live.process())
    return [*updates, live.finish()]


def assert_committed_text_only_grows(updates: list[Update]) -> None:
    words: list[Word] = []
    text = ""
    for update in updates:
        words += update.words
        assert list(update.transcript.words) == words, "a committed word changed"
        assert update.transcript.text.startswith(text)
        text = update.transcript.text
    segments = [segment for update in updates for segment in update.finished]
    assert tuple(segments) == updates[-1].transcript.segments and updates[-1].tentative == ""
    for before, after in pairwise(words):
        assert before.start <= before.end <= after.start <= after.end, "times go backwards"


def counted(monkeypatch, transcriber: Transcriber, name: str) -> list[tuple]:
    """The shapes or arguments of every real call of an engine's method, from now on."""
    calls, real = [], getattr(transcriber.engine, name)
    monkeypatch.setattr(transcriber.engine, name, lambda *a, **k: (calls.append(a), real(*a, **k))[1])
    return calls


@pytest.fixture(scope="module")
def session() -> list[Update]:
    return listen(LiveTranscriber(short_context(), ITALIAN_OPTIONS, step=0.6), ITALIAN)


def test_committed_text_only_grows(session):
    assert_committed_text_only_grows(session)
    shown = [update for update in session if update.words]
    assert len(shown) > 10, "the text comes as it is said, not at the end"
    assert any(update.tentative for update in session)


def test_live_and_offline_agree(session, tuned):
    live, offline = session[-1].transcript, tuned.transcribe(Waveform(ITALIAN), language="it", words=True)
    assert word_errors(offline.text, live.text, "it").wer <= 0.1
    assert word_errors(REFERENCE, live.text, "it").wer <= 0.15
    assert live.language == "it" and live.duration == pytest.approx(len(ITALIAN) / SAMPLE_RATE)
    ends = {word.text.strip(" .,!").lower(): word.end for word in offline.words}
    apart = [abs(word.end - ends[word.text.strip(" .,!").lower()]) for word in live.words
             if word.text.strip(" .,!").lower() in ends]
    assert len(apart) > 20 and np.median(apart) < 0.3


def test_a_stock_checkpoint_that_finds_the_language_out(base):
    updates = listen(LiveTranscriber(base, step=1.0), ITALIAN[: 10 * SAMPLE_RATE])
    assert_committed_text_only_grows(updates)
    assert updates[-1].transcript.language == "it", "the language was to be detected"
    assert word_errors(" ".join(REFERENCE.split()[:22]), updates[-1].transcript.text, "it").wer <= 0.35


def test_the_other_engine(base_torch):
    clip = clips("it")[1]
    samples = np.concatenate([load_audio(clip.path).samples, np.zeros(SAMPLE_RATE, np.float32)])
    updates = listen(LiveTranscriber(base_torch, ITALIAN_OPTIONS, step=1.5), samples)
    assert_committed_text_only_grows(updates)
    assert word_errors(clip.text, updates[-1].transcript.text, "it").wer <= 0.3


def test_translation(base):
    updates = listen(LiveTranscriber(base, Options(language="it", task="translate"), step=1.5),
                     joined([clips("it")[1].path]).samples)
    assert_committed_text_only_grows(updates)
    text = updates[-1].transcript.text.lower()
    assert {"mailbox", "message", "messages", "user"} & set(text.replace(".", "").replace(",", "").split()), text


def test_silence_asks_no_model(monkeypatch, tuned):
    calls = counted(monkeypatch, tuned, "encode")
    live = LiveTranscriber(tuned, ITALIAN_OPTIONS)
    noise = np.random.default_rng(1).normal(0, 1e-4, 60 * SAMPLE_RATE).astype(np.float32)
    assert listen(live, noise)[-1].transcript.segments == () and calls == []


def test_a_pause_in_speech_asks_nothing_more(monkeypatch, tuned):
    live = LiveTranscriber(tuned, ITALIAN_OPTIONS, step=0.6)
    clip = load_audio(clips("it")[1].path).samples
    for i in range(0, len(clip), BLOCK):
        live.insert(clip[i : i + BLOCK])
        live.process()
    for _ in range(10):
        live.insert(np.zeros(BLOCK, np.float32))
        live.process()
    calls = counted(monkeypatch, tuned, "encode")
    for _ in range(100):
        live.insert(np.zeros(BLOCK, np.float32))
        assert not live.process().words
    assert calls == []


def test_ten_minutes_of_mostly_silence(monkeypatch, tuned):
    """Two sentences five minutes apart: no more decoding than for two sentences, and nothing kept."""
    calls = counted(monkeypatch, tuned, "encode")
    live = LiveTranscriber(tuned, ITALIAN_OPTIONS, step=0.6)
    clip, quiet = load_audio(clips("it")[1].path).samples, np.zeros(SAMPLE_RATE, np.float32)
    for _ in range(2):
        listen_only = [clip[i : i + SAMPLE_RATE] for i in range(0, len(clip), SAMPLE_RATE)] + [quiet] * 295
        for block in listen_only:
            live.insert(block)
            live.process()
    update = live.finish()
    assert len(calls) <= 2 * (len(clip) / SAMPLE_RATE / 0.6 + 2)
    assert word_errors(f"{clips('it')[1].text} {clips('it')[1].text}", update.transcript.text, "it").wer <= 0.2
    assert 295 < update.transcript.words[-1].end - update.transcript.words[0].end < 310
    assert len(live._endpointer._audio) < 2 * SAMPLE_RATE


@functools.cache
def unbroken() -> np.ndarray:
    """Longer than one window, and nobody draws breath: the clips' loud parts end to end."""
    parts = []
    for clip in clips("it"):
        samples = load_audio(clip.path).samples
        loud = np.flatnonzero(np.abs(samples) > 0.02)
        parts.append(samples[loud[0] : loud[-1]])
    once = np.concatenate(parts)
    n_samples = int((HARD_SECONDS + 6) * SAMPLE_RATE)
    return np.concatenate([once] * (n_samples // len(once) + 1))[:n_samples]


@functools.cache
def unbroken_offline() -> str:
    return short_context().transcribe(Waveform(unbroken()), language="it").text


@pytest.mark.parametrize("step", [pytest.param(2.4, marks=pytest.mark.slow), 1000.0],
                         ids=["decoded as it grows", "decoded only when it must be"])
def test_unbroken_speech_stays_within_the_limits(monkeypatch, tuned, step):
    samples = unbroken()
    calls = counted(monkeypatch, tuned, "encode")
    live = LiveTranscriber(tuned, ITALIAN_OPTIONS, step=step, pause=2.0)
    updates = []
    for i in range(0, len(samples), BLOCK):
        live.insert(samples[i : i + BLOCK])
        updates.append(live.process())
        assert len(live._endpointer._audio) <= 35 * SAMPLE_RATE
    updates.append(live.finish())
    assert_committed_text_only_grows(updates)
    assert max(mel.shape[-1] for mels, *_ in calls for mel in mels) <= 3000
    assert HARD_SECONDS < 30
    first = next(i for i, update in enumerate(updates) if update.words)
    assert first * BLOCK / SAMPLE_RATE < HARD_SECONDS + 1
    assert word_errors(unbroken_offline(), updates[-1].transcript.text, "it").wer <= 0.25


def test_a_backlog_all_at_once_is_transcribed_to_its_end(tuned):
    """Sound that comes faster than it is spoken, in one block of more than two windows, decoded only at the end."""
    samples = np.concatenate([ITALIAN] * 3)
    assert len(samples) / SAMPLE_RATE > 60
    live = LiveTranscriber(tuned, ITALIAN_OPTIONS)
    live.insert(samples)
    update = live.finish()
    assert live.waiting == 0 and update.transcript.duration == pytest.approx(len(samples) / SAMPLE_RATE)
    assert word_errors(" ".join([REFERENCE] * 3), update.transcript.text, "it").wer <= 0.15


@pytest.mark.parametrize("block", [160, 1000, 16_001])
def test_not_one_sample_is_lost(block):
    """Every sample of speech is in a window, whatever the blocks; the last word is not cut off."""
    endpointer, kept = Endpointer(), np.zeros(len(ITALIAN), bool)
    for i in range(0, len(ITALIAN), block):
        endpointer.push(ITALIAN[i : i + block])
        while endpointer.utterances and endpointer.utterances[0].ended:
            mark(endpointer, kept)
        endpointer.forget()
    endpointer.finish()
    while endpointer.utterances:
        mark(endpointer, kept)
    assert endpointer.n_samples == len(ITALIAN)
    for place, clip in zip(places(), clips("it"), strict=True):
        assert kept[place].mean() > 0.85, clip.path.name


def mark(endpointer: Endpointer, kept: np.ndarray) -> None:
    window = endpointer.window(endpointer.utterances.popleft(), 1e9)
    (_, start, n_samples), = window.pieces
    np.testing.assert_array_equal(window.samples, ITALIAN[start : start + n_samples])
    kept[start : start + n_samples] = True


def places() -> list[slice]:
    found, at = [], 0
    for clip in clips("it"):
        n_samples = len(load_audio(clip.path).samples)
        found.append(slice(at, at + n_samples))
        at += n_samples + int(0.8 * SAMPLE_RATE)
    return found


def test_speech_up_to_the_last_sample(tuned):
    """Stop pressed in the middle of a word: what came before it stands."""
    clip = load_audio(clips("it")[1].path).samples[: int(3.6 * SAMPLE_RATE)]
    updates = listen(LiveTranscriber(tuned, ITALIAN_OPTIONS, step=10.0), clip, block=777)
    assert word_errors("Spiacente, ma la casella di posta dell'utente non può accettare", updates[-1].transcript.text,
                       "it").wer <= 0.3
    assert updates[-1].transcript.duration == pytest.approx(3.6)


def test_two_listeners_at_once_do_not_mix(tuned):
    sounds = [joined([clips("it")[n].path], pause=0.9).samples for n in (1, 3)]
    alone = [listen(LiveTranscriber(tuned, ITALIAN_OPTIONS, step=0.8), sound)[-1].transcript for sound in sounds]
    together: dict[int, Transcript] = {}

    def follow(number: int) -> None:
        live = LiveTranscriber(tuned, ITALIAN_OPTIONS, step=0.8)
        together[number] = listen(live, sounds[number])[-1].transcript

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[0], together[1]] == alone and alone[0].text != alone[1].text


def test_inserting_while_it_decodes(tuned):
    """A source does not wait for the model: all it inserts from its own thread is heard, in order."""
    live = LiveTranscriber(tuned, ITALIAN_OPTIONS, step=0.8)

    def feed() -> None:
        for i in range(0, len(ITALIAN), 320):
            live.insert(ITALIAN[i : i + 320])

    feeding = threading.Thread(target=feed)
    feeding.start()
    updates = []
    while feeding.is_alive() or live.waiting:
        updates.append(live.process())
    updates.append(live.finish())
    assert_committed_text_only_grows(updates)
    assert word_errors(REFERENCE, updates[-1].transcript.text, "it").wer <= 0.15


def test_the_language_decides_who_goes_on(base, tuned):
    live = LiveTranscriber(base, step=1.0, choose=lambda language: tuned if language == "it" else base)
    updates = listen(live, ITALIAN[: 6 * SAMPLE_RATE])
    assert live.transcriber is tuned and updates[-1].transcript.language == "it"


def test_a_second_speaker_in_another_language_is_written_in_it(base):
    """It was written as if it were the first one's, for the rest of the session. A language that is given stays."""
    english, italian = (joined([clip.path for clip in some]) for some in (clips("en")[:2], clips("it")[::3][:2]))
    samples = np.concatenate([english.samples, np.zeros(SAMPLE_RATE, np.float32), italian.samples])
    updates = listen(LiveTranscriber(base, step=1.0), samples)
    assert_committed_text_only_grows(updates)
    border = english.duration + 0.5
    for language, spoken_clips, is_after in (("en", clips("en")[:2], False),
                                             ("it", clips("it")[::3][:2], True)):
        text = " ".join(s.text for s in updates[-1].transcript.segments if (s.start > border) == is_after)
        assert word_errors(" ".join(clip.text for clip in spoken_clips), text, language).wer <= 0.35
    assert updates[-1].transcript.language == "it"
    fixed = LiveTranscriber(base, Options(language="en"), step=5.0)
    assert listen(fixed, samples)[-1].transcript.language == "en"


def test_what_the_checkpoint_cannot_do(base):
    with pytest.raises(UserError, match="no such task"):
        LiveTranscriber(base, Options(task="sing"))
    with pytest.raises(UserError, match="does not know the language"):
        LiveTranscriber(base, Options(language="xx"))
