"""Speech found as Silero finds it, packed without losing a sample's place."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import silero_vad
import torch
from speech import clips, joined

from shared.audio import SAMPLE_RATE, load_audio
from shared.audio.padded_speech import Padding, padded_speech
from shared.audio.vad import FRAME, SpeechDetector
from shared.audio.windows import Window, windows
from shared.errors import UserError
from shared.whisper_constants import WINDOW_SECONDS

CONVERSATION = joined([clip.path for clip in clips()] * 2, pause=1.2).samples  # about 100 s


def blocks(samples: np.ndarray, size: int) -> list[np.ndarray]:
    return [samples[i : i + size] for i in range(0, len(samples), size)]


def test_probabilities_are_those_of_the_original_network():
    samples = CONVERSATION[: FRAME * 600]
    network = torch.jit.load(Path(silero_vad.__file__).parent / "data" / "silero_vad.jit")
    with torch.inference_mode():
        expected = [float(network(torch.from_numpy(frame)[None], SAMPLE_RATE)) for frame in blocks(samples, FRAME)]
    np.testing.assert_allclose(SpeechDetector().probabilities(samples), expected, atol=1e-4)


def test_any_block_size_gives_the_same_windows():
    one = [window.pieces for window in windows([CONVERSATION])]
    assert one == [window.pieces for window in windows(blocks(CONVERSATION, 1000))]
    assert one == [window.pieces for window in windows(blocks(CONVERSATION, 77_777))]


def test_windows_hold_the_audio_they_name():
    found = list(windows(blocks(CONVERSATION, 480_000)))
    assert len(found) > 2
    last = 0
    for window in found:
        assert window.duration <= 30
        for offset, start, n_samples in window.pieces:
            assert start >= last  # nothing twice, in order
            np.testing.assert_array_equal(window.samples[offset : offset + n_samples],
                                          CONVERSATION[start : start + n_samples])
            last = start + n_samples


def test_every_clip_is_found_and_every_pause_left_out():
    spans = [span for span, _, _ in padded_speech([CONVERSATION], 0.5, WINDOW_SECONDS, Padding(0, 0))]
    covered = np.zeros(len(CONVERSATION), bool)
    for span in spans:
        covered[span.start : span.end] = True
    at = 0
    for clip in [*clips(), *clips()]:
        n_samples = len(load_audio(clip.path).samples)
        assert covered[at : at + n_samples].mean() > 0.5, clip.path.name
        quiet = covered[at + n_samples + 4000 : at + n_samples + int(1.2 * SAMPLE_RATE) - 1600]
        assert quiet.mean() < 0.2, clip.path.name
        at += n_samples + int(1.2 * SAMPLE_RATE)


def test_speech_without_a_pause_is_cut_below_thirty_seconds():
    voiced = np.concatenate([load_audio(clip.path).samples[8000:-8000] for clip in clips()] * 3)
    found = list(windows([voiced], onset=0.02))
    assert max(window.duration for window in found) <= 30
    kept = sum(window.duration for window in found)
    assert kept > 0.9 * len(voiced) / SAMPLE_RATE
    assert [window.pieces for window in windows(blocks(voiced, 3000), onset=0.02)] == [one.pieces for one in found]
    cuts = [(one, other) for one, other in pairwise(found) if one.until is not None]
    assert cuts
    for one, other in cuts:  # both hear the cut and what is around it; each knows what is its own
        assert other.since == one.until and one.end > one.until > other.start


def test_time_goes_back_to_the_audio():
    window = Window(np.zeros(32_000, np.float32), ((0, 16_000, 16_000), (16_000, 160_000, 16_000)))
    assert window.in_audio(0) == 1.0
    assert window.in_audio(0.5) == 1.5
    assert window.in_audio(1.0) == 10.0  # what starts at the seam starts after the gap
    assert window.in_audio(1.0, is_end=True) == 2.0  # what ends there ended before it
    assert window.in_audio(9) == 11.0 == window.end


@pytest.mark.parametrize("name", ["silence", "white noise", "tone", "chords", "clicks"])
def test_what_is_not_speech_gives_no_window(name):
    t = np.arange(60 * SAMPLE_RATE) / SAMPLE_RATE
    noise = np.random.default_rng(0)
    sound = {
        "silence": np.zeros_like(t), "white noise": noise.normal(0, 0.1, len(t)), "tone": 0.3 * np.sin(2764.6 * t),
        "chords": sum(0.1 * np.sin(2 * np.pi * f * t * (1 + 0.5 * (t // 2 % 3))) for f in (220, 277.2, 329.6)),
        "clicks": (np.arange(len(t)) % 8000 == 0) * 0.8,
    }[name].astype(np.float32)
    assert list(windows([sound])) == []


def test_quiet_speech_is_found():
    clip = load_audio(clips("it")[1].path).samples
    quiet = clip * (10 ** (-40 / 20) / np.sqrt(np.mean(clip**2)))
    assert len(list(windows([quiet.astype(np.float32)]))) == 1


def test_memory_stays_flat_over_long_silence():
    detector_blocks = (np.zeros(480_000, np.float32) for _ in range(120))  # an hour
    assert list(windows(detector_blocks)) == []


def test_threshold_out_of_range():
    with pytest.raises(UserError, match="threshold"):
        list(windows([CONVERSATION], onset=1.5))
